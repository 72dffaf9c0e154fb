"""Readers: on a whole file, on a file that is being filled, and past the cache.

A hit makes nothing but a `FileReader`. Streams are plain iterators, not generators: whoever stops in the middle leaves nothing to finalise,
and closing the reader ends whatever it had running.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import trio

from appliance.cache.entry import Entry
from appliance.cache.fetching import Fetcher
from appliance.cache.plan.readahead import ReadAhead
from appliance.cache.sources import chunks_of, read_from
from appliance.model.errors import ApplianceError, BackendError, CorruptDataError
from appliance.model.objects import ObjectInfo
from appliance.model.ranges import RangeSpec
from appliance.plugin import Chunk
from appliance.world import Lane, World

STREAM_CHUNK_BYTES = 256 * 1024
# What a reader that wants very much is given at once; read-ahead does the rest.
_DEMAND_BYTES = 8 << 20


async def read_file(world: World, fd: int, offset: int, length: int) -> bytes:
    """`length` bytes at `offset`, inline where the page cache has them (1 us), else by a thread (100 us)."""
    buffer = bytearray(length)
    try:
        if os.preadv(fd, [buffer], offset, os.RWF_NOWAIT) == length:
            return bytes(buffer)
    except OSError:  # EAGAIN: not in memory; EOPNOTSUPP: the filesystem cannot tell
        pass
    data = await world.run_blocking(Lane.DISK, os.pread, fd, length, offset)
    if not data:
        raise CorruptDataError("A file ended before the object in it: it was cut from outside.")
    return data


class FileReader:
    """A whole object in one complete file: a cached one, or the backend's own."""

    __slots__ = ("_entry", "_world", "fd", "info", "source", "stale")

    def __init__(self, world: World, entry: Entry, source: str, *, stale: bool = False) -> None:
        """Takes over one `Entry.use`."""
        self.info = entry.info
        self.fd = entry.fd
        self.source = source
        self.stale = stale
        self._world = world
        self._entry: Entry | None = entry

    def available_nowait(self, offset: int, length: int) -> int:
        return length

    async def available(self, offset: int, length: int) -> int:
        return length

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        return _FileStream(self._world, self.fd, offset, length)

    async def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.info.size - offset)
        if length <= 0:
            return b""
        return await _joined(self.stream(offset, length))

    def close(self) -> None:
        entry = self._entry
        if entry is not None:
            self._entry = None
            entry.release()


class FillingReader:
    """An object whose file is partial: asks the `Fetcher` for what is missing, with read-ahead."""

    __slots__ = ("_ahead", "_direct", "_entry", "_fetcher", "fd", "info", "source", "stale")

    def __init__(self, fetcher: Fetcher, entry: Entry, source: str, *, stale: bool = False) -> None:
        """Takes over one `Entry.use`."""
        self.info = entry.info
        self.fd = entry.fd
        self.source = source
        self.stale = stale
        self._fetcher = fetcher
        self._entry: Entry | None = entry
        self._ahead = ReadAhead(fetcher.read_ahead_bytes)
        self._direct: DirectReader | None = None

    def available_nowait(self, offset: int, length: int) -> int:
        entry = self._opened()
        if not entry.complete:
            wanted = min(length, _DEMAND_BYTES)
            self._fetcher.want(entry, offset, wanted, self._ahead.advance(offset, wanted))
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
                self.fd = -1
                self.source = "direct"
                return 0
            fetch = entry.fetch_at(offset)
            await entry.wakers.park()
            if fetch is not None and fetch.error is not None:
                raise fetch.error

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        return _FillingStream(self, self._fetcher.world, offset, length)

    async def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.info.size - offset)
        if length <= 0:
            return b""
        return await _joined(self.stream(offset, length))

    def close(self) -> None:
        entry = self._entry
        if entry is not None:
            self._entry = None
            if self._direct is not None:
                self._direct.close()
            entry.release()

    def direct(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        """The rest of a stream, past the cache: the disk was lost in the middle."""
        if self._direct is None:
            self._direct = DirectReader(self._fetcher, self._opened())
        return self._direct.stream(offset, length)

    def _opened(self) -> Entry:
        if self._entry is None:
            raise ValueError("the reader is closed")
        return self._entry


class DirectReader:
    """Bytes from the source that do not touch this disk; every read asks for the version that was opened."""

    __slots__ = ("_entry", "_fetcher", "_pumps", "fd", "info", "source", "stale")

    def __init__(self, fetcher: Fetcher, entry: Entry) -> None:
        self.info: ObjectInfo = entry.info
        self.fd = -1
        self.source = "direct"
        self.stale = False
        self._fetcher = fetcher
        self._entry = entry
        self._pumps: list[_Pump] = []

    def available_nowait(self, offset: int, length: int) -> int:
        return 0

    async def available(self, offset: int, length: int) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        pump = _Pump(self._fetcher, self._entry, offset, length)
        self._pumps = [other for other in self._pumps if not other.ended]
        self._pumps.append(pump)
        return pump

    async def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.info.size - offset)
        if length <= 0:
            return b""
        return await _joined(self.stream(offset, length))

    def close(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        self._pumps.clear()


class _FileStream:
    def __init__(self, world: World, fd: int, offset: int, length: int) -> None:
        self._world = world
        self._fd = fd
        self._offset = offset
        self._end = offset + length

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        length = min(STREAM_CHUNK_BYTES, self._end - self._offset)
        if length <= 0:
            raise StopAsyncIteration
        chunk = await read_file(self._world, self._fd, self._offset, length)
        self._offset += len(chunk)
        return chunk


class _FillingStream:
    def __init__(self, reader: FillingReader, world: World, offset: int, length: int) -> None:
        self._reader = reader
        self._world = world
        self._offset = offset
        self._end = offset + length
        self._direct: AsyncIterator[Chunk] | None = None

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self._direct is not None:
            return await self._direct.__anext__()
        remaining = self._end - self._offset
        if remaining <= 0:
            raise StopAsyncIteration
        count = await self._reader.available(self._offset, remaining)
        if count == 0:
            self._direct = self._reader.direct(self._offset, remaining)
            return await self._direct.__anext__()
        length = min(count, STREAM_CHUNK_BYTES)
        chunk = await read_file(self._world, self._reader.fd, self._offset, length)
        self._offset += len(chunk)
        return chunk


class _Pump:
    """One read from the source, in a task of the cache's nursery, a chunk at a time."""

    def __init__(self, fetcher: Fetcher, entry: Entry, offset: int, length: int) -> None:
        self._fetcher = fetcher
        self._entry = entry
        self._wanted = RangeSpec(offset, offset + length - 1)
        self._scope = trio.CancelScope()
        self._error: ApplianceError | None = None
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._started = self.ended = length == 0
        if self.ended:
            self._send.close()

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if not self._started:
            self._started = True
            if self._fetcher.nursery is None:
                raise RuntimeError("ObjectCache.run is not running")
            self._fetcher.nursery.start_soon(self._run)
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    def cancel(self) -> None:
        self._scope.cancel()
        self._receive.close()

    async def _run(self) -> None:
        entry = self._entry
        version = entry.info.version
        try:
            with self._scope:
                async with (
                    read_from(
                        self._fetcher.sources,
                        entry.route,
                        entry.name,
                        self._wanted,
                        version=version,
                    ) as stream,
                    chunks_of(stream) as chunks,
                ):
                    async for chunk in chunks:
                        self._fetcher.fetched_bytes += len(chunk)
                        await self._send.send(chunk)
        except trio.BrokenResourceError:
            pass  # closed in the middle
        except ApplianceError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  # as in Fetcher.guard
            self._fetcher.note_bug(entry, error)
            self._error = BackendError(bucket=entry.name[0], key=entry.name[1])
        finally:
            self.ended = True
            self._send.close()


async def _joined(stream: AsyncIterator[Chunk]) -> bytes:
    chunks = [bytes(chunk) async for chunk in stream]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
