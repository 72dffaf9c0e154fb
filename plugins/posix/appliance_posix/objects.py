"""Finding an object: open its file, wherever it lies, and read its record."""

from __future__ import annotations

import errno
import os
import stat as stat_module
from types import TracebackType

from appliance.model.errors import (
    ConflictError,
    NoSuchKeyError,
    PreconditionFailedError,
)
from appliance.model.objects import Conditions, ObjectInfo
from appliance_posix import metadata
from appliance_posix.beneath import REGULAR
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import Location, Place
from appliance_posix.record import Record, info_of

# A path that ends at one of these holds no object: nothing there, a file or symlink on the way, a symlink or socket at its end.
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EXDEV, errno.ENODEV}
# A name that the filesystem cannot hold is not there either.
_ABSENT_NAMES = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
_LOOKS = 16


class Found:
    """An object's file, open. Close it, or take `fd` out with `detach`."""

    __slots__ = ("fd", "info", "key", "place", "record", "stat")

    def __init__(
        self,
        key: str,
        place: Place,
        fd: int,
        stat: os.stat_result,
        record: Record | None,
        window_ns: int,
        *,
        version_id: str = "",
        archived: bool = False,
    ) -> None:
        self.key = key
        self.place = place
        self.fd = fd
        self.stat = stat
        self.record = record
        self.info: ObjectInfo = info_of(
            key, stat, record, window_ns, version_id=version_id, archived=archived
        )

    def __enter__(self) -> Found:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def detach(self) -> int:
        fd, self.fd = self.fd, -1
        return fd

    @property
    def is_true(self) -> bool:
        """Whether the record is about these bytes."""
        return self.record is not None and self.info.etag == self.record.etag


def find(bucket: Bucket, key: str, location: Location, *, partly: bool = False) -> Found | None:
    """The object, open; None if there is none. Raises OSError, ConflictError.

    `partly`: for who lists, replaces or removes it, which a lost sidecar must not prevent.
    """
    for look in range(_LOOKS + partly):
        try:
            # Sixteen replacements between two system calls: the sidecar is lost rather than late.
            return _look(bucket, key, location, partly=look == _LOOKS)
        except metadata.VanishedSidecarError:
            continue
    raise lost_metadata(key)


def lost_metadata(key: str) -> ConflictError:
    return ConflictError(
        "The object's metadata is being replaced, or its sidecar file is lost: try again, or write the object anew.",
        key=key,
    )


def _look(bucket: Bucket, key: str, location: Location, *, partly: bool) -> Found | None:
    for place in location.places():
        found = open_place(bucket, key, place, partly=partly)
        if found is not None:
            return found
    return None


def open_place(
    bucket: Bucket, key: str, place: Place, *, archived_as: str = "", partly: bool = False
) -> Found | None:
    """What lies at a place, if it is a regular file: the current version, or the old one of the id `archived_as`.

    Raises VanishedSidecarError, unless the caller is content with a part of what is known (`metadata.load`).
    """
    fd = _open_regular(bucket, place)
    if fd < 0:
        return None
    try:
        stat = os.fstat(fd)
        record = metadata.load(bucket, fd, stat, key, partly=partly)
        return Found(
            key,
            place,
            fd,
            stat,
            record,
            bucket.volume.features.ctime_window_ns,
            version_id=archived_as or bucket.version_id(stat, record),
            archived=bool(archived_as),
        )
    except BaseException:
        os.close(fd)
        raise


def check_write(bucket: Bucket, key: str, conditions: Conditions, current: Found | None) -> None:
    """Raise PreconditionFailedError, or NoSuchKeyError for If-Match on nothing, unless a write may go on."""
    if not conditions:
        return
    if conditions.if_match and current is None:
        raise NoSuchKeyError(bucket=bucket.name, key=key)
    check_conditions(bucket, key, conditions, current)


def check_conditions(
    bucket: Bucket, key: str, conditions: Conditions, current: Found | None
) -> None:
    """Raise PreconditionFailedError, with the names, unless a write or delete may go on."""
    try:
        conditions.check_write(current.info if current else None)
    except PreconditionFailedError as error:
        error.bucket, error.key = bucket.name, key
        raise


def _open_regular(bucket: Bucket, place: Place) -> int:
    """A descriptor, or -1 where no regular file is."""
    try:
        fd = bucket.open(place.path, REGULAR)
    except OSError as error:
        if error.errno in ABSENT or error.errno in _ABSENT_NAMES:
            return -1
        raise
    if stat_module.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return -1
