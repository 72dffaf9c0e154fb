"""The inode table, and what is dropped from the kernel when a name changes."""

from __future__ import annotations

import threading

import pytest
import trio

from appliance.cache.api import Invalidation
from appliance.model.objects import ObjectInfo
from appliance.mount.inodes import LISTING_S, ROOT, Inodes
from appliance.mount.invalidate import Invalidator, names_to_drop
from appliance.mount.recent import Recent


def info(version, size=1):
    return ObjectInfo(key="k", size=size, etag="e", version=version, modified_ns=0)


@pytest.fixture
def inodes():
    table = Inodes(bucket="b")
    directory = table.directory("b", "d/")
    directory.lookups = 1
    directory.shown = table.root.shown = True
    return table


def known(inodes, key, version="1"):
    node = inodes.file("b", key, info(version), complete=True)
    node.lookups += 1
    return node


def test_what_a_listing_told_is_believed_while_it_is_open_a_minute_at_most(inodes):
    node = known(inodes, "d/f")
    directory = inodes.find("b", "d/")
    directory.listings += 1
    assert not inodes.in_listing(node, 1000.0)  # not by this listing
    node.listed_at = 1000.0
    assert inodes.in_listing(node, 1000.0 + LISTING_S - 0.1)
    assert not inodes.in_listing(node, 1000.0 + LISTING_S)
    directory.listings -= 1
    assert not inodes.in_listing(node, 1000.0)


def test_the_root(inodes):
    assert inodes.get(ROOT) is inodes.root
    assert inodes.find("b", "") is inodes.root
    assert inodes.parent(inodes.root) is None


def test_the_same_version_keeps_its_inode(inodes):
    assert known(inodes, "d/a") is known(inodes, "d/a")


def test_another_version_gets_another_inode_and_the_old_one_stays_for_who_has_it(inodes):
    old = known(inodes, "d/a")
    new = known(inodes, "d/a", "2")
    assert new.ino != old.ino
    assert inodes.find("b", "d/a") is new
    assert inodes.get(old.ino) is old
    assert not old.named
    inodes.forget([(old.ino, 1)])
    assert inodes.get(old.ino) is None


def test_a_listing_does_not_overwrite_what_head_told(inodes):
    node = known(inodes, "d/a")
    inodes.file("b", "d/a", info("1", size=9), complete=False)
    assert node.complete
    assert node.info.size == 1


def test_open_files_outlive_forget(inodes):
    node = known(inodes, "d/a")
    node.opened = 1
    inodes.forget([(node.ino, 1)])
    assert inodes.get(node.ino) is node
    node.opened = 0
    inodes.drop_if_unused(node)
    assert inodes.get(node.ino) is None
    assert inodes.find("b", "d/a") is None


def test_a_created_file_is_pending_until_published(inodes):
    node = inodes.create("b", "d/new")
    assert list(inodes.pending_in("b", "d/")) == [node]
    assert list(inodes.pending_in("b", "")) == []
    inodes.published(node, info("1"))
    assert list(inodes.pending_in("b", "d/")) == []


def test_publishing_takes_the_name_back_from_a_foreign_version(inodes):
    mine = known(inodes, "d/a")
    foreign = known(inodes, "d/a", "2")
    inodes.published(mine, info("3"))
    assert inodes.find("b", "d/a") is mine
    assert not foreign.named


def test_publishing_after_unlink_takes_no_name(inodes):
    node = known(inodes, "d/a")
    inodes.unlink(node)
    inodes.published(node, info("2"))
    assert inodes.find("b", "d/a") is None


def test_rename_unlinks_what_was_there(inodes):
    moved, replaced = known(inodes, "d/a"), known(inodes, "d/b")
    inodes.rename(moved, "b", "d/b")
    assert inodes.find("b", "d/b") is moved
    assert inodes.find("b", "d/a") is None
    assert replaced.unlinked


def test_the_root_is_never_forgotten(inodes):
    inodes.forget([(ROOT, 10)])
    inodes.supersede(inodes.root)
    assert inodes.get(ROOT) is inodes.root


# --- what the kernel must drop ---------------------------------------------------------------


def drops(inodes, key, version, origin="s3"):
    change = Invalidation("b", key, origin, None if version is None else info(version))
    return set(names_to_drop(inodes, change))


def test_nothing_is_dropped_in_a_directory_that_the_kernel_has_not_looked_into(inodes):
    inodes.find("b", "d/").shown = False
    assert drops(inodes, "d/a", "1") == set()
    inodes.root.shown = False
    assert drops(inodes, "a", "1") == set()


def test_a_new_version_drops_the_name_and_the_inode_loses_it(inodes):
    directory = inodes.find("b", "d/")
    node = known(inodes, "d/a")
    assert drops(inodes, "d/a", "2") == {(directory.ino, b"a")}
    assert not node.named


def test_the_version_that_is_known_drops_nothing(inodes):
    node = known(inodes, "d/a")
    assert drops(inodes, "d/a", "1") == set()
    assert node.named


def test_a_new_name_drops_the_belief_that_it_is_not_there(inodes):
    directory = inodes.find("b", "d/")
    assert drops(inodes, "d/new", "1") == {(directory.ino, b"new")}


def test_a_new_name_drops_the_belief_that_its_directories_are_not_there(inodes):
    assert drops(inodes, "x/y/z", "1") == {(ROOT, b"x")}


def test_a_directory_that_was_there_before_is_left_alone(inodes):
    assert (ROOT, b"d") not in drops(inodes, "d/a", "1")


def test_a_file_that_a_new_directory_hides_is_dropped(inodes):
    node = known(inodes, "d/a")
    directory = inodes.find("b", "d/")
    assert (directory.ino, b"a") in drops(inodes, "d/a/below", "1")
    assert not node.named


def test_a_file_that_is_being_made_here_is_left_alone(inodes):
    from types import SimpleNamespace

    node = inodes.create("b", "d/new")
    node.draft = SimpleNamespace(dirty=True)
    assert drops(inodes, "d/new", "1") == set()
    assert node.named


def test_names_in_unknown_directories_are_nobodys(inodes):
    assert drops(inodes, "unknown/a", None) == set()


async def test_every_directory_that_may_be_empty_is_checked(inodes):
    told = []

    class Kernel:
        def invalidate_entry(self, inode_p, name):
            told.append((inode_p, name))

    async def exists(_bucket, directory):
        return directory == "kept/"

    invalidator = Invalidator(inodes, Recent(), Kernel())
    for directory in ("kept/", "gone/"):
        inodes.directory("b", directory).shown = True
        known(inodes, directory + "a")
        invalidator.changed(Invalidation("b", directory + "a", "s3", None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, exists)
        await invalidator.settled()
        nursery.cancel_scope.cancel()
    assert (ROOT, b"gone") in told
    assert (ROOT, b"kept") not in told
    assert inodes.find("b", "gone/") is None


def test_a_write_that_begins_drops_the_belief_that_its_directories_are_not_there(inodes):
    pending = Invalidation("b", "x/y/z", "s3", None, pending=True)
    assert set(names_to_drop(inodes, pending)) == {(ROOT, b"x")}


async def test_a_directory_that_must_wait_holds_up_no_other(inodes):
    stuck, at_it = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()
    directory = inodes.find("b", "d/")

    class Kernel:
        def invalidate_entry(self, inode_p, _name):
            if inode_p == directory.ino:
                token.run_sync_soon(at_it.set)
                stuck.wait()

    async def exists(_bucket, _directory):
        return True

    invalidator = Invalidator(inodes, Recent(), Kernel())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(invalidator.run, exists)
            invalidator.changed(Invalidation("b", "d/stuck", "s3", info("1")))
            await at_it.wait()
            invalidator.changed(Invalidation("b", "free", "s3", info("1")))
            await invalidator.told("b", "free")
            assert invalidator.statistics()["waiting_names"] == 1
            stuck.set()
            await invalidator.told("b", "d/stuck")
            await invalidator.settled()
            assert invalidator.statistics()["waiting_names"] == 0
            nursery.cancel_scope.cancel()
    finally:
        stuck.set()
