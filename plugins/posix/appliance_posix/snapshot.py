"""Directories as listings need them: names in the order of the keys they lead to, read once and kept while that is safe.

A directory's own change time moves with every name that comes or goes. A snapshot is used again only while that time is the same, and was
already well in the past when the directory was read: two changes within one tick of the filesystem's clock look the same (git calls such
an index entry racy). What a name's file holds is not in a snapshot.
"""

from __future__ import annotations

import bisect
import os
from collections import OrderedDict
from typing import NamedTuple

from appliance_posix.beneath import DIRECTORY, Opener, open_beneath
from appliance_posix.keypath import decode_name, is_canonical
from appliance_posix.volume import Volume

# The kernel's clock ticks every 1 to 10 ms; other hosts' clocks and caches are further off.
RACY_NS = 50_000_000
RACY_SHARED_NS = 10_000_000_000
# Bytes a cached entry costs, about: two short bytes objects and a tuple.
_ENTRIES_MAX = 1_000_000


class Entry(NamedTuple):
    """One name: `order` is its segment, with "/" after a directory's; `path` leads there from the directory (escapes can be nested)."""

    order: bytes
    path: bytes

    @property
    def is_dir(self) -> bool:
        return self.order.endswith(b"/")


class Snapshot(NamedTuple):
    """A directory's entries, ascending."""

    entries: list[Entry]


def first_at_least(entries: list[Entry], order: bytes) -> int:
    """Index of the first entry whose order is at least `order`."""
    return bisect.bisect_left(entries, order, key=_order)


def _order(entry: Entry) -> bytes:
    return entry.order


class Snapshots:
    """A bounded cache of snapshots. Blocking; any thread."""

    def __init__(self, volume: Volume, entries_max: int = _ENTRIES_MAX) -> None:
        self._volume = volume
        self._racy_ns = RACY_NS if volume.features.local else RACY_SHARED_NS
        self._cache: OrderedDict[tuple[int, int], tuple[tuple[int, int], Snapshot]] = OrderedDict()
        self._entries_max = entries_max
        self._entries = 0
        self.reads = 0
        self.hits = 0

    def read(self, fd: int) -> Snapshot:
        """The entries of an open directory. Raises OSError."""
        stat = os.fstat(fd)
        identity = (stat.st_dev, stat.st_ino)
        state = (stat.st_mtime_ns, stat.st_ctime_ns)
        cached = self._cache.get(identity)
        if cached is not None and cached[0] == state:
            self.hits += 1
            return cached[1]
        began_ns = self._volume.clocks.now_ns()
        entries, nested = read_entries(self._volume.opener, fd)
        entries.sort()
        self.reads += 1
        snapshot = Snapshot(_without_shadowed(entries))
        settled = max(state) + self._racy_ns < began_ns
        if settled and not nested:
            self._keep(identity, state, snapshot)
        return snapshot

    def _keep(self, identity: tuple[int, int], state: tuple[int, int], snapshot: Snapshot) -> None:
        replaced = self._cache.pop(identity, None)
        self._cache[identity] = (state, snapshot)
        self._entries += len(snapshot.entries) + 1
        if replaced is not None:
            self._entries -= len(replaced[1].entries) + 1
        while self._entries > self._entries_max and self._cache:
            try:
                _, (_, evicted) = self._cache.popitem(last=False)
            except KeyError:  # another thread took the last one
                return
            self._entries -= len(evicted.entries) + 1

    def statistics(self) -> dict[str, float]:
        return {
            "directory_reads_total": self.reads,
            "directory_snapshot_hits_total": self.hits,
            "directory_snapshot_entries": self._entries,
        }


def read_entries(
    opener: Opener, fd: int, head: bytes = b"", names: tuple[bytes, ...] = ()
) -> tuple[list[Entry], bool]:
    """Entries of a directory in any order, with those of its `.appliance-more=` directories; and whether there were such."""
    entries: list[Entry] = []
    nested = False
    add = entries.append
    with os.scandir(fd) as scan:
        for item in scan:
            # Listing by descriptor yields str whatever the locale is; back to the bytes.
            name = os.fsencode(item.name)
            is_dir = item.is_dir(follow_symlinks=False)
            if not is_dir and not item.is_file(follow_symlinks=False):
                continue
            if not names and name[:1] != b".":  # the usual case, made short
                add(Entry(name + b"/" if is_dir else name, name))
                continue
            piece = decode_name(name, is_dir=is_dir)
            if piece is None:
                continue
            segment = head + piece.segment
            inner_names = (*names, name)
            if piece.more:
                nested = True
                entries.extend(_read_nested(opener, fd, name, segment, inner_names))
            elif is_canonical(segment, inner_names, is_dir=is_dir):
                add(Entry(segment + b"/" if is_dir else segment, b"/".join(inner_names)))
    return entries, nested


def _read_nested(
    opener: Opener, fd: int, name: bytes, segment: bytes, names: tuple[bytes, ...]
) -> list[Entry]:
    # A segment has at most 1,024 bytes; deeper nesting is somebody else's.
    if len(segment) > 1024:
        return []
    try:
        inner = open_beneath(opener, fd, name, DIRECTORY)
    except OSError:
        return []
    try:
        return read_entries(opener, inner, segment, names)[0]
    finally:
        os.close(inner)


def _without_shadowed(entries: list[Entry]) -> list[Entry]:
    """Drop the escaped place of an object that is at its plain place too: readers look at that first."""
    doubles = [
        index
        for index in range(1, len(entries))
        if entries[index].order == entries[index - 1].order
    ]
    if not doubles:
        return entries
    kept: dict[bytes, Entry] = {}
    for entry in entries:
        if entry.order not in kept or entry.path == entry.order:
            kept[entry.order] = entry
    return list(kept.values())
