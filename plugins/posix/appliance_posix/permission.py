"""What the caller of this thread may do with a bucket's files, asked of the kernel before it is done.

A thread that works for a caller (`impersonation`) is as the appliance, because the appliance's own directories are in the way of
everything; so here the kernel is asked as the caller: by walking to the place as the caller would, and by faccessat2(2), which counts
groups, ACLs and what a file server thinks. From the bucket's directory down; what lies above is the appliance's affair. Without a caller
all is permitted.

    reading an object       search on the way, read on its file
    putting and deleting    search on the way, write and search on the directory that holds its name (where that does not exist yet, on the
                            last one that does), and in a sticky directory to own the file or the directory
    tags, ACL               write on the file
    listing                 search on the way, read and search on each directory whose names are told
    uploads                 as putting the key; listing them, as if the objects were there already
    buckets                 as putting and deleting, in the root

Raises AccessDeniedError. Between a check and the act the permission may change: that is as if the act had come a moment earlier.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat as stat_module

from appliance.model.errors import (
    AccessDeniedError,
    DeleteMarkerError,
    NoSuchKeyError,
    NoSuchVersionError,
)
from appliance_posix.beneath import REGULAR
from appliance_posix.bucket import Bucket
from appliance_posix.finding import require
from appliance_posix.impersonation import caller, plainly
from appliance_posix.keypath import Place, locate
from appliance_posix.objects import ABSENT
from appliance_posix.volume import Volume

_SYS_FACCESSAT2 = 439  # since Linux 5.8, the same on every architecture
_AT_EACCESS, _AT_EMPTY_PATH = 0x200, 0x1000
_PATH_ONLY = os.O_PATH | os.O_DIRECTORY
_DENIED = {errno.EACCES, errno.EPERM}
_libc = ctypes.CDLL(None, use_errno=True)


def check_read(bucket: Bucket, key: str, version_id: str = "") -> None:
    """What is not there is not judged, unless the way there is closed."""
    if caller() is None:
        return
    if version_id:
        _check_read_version(bucket, key, version_id)
        return
    for place in locate(key).places():
        try:
            with plainly():
                fd = bucket.open(place.path, REGULAR)
        except OSError as error:
            if error.errno in _DENIED:
                raise AccessDeniedError(bucket=bucket.name, key=key) from None
            if error.errno in ABSENT:
                continue
            raise
        try:
            if stat_module.S_ISREG(os.fstat(fd).st_mode):
                return
        finally:
            os.close(fd)


def _check_read_version(bucket: Bucket, key: str, version_id: str) -> None:
    try:
        found = require(bucket, key, version_id=version_id)
    except (NoSuchKeyError, NoSuchVersionError, DeleteMarkerError):
        return
    with found:
        os.close(_directory(bucket, key, next(locate(key).places()).directory))
        _want(bucket, key, found.fd, os.R_OK)


def check_change(bucket: Bucket, key: str) -> None:
    """Putting the key, over what is there or not, or deleting it."""
    if caller() is None:
        return
    place, stat = _current(bucket, key)
    fd = _directory(bucket, key, place.directory)
    try:
        _want(bucket, key, fd, os.W_OK | os.X_OK)
        if stat is not None and not _may_take_name(os.fstat(fd), stat):
            raise AccessDeniedError(bucket=bucket.name, key=key)
    finally:
        os.close(fd)


def check_update(bucket: Bucket, key: str, fd: int) -> None:
    """Changing what is said about an object."""
    if caller() is not None:
        _want(bucket, key, fd, os.W_OK)


def check_list(bucket: Bucket, path: bytes) -> None:
    """Telling the names in the directory at `path`; of one that is gone there is nothing to tell."""
    if caller() is None:
        return
    try:
        with plainly():
            fd = bucket.open(path, _PATH_ONLY)
    except OSError as error:
        if error.errno in _DENIED:
            raise AccessDeniedError(bucket=bucket.name) from None
        if error.errno in ABSENT:
            return
        raise
    try:
        _want(bucket, "", fd, os.R_OK | os.X_OK)
    finally:
        os.close(fd)


def check_tell(bucket: Bucket, path: bytes) -> None:
    """Telling what is to be in the directory at `path`; where it does not exist yet, in the last one on the way that does."""
    if caller() is None:
        return
    fd = _directory(bucket, "", path)
    try:
        _want(bucket, "", fd, os.R_OK | os.X_OK)
    finally:
        os.close(fd)


def check_bucket_change(volume: Volume, name: str) -> None:
    """Making or deleting a bucket."""
    if caller() is None:
        return
    if not _may(volume.root_fd, os.W_OK | os.X_OK):
        raise AccessDeniedError(bucket=name)
    try:
        stat = os.stat(name.encode(), dir_fd=volume.root_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not _may_take_name(os.fstat(volume.root_fd), stat):
        raise AccessDeniedError(bucket=name)


def inherit_group(fd: int, directory_fd: int) -> None:
    """What a caller puts into a directory with the set-group-ID bit is of the directory's group (inode(7)), wherever it was written."""
    if caller() is not None:
        directory = os.fstat(directory_fd)
        if directory.st_mode & stat_module.S_ISGID and os.fstat(fd).st_gid != directory.st_gid:
            os.fchown(fd, -1, directory.st_gid)


def _current(bucket: Bucket, key: str) -> tuple[Place, os.stat_result | None]:
    """Where the object is, with its file's facts; or where it would be."""
    places = list(locate(key).places())
    for place in places:
        try:
            fd = bucket.open(place.path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in ABSENT or error.errno == errno.ENAMETOOLONG:
                continue
            raise
        try:
            stat = os.fstat(fd)
        finally:
            os.close(fd)
        if stat_module.S_ISREG(stat.st_mode):
            return place, stat
    return places[0], None


def _directory(bucket: Bucket, key: str, path: bytes) -> int:
    """The directory at `path`, or the last one on the way that exists, reached as the caller."""
    while True:
        try:
            with plainly():
                return bucket.open(path, _PATH_ONLY)
        except OSError as error:
            if error.errno in _DENIED:
                raise AccessDeniedError(bucket=bucket.name, key=key) from None
            if error.errno not in ABSENT or not path:
                raise
        path = path.rpartition(b"/")[0]


def _may_take_name(directory: os.stat_result, file: os.stat_result) -> bool:
    """The rule of sticky directories: unlink(2), rename(2)."""
    who = caller()
    return (
        who is None
        or not directory.st_mode & stat_module.S_ISVTX
        or who.uid in {0, file.st_uid, directory.st_uid}
    )


def _want(bucket: Bucket, key: str, fd: int, mode: int) -> None:
    if not _may(fd, mode):
        raise AccessDeniedError(bucket=bucket.name, key=key)


def _may(fd: int, mode: int) -> bool:
    """Whether the caller has these rights on an open file. Whatever the kernel objects to is a no."""
    with plainly():
        result = _libc.syscall(
            ctypes.c_long(_SYS_FACCESSAT2),
            ctypes.c_int(fd),
            ctypes.c_char_p(b""),
            ctypes.c_int(mode),
            ctypes.c_int(_AT_EACCESS | _AT_EMPTY_PATH),
        )
    return bool(result == 0)
