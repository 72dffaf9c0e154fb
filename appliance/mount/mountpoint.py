"""The place to mount on: is it fit, is it still mounted from a process that died, and what device did the mount become.

/proc/self/mountinfo (proc(5)) answers without touching the mount: `stat` on a mount whose process hangs would hang too, and on our own
would be a deadlock.

A mount that is found on the path is ended if its process has died. How that is known: by the record of a former process of ours (see
`guarded`), without asking the mount; else a child process asks it, for a bounded time, as asking may hang in the kernel so that not even
SIGKILL ends it. Only what says ENOTCONN is dead; what says nothing is somebody's process that hangs, or was killed while stuck, and left
to the operator.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import subprocess
import sys

import msgspec

from appliance.model.errors import MountError
from appliance.mount import guard, guarded

log = logging.getLogger(__name__)

# How long a mount may take to say that it is alive.
PROBE_TIMEOUT_S = 10.0
_PROBE = """
import os, sys
try:
    os.statvfs(sys.argv[1])
except OSError as error:
    sys.exit(error.errno)
"""

_OCTAL = re.compile(rb"\\([0-7]{3})")


class MountInfo(msgspec.Struct, frozen=True):
    """A line of mountinfo: device as "major:minor", mount point, filesystem type."""

    device: str
    path: str
    kind: str


def parse_mountinfo(raw: bytes) -> list[MountInfo]:
    """All mounts, in order: the last one on a path is on top."""
    mounts = []
    for line in raw.splitlines():
        fields = line.split(b" ")
        if len(fields) < 10 or b"-" not in fields[6:]:
            continue
        kind = fields[fields.index(b"-", 6) + 1]
        path = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        mounts.append(MountInfo(fields[2].decode(), os.fsdecode(path), kind.decode()))
    return mounts


def mounted_at(path: str) -> MountInfo | None:
    """What is mounted on `path` (absolute, without symlinks)."""
    with open("/proc/self/mountinfo", "rb") as file:
        found = [info for info in parse_mountinfo(file.read()) if info.path == path]
    return found[-1] if found else None


def resolve(path: str) -> str:
    """`path` without symlinks in its parents; the last component is not touched, as it may be a dead mount."""
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(parent), name) if name else parent


def prepare(path: str, staging: str) -> str:
    """Check that `path` can be mounted on, after cleaning up what a dead process left there. Returns the resolved path.

    Blocks. Raises MountError: each sentence says what to do.
    """
    path = resolve(path)
    if is_inside(staging, path):
        raise MountError(
            f"The staging directory {staging} is inside the mount point {path}: put the data directory elsewhere."
        )
    guarded.end_former_mount(staging)
    for _ in range(10):
        if not _is_dead(path):
            break
        log.warning("%s is still mounted from a process that died: unmounting it.", path)
        _unmount(path)
    else:
        raise MountError(
            f"{path} is still mounted from a process that died and cannot be unmounted: run `umount -f -l {path}` as root."
        )
    _check_free(path)
    return path


def is_inside(path: str, directory: str) -> bool:
    path = resolve(path)
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _is_dead(path: str) -> bool:
    """True if `path` is a FUSE mount that nobody serves. Raises MountError if it does not answer.

    Not by `stat`, which the kernel may answer from its cache for a dead process.
    """
    mounted = mounted_at(path)
    if mounted is None or not mounted.kind.startswith("fuse"):
        return False
    probe = subprocess.Popen(
        [sys.executable, "-I", "-S", "-E", "-c", _PROBE, path],
        stdin=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        return probe.wait(PROBE_TIMEOUT_S) == errno.ENOTCONN
    except subprocess.TimeoutExpired:
        probe.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be stuck, too
            probe.wait(1)
    raise MountError(
        f"{path} is a mount point already ({mounted.kind}), and does not answer: its process hangs, or was killed while it did. "
        f"End it, or run `umount -f -l {path}` as root, or mount elsewhere."
    )


def _check_free(path: str) -> None:
    mounted = mounted_at(path)
    if mounted is not None and mounted.kind.startswith("fuse"):
        raise MountError(
            f"{path} is a mount point already ({mounted.kind}), and its process is alive: stop that, or mount elsewhere."
        )
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        raise MountError(f"The mount point {path} does not exist: run `mkdir -p {path}`.") from None
    except NotADirectoryError:
        raise MountError(f"The mount point {path} is not a directory: name an empty one.") from None
    except OSError as error:
        raise MountError(f"The mount point {path} cannot be used: {error.strerror}.") from None
    if names:
        raise MountError(
            f"The mount point {path} is not empty ({names[0]!r} is in it): mounting would hide that. Name an empty directory."
        )


def _unmount(path: str) -> None:
    """Detach a dead mount, whoever may still use it. Blocks, but never on the mount itself. Failure shows at the next look."""
    try:
        guard.end_mount(path, guard.identify_path(path))
    except OSError as error:
        log.warning("%s: %s", path, error)


def set_read_ahead(path: str, read_ahead_kb: int) -> bool:
    """Set the read-ahead of the mount at `path`. The kernel's default of 128 KiB bounds a sequential reader to requests of that size.

    False where that is not permitted: only root may.
    """
    mounted = mounted_at(path)
    if mounted is None or read_ahead_kb <= 0:
        return False
    try:
        with open(f"/sys/class/bdi/{mounted.device}/read_ahead_kb", "w", encoding="ascii") as file:
            file.write(f"{read_ahead_kb}\n")
    except OSError as error:
        log.info("Read-ahead of %s stays at the kernel's default: %s", path, error)
        return False
    return True
