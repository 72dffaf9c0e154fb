"""Mounts and their guards as the kernel shows them; nothing here waits for whoever serves a mount."""

from __future__ import annotations

import ctypes
import os
import select
import time
from pathlib import Path

from appliance.mount.guard import end_mount, identify_path
from appliance.mount.mountpoint import mounted_at, parse_mountinfo

TIMEOUT_S = 20.0
GUARD_NAME = "mount-guard"
# From umount(2).
MNT_DETACH = 2


def wait_until_unmounted(path: Path) -> None:
    """Return once nothing is mounted on `path`; the kernel tells of changes by POLLPRI (proc(5), /proc/PID/mounts)."""
    deadline = time.monotonic() + TIMEOUT_S
    with open("/proc/self/mountinfo", "rb") as file:
        changes = select.poll()
        changes.register(file, select.POLLPRI)
        while any(info.path == str(path) for info in parse_mountinfo(file.read())):
            if not changes.poll(max(0, int(1000 * (deadline - time.monotonic())))):
                raise AssertionError(f"{path} is still mounted")
            file.seek(0)


def wait_for_exit(pid: int) -> None:
    """Return once the process has ended, whoever its parent is."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([fd], [], [], TIMEOUT_S)
    finally:
        os.close(fd)
    assert ready, f"process {pid} has not ended"


def force_unmount(path: Path) -> None:
    """End all that is mounted on `path`."""
    while mounted_at(str(path)) is not None:
        try:
            end_mount(str(path), identify_path(str(path)))
        except OSError:
            # The guard may have been faster.
            if mounted_at(str(path)) is not None:
                raise


def detach(path: Path) -> None:
    """As `umount -l`, without a look at the mount, which could hang."""
    assert ctypes.CDLL(None).umount2(os.fsencode(path), MNT_DETACH) == 0


def guards_of(pid: int) -> list[int]:
    """Guards that are children of `pid`."""
    return [child for child, parent in guards().items() if parent == pid]


def guards() -> dict[int, int]:
    """All guards that run: the parent of each."""
    found = {}
    for entry in Path("/proc").iterdir():
        stat = _stat(entry) if entry.name.isdigit() else None
        if stat is not None and stat[0] == GUARD_NAME and stat[1] != "Z":
            found[int(entry.name)] = int(stat[2])
    return found


def wait_until_stuck(pid: int) -> None:
    """Return once a thread of the process that serves a mount waits in the kernel, unkillably, in a call on /dev/fuse."""
    deadline = time.monotonic() + TIMEOUT_S
    while not any(_calls(pid, thread) == "/dev/fuse" for thread in _threads(pid, "D")):
        assert time.monotonic() < deadline, f"no thread of {pid} is stuck: {states(pid)}"
        os.sched_yield()  # nothing tells when a thread changes its state


def _threads(pid: int, state: str) -> list[int]:
    return [thread for thread, found in states(pid).items() if found == state]


def _calls(pid: int, thread: int) -> str:
    """The file that is the first argument of the system call that `thread` is in (proc(5), /proc/PID/syscall)."""
    try:
        fields = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()
        return os.readlink(f"/proc/{pid}/task/{thread}/fd/{int(fields[1], 16)}")
    except (OSError, IndexError):
        return ""


def states(pid: int) -> dict[int, str]:
    """The state of each thread (proc(5): "D" cannot be killed, "Z" has ended)."""
    tasks = Path(f"/proc/{pid}/task")
    found = {int(task.name): _stat(task) for task in tasks.iterdir()}
    return {thread: stat[1] for thread, stat in found.items() if stat is not None}


def wait_for_state(pid: int, *wanted: str) -> None:
    """Return once the process has threads in all these states."""
    deadline = time.monotonic() + TIMEOUT_S
    while not set(wanted) <= set(states(pid).values()):
        assert time.monotonic() < deadline, f"threads of {pid}: {states(pid)}, not {wanted}"
        os.sched_yield()  # nothing tells when a thread changes its state


def _stat(directory: Path) -> tuple[str, str, str] | None:
    """Name, state, and parent."""
    try:
        text = (directory / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = text.rpartition(")")
    state, parent = tail.split()[:2]
    return head.partition("(")[2], state, parent
