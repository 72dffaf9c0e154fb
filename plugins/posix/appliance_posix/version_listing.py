"""ListObjectVersions: two trees walked side by side, the keys of today and the keys that have a history (`history`), each in S3's order.

In the tree of the histories a directory `a` stands for two things: for the key `a`, whose versions lie in it, and for all keys that begin
with `a/`. Directories that hold neither (left by a crash) give an empty history, and nothing.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterator

from appliance.model.errors import InvalidArgumentError
from appliance.model.names import key_bytes, key_text
from appliance.model.objects import (
    ObjectInfo,
    ObjectVersion,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance_posix import history
from appliance_posix.beneath import DIRECTORY
from appliance_posix.bucket import Bucket
from appliance_posix.describe import Describer
from appliance_posix.keypath import locate
from appliance_posix.listing import START, Bound, Item, Walk, grouped, items
from appliance_posix.objects import find
from appliance_posix.snapshot import Entry, Snapshot, Snapshots, read_entries

_LOOKS = 8


class HistoryWalk(Walk):
    """Keys that have a history."""

    def _top(self) -> int:
        top = self._bucket.private_if_any(history.HISTORY)
        if top is None:
            raise RuntimeError("this bucket has no histories")
        return top

    def _read(self, fd: int) -> Snapshot:
        # A descriptor of its own: scans share the position of the one they are given.
        scanned = os.open(b".", DIRECTORY, dir_fd=fd)
        try:
            inner, _ = read_entries(self._bucket.volume.opener, scanned)
        finally:
            os.close(scanned)
        directories = [entry for entry in inner if entry.is_dir]
        keys = [Entry(entry.order[:-1], entry.path) for entry in directories]
        return Snapshot(sorted([*directories, *keys]))

    def _holds_plain_file(self, path: bytes) -> bool:
        return False


def has_history(bucket: Bucket) -> bool:
    """Whether any old version or delete marker is left."""
    if bucket.private_if_any(history.HISTORY) is None:
        return False
    found = history_items(bucket, None, b"", b"", START)
    return any(history.everything(bucket, key_text(item.name)) for item in found)


def history_items(
    bucket: Bucket, snapshots: Snapshots | None, prefix: bytes, delimiter: bytes, bound: Bound
) -> Iterator[Item]:
    """As `listing.items`, for the histories."""
    if bucket.private_if_any(history.HISTORY) is None:
        return
    snapshots = snapshots or Snapshots(bucket.volume)
    with HistoryWalk(bucket, snapshots, prefix, fold=delimiter == b"/") as walk:
        yield from grouped(walk, prefix, delimiter, bound)


def list_versions(bucket: Bucket, snapshots: Snapshots, request: VersionListRequest) -> VersionPage:
    """One page. Raises InvalidArgumentError for a marker that is no version id, OSError."""
    if request.version_id_marker and not history.is_version_id(request.version_id_marker):
        raise InvalidArgumentError("Invalid version id specified")
    if request.limit <= 0:
        return VersionPage()
    versions: list[ObjectVersion] = []
    prefixes: list[str] = []
    lines = _lines(bucket, snapshots, request)
    line: ObjectVersion | str = ""
    for line in itertools.islice(lines, request.limit):
        if isinstance(line, str):
            prefixes.append(line)
        else:
            versions.append(line)
    more = len(versions) + len(prefixes) == request.limit and next(lines, None) is not None
    info = line.info if isinstance(line, ObjectVersion) else None
    last_key = info.key if info is not None else str(line)
    last_id = (info.version_id or "null") if info is not None else ""
    return VersionPage(
        versions=tuple(versions),
        common_prefixes=tuple(prefixes),
        truncated=more,
        next_key_marker=last_key if more else "",
        next_version_id_marker=last_id if more else "",
    )


def _lines(
    bucket: Bucket, snapshots: Snapshots, request: VersionListRequest
) -> Iterator[ObjectVersion | str]:
    """All versions, markers and common prefixes after the markers of the request, in order."""
    prefix, delimiter = key_bytes(request.prefix), key_bytes(request.delimiter)
    bound = Bound(key_bytes(request.key_marker), whole=False)
    if request.version_id_marker and request.key_marker:
        yield from _rest_of(bucket, request, bound.name)
    today = items(bucket, snapshots, prefix, delimiter, bound)
    old = history_items(bucket, snapshots, prefix, delimiter, bound)
    both = heapq.merge(today, old, key=lambda item: item.name)
    with Describer(bucket) as describer:
        for name, group in itertools.groupby(both, key=lambda item: item.name):
            found = list(group)
            if found[0].path is None:
                yield key_text(name)
            elif bucket.versioning is Versioning.OFF:
                info = describer.describe(key_text(name), found[0].path)
                if info is not None:
                    yield ObjectVersion(info=info)
            else:
                yield from versions_of(bucket, key_text(name))


def _rest_of(bucket: Bucket, request: VersionListRequest, name: bytes) -> list[ObjectVersion]:
    """Versions of the key of the marker that come after it; all of them if nobody can tell any more where that was."""
    prefix, delimiter = key_bytes(request.prefix), key_bytes(request.delimiter)
    if not name.startswith(prefix) or (delimiter and delimiter in name[len(prefix) :]):
        return []
    if bucket.versioning is Versioning.OFF:
        return []
    versions = versions_of(bucket, request.key_marker)
    marker = request.version_id_marker
    for index, version in enumerate(versions):
        if version.info.version_id == marker:
            return versions[index + 1 :]
    if marker == "null":
        return versions
    # Deleted since. An id begins with the order.
    return [version for version in versions if _is_older(version, marker)]


def _is_older(version: ObjectVersion, marker: str) -> bool:
    version_id = version.info.version_id
    return version_id == "null" or version_id < marker


def versions_of(bucket: Bucket, key: str) -> list[ObjectVersion]:
    """All versions and markers of a key, newest first, as they were at one moment."""
    state, versions = _look(bucket, key)
    for _ in range(_LOOKS):
        if _current(bucket, key) == state:
            break
        state, versions = _look(bucket, key)
    return versions


def _current(bucket: Bucket, key: str) -> str:
    found = find(bucket, key, locate(key), partly=True)
    if found is None:
        return ""
    with found:
        return found.info.version


def _look(bucket: Bucket, key: str) -> tuple[str, list[ObjectVersion]]:
    """The version token of the current one ("" for none) and everything."""
    versions = []
    found = find(bucket, key, locate(key), partly=True)
    try:
        if found is not None:
            versions.append(ObjectVersion(info=found.info, latest=True))
        past = history.look(bucket, key, found)
        # Where the current version was removed by hand, none is the latest.
        latest = found is None and bool(past) and past[0].delete_marker
        for one in past:
            info = _past_info(bucket, key, one)
            if info is not None:
                version = ObjectVersion(info=info, latest=latest, delete_marker=one.delete_marker)
                versions.append(version)
                latest = False
        return (found.info.version if found else ""), versions
    finally:
        if found is not None:
            found.close()


def _past_info(bucket: Bucket, key: str, past: history.Past) -> ObjectInfo | None:
    found = history.open_past(bucket, key, past)
    if found is None:
        return None
    with found:
        return found.info
