"""A request's body as the cache takes it: decoded, hashed, and verified before its iteration ends.

    socket -> [aws-chunked decoder] -> buffer N+1      the event loop
                                       buffer N        the consumer writes it (a thread of the disk or the backend)
                                       buffer N, N-1   hashed in a thread

Three buffers of 1 MiB an upload: the slowest of the three, which is MD5 (about 0.6 GB/s), sets the pace, and nobody waits for two of
them in turn. Small bodies are received whole and hashed inline, as a trip to a thread costs more (100 us) than MD5 of 64 KiB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from appliance.model.checksums import Hasher, encode, new_hasher
from appliance.model.errors import EntityTooLargeError
from appliance.plugin import Body, Chunk, Digests
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.operations.call import Call
from appliance.s3.wire.chunked import ChunkedDecoder, decoded_length, decoder_for
from appliance.s3.wire.digest import DeclaredDigests, declared_digests
from appliance.s3.wire.errors import BodyTooLargeError, MissingContentLengthError
from appliance.world import Lane, World

T = TypeVar("T")

_ENCODED_RECEIVE_BYTES = 256 << 10


async def with_payload(
    call: Call, kept: tuple[str, ...], consume: Callable[[Body], Awaitable[T]]
) -> T:
    """`consume` the body of `call`; `kept` are checksums to compute besides those the request declares.

    Raises what `consume` raises, and before that MissingContentLengthError, EntityTooLargeError, and errors of the declarations.
    """
    payload = _payload(call, kept)
    settings = call.context.settings
    if payload.size is not None and payload.size <= settings.inline_body_bytes:
        return await consume(payload)
    outcome: list[T] = []
    failure: list[Exception] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(payload.hash_in_background)
        try:
            outcome.append(await consume(payload))
        except Exception as error:  # noqa: BLE001  # raised again below, outside the nursery, which would wrap it in a group
            failure.append(error)
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return outcome[0]


async def read_document(call: Call, *, checksum_is_of_body: bool = True) -> bytes:
    """The whole body of a request that carries a document. Raises BodyTooLargeError, and errors of verification."""
    payload = _payload(call, (), required=False, checksum_is_of_body=checksum_is_of_body)
    limit = call.context.settings.document_bytes_max
    if payload.size is None or payload.size > limit:
        raise BodyTooLargeError
    return await payload.read_inline()


def _payload(
    call: Call,
    kept: tuple[str, ...],
    *,
    required: bool = True,
    checksum_is_of_body: bool = True,
) -> RequestBody:
    headers = call.headers
    if required and "content-length" not in headers and "transfer-encoding" not in headers:
        raise MissingContentLengthError
    decoder = decoder_for(call.authentication, headers)
    declared = declared_digests(
        headers, call.authentication.payload, checksum_is_of_body=checksum_is_of_body
    )
    settings = call.context.settings
    size = call.body.length if decoder is None else decoded_length(headers)
    if size is not None and size > settings.put_bytes_max:
        raise EntityTooLargeError
    return RequestBody(
        call.context.world,
        call.body,
        decoder,
        declared,
        kept,
        size=size,
        size_max=settings.put_bytes_max,
        inline_bytes=settings.inline_body_bytes,
        buffers=settings.body_buffers,
        buffer_bytes=min(settings.body_buffer_bytes, size or settings.body_buffer_bytes),
    )


class RequestBody(Body):
    """See the module. Large bodies need `hash_in_background` running beside whoever iterates."""

    def __init__(
        self,
        world: World,
        incoming: IncomingBody,
        decoder: ChunkedDecoder | None,
        declared: DeclaredDigests,
        kept: tuple[str, ...],
        *,
        size: int | None,
        size_max: int,
        inline_bytes: int,
        buffers: int,
        buffer_bytes: int,
    ) -> None:
        self.size = size
        self._size_max = size_max
        self._inline_bytes = inline_bytes
        self._source = _Decoded(incoming, decoder)
        self._decoder = decoder
        self._declared = declared
        self._hashers = {name: new_hasher(name) for name in declared.hashers(kept)}
        self._told = declared.told(kept)
        self._background = BackgroundHashing(world, tuple(self._hashers.values()))
        self._buffers = buffers
        self._buffer_bytes = buffer_bytes
        self._digests: Digests | None = None

    async def hash_in_background(self) -> None:
        await self._background.run()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        if self.size is not None and self.size <= self._inline_bytes:
            data = await self.read_inline()
            if data:
                yield data
            return
        ring: list[memoryview] = []
        total = index = 0
        while True:
            if len(ring) < self._buffers:
                ring.append(memoryview(bytearray(self._buffer_bytes)))
            await self._background.wait_below(self._buffers)
            buffer = ring[index % self._buffers]
            index += 1
            count = await self._source.fill(buffer)
            total += count
            if total > self._size_max:
                raise EntityTooLargeError
            if not count:
                break
            self._background.submit(buffer[:count])
            yield buffer[:count]
        await self._background.wait_below(1)
        self._verify()

    async def read_inline(self) -> bytes:
        """All of a small body, verified. Its `size` is known."""
        buffer = bytearray(self.size or 0)
        view = memoryview(buffer)
        await self._source.fill(view)
        # Past the last byte there may still be a trailer.
        await self._source.fill(memoryview(bytearray(1)))
        for hasher in self._hashers.values():
            hasher.update(buffer)
        self._verify()
        return bytes(buffer)

    def digests(self) -> Digests:
        if self._digests is None:
            raise RuntimeError("digests of a body that has not been read to its end")
        return self._digests

    def _verify(self) -> None:
        found = {name: hasher.digest() for name, hasher in self._hashers.items()}
        trailers = self._decoder.trailers if self._decoder is not None else {}
        self._declared.verify(found, trailers)
        checksums = {name: encode(found[name]) for name in self._told}
        self._digests = Digests(found["md5"].hex(), checksums)


class _Decoded:
    """Payload bytes of a body, out of their aws-chunked coding if it has one."""

    __slots__ = ("_buffer", "_decoder", "_incoming", "_pieces")

    def __init__(self, incoming: IncomingBody, decoder: ChunkedDecoder | None) -> None:
        self._incoming = incoming
        self._decoder = decoder
        self._pieces: deque[memoryview] = deque()
        self._buffer = memoryview(b"")

    async def fill(self, target: memoryview) -> int:
        """As many bytes as fit; fewer only at the end."""
        if self._decoder is None:
            return await self._incoming.fill(target)
        done = 0
        while done < len(target):
            if not self._pieces and not await self._receive(self._decoder):
                break
            done += self._take(target[done:])
        return done

    def _take(self, target: memoryview) -> int:
        piece = self._pieces.popleft()
        count = min(len(piece), len(target))
        target[:count] = piece[:count]
        if count < len(piece):
            self._pieces.appendleft(piece[count:])
        return count

    async def _receive(self, decoder: ChunkedDecoder) -> bool:
        """Feed the decoder until it yields something; False at the end."""
        if not self._buffer:
            length = self._incoming.length
            size = _ENCODED_RECEIVE_BYTES if length is None else max(1, length)
            self._buffer = memoryview(bytearray(min(size, _ENCODED_RECEIVE_BYTES)))
        while not self._pieces:
            count = await self._incoming.receive_into(self._buffer)
            if count == 0:
                decoder.finish()
                return False
            self._pieces.extend(piece for piece in decoder.feed(self._buffer[:count]) if piece)
        return True


class BackgroundHashing:
    """Hashes buffers in order, in a thread, while others work on them."""

    def __init__(self, world: World, hashers: Sequence[Hasher]) -> None:
        self._world = world
        self._hashers = hashers
        self._pending: list[memoryview] = []
        self._changed = trio.Event()

    def submit(self, view: memoryview) -> None:
        """`view` must not change until it is hashed."""
        self._pending.append(view)
        self._announce()

    async def wait_below(self, limit: int) -> None:
        """Wait until fewer than `limit` buffers are waiting to be hashed."""
        while len(self._pending) >= limit:
            await self._changed.wait()

    async def run(self) -> None:
        while True:
            while not self._pending:
                await self._changed.wait()
            batch = tuple(self._pending)
            await self._world.run_blocking(Lane.HASH, _update, self._hashers, batch)
            del self._pending[: len(batch)]
            self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _update(hashers: Sequence[Hasher], views: Sequence[memoryview]) -> None:
    for view in views:
        for hasher in hashers:
            hasher.update(view)
