"""Small objects are read from memory at once, and written to their data files behind: many files are one trip to a thread.

Waiting for its file, 0.2 ms, was a fifth of what a miss of one block took, and waking a thread most of that. Its bytes go into a memfd,
which the entry has as its descriptor; when the file is there, dup2(2) puts it under the same number, so readers notice nothing. Until then
the entry has no `file`: the journal does not know it, eviction spares it, and a kill loses what can be fetched again. Beyond
`PENDING_BYTES_MAX` whoever misses waits for the disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import trio

from appliance.cache.entry import Entry
from appliance.cache.fetching import Fetcher
from appliance.cache.plan.blocks import BlockMap
from appliance.world import Lane

PENDING_BYTES_MAX = 32 << 20


class _Item(NamedTuple):
    entry: Entry
    file: str
    data: bytes


class SmallObjects:
    """Keeps what was fetched of objects of at most one block."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._world = fetcher.world
        self._store = fetcher.store
        self._index = fetcher.index
        self._queue: list[_Item] = []
        self._running = False
        self.pending_bytes = 0

    async def keep(self, entry: Entry, data: bytes) -> None:
        """Make `data` all of `entry`, at once in memory, soon in its file. A disk that does not take it is noted, not raised."""
        crc = self._store.checksum(data)
        blocks = entry.blocks = BlockMap(len(data))
        if data:
            blocks.add(0, crc)
        file = self._store.file_id(self._world.token_bytes(16), crc)
        if self.pending_bytes + len(data) <= PENDING_BYTES_MAX:
            self._write_behind(_Item(entry, file, data))
        else:
            await self._write_through(entry, file, data)
        entry.complete = True

    async def _write_through(self, entry: Entry, file: str, data: bytes) -> None:
        try:
            entry.fd = await self._world.run_blocking(
                Lane.DISK, self._store.create_whole, file, data
            )
            entry.file = file
        except OSError as error:
            self._fetcher.lost_disk(entry, error)
            entry.fd = _memory_file(data)
            entry.lost_disk = True

    # --- behind ----------------------------------------------------------------------

    def _write_behind(self, item: _Item) -> None:
        item.entry.fd = _memory_file(item.data)
        item.entry.tasks += 1
        self.pending_bytes += len(item.data)
        self._queue.append(item)
        if not self._running:
            if self._fetcher.nursery is None:
                raise RuntimeError("ObjectCache.run is not running")
            self._running = True
            self._fetcher.nursery.start_soon(self._run)

    async def _run(self) -> None:
        # At the end of the cache too: what was fetched is worth keeping, and it is not much.
        with trio.CancelScope(shield=True):
            while self._queue:
                items, self._queue = self._queue, []
                errors = await self._world.run_blocking(Lane.DISK, self._write_all, items)
                for item, error in zip(items, errors, strict=True):
                    self._written(item, error)
            self._running = False

    def _written(self, item: _Item, error: OSError | None) -> None:
        """The file of an object is there, or will not be."""
        entry = item.entry
        self.pending_bytes -= len(item.data)
        entry.tasks -= 1
        if error is not None:
            self._fetcher.lost_disk(entry, error)
        else:
            entry.file = item.file
            if not entry.doomed:
                self._index.record_fill(entry)
        entry.went_idle()

    def _write_all(self, items: Sequence[_Item]) -> list[OSError | None]:
        """Runs in a thread."""
        return [self._write(item) for item in items]

    def _write(self, item: _Item) -> OSError | None:
        try:
            fd = self._store.create_whole(item.file, item.data)
        except OSError as error:
            return error
        try:
            os.dup2(fd, item.entry.fd, inheritable=False)
        finally:
            os.close(fd)
        return None


def _memory_file(data: bytes) -> int:
    """A descriptor on bytes in memory."""
    fd = os.memfd_create("object")
    os.write(fd, data)
    return fd
