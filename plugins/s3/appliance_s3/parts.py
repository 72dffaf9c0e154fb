"""Objects that one request cannot carry: cut into parts, uploaded as a multipart upload of our own, which is aborted if anything fails."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import trio

from appliance.model.checksums import multipart_etag
from appliance.model.errors import ApplianceError, EntityTooLargeError, IncompleteBodyError
from appliance.model.objects import PART_NUMBER_MAX
from appliance.plugin import Chunk
from appliance_s3.answers import Made, made, unquote_etag
from appliance_s3.failures import Where
from appliance_s3.requests import add_headers, content_md5
from appliance_s3.sending import CLEAN_UP_TIMEOUT_S, Sender

# Parts of unknown size: small ones first, larger ones later, so that an object can grow beyond 10,000 x 8 MiB: to 570 GiB.
PARTS = ((1000, 8 << 20), (PART_NUMBER_MAX, 64 << 20))
PARTS_AT_A_TIME = 2


def part_bytes(number: int) -> int:
    """Size of part `number` of an upload of unknown size."""
    return next(size for last, size in PARTS if number <= last)


def streamed_part_bytes(size: int) -> int:
    """Size of the parts of an upload of known size: at least 512 MiB, and as large as 10,000 parts need."""
    return max(512 << 20, -(-size // PART_NUMBER_MAX))


def expected_etag(part_etags: Sequence[str]) -> str:
    """ETag that an upload of these parts should get; "" where theirs are no MD5s."""
    try:
        return multipart_etag(unquote_etag(etag) for etag in part_etags)
    except ValueError:
        return ""


async def gather(chunks: AsyncIterator[Chunk], into: bytearray, size: int) -> bool:
    """Append chunks to `into` until it holds at least `size` bytes (False), or the body has ended (True)."""
    while len(into) < size:
        try:
            into += await anext(chunks)
        except StopAsyncIteration:
            return True
    return False


class Part:
    """A part to upload: `data` if it was gathered, else `size` bytes from `chunks`, which come after `data`."""

    def __init__(
        self,
        number: int,
        data: bytearray,
        size: int = 0,
        chunks: AsyncGenerator[Chunk, None] | None = None,
    ) -> None:
        self.number = number
        self.data = data
        self.size = size
        self.chunks = chunks


async def gathered_parts(
    chunks: AsyncIterator[Chunk], start: bytearray
) -> AsyncGenerator[Part, None]:
    """Parts of a body of unknown size, each in memory."""
    data = start
    number = 0
    ended = False
    while not ended or data:
        number += 1
        if number > PART_NUMBER_MAX:
            raise EntityTooLargeError("A body of unknown size may have at most 570 GiB.")
        wanted = part_bytes(number)
        ended = ended or await gather(chunks, data, wanted)
        yield Part(number, data[:wanted])
        data = data[wanted:]


async def streamed_parts(
    size: int, chunks: AsyncIterator[Chunk], start: bytearray
) -> AsyncGenerator[Part, None]:
    """Parts of a body of known size, each streamed from where the one before ended."""
    cutter = _Cutter(chunks, start)
    wanted = streamed_part_bytes(size)
    for number, offset in enumerate(range(0, size, wanted), 1):
        last = offset + wanted >= size
        length = min(wanted, size - offset)
        # The last part takes what there is: too many bytes are an error, and the body's verification is at its very end.
        yield Part(number, bytearray(), length, cutter.rest() if last else cutter.cut(length))


class _Cutter:
    """Cuts a stream of chunks into streams of given lengths."""

    def __init__(self, chunks: AsyncIterator[Chunk], start: bytearray) -> None:
        self._chunks = chunks
        self._left = bytes(start)

    async def cut(self, size: int) -> AsyncGenerator[Chunk, None]:
        while size > 0:
            chunk: Chunk = self._left
            if not chunk:
                try:
                    chunk = await anext(self._chunks)
                except StopAsyncIteration:
                    raise IncompleteBodyError from None
            self._left = bytes(chunk[size:])
            chunk = chunk[:size]
            size -= len(chunk)
            yield chunk

    async def rest(self) -> AsyncGenerator[Chunk, None]:
        if self._left:
            yield self._left
        async for chunk in self._chunks:
            yield chunk


class OwnUpload:
    """One multipart upload of our own, from creation to completion; aborted if anything fails."""

    def __init__(self, sender: Sender, where: Where, target: dict[str, str]) -> None:
        self._sender = sender
        self._where = where
        self._target: dict[str, Any] = dict(target)
        self._etags: dict[int, str] = {}

    async def run(
        self, parameters: dict[str, Any], parts: AsyncIterator[Part], headers: dict[str, str]
    ) -> Made:
        """What it made, once it is complete. `headers`: the conditions, which count at completion."""
        created = await self._sender.call(self._where, "create_multipart_upload", parameters)
        self._target["UploadId"] = created["UploadId"]
        try:
            await self._put_parts(parts)
            return await self._complete(headers)
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEAN_UP_TIMEOUT_S):
                await self._abort()
            raise

    async def _put_parts(self, parts: AsyncIterator[Part]) -> None:
        """Gathered parts some at a time; a streamed one before the next. The first failure ends all."""
        failure: Exception | None = None
        slots = trio.Semaphore(PARTS_AT_A_TIME)
        async with trio.open_nursery() as nursery:

            async def put(part: Part) -> None:
                nonlocal failure
                try:
                    await self._put_part(part)
                except Exception as error:  # noqa: BLE001  # raised again below, outside of the nursery
                    failure = failure or error
                    nursery.cancel_scope.cancel()
                finally:
                    slots.release()

            try:
                async for part in parts:
                    await slots.acquire()
                    if part.chunks is None:
                        nursery.start_soon(put, part)
                    else:
                        await put(part)
            except Exception as error:  # noqa: BLE001  # the same
                failure = failure or error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _put_part(self, part: Part) -> None:
        target = {**self._target, "PartNumber": part.number}
        if part.chunks is None:
            md5 = hashlib.md5(part.data, usedforsecurity=False).hexdigest()
            whole = {**target, "Body": bytes(part.data), "ContentMD5": content_md5(md5)}
            answer = await self._sender.call(self._where, "upload_part", whole)
        else:
            streamed = {**target, "ContentLength": part.size}
            async with aclosing(part.chunks) as chunks:
                answer = await self._sender.stream(
                    self._where, "upload_part", streamed, chunks, bytearray()
                )
        self._etags[part.number] = answer["ETag"]

    async def _complete(self, headers: dict[str, str]) -> Made:
        parts = [
            {"PartNumber": number, "ETag": etag} for number, etag in sorted(self._etags.items())
        ]
        parameters = {**self._target, "MultipartUpload": {"Parts": parts}}
        add_headers(parameters, headers)
        expected = expected_etag([str(part["ETag"]) for part in parts])
        return made(await self._sender.complete(self._where, parameters, expected))

    async def _abort(self) -> None:
        try:
            await self._sender.call(self._where, "abort_multipart_upload", self._target)
        except ApplianceError as error:
            upstream = self._sender.upstream
            upstream.host.logger.warning(
                "backend %s: an upload could not be aborted and keeps its space: %s",
                upstream.name,
                error,
            )
