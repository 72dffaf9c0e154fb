"""Bytes of an object on their way out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from appliance.model.errors import VersionChangedError
from appliance.model.ranges import ByteRange
from appliance.plugin import Host, ObjectStream
from appliance_posix.errnos import translated
from appliance_posix.objects import Found

CHUNK_BYTES = 1 << 20


class FileStream(ObjectStream):
    """Reads with pread in threads. Replacing the object does not disturb it; writing into the file by hand breaks it off."""

    def __init__(
        self, host: Host, bucket: str, found: Found, byte_range: ByteRange, first: bytes
    ) -> None:
        self.info = found.info
        self.range = byte_range
        self._host = host
        self._bucket = bucket
        self._found = found
        self._first = first

    async def __aiter__(self) -> AsyncIterator[bytes]:
        position, end = self.range.offset, self.range.end
        if self._first:
            yield self._first
            position += len(self._first)
        while position < end:
            length = min(CHUNK_BYTES, end - position)
            with translated(self._bucket, self.info.key):
                data = await self._host.run_blocking(read_exactly, self._found, position, length)
            yield data
            position += length


def read_exactly(found: Found, offset: int, length: int) -> bytes:
    """These bytes of the version that was found. Raises VersionChangedError if the file was written to since."""
    pieces = []
    position, end = offset, offset + length
    while position < end:
        piece = os.pread(found.fd, end - position, position)
        if not piece:
            raise VersionChangedError(key=found.key)
        pieces.append(piece)
        position += len(piece)
    stat = os.fstat(found.fd)
    # ctime is not compared: it moves when the object gets tags, or is replaced.
    if (stat.st_size, stat.st_mtime_ns) != (found.stat.st_size, found.stat.st_mtime_ns):
        raise VersionChangedError(key=found.key)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
