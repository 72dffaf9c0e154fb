"""The guard: a small process beside the one that serves a mount, which ends the mount when that process is killed.

Why it takes another process: while the kernel is told to forget a name (`invalidate_entry`), it waits in the calling thread for the lock of
the directory, which an application may hold that waits for our answer. After SIGKILL nobody answers, that thread cannot die before the
application lets go, and as long as it lives /dev/fuse stays open, so that the kernel never learns that nobody answers: both hang for ever.

Three things may wake the guard: the signal that the kernel sends when the parent's main thread has gone (PR_SET_PDEATHSIG; it comes also
while another thread of the parent is stuck), the end of the pipe on its standard input, and a byte in that pipe, by which the parent asks
for the orderly end. Whatever it was, it ends the mount: applications get ENOTCONN or ECONNABORTED, and nothing is mounted any more.

Which mount that is, it asks the kernel right after mounting (statx(2), STATX_MNT_ID_UNIQUE): another that is found on the path later is not
touched. Nothing here waits for whoever serves the mount: O_PATH opens, AT_STATX_DONT_SYNC and umount2 ask it nothing.

Run as a script, by path, this imports the standard library only: it shall be light.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import sys
from typing import NamedTuple

# prctl(2), umount(2), statx(2); linux/prctl.h, linux/mount.h, linux/stat.h.
_PR_SET_NAME = 15
_PR_SET_PDEATHSIG = 1
_MNT_FORCE = 1
_MNT_DETACH = 2
_AT_EMPTY_PATH = 0x1000
_AT_STATX_DONT_SYNC = 0x4000
_STATX_MNT_ID = 0x1000
_STATX_MNT_ID_UNIQUE = 0x4000
_STATX_BYTES = 256
_STATX_MASK_AT = 0
_STATX_DEVICE_AT = 0x88

# Real-time: nobody sends it by accident.
DEATH_SIGNAL = signal.SIGRTMIN
# What is sent to a whole terminal or service; the parent decides when it is over.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
_CONNECTIONS = "/sys/fs/fuse/connections"

_libc = ctypes.CDLL(None, use_errno=True)


class Identity(NamedTuple):
    """Which mount: its id, which no other mount gets before the next boot if `unique` (Linux 6.8), and its device's minor number."""

    mount_id: int
    unique: bool
    minor: int


def identify(fd: int, *, unique: bool = True) -> Identity:
    """Which mount the descriptor is on, by the unique id if there is one and it is wanted. Raises OSError; needs Linux 5.8."""
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    wanted = _STATX_MNT_ID | (_STATX_MNT_ID_UNIQUE if unique else 0)
    if _libc.statx(fd, b"", flags, wanted, buffer) != 0:
        raise _os_error("statx")
    (mask,) = struct.unpack_from("=I", buffer, _STATX_MASK_AT)
    if not mask & wanted:
        raise OSError(0, "this kernel does not tell mount ids")
    _, minor, mount_id = struct.unpack_from("=IIQ", buffer, _STATX_DEVICE_AT)
    return Identity(mount_id, bool(mask & _STATX_MNT_ID_UNIQUE), minor)


def identify_path(path: str, *, unique: bool = True) -> Identity:
    """As `identify`, of what is found at `path`."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return identify(fd, unique=unique)
    finally:
        os.close(fd)


def end_mount(path: str, wanted: Identity) -> bool:
    """End the FUSE connection of the mount `wanted` and detach it from `path`; False, and nothing done, if that is not what is there.

    Users of the mount get errors at once, also those that wait in it now. Raises OSError.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        if identify(fd, unique=wanted.unique) != wanted:
            return False
        # By descriptor, so that it is this mount whatever happens to the path.
        if not _unmount(f"/proc/self/fd/{fd}"):
            abort(wanted.minor)
            _unmount_as_user(path)
    finally:
        os.close(fd)
    return True


def _unmount(path: str) -> bool:
    """Abort and detach; False if only root may."""
    if _libc.umount2(os.fsencode(path), _MNT_FORCE | _MNT_DETACH) == 0:
        return True
    if ctypes.get_errno() == 1:  # EPERM
        return False
    raise _os_error("umount2")


def abort(minor: int) -> None:
    """Abort the connection of the mount with this device, also if it is detached; permitted to root and whoever mounted.

    Does nothing where fusectl is not mounted; systemd does that.
    """
    try:
        with open(f"{_CONNECTIONS}/{minor}/abort", "w", encoding="ascii") as file:
            file.write("1\n")
    except OSError:
        return  # unmounting is left to try


def _unmount_as_user(path: str) -> None:
    argv = ["fusermount3", "-u", "-z", "--", path]
    pid = os.posix_spawnp(argv[0], argv, {"PATH": os.environ.get("PATH", os.defpath)})
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise OSError(0, f"fusermount3 -u -z failed (status {os.waitstatus_to_exitcode(status)})")


def _os_error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


# --- the process ----------------------------------------------------------------------


def main(path: str, parent: int) -> None:
    """Say on standard output which mount is guarded, wait, end it. What went wrong is said on standard error."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    death = _death_of_parent()
    identity = identify_path(path)
    os.write(1, f"{identity.mount_id} {int(identity.unique)} {identity.minor}\n".encode())
    orderly = os.getppid() == parent and _wait(death)
    try:
        ended = end_mount(path, identity)
    except OSError as error:
        _say(f"{path} could not be unmounted: {error.strerror}.")
        return
    if ended and not orderly:
        _say(f"{path} was unmounted, because the process that served it, {parent}, was killed.")


def _death_of_parent() -> int:
    """A descriptor that becomes readable when the parent's main thread ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(DEATH_SIGNAL, lambda *_: None)
    _libc.prctl(_PR_SET_PDEATHSIG, int(DEATH_SIGNAL), 0, 0, 0)
    _libc.prctl(_PR_SET_NAME, b"mount-guard", 0, 0, 0)
    return reader


def _wait(death: int) -> bool:
    """Wait for one of the three; True if it was the parent's word."""
    ready, _, _ = select.select([0, death], [], [])
    return 0 in ready and os.read(0, 1) != b""


def _say(sentence: str) -> None:
    os.write(2, f"mount guard: {sentence}\n".encode(errors="replace"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
