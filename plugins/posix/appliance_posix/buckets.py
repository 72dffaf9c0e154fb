"""Buckets: sub-directories of the root."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets

from appliance.model.errors import BucketExistsError, BucketNotEmptyError, InvalidArgumentError
from appliance.model.names import check_new_bucket_name, is_bucket_name
from appliance.model.objects import BucketInfo, Versioning
from appliance_posix.beneath import DIRECTORY, Anchors, Opener, make_directories, open_beneath
from appliance_posix.bucket import VERSIONING, Bucket
from appliance_posix.impersonation import plainly
from appliance_posix.listing import START, items
from appliance_posix.metadata import write_file
from appliance_posix.permission import check_bucket_change
from appliance_posix.private import PRIVATE
from appliance_posix.snapshot import Snapshots
from appliance_posix.syscalls import rename_exclusive
from appliance_posix.version_listing import has_history
from appliance_posix.volume import Volume

_TRASH = PRIVATE + b"/trash"
_CREATED = b"created"
_NEW = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def list_all(volume: Volume) -> list[BucketInfo]:
    """Every real directory with a bucket's name, ordered."""
    # A descriptor of its own: scans share the position of the one they are given.
    fd = open_beneath(volume.opener, volume.root_fd, b"", DIRECTORY)
    try:
        with os.scandir(fd) as scan:
            names = [
                item.name
                for item in scan
                if is_bucket_name(item.name) and item.is_dir(follow_symlinks=False)
            ]
    finally:
        os.close(fd)
    return [BucketInfo(name=name, created_ns=_created_ns(volume, name)) for name in sorted(names)]


def head(volume: Volume, name: str) -> BucketInfo:
    """Raises NoSuchBucketError."""
    with Bucket(volume, name):
        return BucketInfo(name=name, created_ns=_created_ns(volume, name))


def create(volume: Volume, name: str) -> None:
    """Make the directory, durably. Raises InvalidBucketNameError, BucketExistsError."""
    check_new_bucket_name(name)
    check_bucket_change(volume, name)
    try:
        with plainly():
            os.mkdir(name.encode(), 0o777, dir_fd=volume.root_fd)
    except FileExistsError:
        raise BucketExistsError(bucket=name) from None
    os.fsync(volume.root_fd)
    with Bucket(volume, name) as bucket:
        private = bucket.make(PRIVATE)
        try:
            # Its mtime is when the bucket was made; a directory's own moves with what is in it.
            os.close(os.open(_CREATED, _NEW, 0o666, dir_fd=private))
        finally:
            os.close(private)


def delete(volume: Volume, snapshots: Snapshots, name: str) -> None:
    """Remove an empty bucket with its uploads. Raises NoSuchBucketError, BucketNotEmptyError.

    It leaves the root in one rename, under a lock that keeps the appliances' writers out; what is moved aside is then removed, and if
    somebody put a file there by hand in that moment, it is moved back.
    """
    with Bucket(volume, name) as bucket, bucket.locked_whole():
        check_bucket_change(volume, name)
        if next(items(bucket, snapshots, b"", b"", START), None) is not None or has_history(bucket):
            raise BucketNotEmptyError(bucket=name)
        trash = make_directories(volume.opener, volume.root_fd, _TRASH, private=True)
        try:
            aside = f"{name}~{secrets.token_hex(8)}".encode()
            os.rename(name.encode(), aside, src_dir_fd=volume.root_fd, dst_dir_fd=trash)
            with contextlib.suppress(FileNotFoundError):  # a reaper was quicker
                if not _remove_tree(volume, trash, aside):
                    with contextlib.suppress(FileExistsError):
                        rename_exclusive(trash, aside, volume.root_fd, name.encode())
                    raise BucketNotEmptyError(bucket=name)
            os.fsync(volume.root_fd)
        finally:
            os.close(trash)


def versioning(bucket: Bucket) -> Versioning:
    """See `Backend.get_versioning`."""
    return bucket.versioning


def put_versioning(bucket: Bucket, state: Versioning) -> None:
    """Durably. Nobody is publishing meanwhile: who began before has the old state, who comes after sees the new one."""
    if state is Versioning.OFF:
        raise InvalidArgumentError("Versioning cannot be switched off, only suspended.")
    with bucket.locked_whole():
        private = bucket.make(PRIVATE)
        try:
            write_file(private, VERSIONING, state.value.encode())
        finally:
            os.close(private)
        os.fsync(bucket.fd)


def empty_trash(volume: Volume) -> int:
    """Remove buckets whose deletion was interrupted; how many. What has files in it, put there by hand, stays."""
    try:
        trash = open_beneath(volume.opener, volume.root_fd, _TRASH, DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        with os.scandir(trash) as scan:
            names = [os.fsencode(item.name) for item in scan]
        removed = 0
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # its own deleter was quicker
                removed += _remove_tree(volume, trash, name)
        return removed
    finally:
        os.close(trash)


def _created_ns(volume: Volume, name: str) -> int:
    try:
        fd = open_beneath(volume.opener, volume.root_fd, name.encode(), DIRECTORY)
    except OSError:
        return 0
    try:
        private = open_beneath(volume.opener, fd, PRIVATE, DIRECTORY)
    except OSError:
        return os.fstat(fd).st_mtime_ns
    else:
        try:
            stat = os.stat(_CREATED, dir_fd=private, follow_symlinks=False)
            return stat.st_mtime_ns
        except OSError:
            return os.fstat(fd).st_mtime_ns
        finally:
            os.close(private)
    finally:
        os.close(fd)


def _remove_tree(volume: Volume, directory: int, name: bytes) -> bool:
    """Remove a bucket's empty directories, then its private one; False, with the private one kept, if anything else is in it."""
    fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        if not _remove_empty(volume.opener, fd):
            return False
        discard_tree(fd, PRIVATE)
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return False
        raise
    return True


def _remove_empty(opener: Opener, top: int) -> bool:
    """Remove all sub-directories but the private one; False if anything but directories is found. Trees can be deeper than the stack."""
    with contextlib.closing(Anchors(opener, top)) as anchors:
        directories = _empty_directories(anchors)
        if directories is None:
            return False
        for path in reversed(directories):
            above, _, name = path.rpartition(b"/")
            fd = anchors.open(above, DIRECTORY)
            try:
                os.rmdir(name, dir_fd=fd)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    return False
                raise
            finally:
                os.close(fd)
    return True


def _empty_directories(anchors: Anchors) -> list[bytes] | None:
    """Paths of all directories but the private one, each before those in it; None if there is anything else."""
    found: list[bytes] = [b""]
    for path in found:
        fd = anchors.open(path, DIRECTORY)
        try:
            with os.scandir(fd) as scan:
                for item in scan:
                    name = os.fsencode(item.name)
                    if not item.is_dir(follow_symlinks=False):
                        return None
                    if path or name != PRIVATE:
                        found.append(path + b"/" + name if path else name)
        finally:
            os.close(fd)
    return found[1:]


def discard_tree(directory: int, name: bytes) -> None:
    """Remove a directory of the appliance's own with all in it; not an error if it is gone."""
    try:
        fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        with os.scandir(fd) as scan:
            names = [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in scan]
        for inner, is_dir in names:
            if is_dir:
                discard_tree(fd, inner)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(inner, dir_fd=fd)
    finally:
        os.close(fd)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=directory)
