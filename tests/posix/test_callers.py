"""Accounts that are users of the system, on the files themselves: what they make is theirs, what they may not is refused. Needs root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.model.errors import AccessDeniedError, NoSuchKeyError
from appliance.model.objects import CompletedPart, ListRequest, PutOptions, Versioning
from appliance.plugin import BytesBody, Caller, acting_as
from appliance_posix.impersonation import rights
from tests.support.posix import all_keys, get, put, started

pytestmark = pytest.mark.real
ALICE, BOB = Caller(50_001, (60_001, 60_077)), Caller(50_002, (60_002,))


@pytest.fixture(autouse=True)
def needs_root():
    assert os.geteuid() == 0, "needs root, to be somebody else"
    before = rights()
    yield
    assert rights() == before


def own(path: Path, caller: Caller, mode: int) -> None:
    os.chown(path, caller.uid, caller.gids[0])
    path.chmod(mode)


def owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


@pytest.fixture
def bucket(backend, root):
    """Its directory, where everybody may write."""
    directory = root / "bucket"
    directory.chmod(0o777)
    return directory


def private_owners(bucket: Path) -> set[int]:
    """Of the appliance's own directories."""
    top = bucket / ".appliance"
    return {path.stat().st_uid for path in (top, *top.iterdir()) if path.is_dir()}


async def test_files_and_directories_are_the_callers(everywhere, new_root):
    bucket = new_root / "bucket"
    bucket.chmod(0o777)
    with acting_as(ALICE):
        await put(everywhere, "a/b/small")
        await put(everywhere, "a/large", bytes(3 << 20))
        await everywhere.copy("bucket", "a/large", "bucket", "a/copy")
        upload = await everywhere.create_upload("bucket", "a/parts", PutOptions())
        part = await everywhere.put_part("bucket", "a/parts", upload.upload_id, 1, BytesBody(b"x"))
        await everywhere.complete_upload(
            "bucket", "a/parts", upload.upload_id, [CompletedPart(number=1, etag=part.etag)]
        )
    for name in ("a", "a/b", "a/b/small", "a/large", "a/copy", "a/parts"):
        assert owner(bucket / name) == (50_001, 60_001), name
    assert private_owners(bucket) == {0}
    with acting_as(BOB), pytest.raises(AccessDeniedError):
        await put(everywhere, "a/b/new")
    await put(everywhere, "a/b/of-the-appliance")
    assert owner(bucket / "a/b/of-the-appliance") == (0, 0)


async def test_a_file_in_a_directory_of_a_group_is_the_groups(backend, bucket):
    shared = bucket / "shared"
    shared.mkdir()
    own(shared, Caller(0, (60_077,)), 0o2775)
    with acting_as(ALICE):
        await put(backend, "shared/new")
        await put(backend, "shared/new", b"again")
        await put(backend, "shared/deeper/new")
    for name in ("shared/new", "shared/deeper", "shared/deeper/new"):
        assert owner(bucket / name) == (50_001, 60_077)
    with acting_as(BOB), pytest.raises(AccessDeniedError):
        await put(backend, "shared/his")


async def test_replacing_and_deleting_take_write_on_the_directory(everywhere, new_root):
    bucket = new_root / "bucket"
    mine = bucket / "mine"
    mine.mkdir()
    own(mine, ALICE, 0o755)
    await put(everywhere, "mine/k", b"old")
    with acting_as(BOB):
        for refused in (
            put(everywhere, "mine/k", b"new"),
            everywhere.delete("bucket", "mine/k"),
            put(everywhere, "mine/deep/er"),
            everywhere.copy("bucket", "mine/k", "bucket", "mine/copy"),
        ):
            with pytest.raises(AccessDeniedError):
                await refused
    assert await get(everywhere, "mine/k") == b"old"
    assert [path.name for path in mine.iterdir()] == ["k"]
    with acting_as(ALICE):
        await put(everywhere, "mine/k", b"new")
        assert owner(mine / "k") == (50_001, 60_001)
        await everywhere.delete("bucket", "mine/k")
    assert not (mine / "k").exists()


async def test_nothing_is_left_of_what_was_refused(backend, bucket):
    locked = bucket / "locked"
    locked.mkdir(mode=0o755)
    upload = await backend.create_upload("bucket", "locked/parts", PutOptions())
    part = await backend.put_part("bucket", "locked/parts", upload.upload_id, 1, BytesBody(b"x"))
    with acting_as(ALICE):
        for size in (5, 3 << 20):
            with pytest.raises(AccessDeniedError):
                await put(backend, "locked/k", bytes(size))
        with pytest.raises(AccessDeniedError):
            await backend.complete_upload(
                "bucket",
                "locked/parts",
                upload.upload_id,
                [CompletedPart(number=1, etag=part.etag)],
            )
    assert list(locked.iterdir()) == []
    assert list((bucket / ".appliance/staging").iterdir()) == []
    # The upload is still there for somebody who may.
    await backend.complete_upload(
        "bucket", "locked/parts", upload.upload_id, [CompletedPart(number=1, etag=part.etag)]
    )
    assert await get(backend, "locked/parts") == b"x"


async def test_in_a_sticky_directory_only_owners_replace_and_delete(backend, bucket):
    bucket.chmod(0o1777)
    with acting_as(ALICE):
        await put(backend, "k", b"hers")
    with acting_as(BOB):
        for refused in (put(backend, "k", b"his"), backend.delete("bucket", "k")):
            with pytest.raises(AccessDeniedError):
                await refused
        await put(backend, "other")
    with acting_as(ALICE):
        await put(backend, "k", b"new")
        await backend.delete("bucket", "k")
    assert sorted(await all_keys(backend)) == ["other"]


async def test_reading_takes_search_on_the_way_and_read_on_the_file(everywhere, new_root):
    bucket = new_root / "bucket"
    await put(everywhere, "way/k")
    way, file = bucket / "way", bucket / "way/k"
    cases = [
        (0o755, 0o600, False),
        (0o755, 0o604, True),
        (0o711, 0o604, True),
        (0o744, 0o604, False),
    ]
    for way_mode, file_mode, allowed in cases:
        way.chmod(way_mode)
        file.chmod(file_mode)
        with acting_as(ALICE):
            if allowed:
                await everywhere.check_read("bucket", "way/k")
            else:
                with pytest.raises(AccessDeniedError):
                    await everywhere.check_read("bucket", "way/k")
    way.chmod(0o755)
    own(file, ALICE, 0o400)
    with acting_as(ALICE):
        await everywhere.check_read("bucket", "way/k")
        await everywhere.check_read("bucket", "way/missing")
        await everywhere.check_read("bucket", "missing/k")
    with acting_as(BOB), pytest.raises(AccessDeniedError):
        await everywhere.check_read("bucket", "way/k")
    await everywhere.check_read("bucket", "way/k")  # the appliance


async def test_groups_count(backend, bucket):
    await put(backend, "k")
    os.chown(bucket / "k", 0, 60_077)
    (bucket / "k").chmod(0o640)
    with acting_as(ALICE):
        await backend.check_read("bucket", "k")
    with acting_as(BOB), pytest.raises(AccessDeniedError):
        await backend.check_read("bucket", "k")


async def test_tags_take_write_on_the_file(backend, bucket):
    with acting_as(ALICE):
        await put(backend, "k")
        await backend.put_tags("bucket", "k", {"a": "1"})
    with acting_as(BOB):
        with pytest.raises(AccessDeniedError):
            await backend.put_tags("bucket", "k", {"a": "2"})
        with pytest.raises(AccessDeniedError):
            await backend.put_acl("bucket", "k", b"acl")
    assert await backend.get_tags("bucket", "k") == {"a": "1"}


async def test_listing_takes_read_and_search_on_each_directory_whose_names_are_told(
    everywhere, new_root
):
    bucket = new_root / "bucket"
    await put(everywhere, "open/k")
    await put(everywhere, "closed/k")
    await put(everywhere, "closed/deep/k")
    (bucket / "closed").chmod(0o700)

    async def listed(prefix="", delimiter=""):
        request = ListRequest(prefix=prefix, delimiter=delimiter)
        page = await everywhere.list_objects("bucket", request)
        return [item.key for item in page.objects], list(page.common_prefixes)

    for _ in range(2):  # as the appliance, then what it remembers of the directories
        assert await listed() == (["closed/deep/k", "closed/k", "open/k"], [])
        with acting_as(ALICE):
            assert await listed(delimiter="/") == ([], ["closed/", "open/"])
            assert await listed("open/") == (["open/k"], [])
            for prefix in ("", "closed/", "closed/deep/"):
                with pytest.raises(AccessDeniedError):
                    await listed(prefix)
    own(bucket / "closed", ALICE, 0o700)
    with acting_as(ALICE):
        assert await listed("closed/") == (["closed/deep/k", "closed/k"], [])


async def test_versions_stay_their_owners_and_are_checked_by_their_own_files(backend, bucket):
    await backend.put_versioning("bucket", Versioning.ENABLED)
    with acting_as(ALICE):
        first = await put(backend, "k", b"first")
    (bucket / "k").chmod(0o600)
    with acting_as(BOB):  # may write into the directory, so may replace
        second = await put(backend, "k", b"second")
        with pytest.raises(AccessDeniedError):
            await backend.check_read("bucket", "k", version_id=first.version_id)
        await backend.check_read("bucket", "k", version_id=second.version_id)
        await backend.delete("bucket", "k")
    with acting_as(ALICE):
        await backend.check_read("bucket", "k", version_id=first.version_id)
        await backend.delete("bucket", "k", version_id=first.version_id)
    assert private_owners(bucket) == {0}
    with pytest.raises(NoSuchKeyError):
        await backend.head("bucket", "k")


async def test_buckets_are_made_and_deleted_by_who_may_write_in_the_root(backend, root):
    with acting_as(ALICE), pytest.raises(AccessDeniedError):
        await backend.create_bucket("new")
    root.chmod(0o1777)
    with acting_as(ALICE):
        await backend.create_bucket("new")
        await put(backend, "k", bucket="new")
        await backend.delete("new", "k")
    assert owner(root / "new") == (50_001, 60_001)
    assert private_owners(root / "new") == {0}
    with acting_as(BOB), pytest.raises(AccessDeniedError):
        await backend.delete_bucket("new")
    with acting_as(ALICE):
        await backend.delete_bucket("new")
    assert not (root / "new").exists()


async def test_an_object_in_the_way_keeps_its_owner(backend, bucket):
    with acting_as(ALICE):
        await put(backend, "a")
    with acting_as(BOB):
        await put(backend, "a/b")
    assert owner(bucket / ".appliance-object=a") == (50_001, 60_001)
    assert owner(bucket / "a") == (50_002, 60_002)
    assert sorted(await all_keys(backend)) == ["a", "a/b"]


async def test_metadata_that_spills_is_kept_for_callers_too(backend, bucket):
    metadata = {f"name-{number}": "v" * 200 for number in range(9)}
    with acting_as(ALICE):
        await put(backend, "k", metadata=metadata, tags={"t": "v" * 200})
        await put(backend, "k", metadata=metadata)
        await backend.put_tags("bucket", "k", {"t": "w" * 200})
    assert (await backend.head("bucket", "k")).metadata == metadata
    assert private_owners(bucket) == {0}
    assert stat.S_ISREG((bucket / "k").stat().st_mode)


async def test_sidecars_serve_callers_where_there_are_no_xattrs(root):
    async with started(root, bucket="bucket", metadata="sidecar") as backend:
        (root / "bucket").chmod(0o777)
        with acting_as(ALICE):
            await put(backend, "k", tags={"a": "1"})
            await backend.put_tags("bucket", "k", {"a": "2"})
        assert await backend.get_tags("bucket", "k") == {"a": "2"}
        assert private_owners(root / "bucket") == {0}


async def test_a_copy_in_the_history_is_as_private_as_its_original(backend, bucket):
    await backend.put_versioning("bucket", Versioning.ENABLED)
    with acting_as(ALICE):
        first = await put(backend, "k", b"secret")
    (bucket / "k").chmod(0o600)
    os.link(bucket / "k", bucket / "another-name")  # so the old version gets a file of its own
    await put(backend, "k", b"second")
    with acting_as(BOB), pytest.raises(AccessDeniedError):
        await backend.check_read("bucket", "k", version_id=first.version_id)
    with acting_as(ALICE):
        await backend.check_read("bucket", "k", version_id=first.version_id)


async def test_uploads_take_what_putting_takes(backend, bucket):
    closed = bucket / "closed"
    closed.mkdir(mode=0o700)
    upload = await backend.create_upload("bucket", "closed/m", PutOptions())
    part = await backend.put_part("bucket", "closed/m", upload.upload_id, 1, BytesBody(b"x"))
    parts = [CompletedPart(number=1, etag=part.etag)]
    named = ("bucket", "closed/m", upload.upload_id)
    for mode in (0o700, 0o755):
        closed.chmod(mode)
        with acting_as(ALICE):
            for refused in (
                backend.create_upload("bucket", "closed/m", PutOptions()),
                backend.create_upload("bucket", "closed/deep/m", PutOptions()),
                backend.put_part(*named, 2, BytesBody(b"y")),
                backend.list_parts(*named),
                backend.complete_upload(*named, parts),
                backend.abort_upload(*named),
            ):
                with pytest.raises(AccessDeniedError):
                    await refused
    page = await backend.list_parts(*named)
    assert [one.number for one in page.parts] == [1]
    own(closed, ALICE, 0o700)
    with acting_as(ALICE):
        assert (await backend.list_parts(*named)).parts == page.parts
        await backend.abort_upload(*named)
    assert (await backend.list_uploads("bucket")).uploads == ()


async def test_listing_uploads_takes_what_listing_takes(backend, bucket):
    for name, mode in (("open", 0o755), ("closed", 0o700), ("way", 0o711)):
        (bucket / name).mkdir()
        (bucket / name).chmod(mode)
        await backend.create_upload("bucket", f"{name}/m", PutOptions())
    await backend.create_upload("bucket", "closed/new/m", PutOptions())
    await backend.create_upload("bucket", "way/new/m", PutOptions())

    async def listed(prefix="", delimiter=""):
        page = await backend.list_uploads("bucket", prefix=prefix, delimiter=delimiter)
        return [upload.key for upload in page.uploads], list(page.common_prefixes)

    everything = ["closed/m", "closed/new/m", "open/m", "way/m", "way/new/m"]
    assert await listed() == (everything, [])
    with acting_as(ALICE):
        assert await listed(delimiter="/") == ([], ["closed/", "open/", "way/"])
        assert await listed("open/") == (["open/m"], [])
        for prefix in ("", "closed/", "closed/new/", "way/", "way/new/"):
            with pytest.raises(AccessDeniedError):
                await listed(prefix)
    bucket.chmod(0o711)
    with acting_as(ALICE):
        assert await listed("open/") == (["open/m"], [])
        with pytest.raises(AccessDeniedError):
            await listed(delimiter="/")
