"""Reading past the cache: the disk is full or failing, or the object is larger than all of it.

`DirectReader` streams. `MemoryWindow` is for a reader that has already promised a descriptor when its disk gives out: a memory file in
which the bytes appear at their own offsets, and from which old ones are taken away again.
"""

from __future__ import annotations

import ctypes
import os
from collections import OrderedDict
from collections.abc import AsyncIterator

import trio

from appliance.cache.entry import Entry
from appliance.cache.fetching import Fetcher
from appliance.cache.sources import chunks_of, read_from
from appliance.model.errors import ApplianceError, BackendError, BackendUnavailableError
from appliance.model.objects import ObjectInfo
from appliance.model.ranges import RangeSpec
from appliance.plugin import Chunk

# What a window keeps. Several reads of one reader may be under way (the kernel sends up to 12 of 1 MiB at most); none may lose its bytes.
_WINDOW_BYTES = 16 << 20
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


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
        self._pumps: list[Pump] = []

    def available_nowait(self, offset: int, length: int) -> int:
        return 0

    async def available(self, offset: int, length: int) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    def stream(self, offset: int, length: int) -> AsyncIterator[Chunk]:
        pump = Pump(self._fetcher, self._entry, offset, length)
        self._pumps = [other for other in self._pumps if not other.ended]
        self._pumps.append(pump)
        return pump

    async def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.info.size - offset)
        if length <= 0:
            return b""
        return await joined(self.stream(offset, length))

    def close(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        self._pumps.clear()


class MemoryWindow:
    """Bytes of one version in memory, at their own offsets in `fd`: at most about 16 MiB of them."""

    def __init__(self, fetcher: Fetcher, entry: Entry) -> None:
        self.fd = os.memfd_create("window")
        self._fetcher = fetcher
        self._entry = entry
        self._lock = trio.Lock()
        self._pieces: OrderedDict[int, int] = OrderedDict()  # offset -> length
        self._bytes = 0
        self._pump: Pump | None = None
        self._position = -1

    def has(self, offset: int, length: int) -> int:
        """Bytes from `offset` that are here, at most `length`."""
        for start, size in self._pieces.items():
            if start <= offset < start + size:
                return min(length, start + size - offset)
        return 0

    async def load(self, offset: int, length: int) -> int:
        """Wait for at least one byte at `offset`; as `Reader.available`."""
        async with self._lock:
            count = self.has(offset, length)
            if count:
                return count
            chunk = await self._next_chunk(offset, length)
            os.pwrite(self.fd, chunk, offset)
            self._pieces[offset] = len(chunk)
            self._bytes += len(chunk)
            self._position = offset + len(chunk)
            while self._bytes > _WINDOW_BYTES and len(self._pieces) > 1:
                self._punch(*self._pieces.popitem(last=False))
            return min(length, len(chunk))

    def close(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    async def _next_chunk(self, offset: int, length: int) -> Chunk:
        if self._pump is not None and self._position == offset:
            try:
                return await anext(self._pump)
            except StopAsyncIteration:
                pass  # it went as far as was wanted then
        if self._pump is not None:
            self._pump.cancel()
        self._pump = Pump(self._fetcher, self._entry, offset, length)
        try:
            return await anext(self._pump)
        except StopAsyncIteration:
            bucket, key = self._entry.name
            raise BackendUnavailableError(
                "The object came incomplete.", bucket=bucket, key=key
            ) from None

    def _punch(self, offset: int, length: int) -> None:
        """Give the memory back."""
        self._bytes -= length
        _libc.fallocate(
            self.fd, _KEEP_SIZE_AND_PUNCH_HOLE, ctypes.c_long(offset), ctypes.c_long(length)
        )


class Pump:
    """One read from the source, in a task of the cache's nursery, a chunk at a time."""

    def __init__(self, fetcher: Fetcher, entry: Entry, offset: int, length: int) -> None:
        self._fetcher = fetcher
        self._entry = entry
        self._wanted = RangeSpec(offset, offset + length - 1)
        self._remaining = length
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
            if self._remaining:
                bucket, key = self._entry.name
                raise BackendUnavailableError(
                    "The object came incomplete.", bucket=bucket, key=key
                ) from None
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
                        self._remaining -= len(chunk)
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


async def joined(stream: AsyncIterator[Chunk]) -> bytes:
    """All of a stream."""
    chunks = [bytes(chunk) async for chunk in stream]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
