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
from appliance.world.disk import in_memory

# One window is one thread hop when cold (about 100 us), so it must be worth one; and one turn of the loop when hot.
WINDOW_BYTES = 2 << 20
# Kernel read-ahead brings pages in runs of this order; touching one byte in each waits for all of them.
_STRIDE_BYTES = 64 << 10
# Filesystems that cannot do non-blocking reads say so: then reads take a thread, unless all of the filesystem is memory.
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
_MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs", "hugetlbfs"})

_probe = bytearray(1)
# Device number -> whether its filesystem is memory (mounts change rarely, and numbers are not reused while mounted).
_memory_devices: dict[int, bool] = {}


def read_nowait(fd: int, buffer: memoryview, offset: int) -> bool:
    """Fill `buffer` from the page cache; False if that would block (some of it may be filled then). Raises TruncatedFileError."""
    done = 0
    while done < len(buffer):
        count = _preadv_nowait(fd, buffer[done:] if done else buffer, offset + done)
        if count < 0:
            return False
        if count == 0:
            raise TruncatedFileError
        done += count
    return True


def _preadv_nowait(fd: int, buffer: memoryview | bytearray, offset: int) -> int:
    """Bytes read; -1 if it would block."""
    try:
        return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return -1
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return os.preadv(fd, [buffer], offset) if _is_memory(fd) else -1


def _is_memory(fd: int) -> bool:
    """Whether a file lives in a filesystem that never waits for a disk (its pages could be swapped out: so could ours)."""
    device = os.fstat(fd).st_dev
    known = _memory_devices.get(device)
    if known is None:
        known = _memory_devices[device] = (
            in_memory(fd) or _filesystem(device) in _MEMORY_FILESYSTEMS
        )
    return known


def _filesystem(device: int) -> str:
    """Type of the filesystem on a device, by /proc/self/mountinfo (proc_pid_mountinfo(5)); "" if it is not mounted here."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if before.split(" ")[2] == wanted:
                return after.split(" ")[0]
    return ""


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
    return _preadv_nowait(fd, _probe, offset) == 1


def _bring_in(fd: int, offset: int, length: int) -> None:
    os.posix_fadvise(fd, offset, 2 * length, os.POSIX_FADV_WILLNEED)
    for position in range(offset, offset + length, _STRIDE_BYTES):
        os.pread(fd, 1, position)
    os.pread(fd, 1, offset + length - 1)
