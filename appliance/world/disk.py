"""The disk as the cache uses it: blocking calls, to be made in threads (`Lane.DISK`). Tests put one in its place that fails on demand.

Nothing here syncs: what these calls write can be fetched again, and is verified after an unclean stop.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.model.errors import CorruptDataError


@functools.cache
def _memory_device() -> int:
    fd = os.memfd_create("probe")
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def in_memory(fd: int) -> bool:
    """Whether this is a memfd: it knows no RWF_NOWAIT, and reading it never waits for a disk."""
    return os.fstat(fd).st_dev == _memory_device()


class Disk:
    """Real files. Every method may raise OSError (ENOSPC and EIO above all)."""

    def create(self, path: Path) -> int:
        """A new file, open for reading and writing; its directory is made where it is missing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)

    def open(self, path: Path) -> tuple[int, int]:
        """(descriptor for reading and writing, size in bytes). Raises FileNotFoundError."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        return fd, os.fstat(fd).st_size

    def write(self, fd: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at `offset`."""
        view = memoryview(data)
        while view:
            count = os.pwrite(fd, view, offset)
            view = view[count:]
            offset += count

    def read(self, fd: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises CorruptDataError if the file ends before."""
        parts = []
        while length:
            part = os.pread(fd, length, offset)
            if not part:
                raise CorruptDataError("A cached file is shorter than it should be.")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def replace(self, path: Path, content: bytes) -> None:
        """Write a small file so that it is seen whole or not at all (by rename)."""
        new = path.with_name(path.name + ".new")
        new.write_bytes(content)
        new.rename(path)

    def content(self, path: Path) -> bytes:
        """All of a small file."""
        return path.read_bytes()

    def unlink(self, path: Path) -> None:
        """Remove a file if it is there."""
        path.unlink(missing_ok=True)

    def files(self, directory: Path) -> Iterator[Path]:
        """Every file one level below `directory`."""
        for folder in directory.iterdir():
            if folder.is_dir():
                yield from folder.iterdir()

    def space(self, path: Path) -> tuple[int, int]:
        """(bytes free for this process, bytes in all) of the filesystem that holds `path`."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize
