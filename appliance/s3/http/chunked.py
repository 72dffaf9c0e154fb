"""The chunked transfer coding of request bodies (RFC 9112 section 7.1), decoded strictly: bytes in, payload and "ended" out.

Strict where leniency lets requests be smuggled: sizes are plain hex of at most 15 digits, lines end in CRLF, chunk data is followed by
CRLF. After a violation nothing more is decoded: where this body ends, and the next request begins, is then anybody's guess. Extensions
and trailer fields are read past, within a bound. (S3's own `aws-chunked` is a content coding and none of this.)
"""

from __future__ import annotations

import re

from appliance.s3.wire.errors import BadRequestError

# A chunk-size line or trailer line may be so long, and all of them together with no payload between may be so many bytes.
LINE_BYTES_MAX = 4096
TRAILER_BYTES_MAX = 16 * 1024

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\Z")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\Z")


class ChunkedDecoder:
    """Feed received bytes with `feed`, take payload with `take`; `unread` is what follows the body once `ended`.

    `failure` is what was wrong with the coding, for good.
    """

    __slots__ = ("_buffer", "_left", "_overhead", "_state", "ended", "failure")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # of the current chunk
        self._overhead = 0
        self._state = self._size
        self.ended = False
        self.failure = ""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer += data

    def take(self, limit: int) -> bytes:
        """Up to `limit` bytes of payload; b"" if more must be fed first, or the body has ended. Raises BadRequestError."""
        if self.failure:
            raise BadRequestError(self.failure)
        try:
            while not self.ended:
                if self._left:
                    return self._payload(limit)
                if not self._state():
                    return b""
        except BadRequestError as error:
            self.failure = str(error)
            self._buffer.clear()
            raise
        return b""

    @property
    def unread(self) -> bytes:
        """Bytes fed beyond the end of the body: the next request."""
        return bytes(self._buffer)

    def _payload(self, limit: int) -> bytes:
        size = min(limit, self._left, len(self._buffer))
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self._left -= size
        if self._left == 0:
            self._state = self._after_data
        return data

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end > LINE_BYTES_MAX or (end < 0 and len(self._buffer) > LINE_BYTES_MAX):
            raise BadRequestError("A line of the chunked body is too long.")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        if not line.endswith(b"\r"):
            raise BadRequestError("A line of the chunked body does not end with CR LF.")
        del self._buffer[: end + 1]
        self._overhead += end + 1
        return line[:-1]

    def _size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        match = _SIZE_LINE.match(line)
        if match is None:
            raise BadRequestError("The chunked body has a malformed chunk size.")
        self._left = int(match[1], 16)
        if self._left == 0:
            self._overhead = 0
            self._state = self._trailer
        return True

    def _after_data(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BadRequestError("The chunked body has a chunk that is longer than its size.")
        del self._buffer[:2]
        self._state = self._size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self.ended = True
            return True
        if _TRAILER_LINE.match(line) is None or self._overhead > TRAILER_BYTES_MAX:
            raise BadRequestError("The chunked body has a malformed or too long trailer.")
        return True
