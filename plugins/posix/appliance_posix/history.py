"""Old versions and delete markers of an object: where they lie, in which order, and which of them count.

    <bucket>/.appliance/versioning                        the bucket's state, "Enabled" or "Suspended"; absent: never enabled
    <bucket>/.appliance/versions/<path of the key>/       a directory a key, by the rules of `keypath` for directories, with
        .appliance-version=<order><id>                    an old version: the very file that was the object, record and all
        .appliance-marker=<order><id>                     a delete marker: an empty file, whose mtime is its time

The current version is no part of this: it lies under its own path, as in any bucket. A version id is the version's order (nanoseconds, in
16 hex digits, and greater than those of all older versions of its key, whatever the clock says) and 128 random bits; the null version's is
"null", and its order is in its name or record. Names alone tell what there is; ids that clients send are compared with names or parsed
strictly, so a forged one is no path.

Every change of an object is one system call on its current name (a rename, link or unlink), with everything else in place before. What was
prepared for a change that never came must not be seen, so, while there is a current version, an entry here does not count

- if it has the same id as the current version (it was linked here in order to be replaced there; or it is what was brought back), or
- if it is a delete marker newer than the current version (of a delete that did not come to its end, or of one that was taken back);

and of several null versions only the newest counts. Whoever changes the object next, under its lock, removes what does not count.
"""

from __future__ import annotations

import os
import re
import secrets
from typing import NamedTuple

from appliance.model.errors import CorruptDataError, DeletedKeyError, NoSuchVersionError
from appliance.model.names import key_bytes
from appliance.model.objects import NULL_VERSION, Versioning
from appliance_posix.beneath import DIRECTORY
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import Place, directory_path
from appliance_posix.objects import ABSENT, Found, open_place
from appliance_posix.private import PRIVATE

HISTORY = b"versions"
_PREFIX = PRIVATE + b"/" + HISTORY + b"/"
_VERSION, _MARKER = b".appliance-version=", b".appliance-marker="
_NAME = re.compile(rb"\.appliance-(version|marker)=([0-9a-f]{16})([0-9a-f]{32}|null)\Z")
_ID = re.compile(r"[0-9a-f]{48}\Z")
NEWEST = (
    1 << 64
)  # the order of what lies there by somebody else's hand, or from before there were versions


class Past(NamedTuple):
    """An old version or a delete marker. They sort by age."""

    order: int
    version_id: str
    delete_marker: bool

    @property
    def name(self) -> bytes:
        tail = NULL_VERSION if self.version_id == NULL_VERSION else self.version_id[16:]
        return (_MARKER if self.delete_marker else _VERSION) + f"{self.order:016x}{tail}".encode()

    def place(self, key: str) -> Place:
        """Where it lies, from the bucket."""
        return Place(directory_of(key), self.name)


class Stamp(NamedTuple):
    """What makes a new version one: its id and its order; ("", 0) where there are no versions."""

    version_id: str
    order: int


def new_stamp(bucket: Bucket, newest: int = 0) -> Stamp:
    """For a version newer than `newest`, as the bucket's state wants it."""
    if bucket.versioning is Versioning.OFF:
        return Stamp("", 0)
    order = max(bucket.volume.clocks.now_ns(), newest + 1)
    if bucket.versioning is Versioning.SUSPENDED:
        return Stamp(NULL_VERSION, order)
    return Stamp(f"{order:016x}{secrets.token_hex(16)}", order)


def is_version_id(version_id: str) -> bool:
    """Whether it can be one."""
    return version_id == NULL_VERSION or _ID.match(version_id) is not None


def directory_of(key: str) -> bytes:
    """A key's directory, from the bucket."""
    return _PREFIX + directory_path(key_bytes(key))


def order_of(current: Found | None) -> int:
    """The order of the current version; -1 if there is none."""
    if current is None:
        return -1
    record = current.record
    known = record is not None and record.order and record.version_id == current.info.version_id
    return record.order if record is not None and known else NEWEST


def everything(bucket: Bucket, key: str) -> list[Past]:
    """All entries of a key, those that do not count among them, newest first."""
    try:
        fd = bucket.open(directory_of(key), DIRECTORY)
    except OSError as error:
        if error.errno in ABSENT:
            return []
        raise
    try:
        return sorted(filter(None, map(_parse, os.listdir(fd))), reverse=True)
    finally:
        os.close(fd)


def counting(entries: list[Past], current: Found | None) -> list[Past]:
    """Those of `entries` (newest first) that count beside `current`. Pure."""
    mine, order = (current.info.version_id if current else ""), order_of(current)
    counted = []
    seen_null = mine == NULL_VERSION
    for past in entries:
        is_null = past.version_id == NULL_VERSION
        twice = past.version_id == mine or (is_null and seen_null)
        unfinished = past.delete_marker and current is not None and past.order > order
        if not twice and not unfinished:
            counted.append(past)
            seen_null = seen_null or is_null
    return counted


def look(bucket: Bucket, key: str, current: Found | None) -> list[Past]:
    """What counts, newest first."""
    if bucket.versioning is Versioning.OFF:
        return []
    return counting(everything(bucket, key), current)


def open_past(bucket: Bucket, key: str, past: Past, *, partly: bool = True) -> Found | None:
    """An old version (or marker), open; None if it is gone. VanishedSidecarError unless it is wanted `partly`, too."""
    return open_place(bucket, key, past.place(key), archived_as=past.version_id, partly=partly)


def check_intact(bucket: Bucket, found: Found) -> None:
    """Raise CorruptDataError if an old version was written to since it is one: its bytes are nobody's version."""
    if found.record is not None and not found.record.fingerprint.matches_bytes(found.stat):
        raise CorruptDataError(
            "An old version was written to by a program that had it open.",
            bucket=bucket.name,
            key=found.key,
        )


def no_current(bucket: Bucket, key: str) -> DeletedKeyError | None:
    """The error for a key without a current version, if a delete marker is why."""
    past = look(bucket, key, None)
    if past and past[0].delete_marker:
        return DeletedKeyError(bucket=bucket.name, key=key, version_id=past[0].version_id)
    return None


def no_such_version(bucket: Bucket, key: str, version_id: str) -> NoSuchVersionError:
    return NoSuchVersionError(bucket=bucket.name, key=key, version_id=version_id)


def _parse(name: str) -> Past | None:
    match = _NAME.match(os.fsencode(name))
    if match is None:
        return None
    kind, order, tail = match.groups()
    version_id = NULL_VERSION if tail == b"null" else (order + tail).decode()
    return Past(int(order, 16), version_id, kind == b"marker")
