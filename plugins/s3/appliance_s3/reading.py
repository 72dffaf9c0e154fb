"""Reading: one thread call where the answer is small, a stream with read-ahead where not, ranged GETs side by side for a large range.

    small      up to `WHOLE_BYTES`: request and body in one hop to a thread (a hop costs about 0.1 ms)
    stream     chunks of `CHUNK_BYTES`; while one is with the consumer, the next waits and the one after it is being read
    segments   ranges from `SEGMENTED_BYTES`: several GETs of `SEGMENT_BYTES` at a time, delivered in order, each If-Match the first's ETag

A body that breaks off is fetched again from where it broke, If-Match; whatever cannot be completed raises, so a stream never ends early.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio
from botocore.exceptions import IncompleteReadError

from appliance.model.errors import (
    ApplianceError,
    BackendUnavailableError,
    InvalidRangeError,
    NoSuchKeyError,
    NotModifiedError,
    PreconditionFailedError,
    VersionChangedError,
)
from appliance.model.objects import NO_CONDITIONS, Conditions, ObjectInfo
from appliance.model.ranges import ByteRange, RangeSpec
from appliance.plugin import ObjectStream
from appliance_s3.answers import answered_range, object_info
from appliance_s3.bodies import Body, BotoBody, FastBody
from appliance_s3.failures import Where
from appliance_s3.requests import add_headers, range_header, read_conditions
from appliance_s3.upstream import Upstream

CHUNK_BYTES = 1 << 20
WHOLE_BYTES = 1 << 20
SEGMENT_BYTES = 4 << 20
SEGMENTED_BYTES = 16 << 20


# What is certainly an ETag; a forged version must not become a header as it is.
_ETAG = re.compile(r"[0-9a-zA-Z-]+\Z")


class Wanted:
    """What is read: an object under its user's name (`where`) and its place upstream, perhaps a range, perhaps one version of it."""

    def __init__(
        self,
        where: Where,
        place: dict[str, str],
        asked: RangeSpec | None,
        version: str,
        conditions: Conditions,
    ) -> None:
        self.where = where
        self.place = place
        self.asked = asked
        self.version = version
        self.conditions = conditions

    def parameters(
        self, part: RangeSpec | ByteRange | None, conditions: Conditions
    ) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(self.place)
        if part is not None:
            parameters["Range"] = range_header(part)
        add_headers(parameters, read_conditions(conditions))
        return parameters

    def first_conditions(self) -> Conditions:
        """Of the first request: the version, if one is wanted, makes any other condition ours to check."""
        if not self.version:
            return self.conditions
        etag = self.version.partition("/")[0]
        return Conditions(if_match=(etag,)) if _ETAG.match(etag) else NO_CONDITIONS

    def changed(self) -> VersionChangedError:
        return VersionChangedError(bucket=self.where.bucket, key=self.where.key)

    def check(self, info: ObjectInfo) -> None:
        """Raise unless this is the version, and fulfils the conditions."""
        if self.version and info.version != self.version:
            raise self.changed()
        self.conditions.check_read(info)


class _Answer:
    """An answer to GetObject: what it is about, and its body: chunks if it was small, else still on the wire."""

    def __init__(self, key: str, response: dict[str, Any], whole_bytes: int) -> None:
        self.info = object_info(key, response)
        self.range = answered_range(response)
        self.chunks: list[bytes] | None = None
        body = response["Body"]
        self._body: Body = body if isinstance(body, FastBody) else BotoBody(body, self.range.length)
        if self.range.length <= whole_bytes:
            self.chunks = self._read_all()

    def _read_all(self) -> list[bytes]:
        chunks = []
        left = self.range.length
        while left:
            chunks.append(self.next_chunk(left))
            left -= len(chunks[-1])
        return chunks

    def next_chunk(self, left: int) -> bytes:
        """Up to `CHUNK_BYTES` of the `left` bytes of the body that are still to come. Runs in a thread."""
        buffer = bytearray(min(left, CHUNK_BYTES))
        count = self._body.readinto(memoryview(buffer))
        if not count:
            raise IncompleteReadError(actual_bytes=self.range.length - left, expected_bytes=left)
        return bytes(buffer if count == len(buffer) else buffer[:count])

    def interrupt(self) -> None:
        """Make a read that is under way in a thread return."""
        self._body.interrupt()

    def discard(self) -> None:
        """Close what is left of the answer, and its connection; no thread may be reading."""
        self._body.close()


def _get(
    get_object: Callable[..., dict[str, Any]],
    key: str,
    parameters: dict[str, Any],
    whole_bytes: int,
) -> _Answer:
    """Runs in a thread."""
    return _Answer(key, get_object(**parameters), whole_bytes)


class _Stream(ObjectStream):
    def __init__(self, info: ObjectInfo, part: ByteRange, chunks: AsyncIterator[bytes]) -> None:
        self.info = info
        self.range = part
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


class _Whole:
    """Iterates over chunks that are there already."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


class _Flow:
    """Iterates over chunks that a task sends; `answer` is the one being read, to interrupt it when the consumer goes."""

    def __init__(self, answer: _Answer) -> None:
        self.answer = answer
        self.error: ApplianceError | None = None
        # One chunk waits here, while one is with the consumer and another being read.
        self._send, self._receive = trio.open_memory_channel[bytes](1)

    async def send(self, chunk: bytes) -> None:
        await self._send.send(chunk)

    async def run(self, source: Callable[[_Flow], Awaitable[None]]) -> None:
        try:
            await source(self)
        except ApplianceError as error:
            self.error = error
        finally:
            self._send.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self.error is not None:
                raise self.error from None
            raise StopAsyncIteration from None


@contextlib.asynccontextmanager
async def _flowing(
    answer: _Answer, source: Callable[[_Flow], Awaitable[None]]
) -> AsyncIterator[_Flow]:
    """A flow that `source` feeds while the block runs; errors of the block come out as they are, not in groups."""
    flow = _Flow(answer)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flow.run, source)
            try:
                yield flow
            except Exception as error:  # noqa: BLE001  # raised again below, outside of the nursery
                failure = error
            finally:
                flow.answer.interrupt()
                nursery.cancel_scope.cancel()
    finally:
        flow.answer.discard()
    if failure is not None:
        raise failure


class Reader:
    """Opens streams on objects of one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @contextlib.asynccontextmanager
    async def read(self, wanted: Wanted) -> AsyncIterator[ObjectStream]:
        """See `Backend.read`."""
        first = self._first_segment(wanted.asked)
        answer = await self._open(
            wanted, first or wanted.asked, SEGMENT_BYTES if first else WHOLE_BYTES
        )
        part = wanted.asked.resolve(answer.info.size) if wanted.asked else answer.range
        if answer.range.offset != part.offset or answer.range.length > part.length:
            answer.discard()
            raise BackendUnavailableError(
                f"The upstream of backend {self._upstream.name} answered with another range than asked for."
            )
        if answer.chunks is not None and answer.range.length == part.length:
            yield _Stream(answer.info, part, _Whole(answer.chunks))
            return
        source = self._stream if answer.chunks is None else self._segments
        async with _flowing(answer, functools.partial(source, wanted, part)) as flow:
            yield _Stream(answer.info, part, flow)

    def _first_segment(self, asked: RangeSpec | None) -> RangeSpec | None:
        """The first of several ranged GETs, if it is certain that the range asked for is large."""
        if self._upstream.settings.read_parallelism == 1 or asked is None:
            return None
        if asked.first is None or asked.last is None:
            return None
        if asked.last - asked.first + 1 < SEGMENTED_BYTES:
            return None
        return RangeSpec(asked.first, asked.first + SEGMENT_BYTES - 1)

    async def _open(self, wanted: Wanted, part: RangeSpec | None, whole_bytes: int) -> _Answer:
        """The first request; everything about the object is checked against what is wanted."""
        parameters = wanted.parameters(part, wanted.first_conditions())
        try:
            answer = await self._get(wanted, parameters, whole_bytes)
        except PreconditionFailedError:
            if wanted.version:
                raise wanted.changed() from None
            raise
        except InvalidRangeError as error:
            if error.size == 0:
                error.size = (await self._head(wanted)).size
            raise
        except NotModifiedError as error:
            # radosgw 16.2 leaves out what a 304 must repeat.
            if not error.etag:
                info = await self._head(wanted)
                error.etag, error.modified_ns = info.etag, info.modified_ns
            raise
        try:
            wanted.check(answer.info)
        except ApplianceError:
            answer.discard()
            raise
        return answer

    async def _head(self, wanted: Wanted) -> ObjectInfo:
        """What an error has to tell about the object, where the answer did not."""
        head = functools.partial(self._upstream.operation("head_object"), **wanted.place)
        return object_info(wanted.where.key, await self._upstream.call(wanted.where, head))

    async def _get(self, wanted: Wanted, parameters: dict[str, Any], whole_bytes: int) -> _Answer:
        get_object = self._upstream.operation("get_object")
        function = functools.partial(_get, get_object, wanted.where.key, parameters, whole_bytes)
        answer = await self._upstream.call(wanted.where, function)
        if answer.chunks is not None:
            self._upstream.counts["read_bytes"] += answer.range.length
        return answer

    async def _again(
        self, wanted: Wanted, info: ObjectInfo, part: ByteRange, whole_bytes: int
    ) -> _Answer:
        """Another range of the very version that `info` describes."""
        same = Conditions(if_match=(info.etag,)) if info.etag else NO_CONDITIONS
        try:
            answer = await self._get(wanted, wanted.parameters(part, same), whole_bytes)
        except (PreconditionFailedError, NoSuchKeyError, InvalidRangeError):
            raise wanted.changed() from None
        if answer.info.version != info.version or answer.range != part:
            answer.discard()
            raise wanted.changed()
        return answer

    async def _stream(self, wanted: Wanted, part: ByteRange, flow: _Flow) -> None:
        """Send the chunks of the answer; where it breaks off, go on with another."""
        offset = part.offset
        failures = 0
        while offset < part.end:
            read = functools.partial(flow.answer.next_chunk, part.end - offset)
            try:
                chunk = await self._upstream.call(wanted.where, read, once=True)
            except BackendUnavailableError:
                failures += 1
                if failures >= self._upstream.settings.max_attempts:
                    raise
                self._upstream.counts["retries"] += 1
                flow.answer.discard()
                rest = ByteRange(offset, part.end - offset)
                flow.answer = await self._again(wanted, flow.answer.info, rest, 0)
                continue
            failures = 0
            offset += len(chunk)
            self._upstream.counts["read_bytes"] += len(chunk)
            await flow.send(chunk)

    async def _segments(self, wanted: Wanted, part: ByteRange, flow: _Flow) -> None:
        """Send the segments in order; up to `read_parallelism` are fetched or wait for their turn at a time."""
        first = flow.answer
        fetches = deque([_Fetch(first.chunks)])
        failure: ApplianceError | None = None
        async with trio.open_nursery() as nursery:
            try:
                for offset in range(first.range.end, part.end, SEGMENT_BYTES):
                    segment = ByteRange(offset, min(SEGMENT_BYTES, part.end - offset))
                    fetches.append(_Fetch())
                    nursery.start_soon(self._fetch, wanted, first.info, segment, fetches[-1])
                    if len(fetches) > self._upstream.settings.read_parallelism:
                        await fetches.popleft().deliver(flow)
                while fetches:
                    await fetches.popleft().deliver(flow)
            except ApplianceError as error:
                failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _fetch(
        self, wanted: Wanted, info: ObjectInfo, segment: ByteRange, fetch: _Fetch
    ) -> None:
        try:
            answer = await self._again(wanted, info, segment, SEGMENT_BYTES)
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

    async def deliver(self, flow: _Flow) -> None:
        await self.done.wait()
        if self.error is not None:
            raise self.error
        for chunk in self.chunks or ():
            await flow.send(chunk)
