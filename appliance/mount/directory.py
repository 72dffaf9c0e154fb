"""Directory listings: pages of the cache's listing turned into entries, in one pass and without waiting for the last page.

`Entries` is pure. Where a file `a` and a directory `a/` both exist the directory is shown; `a/` sorts after `a` with only names like `a-1`
or `a.txt` between, so a file is held back until the listing has passed its `/`. Held files are a stack, each a prefix of the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import msgspec

from appliance.model.names import key_bytes
from appliance.model.objects import ListPage, ObjectInfo
from appliance.mount.names import is_component


class DirectoryEntry(msgspec.Struct, frozen=True):
    """A name in a directory; `info` is None for subdirectories. `mark` (of `recent.Recent`) was taken before it was asked for.

    `pending`: a file made by this mount that no listing shows yet.
    """

    name: bytes
    info: ObjectInfo | None
    mark: int = 0
    pending: bool = False


class Entries:
    """Turns pages, in order, into entries."""

    def __init__(self, directory: str) -> None:
        self._skip = len(key_bytes(directory))
        self._held: list[DirectoryEntry] = []

    def feed(self, page: ListPage, mark: int = 0) -> Iterator[DirectoryEntry]:
        """Entries that are certain after this page."""
        for raw, info in _merged(page, self._skip):
            yield from self._release(raw)
            name = raw.removesuffix(b"/")
            if not is_component(name):
                continue
            if info is None:
                if self._held and self._held[-1].name == name:
                    self._held.pop()
                yield DirectoryEntry(name, None, mark)
            else:
                self._held.append(DirectoryEntry(name, info, mark))

    def finish(self) -> Iterator[DirectoryEntry]:
        """Entries that were held back until the end."""
        while self._held:
            yield self._held.pop()

    def _release(self, raw: bytes) -> Iterator[DirectoryEntry]:
        while self._held and raw > self._held[-1].name + b"/":
            yield self._held.pop()


def _merged(page: ListPage, skip: int) -> Iterator[tuple[bytes, ObjectInfo | None]]:
    """Objects and common prefixes in one order, relative to the directory; a prefix keeps its slash and has no info."""
    objects = ((key_bytes(info.key)[skip:], info) for info in page.objects)
    prefixes = ((key_bytes(prefix)[skip:], None) for prefix in page.common_prefixes)
    return heapq.merge(objects, prefixes, key=lambda item: item[0])
