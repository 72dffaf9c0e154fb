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

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Not a generator: a reader may leave at any chunk, and nothing has to be closed then.
        return _Chunks(self._host, self._bucket, self._found, self.range, self._first)


class _Chunks(AsyncIterator[bytes]):
    def __init__(
        self, host: Host, bucket: str, found: Found, byte_range: ByteRange, first: bytes
    ) -> None:
        self._host = host
        self._bucket = bucket
        self._found = found
        self._first = first
        self._position = byte_range.offset
        self._end = byte_range.end

    async def __anext__(self) -> bytes:
        if self._position >= self._end:
            raise StopAsyncIteration
        data, self._first = self._first, b""
        if not data:
            length = min(CHUNK_BYTES, self._end - self._position)
            with translated(self._bucket, self._found.key):
                data = await self._host.run_blocking(
                    read_exactly, self._found, self._position, length
                )
        self._position += len(data)
        return data


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
