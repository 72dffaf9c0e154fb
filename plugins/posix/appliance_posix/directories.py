"""Directories of the key space: made where a key needs them, durable when it is there, removed when the last key has left.

An object in the way of a directory is moved to its escaped place first: until then readers see it at the plain place, and afterwards, as
they look there second, at the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as stat_module
from collections.abc import Iterator

from appliance.model.errors import ConflictError
from appliance_posix.beneath import DIRECTORY, Anchors, open_beneath, whose_tree
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import Place, ancestors, locate
from appliance_posix.objects import ABSENT, find
from appliance_posix.sealing import reseal


class InTheWayError(Exception):
    """An object lies where a directory is needed; its lock is needed too."""


@contextlib.contextmanager
def parent(bucket: Bucket, key: str, place: Place, names: set[str]) -> Iterator[int]:
    """The directory of a place, made where missing; durable, with all its ancestors and what was linked in it, at the end."""
    if not place.directory:
        yield bucket.fd
        os.fsync(bucket.fd)
        return
    fd = _make_parent(bucket, key, place.directory, names)
    try:
        yield fd
        os.fsync(fd)
        _make_durable(bucket, place.directory, fd)
    finally:
        os.close(fd)


def _make_parent(bucket: Bucket, key: str, directory: bytes, names: set[str]) -> int:
    try:
        return bucket.make(directory)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
    in_the_way = ancestors(key)
    if not names.issuperset(in_the_way):
        raise InTheWayError
    moved = [_step_aside(bucket, ancestor) for ancestor in in_the_way]
    if not any(moved):
        raise ConflictError(
            "A file that is not an object (a symlink or a device) lies where a directory of this key is needed.",
            bucket=bucket.name,
            key=key,
        )
    return bucket.make(directory)


def _step_aside(bucket: Bucket, key: str) -> bool:
    """Move an object from its plain place to its escaped one; False if none was there. Its lock is held."""
    location = locate(key)
    found = find(bucket, key, location, partly=True)
    if found is None:
        return False
    with found:
        if location.plain is None or found.place != location.plain:
            return False
        # The rename will touch ctime: seal it without before, so that no reader sees the ETag change.
        sealed = None
        if found.is_true and found.record is not None:
            sealed = reseal(bucket, found.fd, key, found.record, moving=True)
        source = open_beneath(bucket.volume.opener, bucket.fd, location.plain.directory, DIRECTORY)
        try:
            target = bucket.make(location.escaped.directory)
            try:
                os.rename(
                    location.plain.name,
                    location.escaped.name,
                    src_dir_fd=source,
                    dst_dir_fd=target,
                )
                os.fsync(target)
                _make_durable(bucket, location.escaped.directory, target)
            finally:
                os.close(target)
            os.fsync(source)
        finally:
            os.close(source)
        if sealed is not None:
            reseal(bucket, found.fd, key, sealed)
    return True


def _make_durable(bucket: Bucket, directory: bytes, fd: int) -> None:
    """fsync the directories above `directory`, once in the life of this process: others may have made them and not yet come to it."""
    top = os.fstat(bucket.fd).st_ino
    durable = bucket.volume.durable
    inode = os.fstat(fd).st_ino
    made: list[tuple[bytes, int]] = []
    path = directory
    with contextlib.closing(Anchors(bucket.volume.opener, bucket.fd)) as anchors:
        while path and (top, path, inode) not in durable:
            made.append((path, inode))
            path = path.rpartition(b"/")[0]
            try:
                above = anchors.open(path, DIRECTORY)
            except OSError as error:
                if error.errno in ABSENT:
                    return  # moved away by hand, with what was just put in it
                raise
            try:
                os.fsync(above)
                inode = os.fstat(above).st_ino
            finally:
                os.close(above)
    for path, inode in made:
        durable.add(top, path, inode)


def unlink(bucket: Bucket, place: Place, later: set[bytes] | None = None) -> None:
    """Durable on return; with `later` only when `settle` has been given what this adds to it."""
    try:
        fd = open_beneath(bucket.volume.opener, bucket.fd, place.directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if is_occupied(fd, place.name):
            return
        os.unlink(place.name, dir_fd=fd)
        if later is None:
            os.fsync(fd)
    except FileNotFoundError:
        return
    finally:
        os.close(fd)
    if later is None:
        prune(bucket, place.directory)
    else:
        later.add(place.directory)


def settle(bucket: Bucket, later: set[bytes]) -> None:
    """Make what was unlinked in these directories durable, and remove those that are empty."""
    for directory in sorted(later, reverse=True):
        _sync_nearest(bucket, directory)
        prune(bucket, directory)


def _sync_nearest(bucket: Bucket, directory: bytes) -> None:
    """fsync `directory`; where others have removed it meanwhile the one above, as it holds that the directory is gone."""
    with contextlib.closing(Anchors(bucket.volume.opener, bucket.fd)) as anchors:
        while True:
            try:
                fd = anchors.open(directory, DIRECTORY)
            except OSError as error:
                if error.errno not in ABSENT or not directory:
                    raise
                directory = directory.rpartition(b"/")[0]
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            return


def prune(bucket: Bucket, directory: bytes) -> None:
    """Remove `directory` and those above it while they are empty. Not made durable: an empty directory is no key."""
    top = os.fstat(bucket.fd).st_ino
    with contextlib.closing(Anchors(bucket.volume.opener, bucket.fd)) as anchors:
        while directory:
            above, _, name = directory.rpartition(b"/")
            try:
                fd = anchors.open(above, DIRECTORY)
            except OSError:
                return
            try:
                with whose_tree(directory)():
                    os.rmdir(name, dir_fd=fd)
                if not bucket.volume.features.local:
                    # A CephFS server makes others who use this directory wait, up to 5 s, until somebody wants this on disk.
                    os.fsync(fd)
            except OSError:
                return
            finally:
                os.close(fd)
            bucket.volume.durable.forget(top, directory)
            directory = above


def is_occupied(directory: int, name: bytes) -> bool:
    """Whether something that cannot be an object has the name for good: a directory, a symlink, a device."""
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    return not stat_module.S_ISREG(mode)
