"""Open files and directories, by the number the kernel calls them by; and how bytes get out of a reader fast.

A read of what the page cache holds is answered inline from one buffer that is used again and again: pyfuse3 hands the bytes to the kernel
before anything else runs. Only what must come from the disk goes through a thread, and only what must be fetched waits.
"""

from __future__ import annotations

import errno
import os
from typing import TypeVar

from appliance.cache.api import Reader
from appliance.mount.directory import DirectoryEntry, Entries
from appliance.mount.inodes import Node
from appliance.world import Lane, World
from appliance.world.disk import in_memory

# The most the kernel asks for at once: 256 pages (fuse(4), max_pages).
READ_BYTES_MAX = 1 << 20

T = TypeVar("T")


class FileHandle:
    """An open file. `reader` is None for files that began as drafts; the node's draft, if there is one, is what is read.

    `broken`: the errno with which a write failed before there was a draft; 0 if none.
    """

    __slots__ = ("broken", "node", "reader", "writable")

    def __init__(self, node: Node, reader: Reader | None, *, writable: bool) -> None:
        self.node = node
        self.reader = reader
        self.writable = writable
        self.broken = 0

    def check(self) -> None:
        """Raise OSError if a write failed."""
        if self.broken:
            raise OSError(self.broken, "an earlier write to this file failed")


class DirectoryHandle:
    """An open directory: the entries listed so far. An entry's offset is its place in `entries`, so offsets survive any change."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.rewind()

    def rewind(self) -> None:
        self.entries: list[DirectoryEntry] = []
        self.merge = Entries(self.node.key)
        self.continuation = ""
        self.complete = False


class Handles:
    """Numbers for open things."""

    def __init__(self) -> None:
        self._next = 1
        self.files: dict[int, FileHandle] = {}
        self.directories: dict[int, DirectoryHandle] = {}

    def add_file(self, handle: FileHandle) -> int:
        return self._add(self.files, handle)

    def add_directory(self, handle: DirectoryHandle) -> int:
        return self._add(self.directories, handle)

    def _add(self, table: dict[int, T], handle: T) -> int:
        number = self._next
        self._next += 1
        table[number] = handle
        return number

    def statistics(self) -> dict[str, float]:
        return {"open_files": len(self.files), "open_directories": len(self.directories)}


class ReadBuffer:
    """Reads descriptors. What `read` returns is valid until the next checkpoint."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buffer = memoryview(bytearray(READ_BYTES_MAX))
        self.inline_reads = 0
        self.thread_reads = 0

    async def read_file(self, fd: int, offset: int, length: int) -> memoryview | bytes:
        """`length` bytes of a file that holds them all."""
        if length <= 0:
            return b""
        view = self._now(fd, offset, length)
        if view is not None and len(view) == length:
            return view
        self.thread_reads += 1
        return await self._world.run_blocking(Lane.DISK, pread_all, fd, length, offset)

    async def read(self, reader: Reader, offset: int, size: int) -> memoryview | bytes:
        """`size` bytes of a version, fewer at its end. Raises what `Reader.available` does, and OSError."""
        length = min(size, reader.info.size - offset)
        if length <= 0:
            return b""
        fd = reader.fd
        if fd >= 0 and reader.available_nowait(offset, length) >= length:
            return await self.read_file(fd, offset, length)
        if fd < 0:
            return await reader.read(offset, length)
        return await self._read_arriving(reader, offset, length)

    def _now(self, fd: int, offset: int, length: int) -> memoryview | None:
        """What the page cache holds, if it holds any; never waits for the disk."""
        if length > READ_BYTES_MAX:
            return None
        view = self._buffer[:length]
        try:
            count = os.preadv(fd, (view,), offset, os.RWF_NOWAIT)
        except OSError as error:
            # EAGAIN: not in the page cache. EOPNOTSUPP: a filesystem that cannot tell. Real errors come up again in the thread.
            if error.errno != errno.EOPNOTSUPP or not in_memory(fd):
                return None
            count = os.preadv(fd, (view,), offset)
        self.inline_reads += 1
        return view if count == length else self._buffer[:count]

    async def _read_arriving(self, reader: Reader, offset: int, length: int) -> bytes:
        """Bytes that are being fetched: wait for each stretch."""
        pieces = []
        done = 0
        while done < length:
            count = await reader.available(offset + done, length - done)
            pieces.append(
                await self._world.run_blocking(
                    Lane.DISK, pread_all, reader.fd, count, offset + done
                )
            )
            done += count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def statistics(self) -> dict[str, float]:
        return {
            "inline_reads_total": self.inline_reads,
            "thread_reads_total": self.thread_reads,
        }


def pread_all(fd: int, length: int, offset: int) -> bytes:
    """`length` bytes; raises OSError(EIO) if the file is shorter."""
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise OSError(5, "a cached file is shorter than its object")
        data += more
    return data
