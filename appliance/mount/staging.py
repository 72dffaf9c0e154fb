"""Drafts: the private copy that a file being written is, until it becomes a version.

A draft is a file without a name in the staging directory, so a crash leaves nothing behind. All handles on one inode share it: what one
process writes another reads at once, as on a local disk. `close` and `fsync` publish it through the cache, which makes it a version for
everybody; it stays until the last handle is closed, and may be written and published again.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator

import trio

from appliance.cache.api import Reader
from appliance.model.errors import IncompleteBodyError
from appliance.mount import posix_metadata
from appliance.plugin import Body, Chunk, Digests
from appliance.world import Lane, World

CHUNK_BYTES = 1 << 20
# Below this a write goes to the page cache at once; a thread costs about 100 us, the copy of 128 KiB about 20 us.
INLINE_WRITE_BYTES = 128 << 10


def open_unnamed(directory: str) -> int:
    """A descriptor on a new file without a name in `directory`."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            raise
    path = os.path.join(directory, f"draft-{os.getpid()}-{os.urandom(8).hex()}")
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


class Draft:
    """`broken`: the errno with which a write failed, 0 if none: what is here is not what its writer meant, and never published.
    `dirty`: has what was not published. `refused`: it could not be, and nothing was written since: there is no point in trying again.
    `exclusive`: made by O_EXCL, so its first publication must not replace anything.

    `lock` is held while the draft is copied from its base or published; writers wait for it, so a version is of one moment.
    """

    def __init__(
        self, fd: int, world: World, headers: dict[str, str], metadata: dict[str, str], now_ns: int
    ) -> None:
        self.fd = fd
        self.size = 0
        self.broken = 0
        self.dirty = False
        self.refused = False
        self.exclusive = False
        self.headers = headers
        self.mtime_ns = now_ns
        self.lock = trio.Lock()
        self.set_metadata(metadata)
        self._world = world

    def set_metadata(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self.facts = posix_metadata.parse(metadata)

    async def fill(self, reader: Reader, length: int) -> None:
        """Begin as a copy of the first `length` bytes of `reader`."""
        length = min(length, reader.info.size)
        done = 0
        if reader.fd < 0 and length:
            async for chunk in reader.stream(0, length):
                await self._world.run_blocking(Lane.DISK, pwrite_all, self.fd, chunk, done)
                done += len(chunk)
        while done < length:
            count = await reader.available(done, min(length - done, 16 * CHUNK_BYTES))
            await self._world.run_blocking(Lane.DISK, copy_all, reader.fd, self.fd, done, count)
            done += count
        self.size = length

    async def write(self, offset: int, data: bytes, now_ns: int) -> None:
        """Write all of `data`. Raises OSError (the staging disk's)."""
        if len(data) <= INLINE_WRITE_BYTES:
            pwrite_all(self.fd, data, offset)
        else:
            await self._world.run_blocking(Lane.DISK, pwrite_all, self.fd, data, offset)
        self.size = max(self.size, offset + len(data))
        self.touch(now_ns)

    def truncate(self, size: int, now_ns: int) -> None:
        """Raises OSError; the size is what it was, then."""
        os.ftruncate(self.fd, size)
        self.size = size
        if size == 0:
            # Nothing of the failed write is left.
            self.broken = 0
        self.touch(now_ns)

    def touch(self, now_ns: int) -> None:
        self.mtime_ns = now_ns
        self.dirty = True
        self.refused = False

    def fail(self, number: int) -> None:
        """A write failed, and may have left a part of itself."""
        self.broken = number
        self.dirty = True

    def check(self) -> None:
        """Raise OSError if a write failed."""
        if self.broken:
            raise OSError(self.broken, "an earlier write to this file failed")

    def body(self) -> FileBody:
        return FileBody(self.fd, self.size, self._world)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def pwrite_all(fd: int, data: Chunk, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count


def copy_all(source: int, target: int, offset: int, count: int) -> None:
    """Copy within the kernel, by reference where the filesystem can."""
    while count > 0:
        try:
            copied = os.copy_file_range(source, target, count, offset, offset)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}:
                raise
            data = os.pread(source, min(count, CHUNK_BYTES), offset)
            pwrite_all(target, data, offset)
            copied = len(data)
        if copied == 0:
            raise OSError(errno.EIO, "the base of a draft is shorter than it should be")
        offset += copied
        count -= copied


class FileBody(Body):
    """The first `size` bytes of a file; read and hashed in a thread, a chunk at a time."""

    def __init__(self, fd: int, size: int, world: World) -> None:
        self.size = size
        self._fd = fd
        self._world = world
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return _FileChunks(self._fd, self.size or 0, self._md5, self._world)

    def digests(self) -> Digests:
        return Digests(self._md5.hexdigest())


class _FileChunks:
    def __init__(self, fd: int, size: int, md5: hashlib._Hash, world: World) -> None:
        self._fd = fd
        self._size = size
        self._md5 = md5
        self._world = world
        self._offset = 0
        self._buffer = memoryview(bytearray(min(size, CHUNK_BYTES)))

    def __aiter__(self) -> _FileChunks:
        return self

    async def __anext__(self) -> Chunk:
        if self._offset >= self._size:
            raise StopAsyncIteration
        wanted = min(self._size - self._offset, CHUNK_BYTES)
        count = await self._world.run_blocking(Lane.HASH, self._step, wanted)
        if count == 0:
            raise IncompleteBodyError("A file changed while it was being published.")
        self._offset += count
        return self._buffer[:count]

    def _step(self, wanted: int) -> int:
        count = os.preadv(self._fd, [self._buffer[:wanted]], self._offset)
        self._md5.update(self._buffer[:count])
        return count
