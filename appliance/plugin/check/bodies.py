"""Bodies that are allowed by the contract, and hard on a backend."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import trio

from appliance.plugin.body import Body, Chunk, Digests


class ScribblingBody(Body):
    """`data` in chunks of `chunk_bytes` that share one buffer, scribbled over as soon as the next chunk is asked for."""

    def __init__(self, data: bytes, *, chunk_bytes: int = 1 << 18, size_known: bool = True) -> None:
        self.size = len(data) if size_known else None
        self._data = data
        self._chunk_bytes = chunk_bytes
        self._offset = 0
        self._buffer = bytearray(chunk_bytes)
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        await trio.lowlevel.checkpoint()
        await self.before_chunk(self._offset)
        self._buffer[:] = b"\xee" * self._chunk_bytes
        piece = self._data[self._offset : self._offset + self._chunk_bytes]
        if not piece:
            self._ended = True
            raise StopAsyncIteration
        self._offset += len(piece)
        self._buffer[: len(piece)] = piece
        return memoryview(self._buffer)[: len(piece)]

    async def before_chunk(self, offset: int) -> None:
        """Called before the chunk at `offset`, and before the end."""

    def digests(self) -> Digests:
        if not self._ended:
            raise RuntimeError("digests() was called before the body had ended")
        return Digests(hashlib.md5(self._data, usedforsecurity=False).hexdigest())


class FailingBody(ScribblingBody):
    """Raises `error` once `good_bytes` have been taken; with all of them, just where it should have ended (a wrong checksum does that)."""

    def __init__(
        self, data: bytes, *, good_bytes: int, error: Exception, size_known: bool = True
    ) -> None:
        super().__init__(data, size_known=size_known)
        self._good_bytes = good_bytes
        self._error = error

    async def before_chunk(self, offset: int) -> None:
        if offset >= self._good_bytes:
            raise self._error


class StallingBody(ScribblingBody):
    """Sets `reached` once `good_bytes` have been taken, and then waits for `go`."""

    def __init__(self, data: bytes, *, good_bytes: int, size_known: bool = True) -> None:
        super().__init__(data, size_known=size_known)
        self._good_bytes = good_bytes
        self.reached = trio.Event()
        self.go = trio.Event()

    async def before_chunk(self, offset: int) -> None:
        if offset >= self._good_bytes:
            self.reached.set()
            await self.go.wait()
