"""Bytes of an upstream's answers on their way to whoever reads them: iterated, chunk by chunk, or drained by a thread.

A `Flow` lives inside `flowing`: its tasks run in a nursery of that block, and whoever leaves the block early interrupts the thread that may
be waiting for bytes. Where they come from is a `Supply`: one answer after the other, or several side by side.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import trio

from appliance.model.errors import ApplianceError
from appliance.model.objects import ObjectInfo
from appliance.model.ranges import ByteRange
from appliance.plugin import ObjectStream
from appliance_s3.getting import CHUNK_BYTES, Answer

# Takes a piece of the body; False when no more is wanted.
Write = Callable[[memoryview], bool]


class Supply(Protocol):
    """Feeds a flow."""

    drains: bool

    async def send_to(self, flow: Flow) -> None:
        """Hand all bytes to `flow.send`."""
        ...

    async def drain_into(self, flow: Flow, write: Write) -> None:
        """Hand them to `write`, in a thread, until it wants no more; only where `drains`."""
        ...


class Whole:
    """Chunks that are there already."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    async def drain(self, _write: Write) -> bool:
        return False


class Flow:
    """See the module. `answer` is the one being read; `offset`, where in the object its next byte lies."""

    nursery: trio.Nursery

    def __init__(self, answer: Answer, supply: Supply, offset: int) -> None:
        self.answer = answer
        self.offset = offset
        self._supply = supply
        self._iterating = False
        self._error: ApplianceError | None = None
        self._buffer: memoryview | None = None
        # One chunk waits here, while one is with the consumer and another being read.
        self._send, self._receive = trio.open_memory_channel[bytes](1)

    # --- what the supply uses ------------------------------------------------------------

    async def send(self, chunk: bytes) -> None:
        await self._send.send(chunk)

    def buffer(self) -> memoryview:
        """Room for a piece; the same each time."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(CHUNK_BYTES))
        return self._buffer

    # --- what the consumer uses ------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[bytes]:
        # An iterator is asked for itself again by each `async for`.
        if not self._iterating:
            self._iterating = True
            self.nursery.start_soon(self._iterated)
        return self

    async def _iterated(self) -> None:
        try:
            await self._supply.send_to(self)
        except ApplianceError as error:
            self._error = error
        finally:
            self._send.close()

    async def __anext__(self) -> bytes:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    async def drain(self, write: Write) -> bool:
        """See `ObjectStream.drain`."""
        if not self._supply.drains:
            return False
        done = trio.Event()
        self.nursery.start_soon(self._drained, write, done)
        # Whoever is cancelled here leaves `flowing`, which interrupts the thread.
        await done.wait()
        if self._error is not None:
            raise self._error
        return True

    async def _drained(self, write: Write, done: trio.Event) -> None:
        try:
            await self._supply.drain_into(self, write)
        except ApplianceError as error:
            self._error = error
        finally:
            done.set()


@contextlib.asynccontextmanager
async def flowing(answer: Answer, supply: Supply, offset: int) -> AsyncIterator[Flow]:
    """A flow for the time of the block; errors of the block come out as they are, not in groups."""
    flow = Flow(answer, supply, offset)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as flow.nursery:
            try:
                yield flow
            except Exception as error:  # noqa: BLE001  # raised again below, outside of the nursery
                failure = error
            finally:
                flow.answer.interrupt()
                flow.nursery.cancel_scope.cancel()
    finally:
        flow.answer.discard()
    if failure is not None:
        raise failure


class Stream(ObjectStream):
    """What `Backend.read` gives."""

    def __init__(self, info: ObjectInfo, part: ByteRange, bytes_: Whole | Flow) -> None:
        self.info = info
        self.range = part
        self._bytes = bytes_

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._bytes)

    async def drain(self, write: Write) -> bool:
        return await self._bytes.drain(write)
