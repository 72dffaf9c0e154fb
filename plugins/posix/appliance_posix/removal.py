"""Taking keys away: deletes, delete markers, and old versions that become current again.

Crash points. Nothing has happened before, and all has after, one call on the current name:

    delete, no versions            the unlink
    delete, versions               the unlink of the name, or where there was none the link of the marker: the version is in the history by
                                   then, and so is the marker, which does not count while there is a current version
    the current version, by id     a rename of the next newest over it; where that is a marker, or nothing, the unlink
    the newest marker, by id       the link of the next newest at the name; the marker does not count from then on
    any other version, by id       the unlink of its name in the history
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from appliance.model.errors import ApplianceError
from appliance.model.names import check_key
from appliance.model.objects import (
    NO_CONDITIONS,
    NULL_VERSION,
    Conditions,
    Deleted,
    DeleteOutcome,
    DeleteTarget,
    Versioning,
)
from appliance_posix import metadata
from appliance_posix.archive import archive, mark_deleted, protect, remove_past
from appliance_posix.bucket import Bucket
from appliance_posix.directories import settle, unlink
from appliance_posix.errnos import domain_error
from appliance_posix.finding import is_id_of
from appliance_posix.history import Past, is_version_id, new_stamp, open_past
from appliance_posix.keypath import locate
from appliance_posix.objects import Found, check_conditions, find
from appliance_posix.publish import in_rounds, link_to_place, settled
from appliance_posix.sealing import reseal
from appliance_posix.staging import Staged


def remove_many(bucket: Bucket, targets: Sequence[DeleteTarget]) -> list[DeleteOutcome]:
    """Delete objects or versions, durably on return. Directories are synchronised once for all that lay in them."""
    later: set[bytes] = set()
    outcomes = []
    for target in targets:
        key, version_id = target.key, target.version_id
        try:
            check_key(key)
            deleted = remove(bucket, key, version_id=version_id, later=later)
        except (ApplianceError, OSError) as error:
            known = domain_error(error, bucket.name, key) if isinstance(error, OSError) else error
            outcomes.append(DeleteOutcome(key=key, version_id=version_id, error=known))
        else:
            outcomes.append(DeleteOutcome(key=key, version_id=version_id, deleted=deleted))
    settle(bucket, later)
    return outcomes


def remove(
    bucket: Bucket,
    key: str,
    conditions: Conditions = NO_CONDITIONS,
    version_id: str = "",
    *,
    later: set[bytes] | None = None,
) -> Deleted:
    """Delete an object, or a version, durably. Directories that this empties go too.

    With `later`, an object of a bucket without versions is gone for good only when `settle` has been given what this adds to it.
    """

    def change(names: set[str]) -> Deleted:
        with contextlib.ExitStack() as stack:
            current = find(bucket, key, locate(key), partly=True)
            if current is not None:
                stack.enter_context(current)
            removal = _Removal(bucket, key, current, conditions, names)
            if version_id:
                return removal.of_version(version_id)
            if bucket.versioning is Versioning.OFF:
                removal.of_object(later)
                return Deleted()
            return removal.by_marker()

    return in_rounds(bucket, key, set(), change)


class _Removal:
    """One removal under the key's lock."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        current: Found | None,
        conditions: Conditions,
        names: set[str],
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._current = current
        self._conditions = conditions
        self._names = names
        self._past = settled(bucket, key, current)

    def of_object(self, later: set[bytes] | None) -> None:
        """For good."""
        self._check(self._current)
        if self._current is not None:
            self._unlink_current(later)
            self._forget_current()

    def by_marker(self) -> Deleted:
        """Put a delete marker on top; in a suspended bucket in place of the null version."""
        self._check(self._current)
        current, bucket, key = self._current, self._bucket, self._key
        kept = None
        suspended = bucket.versioning is Versioning.SUSPENDED
        if current is not None and not (suspended and current.info.version_id == NULL_VERSION):
            kept = archive(bucket, key, current, self._newest_past())
        newest = max(self._newest_past() + 1, self._current_order())
        stamp = new_stamp(bucket, newest)
        marker = Past(stamp.order, stamp.version_id, delete_marker=True)
        mark_deleted(bucket, key, marker)
        if current is not None:
            self._unlink_current()
            if kept is None:
                self._forget_current()
            else:
                protect(bucket, key, kept)
        remove_past(bucket, key, *(one for one in self._past if one.version_id == stamp.version_id))
        return Deleted(version_id=stamp.version_id, delete_marker=True)

    def of_version(self, version_id: str) -> Deleted:
        """For good. Not an error if there is none; then `if_match` cannot hold."""
        if is_id_of(self._bucket, self._current, version_id):
            self._check(self._current)
            self._replace_current()
            return Deleted(version_id=version_id)
        past = self._past if is_version_id(version_id) else []
        for index, one in enumerate(past):
            if one.version_id == version_id:
                self._remove_past(index, one)
                return Deleted(version_id=version_id, delete_marker=one.delete_marker)
        self._check(None)
        return Deleted(version_id=version_id)

    def _remove_past(self, index: int, one: Past) -> None:
        found = open_past(self._bucket, self._key, one)
        if found is not None:
            with found:
                self._check(None if one.delete_marker else found)
        follower = self._past[index + 1] if index + 1 < len(self._past) else None
        was_latest = self._current is None and index == 0 and one.delete_marker
        if was_latest and follower is not None and not follower.delete_marker:
            self._bring_back(follower)
        remove_past(self._bucket, self._key, one)

    def _replace_current(self) -> None:
        """The next newest becomes current, if it is no marker."""
        follower = self._past[0] if self._past else None
        if follower is None or follower.delete_marker or not self._bring_back(follower):
            self._unlink_current()
        self._forget_current()

    def _bring_back(self, past: Past) -> bool:
        """Make an old version the current one. Its name in the history, which does not count from then on, goes last."""
        bucket, key = self._bucket, self._key
        found = open_past(bucket, key, past)
        if found is None:
            return False
        record, true = found.record, found.is_true
        if record is not None:
            record = reseal(bucket, found.fd, key, record, true=true, moving=True)
        staged = Staged.adopt(found.detach(), record)
        try:
            link_to_place(bucket, key, locate(key), staged, self._current, self._names)
            remove_past(bucket, key, past)
            if staged.record is not None:
                reseal(bucket, staged.fd, key, staged.record, true=true)
        finally:
            staged.discard()
        return True

    def _check(self, target: Found | None) -> None:
        check_conditions(self._bucket, self._key, self._conditions, target)

    def _newest_past(self) -> int:
        return self._past[0].order if self._past else 0

    def _current_order(self) -> int:
        """Of a version that has been archived, or is to be forgotten."""
        record = self._current.record if self._current is not None else None
        return record.order if record is not None else 0

    def _unlink_current(self, later: set[bytes] | None = None) -> None:
        # Escaped first: were plain removed first, a stale escaped one would come to light.
        for place in reversed(list(locate(self._key).places())):
            unlink(self._bucket, place, later)

    def _forget_current(self) -> None:
        current = self._current
        if current is not None:
            metadata.forget(self._bucket, current.stat.st_ino, current.record)
