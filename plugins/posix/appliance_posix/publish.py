"""Giving a staged file its key: the only code, with `removal`, that changes the key space.

Everything here happens under the locks of the keys concerned, which other appliances on the same storage take too. Users who write by hand
take none; against them each step is a single system call that succeeds or fails whole, and a failure starts the round again.

Crash points of a put: before the link the object is the old one (or none), after it the new one, and it was already on disk, record and
all, when it was linked. Where the bucket has versions, the old one was linked into the history before (`archive`), where it counts from the
moment in which it is not the current version any more (`history`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from appliance.model.errors import ConflictError
from appliance.model.objects import NO_CONDITIONS, Conditions, ObjectInfo, Versioning
from appliance_posix import metadata
from appliance_posix.archive import archive, protect, remove_past
from appliance_posix.bucket import Bucket
from appliance_posix.directories import InTheWayError, is_occupied, parent
from appliance_posix.finding import require
from appliance_posix.history import Past, counting, everything, new_stamp
from appliance_posix.keypath import Location, ancestors, locate
from appliance_posix.objects import Found, check_write, find
from appliance_posix.permission import check_change, check_update, inherit_group
from appliance_posix.record import Record, changed, info_of
from appliance_posix.sealing import reseal
from appliance_posix.staging import Staged

T = TypeVar("T")
# Rounds before giving up against others who prune, make and remove the same directories at the same time.
_ROUNDS = 64


def _nothing() -> None:
    pass


class Around(NamedTuple):
    """What else belongs to a publication: further locks, a check before and a step after it under the same locks."""

    locks: tuple[str, ...] = ()
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing


AROUND_NOTHING = Around()


def in_rounds(bucket: Bucket, key: str, locks: set[str], change: Callable[[set[str]], T]) -> T:
    """`change(names locked)` under the locks of `key` and `locks`, again while others change the directories meanwhile."""
    names = {key, *locks}
    for _ in range(_ROUNDS):
        with bucket.locked(names):
            check_change(bucket, key)
            try:
                return change(names)
            except InTheWayError:
                names.update(ancestors(key))
            except (FileNotFoundError, FileExistsError, IsADirectoryError):
                continue
    raise ConflictError(
        "Others keep changing the directories that this key lies in; try again.",
        bucket=bucket.name,
        key=key,
    )


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
    stamp = new_stamp(bucket)
    staged.seal(bucket, key, changed(record, version_id=stamp.version_id, order=stamp.order))

    def change(names: set[str]) -> ObjectInfo:
        return _publish_locked(bucket, key, staged, conditions, around, names)

    try:
        return in_rounds(bucket, key, set(around.locks), change)
    except BaseException:
        if staged.record is not None and not staged.linked:
            metadata.forget(bucket, os.fstat(staged.fd).st_ino, staged.record)
        raise


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
        current = find(bucket, key, location, partly=True)
        if current is not None:
            stack.enter_context(current)
        check_write(bucket, key, conditions, current)
        past = settled(bucket, key, current)
        _stamp(bucket, key, staged, current, past)
        replaced = None
        if current is not None and _is_kept(current, staged):
            replaced = archive(bucket, key, current, past[0].order if past else 0)
        if staged.record is not None and staged.is_seal_old(bucket):
            staged.seal(bucket, key, staged.record)
        link_to_place(bucket, key, location, staged, current, names)
        around.after()
        if replaced is not None:
            protect(bucket, key, replaced)
        elif current is not None:
            metadata.forget(bucket, current.stat.st_ino, current.record)
        info = published(bucket, key, staged)
        remove_past(bucket, key, *(one for one in past if one.version_id == info.version_id))
        return info


def settled(bucket: Bucket, key: str, current: Found | None) -> list[Past]:
    """The history, newest first, rid of what an interrupted change left; the key's lock is held."""
    if bucket.versioning is Versioning.OFF:
        return []
    entries = everything(bucket, key)
    past = counting(entries, current)
    remove_past(bucket, key, *(one for one in entries if one not in past))
    return past


def _stamp(
    bucket: Bucket, key: str, staged: Staged, current: Found | None, past: list[Past]
) -> None:
    """See that the new version is one by the bucket's state of now, and newer than all that is there."""
    record = staged.record
    if record is None:
        return
    if bucket.versioning is Versioning.OFF and not record.version_id:
        return
    # One more than the newest in the history is what an archived version without an order of its own gets.
    newest = max(_known_order(current), (past[0].order if past else 0) + 1)
    stamp = new_stamp(bucket, newest)
    same_kind = (record.version_id == stamp.version_id) or (
        len(record.version_id) == len(stamp.version_id) and record.version_id != "null"
    )
    if same_kind and record.order > newest:
        return
    staged.seal(bucket, key, changed(record, version_id=stamp.version_id, order=stamp.order))


def _known_order(current: Found | None) -> int:
    record = current.record if current is not None else None
    return record.order if record is not None else 0


def _is_kept(current: Found, staged: Staged) -> bool:
    """Whether the current version stays, as an old one."""
    new = staged.record.version_id if staged.record is not None else ""
    return bool(new) and current.info.version_id != new


def published(bucket: Bucket, key: str, staged: Staged) -> ObjectInfo:
    """What is known about the object now; sealed once more if linking it took so long that its fingerprint does not fit any more."""
    window_ns = bucket.volume.features.ctime_window_ns
    stat = os.fstat(staged.fd)
    record = staged.record
    if record is not None and not record.fingerprint.matches(stat, window_ns):
        record = staged.record = reseal(bucket, staged.fd, key, record)
        stat = os.fstat(staged.fd)
    return info_of(key, stat, record, window_ns, version_id=bucket.version_id(stat, record))


def link_to_place(
    bucket: Bucket,
    key: str,
    location: Location,
    staged: Staged,
    current: Found | None,
    names: set[str],
) -> None:
    """Link the file to where the object is, or is to be."""
    if current is not None:
        with parent(bucket, key, current.place, names) as directory:
            inherit_group(staged.fd, directory)
            staged.link_over(bucket, directory, current.place.name)
        return
    for place in location.places():
        with parent(bucket, key, place, names) as directory:
            inherit_group(staged.fd, directory)
            try:
                staged.link_new(bucket, directory, place.name)
                return
            except FileExistsError:
                if place is location.escaped or not is_occupied(directory, place.name):
                    raise


def replace_tags(
    bucket: Bucket, key: str, tags: dict[str, str], version_id: str = ""
) -> ObjectInfo:
    """Change a version's tags in place."""
    return _replace(bucket, key, version_id, lambda record: changed(record, tags=tags))


def replace_acl(bucket: Bucket, key: str, acl: bytes, version_id: str = "") -> ObjectInfo:
    """Change a version's ACL in place."""
    return _replace(bucket, key, version_id, lambda record: changed(record, acl=acl))


def _replace(
    bucket: Bucket, key: str, version_id: str, change: Callable[[Record], Record]
) -> ObjectInfo:
    with bucket.locked({key}), require(bucket, key, version_id=version_id) as found:
        check_update(bucket, key, found.fd)
        record = found.record or Record(etag=found.info.etag, headers=found.info.headers)
        saved = reseal(bucket, found.fd, key, change(record), true=found.is_true)
        return info_of(
            key,
            os.fstat(found.fd),
            saved,
            bucket.volume.features.ctime_window_ns,
            version_id=found.info.version_id,
        )
