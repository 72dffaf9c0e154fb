"""A body on its way to the backend that also lands in a data file, so that what was just written is a hit.

The file is an extra: when the disk does not take it, the put goes on without. `Tee` also knows whether the body ended as its sender meant
it to: a backend publishes nothing before, so a put that failed earlier is known not to have happened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable

from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap
from appliance.cache.store import Store
from appliance.plugin import Body, Chunk, Digests
from appliance.world import Lane, World

logger = logging.getLogger(__name__)

_FLUSH_BYTES = BLOCK_BYTES


class FileSink:
    """Bytes of unknown number into a data file. Up to one block stays in memory until `finish`; at most `limit_bytes` are taken."""

    def __init__(
        self, world: World, store: Store, *, limit_bytes: int, bury: Callable[[str], None]
    ) -> None:
        self.file = ""
        self.fd = -1
        self.size = 0
        self.blocks: BlockMap | None = None
        self._world = world
        self._store = store
        self._limit_bytes = limit_bytes
        self._bury = bury
        self._buffer = bytearray()
        self._crcs: list[int] = []
        self._crc = 0
        self._written = 0
        self._failed = False

    async def write(self, data: Chunk) -> None:
        if self._failed:
            return
        self.size += len(data)
        if self.size > self._limit_bytes:
            self.discard()
            return
        self._buffer += data
        # The first block waits for one byte more: an object of one block is written at once, under a name that tells its CRC.
        if len(self._buffer) > _FLUSH_BYTES:
            await self._flush()

    async def finish(self) -> bool:
        """All bytes have come. True if `file`, `fd` and `blocks` hold the object, whole."""
        if self._failed:
            return False
        try:
            if self.size <= BLOCK_BYTES:
                await self._write_whole()
            else:
                await self._flush()
                await self._write_map()
        except OSError as error:
            self._fail(error)
        return not self._failed

    def discard(self) -> None:
        """Forget the file, unless it was handed over. Idempotent."""
        self._failed = True
        self._buffer = bytearray()
        fd, self.fd = self.fd, -1
        file, self.file = self.file, ""
        if fd >= 0:
            os.close(fd)
            self._bury(file)

    def hand_over(self) -> int:
        """The descriptor, which is the caller's from now on."""
        fd, self.fd = self.fd, -1
        return fd

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        try:
            if self.fd < 0:
                file = self._store.file_id(self._world.token_bytes(16))
                self.fd = await self._world.run_blocking(Lane.DISK, self._store.create, file)
                self.file = file
            ended, self._crc = await self._world.run_blocking(
                Lane.DISK, self._store.write, self.fd, self._written, data, self._crc
            )
        except OSError as error:
            self._fail(error)
            return
        self._written += len(data)
        self._crcs.extend(crc for _, crc in ended)

    async def _write_whole(self) -> None:
        crc, data = self._store.checksum(self._buffer), self._buffer
        file = self._store.file_id(self._world.token_bytes(16), crc)
        self.fd = await self._world.run_blocking(Lane.DISK, self._store.create_whole, file, data)
        self.file = file
        self.blocks = BlockMap(self.size)
        if self.size:
            self.blocks.add(0, crc)

    async def _write_map(self) -> None:
        if self._failed:
            return
        if self.size % BLOCK_BYTES:
            self._crcs.append(self._crc)
        self.blocks = BlockMap(self.size)
        for index, crc in enumerate(self._crcs):
            self.blocks.add(index, crc)
        await self._world.run_blocking(Lane.DISK, self._store.save_blocks, self.file, self.blocks)

    def _fail(self, error: OSError) -> None:
        logger.warning("Cannot write to the cache directory (%s); writing past the cache", error)
        self.discard()


class Tee(Body):
    """`body`, whose bytes also go to `sink` (None: only watched for its end)."""

    def __init__(self, body: Body, sink: FileSink | None) -> None:
        self.size = body.size
        self.known = body.known
        self.promised = body.promised
        self.ended = False
        self._body = body
        self._sink = sink

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return _TeeIterator(self, self._body.__aiter__(), self._sink)

    def digests(self) -> Digests:
        return self._body.digests()


class _TeeIterator:
    def __init__(self, tee: Tee, chunks: AsyncIterator[Chunk], sink: FileSink | None) -> None:
        self._tee = tee
        self._chunks = chunks
        self._sink = sink
        self._previous: Chunk | None = None

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        # Before the next chunk is asked for: it may reuse the buffer of this one.
        if self._sink is not None and self._previous is not None:
            await self._sink.write(self._previous)
        try:
            self._previous = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._previous = None
            self._tee.ended = True
            raise
        return self._previous
