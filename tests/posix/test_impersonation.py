"""Threads as other users: what they are, what they may, and that they are themselves again, whatever happens. Needs root."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin.caller import CALLER, Caller, acting_as
from appliance_posix.impersonation import (
    ActingHost,
    acting_for,
    caller,
    give_to_caller,
    in_name_of,
    is_possible,
    plainly,
    rights,
)
from tests.support.plugin_host import backend_config

pytestmark = pytest.mark.real
ALICE, BOB = Caller(50_001, (60_001, 60_077)), Caller(50_002, (60_002,))
ROOT = Caller(0, (0,))


@pytest.fixture(autouse=True)
def needs_root():
    assert os.geteuid() == 0, "needs root, to be somebody else"
    assert is_possible()
    before = rights()
    yield
    assert rights() == before


@pytest.fixture
def place(tmp_path):
    """A directory that anybody can get to."""
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(directory.stat().st_mode | 0o011)
    return tmp_path


def rights_plainly():
    with plainly():
        return rights()


def may_read(path) -> bool:
    try:
        path.read_bytes()
    except PermissionError:
        return False
    return True


def test_what_a_caller_makes_is_its_own(place):
    place.chmod(0o777)
    with acting_for(ALICE):
        with plainly():
            (place / "directory").mkdir()
        fd = os.open(place, os.O_RDWR | os.O_TMPFILE, 0o600)
        give_to_caller(fd)
        directory = os.open(place, os.O_RDONLY)
        os.link(f"/proc/self/fd/{fd}", "file", dst_dir_fd=directory, follow_symlinks=True)
        os.close(directory)
        os.close(fd)
        (place / "private").touch()
    for name, owner in (("file", 50_001), ("directory", 50_001), ("private", 0)):
        assert (place / name).stat().st_uid == owner
    assert (place / "file").stat().st_gid == 60_001


def test_a_caller_is_checked_plainly(place):
    secret = place / "secret"
    secret.write_bytes(b"x")
    secret.chmod(0o600)
    with acting_for(ALICE):
        assert may_read(secret)  # as the appliance
        with plainly():
            assert not may_read(secret)
            with pytest.raises(PermissionError):
                (place / "new").touch()
        assert may_read(secret)
    os.chown(secret, 50_001, 0)
    with acting_for(ALICE), plainly():
        assert may_read(secret)
    with acting_for(BOB), plainly():
        assert not may_read(secret)


@pytest.mark.parametrize(("gid", "allowed"), [(60_001, True), (60_077, True), (60_002, False)])
def test_all_groups_of_a_caller_count_and_none_of_the_appliances(place, gid, allowed):
    shared = place / "shared"
    shared.write_bytes(b"x")
    os.chown(shared, 0, gid)
    shared.chmod(0o640)
    with acting_for(ALICE), plainly():
        assert may_read(shared) == allowed
    os.chown(shared, 0, 0)  # the appliance's own group
    with acting_for(ALICE), plainly():
        assert not may_read(shared)


def test_the_kernels_acls_count(place):
    granted = place / "granted"
    granted.write_bytes(b"x")
    granted.chmod(0o600)
    # acl(5) as the kernel takes it: owner rw-, user 50001 r--, group ---, mask r--, others ---.
    entries = [(1, 6, -1), (2, 4, 50_001), (4, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(granted, "system.posix_acl_access", acl)
    with acting_for(ALICE), plainly():
        assert may_read(granted)
    with acting_for(BOB), plainly():
        assert not may_read(granted)


def test_without_a_caller_nothing_changes():
    before = rights()
    with plainly():
        assert rights() == before
    give_to_caller(-1)
    assert caller() is None


def test_an_account_with_the_uid_of_root_is_root(place):
    secret = place / "secret"
    secret.write_bytes(b"x")
    os.chown(secret, 50_001, 60_001)
    secret.chmod(0o600)
    with acting_for(ROOT), plainly():
        assert may_read(secret)


def test_quotas_hold_for_callers():
    with acting_for(ALICE):
        assert not rights().effective & 1 << 24  # CAP_SYS_RESOURCE
        with plainly():
            assert not rights().effective & 1 << 24


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_rights_come_back_after_any_error(error):
    before = rights()
    with pytest.raises(error), acting_for(ALICE), plainly():
        raise error
    assert rights() == before
    assert caller() is None


STATES = st.recursive(
    st.just([]),
    lambda inner: st.lists(
        st.tuples(st.sampled_from(["alice", "bob", "plainly", "raise"]), inner),
        max_size=3,
    ),
    max_leaves=8,
)
ENTER = {
    "alice": lambda: acting_for(ALICE),
    "bob": lambda: acting_for(BOB),
    "plainly": plainly,
}


class _PlannedError(Exception):
    pass


def walk(steps) -> None:
    for state, inner in steps:
        if state == "raise":
            raise _PlannedError
        before = rights()
        try:
            with ENTER[state]():
                walk(inner)
        except _PlannedError:
            pass
        assert rights() == before


@given(STATES)
def test_every_state_is_left_as_it_was_entered(steps):
    before = rights()
    with contextlib.suppress(_PlannedError):
        walk(steps)
    assert rights() == before


def test_threads_are_callers_each_for_itself():
    before = rights()
    together = threading.Barrier(3)

    def act(who: Caller):
        with acting_for(who), plainly():
            together.wait(30)  # all three are somebody at this moment
            seen = rights()
            together.wait(30)
        return seen, rights()

    with ThreadPoolExecutor(2) as pool:
        alice, bob = pool.submit(act, ALICE), pool.submit(act, BOB)
        together.wait(30)
        assert rights() == before  # this thread is itself
        together.wait(30)
        for future, caller in ((alice, ALICE), (bob, BOB)):
            within, after = future.result()
            assert (within.uid, within.gid, set(within.groups)) == (
                caller.uid,
                caller.gids[0],
                set(caller.gids),
            )
            assert after == before


def test_many_turns_of_a_few_threads_leave_each_as_it_was():
    before = rights()

    def act(number: int):
        who = (ALICE, BOB)[number % 2]
        assert in_name_of(who, rights_plainly).uid == who.uid
        return rights()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(act, range(600))) == {before}


async def test_functions_in_threads_run_as_the_caller_of_their_task():
    host = ActingHost(backend_config().host)
    before = rights()
    seen = {}

    async def one(name, who):
        with acting_as(who):
            seen[name] = await host.run_blocking(rights_plainly)
            with acting_as(None):
                seen[name, "appliance"] = await host.run_blocking(rights)

    async with trio.open_nursery() as nursery:
        for name, who in (("alice", ALICE), ("bob", BOB), ("nobody", None)):
            nursery.start_soon(one, name, who)
    assert {name: seen[name].uid for name in ("alice", "bob", "nobody")} == {
        "alice": 50_001,
        "bob": 50_002,
        "nobody": 0,
    }
    assert {seen[name, "appliance"] for name in ("alice", "bob", "nobody")} == {before}
    assert CALLER.get() is None


async def test_a_function_that_raises_leaves_its_thread_as_it_was():
    host = ActingHost(backend_config().host)

    def fail():
        raise OSError(5, "planned")

    with acting_as(ALICE), pytest.raises(OSError, match="planned"):
        await host.run_blocking(fail)
    threads = {await host.run_blocking(rights) for _ in range(8)}
    assert threads == {rights()}


PROGRAM = """
import sys
from appliance.model.errors import AccessDeniedError
from appliance.plugin.caller import Caller
from appliance_posix import impersonation as i
"""


def run(program: str, *wrapper: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*wrapper, sys.executable, "-c", PROGRAM + program],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_an_appliance_that_may_not_act_as_others_refuses_rather_than_act_as_itself():
    program = """
try:
    with i.acting_for(Caller(50001, (60001,))):
        print("acted")
except AccessDeniedError:
    print("refused")
"""
    done = run(program, "setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid")
    assert done.stdout == "refused\n", done.stderr
    assert "run it as root" in done.stderr


def test_a_thread_that_cannot_get_its_rights_back_ends_the_process():
    program = """
with i.acting_for(Caller(50001, (60001,))), i.plainly():
    i._SYS_SETGROUPS.clear()  # nothing works any more
print("went on")
"""
    done = run(program)
    assert (done.returncode, done.stdout) == (-signal.SIGABRT, "")
