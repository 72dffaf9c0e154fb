"""Changing the record of a file that is in its place."""

from __future__ import annotations

import contextlib
import os
import stat as stat_module

from appliance_posix import metadata
from appliance_posix.bucket import Bucket
from appliance_posix.record import ANY_CTIME, NO_FINGERPRINT, Fingerprint, Record, changed


def reseal(
    bucket: Bucket, fd: int, key: str, record: Record, *, true: bool = True, moving: bool = False
) -> Record:
    """Store a changed record with a file in place. One atomic step; its fingerprint says "now" as ctime, which the step itself causes
    (an xattr does; after a sidecar ctime is moved on purpose: the change must show in the version).

    `moving`: the file is about to get or lose names, however long that takes; until it is sealed once more its ctime says nothing.
    A file that was changed by hand (not `true`) keeps a fingerprint that does not match, and so its synthetic ETag.
    """
    stat = os.fstat(fd)
    now = ANY_CTIME if moving else bucket.volume.clocks.now_ns()
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
