"""The place to mount on: is it fit, is it still mounted from a process that died, and what device did the mount become.

/proc/self/mountinfo (proc(5)) answers without touching the mount: `stat` on a mount whose process hangs would hang too, and on our own
would be a deadlock.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import subprocess

import msgspec

from appliance.model.errors import MountError

log = logging.getLogger(__name__)

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
    for _ in range(10):
        if not _is_dead(path):
            break
        log.warning("%s is still mounted from a process that died: unmounting it.", path)
        unmount_lazily(path)
    else:
        raise MountError(
            f"{path} is still mounted from a process that died and cannot be unmounted: run `umount -l {path}` as root."
        )
    _check_free(path)
    return path


def is_inside(path: str, directory: str) -> bool:
    path = resolve(path)
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _is_dead(path: str) -> bool:
    """True if `path` is a FUSE mount that nobody serves. May wait as long as a process that hangs does not answer.

    Not by `stat`, which the kernel may answer from its cache for a dead process.
    """
    mounted = mounted_at(path)
    if mounted is None or not mounted.kind.startswith("fuse"):
        return False
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


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


def unmount_lazily(path: str) -> None:
    """Detach a mount, whoever may still use it. Blocks, but never on the mount itself. Failure shows at the next look."""
    by_root = ["umount", "-l", path]
    by_user = ["fusermount3", "-u", "-z", path]
    for command in (by_root, by_user) if os.geteuid() == 0 else (by_user,):
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=20, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("%s failed: %s", command[0], error)
            continue
        if done.returncode == 0:
            return
        log.warning("%s: %s", command[0], done.stderr.decode(errors="replace").strip())


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
