"""The appliance's own directory in a bucket, which belongs to whoever the bucket's directory belongs to, perhaps a user of the system.

Who may write to a bucket's directory can rename `.appliance` and put another in its place, with records in it that name any file. So it is
opened and looked at once by each operation that needs it, everything private is reached from that descriptor, never again by path, and one
that is not the appliance's own is refused: it has to belong to the user whom the appliance's files get (on NFS with root_squash that is not
the process's user, so a file made at start tells it), or whom its directory in the root has, and nobody else may write to it. Nor may
anybody else read it: it holds bytes of objects without the directories that keep others from them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as stat_module
from typing import NamedTuple

from appliance.model.errors import BackendError
from appliance_posix.beneath import PRIVATE_MODE, REGULAR, Opener

PRIVATE = b".appliance"
_NOT_A_DIRECTORY = {errno.ENOTDIR, errno.ELOOP}
# A symlink; a socket; a device without a driver.
_NOT_A_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV}


class Own(NamedTuple):
    """How the appliance's own directories are recognised. `modes`: the filesystem keeps permissions; else owners and modes say nothing."""

    uids: frozenset[int]
    gid: int
    modes: bool

    def accepts(self, stat: os.stat_result) -> bool:
        """Whether nobody but the appliance has had a hand in it. Its own group may write: with umask 002 earlier versions made such."""
        others = stat_module.S_IWOTH | (0 if stat.st_gid == self.gid else stat_module.S_IWGRP)
        return not self.modes or (stat.st_uid in self.uids and not stat.st_mode & others)


class NotOwnError(Exception):
    """A private directory is not the appliance's."""


def open_private(opener: Opener, bucket_fd: int, own: Own, bucket: str) -> int:
    """`.appliance` of a bucket, to reach what is in it. Raises FileNotFoundError, and BackendError for one that is not the appliance's."""
    try:
        fd = opener(bucket_fd, PRIVATE, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, 0)
    except OSError as error:
        if error.errno in _NOT_A_DIRECTORY:
            raise _not_own(bucket) from None
        raise
    try:
        tighten(fd, own)
    except NotOwnError:
        os.close(fd)
        raise _not_own(bucket) from None
    return fd


def tighten(fd: int, own: Own) -> None:
    """Let nobody else into a private directory: earlier versions made them with what the umask left. Raises NotOwnError."""
    stat = os.fstat(fd)
    if not own.accepts(stat):
        raise NotOwnError
    if own.modes and stat.st_mode & 0o077:
        # EPERM: it is of the user that the appliance ran as before. By /proc, as fchmod(2) takes no O_PATH descriptor.
        with contextlib.suppress(PermissionError):
            os.chmod(f"/proc/self/fd/{fd}", PRIVATE_MODE)


def open_file(directory_fd: int, name: bytes) -> int:
    """A private file, to be read. FileNotFoundError without one, also where something else has its name: it is not waited for a FIFO."""
    try:
        return regular(os.open(name, REGULAR, dir_fd=directory_fd))
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise _no_file() from None
        raise


def regular(fd: int) -> int:
    """`fd` if it is a regular file's; else it is closed, and FileNotFoundError raised. Open what is private with O_NONBLOCK."""
    if stat_module.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise _no_file()


def _no_file() -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _not_own(bucket: str) -> BackendError:
    return BackendError(
        "The directory .appliance of this bucket is not the appliance's own: another user owns it, or may write to it. "
        "Put the former one back, or give this one to the appliance's user with mode 0700 if all in it can be trusted.",
        bucket=bucket,
    )
