"""Where the bytes of a large read come from: one answer, and others from where it broke off, or several ranges side by side."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from appliance.model.errors import ApplianceError, BackendUnavailableError
from appliance.model.ranges import ByteRange
from appliance_s3.failures import Where
from appliance_s3.flowing import Flow, Write
from appliance_s3.getting import Answer
from appliance_s3.upstream import Upstream

T = TypeVar("T")

SEGMENT_BYTES = 4 << 20
# A thread drains a body for so long, then others have their turn.
TURN_S = 0.1

# Gets another range of the same version: chunks, if it has at most so many bytes, else the body on the wire.
Again = Callable[[ByteRange, int], Awaitable[Answer]]


class Resumed:
    """One answer; where it breaks off, another from there."""

    drains = True

    def __init__(self, upstream: Upstream, where: Where, part: ByteRange, again: Again) -> None:
        self._upstream = upstream
        self._where = where
        self._end = part.end
        self._again = again
        self._failures = 0
        self._failed_at = -1

    async def send_to(self, flow: Flow) -> None:
        while flow.offset < self._end:
            chunk = await self._turn(flow, functools.partial(self._next_chunk, flow))
            if chunk is not None:
                await flow.send(chunk)

    def _next_chunk(self, flow: Flow) -> bytes:
        chunk = flow.answer.next_chunk(self._end - flow.offset)
        self._moved(flow, len(chunk))
        return chunk

    async def drain_into(self, flow: Flow, write: Write) -> None:
        wanted: bool | None = True
        while flow.offset < self._end and wanted is not False:
            wanted = await self._turn(flow, functools.partial(self._drain, flow, write))

    def _drain(self, flow: Flow, write: Write) -> bool:
        """For one turn; whether more is wanted."""
        now_s = self._upstream.host.boot_s
        end_s = now_s() + TURN_S
        buffer = flow.buffer()
        while flow.offset < self._end:
            count = flow.answer.next_into(buffer, self._end - flow.offset)
            self._moved(flow, count)
            if not write(buffer[:count]):
                return False
            if now_s() > end_s:
                break
        return True

    def _moved(self, flow: Flow, count: int) -> None:
        # In a thread, while nobody else looks.
        flow.offset += count
        self._upstream.counts["read_bytes"] += count

    async def _turn(self, flow: Flow, call: Callable[[], T]) -> T | None:
        """What `call` returns, run in a thread; None where the answer broke off, and `flow` has another."""
        try:
            return await self._upstream.call(self._where, call, once=True)
        except BackendUnavailableError:
            self._failures = 1 if flow.offset > self._failed_at else self._failures + 1
            self._failed_at = flow.offset
            if self._failures >= self._upstream.settings.max_attempts:
                raise
        self._upstream.counts["retries"] += 1
        flow.answer.discard()
        flow.answer = await self._again(ByteRange(flow.offset, self._end - flow.offset), 0)
        return None


class SideBySide:
    """Segments in order; up to `read_parallelism` are fetched or wait for their turn at a time. The first is there."""

    drains = False

    def __init__(self, upstream: Upstream, _where: Where, part: ByteRange, again: Again) -> None:
        self._parallelism = upstream.settings.read_parallelism
        self._end = part.end
        self._again = again

    async def send_to(self, flow: Flow) -> None:
        first = flow.answer
        fetches = deque([_Fetch(first.chunks)])
        failure: ApplianceError | None = None
        async with trio.open_nursery() as nursery:
            try:
                for offset in range(first.range.end, self._end, SEGMENT_BYTES):
                    segment = ByteRange(offset, min(SEGMENT_BYTES, self._end - offset))
                    fetches.append(_Fetch())
                    nursery.start_soon(self._fetch, segment, fetches[-1])
                    if len(fetches) > self._parallelism:
                        await fetches.popleft().deliver(flow)
                while fetches:
                    await fetches.popleft().deliver(flow)
            except ApplianceError as error:
                failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def drain_into(self, flow: Flow, write: Write) -> None:
        raise NotImplementedError("`drains` says so")

    async def _fetch(self, segment: ByteRange, fetch: _Fetch) -> None:
        try:
            answer = await self._again(segment, SEGMENT_BYTES)
            fetch.chunks = answer.chunks
        except ApplianceError as error:
            fetch.error = error
        finally:
            fetch.done.set()


class _Fetch:
    """A segment on its way."""

    def __init__(self, chunks: list[bytes] | None = None) -> None:
        self.chunks = chunks
        self.error: ApplianceError | None = None
        self.done = trio.Event()
        if chunks is not None:
            self.done.set()

    async def deliver(self, flow: Flow) -> None:
        await self.done.wait()
        if self.error is not None:
            raise self.error
        for chunk in self.chunks or ():
            await flow.send(chunk)
