"""From a body to a staged file: a small body in the one thread hop that also publishes it, a large one written while the next bytes arrive.

A hop costs about 100 us and a local write of 1 MiB about 300, while hashing the next megabyte takes 1,500: so writing hides behind
hashing, and a large PUT costs little more than its MD5 pass.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from appliance.plugin import Body, Chunk, Host
from appliance_posix.bucket import Bucket
from appliance_posix.staging import Staged
from appliance_posix.volume import Volume

# Up to here a body is kept in memory until it has ended.
SMALL_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 20


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

    writer = _Writer(host, await host.run_blocking(open_staged))
    await writer.run(chunks, intake)


class _Writer:
    """Two buffers: one fills from the body while the other is written in a thread."""

    def __init__(self, host: Host, staged: Staged) -> None:
        self._host = host
        self._staged = staged
        self._failure: Exception | None = None
        self._idle = trio.Event()
        self._idle.set()

    async def run(self, chunks: AsyncIterator[Chunk], intake: Intake) -> None:
        body_failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            buffer = bytearray()
            try:
                async for chunk in chunks:
                    intake.size += len(chunk)
                    buffer += chunk
                    if len(buffer) >= _BUFFER_BYTES:
                        await self._hand_over(nursery, buffer)
                        buffer = bytearray()
                if buffer:
                    await self._hand_over(nursery, buffer)
            except Exception as error:  # noqa: BLE001  # raised below, outside of the nursery, which would wrap it
                body_failure = error
        failure = body_failure or self._failure
        if failure is not None:
            raise failure

    async def _hand_over(self, nursery: trio.Nursery, buffer: bytearray) -> None:
        await self._idle.wait()
        if self._failure is not None:
            raise self._failure
        self._idle = trio.Event()
        nursery.start_soon(self._write, buffer)

    async def _write(self, buffer: Chunk) -> None:
        try:
            await self._host.run_blocking(self._staged.write, buffer)
        except Exception as error:  # noqa: BLE001  # told to the one who fills
            self._failure = error
        finally:
            self._idle.set()
