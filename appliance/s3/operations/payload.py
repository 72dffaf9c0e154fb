"""A request's body as the cache takes it: decoded, hashed, and verified before its iteration ends.

    socket -> [aws-chunked decoder] -> buffer N+1      the event loop
                                       buffer N        the consumer writes it (a thread of the disk or the backend)
                                       buffer N, N-1   hashed in a thread

Three buffers of 1 MiB an upload: the slowest of the three, which is MD5 (about 0.6 GB/s), sets the pace, and nobody waits for two of
them in turn. Small bodies are received whole and hashed inline, as a trip to a thread costs more (100 us) than MD5 of 64 KiB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from appliance.model.checksums import Hasher, encode, new_hasher
from appliance.model.errors import EntityTooLargeError, EntityTooSmallError
from appliance.plugin import Body, Chunk, Digests
from appliance.s3.operations.call import Call
from appliance.s3.operations.decoded import Decoded, FormFile
from appliance.s3.wire.chunked import decoded_length, decoder_for
from appliance.s3.wire.digest import DeclaredDigests, declared_digests
from appliance.s3.wire.errors import BodyTooLargeError, MissingContentLengthError
from appliance.world import Lane, World

T = TypeVar("T")


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
    """The whole body of a request that carries a document. Raises BodyTooLargeError, ThrottledError, and errors of verification."""
    payload = _payload(call, (), required=False, checksum_is_of_body=checksum_is_of_body)
    limit = call.context.settings.document_bytes_max
    if payload.size is None or payload.size > limit:
        raise BodyTooLargeError
    with call.context.documents.room(call.identity.account_id, payload.size):
        return await payload.read_inline()


def _payload(
    call: Call,
    kept: tuple[str, ...],
    *,
    required: bool = True,
    checksum_is_of_body: bool = True,
) -> RequestBody:
    headers = call.headers
    if call.form is not None:
        return _form_payload(call, call.form, kept)
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
        Decoded(call.body, decoder),
        declared,
        kept,
        size=size,
        size_max=settings.put_bytes_max,
        inline_bytes=settings.inline_body_bytes,
        buffers=settings.body_buffers,
        buffer_bytes=min(settings.body_buffer_bytes, size or settings.body_buffer_bytes),
    )


def _form_payload(call: Call, form: FormFile, kept: tuple[str, ...]) -> RequestBody:
    """The file of a form: nobody knows its size before its end."""
    settings = call.context.settings
    limit = settings.put_bytes_max
    return RequestBody(
        call.context.world,
        form.content,
        declared_digests(call.headers, call.authentication.payload),
        kept,
        size=None,
        size_min=form.size_min,
        size_max=limit if form.size_max is None else min(limit, form.size_max),
        inline_bytes=settings.inline_body_bytes,
        buffers=settings.body_buffers,
        buffer_bytes=min(
            settings.body_buffer_bytes, call.body.length or settings.body_buffer_bytes
        ),
    )


class RequestBody(Body):
    """See the module. Large bodies need `hash_in_background` running beside whoever iterates."""

    def __init__(
        self,
        world: World,
        source: Decoded,
        declared: DeclaredDigests,
        kept: tuple[str, ...],
        *,
        size: int | None,
        size_max: int,
        inline_bytes: int,
        buffers: int,
        buffer_bytes: int,
        size_min: int = 0,
    ) -> None:
        self.size = size
        self._size_min = size_min
        self._size_max = size_max
        self._inline_bytes = inline_bytes
        self._source = source
        self._declared = declared
        self._hashers = {name: new_hasher(name) for name in declared.hashers(kept)}
        self._told = declared.told(kept)
        self.known = frozenset(self._told)
        if declared.checksum is not None:
            self.promised = {declared.algorithm: encode(declared.checksum)}
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
        if total < self._size_min:
            raise EntityTooSmallError
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
        self._declared.verify(found, self._source.trailers)
        checksums = {name: encode(found[name]) for name in self._told}
        self._digests = Digests(found["md5"].hex(), checksums)


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
