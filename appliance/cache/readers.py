"""Readers on a whole file, and on a file that is being filled.

A hit makes nothing but a `FileReader`. Streams are plain iterators, not generators: whoever stops in the middle leaves nothing to finalise,
and closing the reader ends whatever it had running.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator

from appliance.cache.direct import DirectReader, MemoryWindow, joined
from appliance.cache.entry import Entry
from appliance.cache.fetching import Fetcher
from appliance.cache.plan.readahead import ReadAhead
from appliance.model.errors import BackendError, CorruptDataError
from appliance.plugin import Chunk
from appliance.world import Lane, World
from appliance.world.disk import in_memory

STREAM_CHUNK_BYTES = 256 * 1024
# What a reader that wants very much is given at once; read-ahead does the rest.
_DEMAND_BYTES = 8 << 20


async def read_file(world: World, fd: int, offset: int, length: int) -> bytes:
    """`length` bytes at `offset`, inline where the page cache has them (1 us), else by a thread (100 us)."""
    buffer = bytearray(length)
    try:
        if os.preadv(fd, [buffer], offset, os.RWF_NOWAIT) == length:
            return bytes(buffer)
    except OSError as error:  # EAGAIN: not in memory; EOPNOTSUPP: the filesystem cannot tell
        if error.errno == errno.EOPNOTSUPP and in_memory(fd):
            return os.pread(fd, length, offset)
    data = await world.run_blocking(Lane.DISK, os.pread, fd, length, offset)
    if not data:
        raise CorruptDataError("A file ended before the object in it: it was cut from outside.")
    return data


class _EntryReader:
    """A reader on the file of an entry."""

    __slots__ = ("_entry", "_fetcher", "fd", "info", "source", "stale")

    def __init__(self, fetcher: Fetcher, entry: Entry, source: str, *, stale: bool = False) -> None:
        """Takes over one `Entry.use`."""
        self.info = entry.info
        self.fd = entry.fd
        self.source = source
        self.stale = stale
        self._fetcher = fetcher
        self._entry: Entry | None = entry

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        raise NotImplementedError

    async def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.info.size - offset)
        if length <= 0:
            return b""
        return await joined(self.stream(offset, length))


class FileReader(_EntryReader):
    """A whole object in one complete file: a cached one, or the backend's own."""

    __slots__ = ()

    def available_nowait(self, offset: int, length: int) -> int:
        return length

    async def available(self, offset: int, length: int) -> int:
        return length

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        return _FileStream(self, offset, length)

    async def read_some(self, offset: int, length: int) -> bytes:
        """Some of the bytes; those of a cached file that cannot be read are fetched anew."""
        entry = self._entry
        if entry is None:
            raise ValueError("the reader is closed")
        try:
            return await read_file(self._fetcher.world, self.fd, offset, length)
        except (OSError, CorruptDataError) as error:
            if entry.local:
                raise BackendError("The file of the object cannot be read.") from error
            self._fetcher.cannot_read(entry, error)
        return await DirectReader(self._fetcher, entry).read(offset, length)

    def close(self) -> None:
        entry = self._entry
        if entry is not None:
            self._entry = None
            entry.release()


class FillingReader(_EntryReader):
    """An object whose file is partial: asks the `Fetcher` for what is missing, with read-ahead."""

    __slots__ = ("_ahead", "_window")

    def __init__(self, fetcher: Fetcher, entry: Entry, source: str, *, stale: bool = False) -> None:
        super().__init__(fetcher, entry, source, stale=stale)
        self._ahead = ReadAhead(fetcher.read_ahead_bytes)
        self._window: MemoryWindow | None = None

    def available_nowait(self, offset: int, length: int) -> int:
        entry = self._opened()
        if not entry.complete:
            wanted = min(length, _DEMAND_BYTES)
            self._fetcher.want(entry, offset, wanted, self._ahead.advance(offset, wanted))
        if self._window is not None:
            return self._window.has(offset, length)
        return entry.available(offset, length)

    async def available(self, offset: int, length: int) -> int:
        entry = self._opened()
        wanted = min(length, _DEMAND_BYTES)
        ahead = self._ahead.advance(offset, wanted)
        while True:
            self._fetcher.want(entry, offset, wanted, ahead)
            count = entry.available(offset, length)
            if count:
                return count
            if entry.lost_disk:
                return await self._lost(entry).load(offset, length)
            fetch = entry.fetch_at(offset)
            await entry.wakers.park()
            if fetch is not None and fetch.error is not None:
                raise fetch.error

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        return _FillingStream(self, self._fetcher.world, offset, length)

    def close(self) -> None:
        entry = self._entry
        if entry is not None:
            self._entry = None
            if self._window is not None:
                self._window.close()
            entry.release()

    def _lost(self, entry: Entry) -> MemoryWindow:
        """The disk was lost in the middle: from now on `fd` is a window in memory."""
        if self._window is None:
            self._window = MemoryWindow(self._fetcher, entry)
            self.fd = self._window.fd
            self.source = "direct"
        return self._window

    def _opened(self) -> Entry:
        if self._entry is None:
            raise ValueError("the reader is closed")
        return self._entry


class _FileStream:
    def __init__(self, reader: FileReader, offset: int, length: int) -> None:
        self._reader = reader
        self._offset = offset
        self._end = offset + length

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        length = min(STREAM_CHUNK_BYTES, self._end - self._offset)
        if length <= 0:
            raise StopAsyncIteration
        chunk = await self._reader.read_some(self._offset, length)
        self._offset += len(chunk)
        return chunk


class _FillingStream:
    def __init__(self, reader: FillingReader, world: World, offset: int, length: int) -> None:
        self._reader = reader
        self._world = world
        self._offset = offset
        self._end = offset + length

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        remaining = self._end - self._offset
        if remaining <= 0:
            raise StopAsyncIteration
        count = await self._reader.available(self._offset, remaining)
        length = min(count, STREAM_CHUNK_BYTES)
        chunk = await read_file(self._world, self._reader.fd, self._offset, length)
        self._offset += len(chunk)
        return chunk
