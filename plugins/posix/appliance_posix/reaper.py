"""Removing what nobody will come back for: abandoned uploads, files that a crash left in staging, sidecars without an object.

Runs at start and then hourly (`Backend.maintain`), on any number of nodes at once. Age is counted from the last change by the filesystem's
own time stamps, and everything is removed under the lock that its users take.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import msgspec

from appliance.model.errors import BackendError, NoSuchBucketError
from appliance.model.names import key_text
from appliance_posix import buckets, uploads
from appliance_posix.beneath import DIRECTORY, open_beneath
from appliance_posix.bucket import Bucket
from appliance_posix.history import everything, open_past
from appliance_posix.keypath import locate
from appliance_posix.metadata import SIDECAR, read_sidecar
from appliance_posix.objects import Found, find
from appliance_posix.private import PRIVATE
from appliance_posix.staging import STAGING
from appliance_posix.volume import Volume


class Reaped(msgspec.Struct):
    """How much was removed."""

    uploads: int = 0
    staged: int = 0
    sidecars: int = 0
    buckets: int = 0


def reap(volume: Volume, max_age_s: float) -> Reaped:
    """One round over all buckets."""
    before_ns = volume.clocks.now_ns() - int(max_age_s * 1e9)
    reaped = Reaped()
    for info in buckets.list_all(volume):
        # BackendError: its private directory is not the appliance's own. Who uses the bucket is told.
        with (
            contextlib.suppress(NoSuchBucketError, BackendError),
            Bucket(volume, info.name) as bucket,
        ):
            reaped.uploads += _reap_uploads(bucket, before_ns)
            reaped.staged += _reap_staged(bucket.private_if_any(STAGING), before_ns)
            reaped.sidecars += _reap_sidecars(bucket, before_ns)
    reaped.buckets += buckets.empty_trash(volume)
    with contextlib.suppress(FileNotFoundError):
        fd = open_beneath(volume.opener, volume.root_fd, PRIVATE + b"/" + STAGING, DIRECTORY)
        try:
            reaped.staged += _reap_staged(fd, before_ns)
        finally:
            os.close(fd)
    return reaped


def _reap_uploads(bucket: Bucket, before_ns: int) -> int:
    directory = bucket.private_if_any(uploads.UPLOADS)
    count = 0
    for name in _names(directory):
        if name.startswith(uploads.GONE):
            buckets.discard_tree(bucket.private(uploads.UPLOADS), name)
        elif _is_older(directory, name, before_ns):
            upload_id = os.fsdecode(name)
            with bucket.locked({uploads.lock_name(upload_id)}):
                # A part may have arrived since.
                if not _is_older(directory, name, before_ns):
                    continue
                uploads.end(bucket, upload_id)
            uploads.discard_gone(bucket, upload_id)
            count += 1
    return count


def _reap_staged(directory: int | None, before_ns: int) -> int:
    count = 0
    for name in _names(directory):
        if directory is not None and _is_older(directory, name, before_ns):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
                count += 1
    return count


def _reap_sidecars(bucket: Bucket, before_ns: int) -> int:
    directory = bucket.private_if_any(SIDECAR)
    count = 0
    for name in _names(directory):
        if directory is None or not _is_older(directory, name, before_ns):
            continue
        if _is_orphan(bucket, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
                count += 1
    return count


def _is_orphan(bucket: Bucket, name: bytes) -> bool:
    """Whether the object of a sidecar is gone, or has another."""
    record = read_sidecar(bucket, name)
    if record is None or b"~" in name:
        return True
    key = key_text(record.key)
    inode, _, token = os.fsdecode(name).partition(".")
    with bucket.locked({key}):
        for found in _files_of(bucket, key):
            with found:
                if f"{found.stat.st_ino:x}" == inode:
                    other = found.record is None or found.record.spilled != token
                    return bool(token) and other
    return True


def _files_of(bucket: Bucket, key: str) -> Iterator[Found]:
    """The current version, then the old ones."""
    current = find(bucket, key, locate(key), partly=True)
    if current is not None:
        yield current
    for past in everything(bucket, key):
        found = open_past(bucket, key, past)
        if found is not None:
            yield found


def _names(directory: int | None) -> list[bytes]:
    if directory is None:
        return []
    # A descriptor of its own: scans share the position of the one they are given.
    fd = os.open(b".", DIRECTORY, dir_fd=directory)
    try:
        return [os.fsencode(name) for name in os.listdir(fd)]
    finally:
        os.close(fd)


def _is_older(directory: int | None, name: bytes, before_ns: int) -> bool:
    try:
        stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.st_mtime_ns < before_ns
