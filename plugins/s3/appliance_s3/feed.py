"""A bridge from a body, which a task iterates, to a worker thread that reads it like a file.

The task gathers chunks into buffers of `BUFFER_BYTES` (a chunk's own buffer is reused by its sender) and hands over at most two at a
time, so that receiving and sending overlap and memory stays bounded. **The last buffer is handed over only after the body has ended
normally**: a body that fails its verification at the end never reaches the upstream whole, so an upload with a declared length is not
published.
"""

from __future__ import annotations

import io
import queue
from collections.abc import AsyncIterator

import trio

from appliance.model.errors import IncompleteBodyError
from appliance.plugin import Chunk

BUFFER_BYTES = 1 << 20


class AbandonedError(Exception):
    """In the thread: the body will not be completed."""


class Feed:
    """`size` bytes from a task to a thread. Make it in trio's thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._token = trio.lowlevel.current_trio_token()
        self._free = trio.Semaphore(2)
        # None ends the body; False abandons it. The consumer blocks here: `fill` always puts one of them in the end.
        self._buffers: queue.SimpleQueue[bytearray | bool | None] = queue.SimpleQueue()
        self._ended = False

    async def fill(self, chunks: AsyncIterator[Chunk], start: bytearray) -> None:
        """Hand over `start` and all chunks. Raises what iterating raises, IncompleteBodyError for another size than promised."""
        complete = False
        try:
            sent = await self._fill(chunks, start)
            if sent != self.size:
                raise IncompleteBodyError(f"The body has {sent} bytes instead of {self.size}.")
            complete = True
        finally:
            self._buffers.put(None if complete else False)

    async def _fill(self, chunks: AsyncIterator[Chunk], start: bytearray) -> int:
        buffer = start
        sent = len(buffer)
        async for chunk in chunks:
            if len(buffer) >= BUFFER_BYTES:
                await self._give(buffer)
                buffer = bytearray()
            sent += len(chunk)
            if sent > self.size:
                raise IncompleteBodyError(f"The body has more than the {self.size} bytes promised.")
            buffer += chunk
        # Ended, and so verified, and complete? Only now may the rest go.
        if sent == self.size and buffer:
            await self._give(buffer)
        return sent

    async def _give(self, buffer: bytearray) -> None:
        await self._free.acquire()
        self._buffers.put(buffer)

    # --- in the thread --------------------------------------------------------------------------------------------

    def read(self, _amount: int = -1) -> bytes | bytearray:
        """The next buffer, b"" at the end.

        It may be longer than `amount`: http.client sends whatever it is given, and asking for 16 KiB at a time, as it does, would cost
        64 times the system calls.
        """
        if self._ended:
            return b""
        item = self._buffers.get()
        if isinstance(item, bytearray):
            self._token.run_sync_soon(self._free.release)
            return item
        self._ended = True
        if item is False:
            raise AbandonedError
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """What was sent is gone. (The signer takes what has `seek` for a stream, which it leaves alone, and anything else for bytes.)"""
        raise io.UnsupportedOperation("a body that streams cannot be sent again")
