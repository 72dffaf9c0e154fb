"""From a body to a staged file: a small body in the one thread hop that also publishes it, a large one written while the next bytes arrive.

A hop costs about 100 us and a local write of 1 MiB about 300, while hashing the next megabyte takes 1,500: so writing hides behind
hashing, and a large PUT costs little more than its MD5 pass.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import trio

from appliance.plugin import Body, Chunk, Host
from appliance_posix.bucket import Bucket
from appliance_posix.staging import Staged
from appliance_posix.volume import Volume

# Up to here a body is kept in memory until it has ended.
SMALL_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 20
# In flight at most, besides the one being filled and the one being written.
_BUFFERS = 4


class Intake:
    """A body received: in `data` if it is small, else in `staged`, which whoever publishes or discards it owns."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.staged: Staged | None = None
        self.size = 0

    def into(self, bucket: Bucket) -> Staged:
        """The staged file with all the bytes; blocking."""
        if self.staged is None:
            self.staged = Staged(bucket)
        if self.data:
            self.staged.write(self.data)
            self.data = bytearray()
        return self.staged

    def discard(self) -> None:
        """Blocking. Idempotent."""
        if self.staged is not None:
            self.staged.discard()
            self.staged = None


async def receive(host: Host, volume: Volume, bucket: str, body: Body, intake: Intake) -> None:
    """Take all of `body` in. Raises what its iteration raises; the caller discards the intake then."""
    chunks = aiter(body)
    try:
        await _receive(host, volume, bucket, chunks, intake)
    finally:
        # A body that is a generator and was left early (the disk failed) is not left to the garbage collector.
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _receive(
    host: Host, volume: Volume, bucket: str, chunks: AsyncIterator[Chunk], intake: Intake
) -> None:
    async for chunk in chunks:
        intake.size += len(chunk)
        intake.data += chunk
        if len(intake.data) > SMALL_BYTES:
            break
    else:
        return

    def open_staged() -> Staged:
        with Bucket(volume, bucket) as opened:
            return intake.into(opened)

    staged = await host.run_blocking(open_staged)
    await _Pipe(host, staged).run(chunks, intake)


class _Pipe:
    """Some buffers between the body and the disk, so that a moment's stall of either does not stop the other."""

    def __init__(self, host: Host, staged: Staged) -> None:
        self._host = host
        self._staged = staged
        self._failure: Exception | None = None

    async def run(self, chunks: AsyncIterator[Chunk], intake: Intake) -> None:
        """Raises what the body or the disk raises, not wrapped into a group."""
        send, receive = trio.open_memory_channel[bytearray](_BUFFERS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, receive)
            with send:
                try:
                    await self._fill(chunks, intake, send)
                except trio.BrokenResourceError:
                    pass  # the writer has failed, and says how
                except Exception as error:  # noqa: BLE001  # raised below, outside of the nursery
                    self._failure = error
        if self._failure is not None:
            raise self._failure

    async def _fill(
        self,
        chunks: AsyncIterator[Chunk],
        intake: Intake,
        send: trio.MemorySendChannel[bytearray],
    ) -> None:
        buffer = bytearray()
        async for chunk in chunks:
            intake.size += len(chunk)
            buffer += chunk
            if len(buffer) >= _BUFFER_BYTES:
                await send.send(buffer)
                buffer = bytearray()
        if buffer:
            await send.send(buffer)

    async def _write(self, receive: trio.MemoryReceiveChannel[bytearray]) -> None:
        with receive:
            try:
                async for buffer in receive:
                    await self._host.run_blocking(self._staged.write, buffer)
            except Exception as error:  # noqa: BLE001  # told to the one who fills
                self._failure = self._failure or error
