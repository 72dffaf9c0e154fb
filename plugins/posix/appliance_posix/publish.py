"""Giving a staged file its key, and taking keys away: the only code that changes the key space.

Everything here happens under the locks of the keys concerned, which other appliances on the same storage take too. Users who write by hand
take none; against them each step is a single system call that succeeds or fails whole, and a failure starts the round again.

Crash points of a put: before the link the object is the old one (or none), after it the new one, and it was already on disk, record and
all, when it was linked. An object in the way of a directory is moved to its escaped place first: until then readers see it at the plain
place, and afterwards, as they look there second, at the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as stat_module
from collections.abc import Callable, Iterator
from typing import NamedTuple

from appliance.model.errors import ConflictError
from appliance.model.objects import NO_CONDITIONS, Conditions, ObjectInfo
from appliance_posix import metadata
from appliance_posix.beneath import DIRECTORY, Anchors, make_directories, open_beneath
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import Location, Place, ancestors, locate
from appliance_posix.objects import ABSENT, Found, check_conditions, check_write, find, require
from appliance_posix.record import NO_FINGERPRINT, Fingerprint, Record, changed, info_of
from appliance_posix.staging import Staged

# Rounds before giving up against others who prune, make and remove the same directories at the same time.
_ROUNDS = 64


class _InTheWayError(Exception):
    """An object lies where a directory is needed; its lock is needed too."""


def _nothing() -> None:
    pass


class Around(NamedTuple):
    """What else belongs to a publication: further locks, a check before and a step after it under the same locks."""

    locks: tuple[str, ...] = ()
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing


AROUND_NOTHING = Around()


def publish(
    bucket: Bucket,
    key: str,
    staged: Staged,
    record: Record,
    conditions: Conditions = NO_CONDITIONS,
    *,
    around: Around = AROUND_NOTHING,
) -> ObjectInfo:
    """Make the staged bytes the object `key`, durably, if the conditions hold."""
    staged.seal(bucket, key, record)
    names = {key, *around.locks}
    try:
        for _ in range(_ROUNDS):
            with bucket.locked(names):
                try:
                    return _publish_locked(bucket, key, staged, conditions, around, names)
                except _InTheWayError:
                    names.update(ancestors(key))
                except (FileNotFoundError, FileExistsError, IsADirectoryError):
                    continue  # someone else changed the directories meanwhile
        raise _too_much_company(bucket, key)  # noqa: TRY301  # cleaned up after like any other failure
    except BaseException:
        if staged.record is not None and not staged.linked:
            metadata.forget(bucket, os.fstat(staged.fd).st_ino, staged.record)
        raise


def _too_much_company(bucket: Bucket, key: str) -> ConflictError:
    return ConflictError(
        "Others keep changing the directories that this key lies in; try again.",
        bucket=bucket.name,
        key=key,
    )


def _publish_locked(
    bucket: Bucket,
    key: str,
    staged: Staged,
    conditions: Conditions,
    around: Around,
    names: set[str],
) -> ObjectInfo:
    location = locate(key)
    around.before()
    with contextlib.ExitStack() as stack:
        current = find(bucket, key, location)
        if current is not None:
            stack.enter_context(current)
        check_write(bucket, key, conditions, current)
        if staged.record is not None and staged.is_seal_old(bucket):
            staged.seal(bucket, key, staged.record)
        _link(bucket, key, location, staged, current, names)
        around.after()
        if current is not None:
            metadata.forget(bucket, current.stat.st_ino, current.record)
        return _published(bucket, key, staged)


def _published(bucket: Bucket, key: str, staged: Staged) -> ObjectInfo:
    """What is known about the object now; sealed once more if linking it took so long that its fingerprint does not fit any more."""
    window_ns = bucket.volume.features.ctime_window_ns
    stat = os.fstat(staged.fd)
    record = staged.record
    if record is not None and not record.fingerprint.matches(stat, window_ns):
        record = staged.record = reseal(bucket, staged.fd, key, record)
        stat = os.fstat(staged.fd)
    return info_of(key, stat, record, window_ns)


def _link(
    bucket: Bucket,
    key: str,
    location: Location,
    staged: Staged,
    current: Found | None,
    names: set[str],
) -> None:
    """Link the file to where the object is, or is to be."""
    if current is not None:
        with _parent(bucket, key, current.place, names) as directory:
            staged.link_over(bucket, directory, current.place.name)
        return
    for place in location.places():
        with _parent(bucket, key, place, names) as directory:
            try:
                staged.link_new(bucket, directory, place.name)
                return
            except FileExistsError:
                if place is location.escaped or not _is_occupied(directory, place.name):
                    raise


def _is_occupied(directory: int, name: bytes) -> bool:
    """Whether something that cannot be an object has the name for good: a directory, a symlink, a device."""
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    return not stat_module.S_ISREG(mode)


@contextlib.contextmanager
def _parent(bucket: Bucket, key: str, place: Place, names: set[str]) -> Iterator[int]:
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
        return make_directories(bucket.volume.opener, bucket.fd, directory)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
    in_the_way = ancestors(key)
    if not names.issuperset(in_the_way):
        raise _InTheWayError
    moved = [_step_aside(bucket, ancestor) for ancestor in in_the_way]
    if not any(moved):
        raise ConflictError(
            "A file that is not an object (a symlink or a device) lies where a directory of this key is needed.",
            bucket=bucket.name,
            key=key,
        )
    return make_directories(bucket.volume.opener, bucket.fd, directory)


def _step_aside(bucket: Bucket, key: str) -> bool:
    """Move an object from its plain place to its escaped one; False if none was there. Its lock is held."""
    location = locate(key)
    found = find(bucket, key, location)
    if found is None:
        return False
    with found:
        if location.plain is None or found.place != location.plain:
            return False
        # The rename will touch ctime: take a new fingerprint before, so that no reader sees the ETag change.
        if found.is_true and found.record is not None:
            reseal(bucket, found.fd, key, found.record)
        source = open_beneath(bucket.volume.opener, bucket.fd, location.plain.directory, DIRECTORY)
        try:
            target = make_directories(bucket.volume.opener, bucket.fd, location.escaped.directory)
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
    return True


def reseal(bucket: Bucket, fd: int, key: str, record: Record, *, true: bool = True) -> Record:
    """Store a changed record with a file in place. One atomic step; its fingerprint says "now" as ctime, which the step itself causes
    (an xattr does; after a sidecar ctime is moved on purpose: the change must show in the version).

    A file that was changed by hand (not `true`) keeps a fingerprint that does not match, and so its synthetic ETag.
    """
    stat = os.fstat(fd)
    now = bucket.volume.clocks.now_ns()
    fingerprint = Fingerprint(
        stat.st_size, stat.st_mtime_ns, now, stat.st_ino, before_ns=stat.st_ctime_ns
    )
    changed_record = changed(record, fingerprint=fingerprint if true else NO_FINGERPRINT)
    new = metadata.save(bucket, fd, stat, changed_record, key)
    if not bucket.volume.features.xattrs:
        with contextlib.suppress(PermissionError):  # somebody else's file
            os.fchmod(fd, stat_module.S_IMODE(stat.st_mode))
    os.fsync(fd)
    if record.spilled and record.spilled != new.spilled:
        metadata.forget(bucket, stat.st_ino, record)
    return new


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


def remove(bucket: Bucket, key: str, conditions: Conditions = NO_CONDITIONS) -> bool:
    """Delete an object, durably; False if there was none. Directories that this empties go too."""
    location = locate(key)
    with bucket.locked({key}):
        current = find(bucket, key, location)
        if current is None:
            check_conditions(bucket, key, conditions, None)
            return False
        with current:
            check_conditions(bucket, key, conditions, current)
            # Escaped first: were plain removed first, a stale escaped one would come to light.
            for place in reversed(list(location.places())):
                _unlink(bucket, place)
            metadata.forget(bucket, current.stat.st_ino, current.record)
    return True


def _unlink(bucket: Bucket, place: Place) -> None:
    try:
        fd = open_beneath(bucket.volume.opener, bucket.fd, place.directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if _is_occupied(fd, place.name):
            return
        os.unlink(place.name, dir_fd=fd)
        os.fsync(fd)
    except FileNotFoundError:
        return
    finally:
        os.close(fd)
    prune(bucket, place.directory)


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


def replace_tags(bucket: Bucket, key: str, tags: dict[str, str]) -> ObjectInfo:
    """Change an object's tags in place."""
    location = locate(key)
    with bucket.locked({key}), require(bucket, key, location) as found:
        window = bucket.volume.features.ctime_window_ns
        record = found.record or Record(etag=found.info.etag, headers=found.info.headers)
        saved = reseal(bucket, found.fd, key, changed(record, tags=tags), true=found.is_true)
        return info_of(key, os.fstat(found.fd), saved, window)
