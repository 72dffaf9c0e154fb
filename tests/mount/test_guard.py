"""What is left of a mount whose process was killed: nothing, by its guard, or else by the next start. Real processes, mounts, and the
deadlock in the kernel that made the guard necessary."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from appliance.mount import guard
from appliance.mount.guarded import RECORD, end_former_mount
from appliance.mount.mountpoint import mounted_at
from tests.support.mount_process import REFUSED, MountProcess
from tests.support.mounts import (
    TIMEOUT_S,
    detach,
    force_unmount,
    guards,
    wait_for_exit,
    wait_for_state,
    wait_until_stuck,
    wait_until_unmounted,
)

pytestmark = pytest.mark.real

# What users of a mount get when its connection ends.
ENDED = {errno.ENOTCONN, errno.ECONNABORTED}
# Creates a file, and exits with the errno.
CREATE = """
import os, sys
try:
    os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
except OSError as error:
    sys.exit(error.errno)
"""


@contextlib.contextmanager
def stuck(process):
    """An application holds the lock of a directory and waits for the mount; the mount's process waits for that lock, in the kernel."""
    directory = process.path / "data/d"
    directory.mkdir()
    process.call("hold", only=["head", "list_objects"])
    application = subprocess.Popen([sys.executable, "-I", "-c", CREATE, str(directory / "new")])
    try:
        process.call("waiting")
        process.ask("put", bucket="data", key="d/other", data="", options={})
        wait_until_stuck(process.pid)
        yield application
    finally:
        application.kill()
        force_unmount(process.path)
        application.wait(TIMEOUT_S)


def test_kill_9_in_the_middle_of_an_invalidation(tmp_path):
    """Without the guard, application and process would both hang for ever."""
    with MountProcess(tmp_path) as process, stuck(process) as application:
        guardian = process.guard
        process.send_signal(signal.SIGKILL)
        assert application.wait(TIMEOUT_S) in ENDED
        process.end()
        wait_until_unmounted(process.path)
        wait_for_exit(guardian)
        assert "was unmounted, because the process that served it" in process.log.read_text()


def test_sigterm_in_the_middle_of_an_invalidation(tmp_path):
    with MountProcess(tmp_path) as process, stuck(process) as application:
        assert process.terminate() == 0
        assert application.wait(TIMEOUT_S) in {0, *ENDED}
        assert mounted_at(str(process.path)) is None
        assert "mount guard" not in process.log.read_text()


@pytest.mark.parametrize("unique", [True, False])
def test_kill_9_of_process_and_guard_in_the_middle_of_an_invalidation(tmp_path, unique):
    """The next start knows from its record that the mount was its own, and does not ask it. Linux before 6.8 has no unique ids."""
    with MountProcess(tmp_path) as process, stuck(process) as application:
        file = tmp_path / "staging" / RECORD
        identity = guard.identify_path(str(process.path), unique=unique)
        assert identity.unique is unique
        file.write_text(json.dumps(json.loads(file.read_text()) | identity._asdict()))
        former, guardian = process.pid, process.guard
        os.kill(guardian, signal.SIGKILL)
        wait_for_exit(guardian)
        process.send_signal(signal.SIGKILL)
        wait_for_state(former, "D", "Z")
        assert application.poll() is None
        second = MountProcess(tmp_path)
        with second:
            assert application.wait(TIMEOUT_S) in ENDED
            process.end()
            assert sorted(os.listdir(second.path)) == ["data", "other"]
            assert "is still mounted from a process that died" in second.log.read_text()


@pytest.fixture
def fusectl(tmp_path, monkeypatch):
    """The kernel's switches of FUSE connections, mounted for this test."""
    connections = tmp_path / "connections"
    connections.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", str(connections)], check=True)
    monkeypatch.setattr(guard, "_CONNECTIONS", str(connections))
    yield
    subprocess.run(["umount", str(connections)], check=True)


@pytest.mark.usefixtures("fusectl")
def test_without_root_what_is_stuck_is_ended_through_fusectl(tmp_path, monkeypatch):
    """Only root may umount2; whoever mounted may abort the connection and run fusermount3."""
    monkeypatch.setattr(guard, "_unmount", lambda _: False)
    with MountProcess(tmp_path) as process, stuck(process) as application:
        wanted = guard.identify_path(str(process.path))
        os.kill(process.guard, signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        wait_for_state(process.pid, "D", "Z")
        assert guard.end_mount(str(process.path), wanted)
        assert mounted_at(str(process.path)) is None
        assert application.wait(TIMEOUT_S) in ENDED
        process.end()


@pytest.mark.usefixtures("fusectl")
def test_the_next_start_ends_what_is_stuck_in_a_mount_that_was_detached(tmp_path):
    """As `umount -l` does, which is what people try first."""
    with MountProcess(tmp_path) as process, stuck(process) as application:
        os.kill(process.guard, signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        wait_for_state(process.pid, "D", "Z")
        detach(process.path)
        assert application.poll() is None
        end_former_mount(str(tmp_path / "staging"))
        assert application.wait(TIMEOUT_S) in ENDED
        process.end()
        assert not (tmp_path / "staging" / RECORD).exists()


def test_kill_9_of_process_and_guard_without_a_record(tmp_path):
    """Then the mount is asked."""
    with MountProcess(tmp_path) as process:
        os.kill(process.guard, signal.SIGKILL)
        process.kill()
        with pytest.raises(OSError) as caught:
            os.listdir(process.path)
        assert caught.value.errno == errno.ENOTCONN
        (tmp_path / "staging" / RECORD).unlink()
        process.start()
        assert sorted(os.listdir(process.path)) == ["data", "other"]
        assert "is still mounted from a process that died" in process.log.read_text()


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"path": 1}', b"\xff" * 100])
def test_a_damaged_record_is_no_hindrance(tmp_path, record):
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / RECORD).write_bytes(record)
    with MountProcess(tmp_path) as process:
        assert sorted(os.listdir(process.path)) == ["data", "other"]
        assert process.terminate() == 0
    assert not (tmp_path / "staging" / RECORD).exists()


def test_kill_9_unmounts_without_a_new_start(tmp_path):
    with MountProcess(tmp_path) as process:
        process.put("a", b"x" * 100_000)
        file = os.open(process.path / "data/a", os.O_RDONLY)
        guardian = process.guard
        process.kill()
        wait_until_unmounted(process.path)
        wait_for_exit(guardian)
        with pytest.raises(OSError) as caught:
            os.pread(file, 10, 90_000)
        assert caught.value.errno in ENDED
        with contextlib.suppress(OSError):
            os.close(file)
        assert os.listdir(process.path) == []


def test_sigterm_ends_the_guard(tmp_path):
    with MountProcess(tmp_path) as process:
        guardian = process.guard
        assert process.terminate() == 0
        assert guardian not in guards()
        assert not (tmp_path / "staging" / RECORD).exists()


def test_the_guard_heeds_no_signal_meant_for_the_service(tmp_path):
    with MountProcess(tmp_path) as process:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.guard, number)
        (process.path / "data/a").write_bytes(b"1")
        process.kill()
        wait_until_unmounted(process.path)
        assert not guards().keys() & {process.pid}


def test_the_guard_inherits_nothing(tmp_path):
    """Not /dev/fuse: it would keep the connection alive. Not the environment: secrets are in there."""
    with MountProcess(tmp_path) as process:
        guardian = process.guard
        targets = [os.readlink(entry) for entry in os.scandir(f"/proc/{guardian}/fd")]
        with open(f"/proc/{guardian}/environ", "rb") as file:
            environment = file.read()
        assert len(targets) == 5
        assert all(
            target.startswith("pipe:") or target == str(process.log) for target in targets
        ), targets
        assert environment.startswith(b"PATH=")
        assert environment.count(b"\0") == 1


def test_the_next_start_leaves_a_later_mount_alone(tmp_path):
    """Process and guard were killed, the mount was taken away, and somebody mounted there: refused, as any directory in use."""
    with MountProcess(tmp_path) as process:
        os.kill(process.guard, signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        process.wait()
        force_unmount(process.path)
        others = {"data": str(tmp_path / "others"), "mount": {"staging": str(tmp_path / "their")}}
        with MountProcess(tmp_path, **others) as later:
            (later.path / "data/theirs").touch()
            process.end()
            process.launch()
            assert process.wait() == REFUSED
            assert os.listdir(later.path / "data") == ["theirs"]


def test_the_guard_leaves_a_later_mount_alone(tmp_path):
    """It knows its mount by an id that is never used again, though path and device number are."""
    with MountProcess(tmp_path) as process:
        guardian = process.guard
        device = mounted_at(str(process.path)).device
        process.send_signal(signal.SIGSTOP)
        subprocess.run(["umount", "-l", str(process.path)], check=True)
        try:
            subprocess.run(["mount", "-t", "tmpfs", "none", str(process.path)], check=True)
            later = mounted_at(str(process.path))
            process.kill()
            wait_for_exit(guardian)
            assert mounted_at(str(process.path)) == later
            assert later.device == device
        finally:
            force_unmount(process.path)
