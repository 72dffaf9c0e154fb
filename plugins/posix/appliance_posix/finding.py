"""Finding what a request names: the current version of an object, or one by its id.

No lock is taken. A version may become an old one, or an old one current, between two looks: a version that was in neither place is believed
to be gone only if the current one stayed the same meanwhile.
"""

from __future__ import annotations

from appliance.model.errors import (
    ConflictError,
    DeleteMarkerError,
    NoSuchKeyError,
    VersionChangedError,
)
from appliance.model.objects import NULL_VERSION, Versioning
from appliance_posix import history
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import locate
from appliance_posix.metadata import VanishedSidecarError
from appliance_posix.objects import Found, find, lost_metadata

_LOOKS = 16


def require(bucket: Bucket, key: str, version: str = "", version_id: str = "") -> Found:
    """The object, open. Raises NoSuchKeyError, NoSuchVersionError, DeleteMarkerError, VersionChangedError, CorruptDataError."""
    if version_id:
        found: Found | None = _by_id(bucket, key, version_id)
    else:
        found = find(bucket, key, locate(key))
    if found is None:
        if version:
            raise VersionChangedError(bucket=bucket.name, key=key)
        raise history.no_current(bucket, key) or NoSuchKeyError(bucket=bucket.name, key=key)
    if version and found.info.version != version:
        found.close()
        raise VersionChangedError(bucket=bucket.name, key=key)
    return found


def is_id_of(bucket: Bucket, current: Found | None, version_id: str) -> bool:
    """Whether the current version has this id."""
    if current is None:
        return False
    if bucket.versioning is Versioning.OFF:
        return version_id == NULL_VERSION
    return current.info.version_id == version_id


def _by_id(bucket: Bucket, key: str, version_id: str) -> Found:
    if not history.is_version_id(version_id):
        raise history.no_such_version(bucket, key, version_id)
    before: str | None = None
    for _ in range(_LOOKS):
        current = find(bucket, key, locate(key))
        if current is not None and is_id_of(bucket, current, version_id):
            return current
        token = current.info.version if current else ""
        past = _past(bucket, key, current, version_id)
        if past is not None:
            found = _open(bucket, key, past)
            if found is not None:
                return found
        elif token == before:
            raise history.no_such_version(bucket, key, version_id)
        before = token
    raise ConflictError("The object's versions keep changing; try again.", key=key)


def _past(bucket: Bucket, key: str, current: Found | None, version_id: str) -> history.Past | None:
    try:
        past = history.look(bucket, key, current)
        return next((one for one in past if one.version_id == version_id), None)
    finally:
        if current is not None:
            current.close()


def _open(bucket: Bucket, key: str, past: history.Past) -> Found | None:
    try:
        found = history.open_past(bucket, key, past, partly=False)
    except VanishedSidecarError:
        raise lost_metadata(key) from None
    if found is None:
        return None
    try:
        _check(bucket, past, found)
    except BaseException:
        found.close()
        raise
    return found


def _check(bucket: Bucket, past: history.Past, found: Found) -> None:
    if past.delete_marker:
        raise DeleteMarkerError(
            bucket=bucket.name,
            key=found.key,
            version_id=past.version_id,
            modified_ns=found.stat.st_mtime_ns,
        )
    history.check_intact(bucket, found)
