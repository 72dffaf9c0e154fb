"""Pieces of files on their way to a socket, without ever blocking the event loop on a cold page cache.

`sendfile` on pages that are not in memory would stop every connection for as long as the disk takes. So each window is probed at its edges
with RWF_NOWAIT (1.3 us a probe), and one that is not resident is first brought in by a thread. A page evicted between probe and send, or a
hole in the middle of a window, costs one blocking read: rare, and bounded by one page run.
"""

from __future__ import annotations

import errno
import os

from appliance.s3.http.errors import TruncatedFileError
from appliance.world import Lane, World

# One window is one thread hop when cold (about 100 us), so it must be worth one; and one turn of the loop when hot.
WINDOW_BYTES = 2 << 20
# Kernel read-ahead brings pages in runs of this order; touching one byte in each waits for all of them.
_STRIDE_BYTES = 64 << 10
# Filesystems that cannot do non-blocking reads say EOPNOTSUPP (or EINVAL): then reads take a thread.
_WOULD_BLOCK = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL})

_probe = bytearray(1)


def read_nowait(fd: int, buffer: memoryview, offset: int) -> bool:
    """Fill `buffer` from the page cache; False if that would block (some of it may be filled then). Raises TruncatedFileError."""
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(fd, [buffer[done:]], offset + done, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in _WOULD_BLOCK:
                return False
            raise
        if count == 0:
            raise TruncatedFileError
        done += count
    return True


def read_blocking(fd: int, buffer: memoryview, offset: int) -> None:
    """Fill `buffer`, however long the disk takes. Raises TruncatedFileError."""
    done = 0
    while done < len(buffer):
        count = os.preadv(fd, [buffer[done:]], offset + done)
        if count == 0:
            raise TruncatedFileError
        done += count


async def read_into(world: World, fd: int, buffer: memoryview, offset: int) -> None:
    """Fill `buffer`, inline where the page cache has it, else in a thread."""
    if not read_nowait(fd, buffer, offset):
        await world.run_blocking(Lane.DISK, read_blocking, fd, buffer, offset)


def is_resident(fd: int, offset: int, length: int) -> bool:
    """Whether both ends of a window are in the page cache."""
    return _has_page(fd, offset) and _has_page(fd, offset + length - 1)


async def make_resident(world: World, fd: int, offset: int, length: int) -> None:
    """Wait, in a thread, for a window's pages; the kernel is told about the next window too."""
    await world.run_blocking(Lane.DISK, _bring_in, fd, offset, length)


def _has_page(fd: int, offset: int) -> bool:
    try:
        return os.preadv(fd, [_probe], offset, os.RWF_NOWAIT) == 1
    except OSError as error:
        if error.errno in _WOULD_BLOCK:
            return False
        raise


def _bring_in(fd: int, offset: int, length: int) -> None:
    os.posix_fadvise(fd, offset, 2 * length, os.POSIX_FADV_WILLNEED)
    for position in range(offset, offset + length, _STRIDE_BYTES):
        os.pread(fd, 1, position)
    os.pread(fd, 1, offset + length - 1)
