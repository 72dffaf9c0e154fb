"""What a handler answers, and the bytes of its head.

A body is bytes (small, in memory), or a `Source` that knows its length and sends itself, or an iterator of unknown length, which goes out
chunked. Header fields are bytes that are ready to send: whoever can keep them between requests renders them once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus
from typing import Protocol

import msgspec

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
# These never have a body, nor a Content-Length (RFC 9110 section 8.6) - 304 excepted, where it would describe the 200's.
_BODILESS = frozenset({204, 304})

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Sink(Protocol):
    """Where a body goes."""

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises ClientGoneError."""
        ...

    async def send_file(self, fd: int, offset: int, length: int) -> None:
        """Send bytes of a file; the descriptor's position does not matter or move. Raises ClientGoneError, TruncatedFileError."""
        ...


class Source(Protocol):
    """A body that is not in memory."""

    size: int

    async def send_to(self, sink: Sink) -> None:
        """Send exactly `size` bytes, or raise: then the connection is cut, so that nobody takes the rest for all."""
        ...

    async def aclose(self) -> None:
        """Called once, however sending went, and also when nothing was sent (HEAD)."""
        ...


Body = bytes | Source | AsyncIterator[bytes]


class Response(msgspec.Struct):
    """`fields` are header lines, each with its CRLF; the engine adds the framing only. `close` asks for the connection to end after it.

    `content_length` is given only where it differs from the body's own: in the answer to a HEAD. `notes` is for whoever made the
    response, and comes back with it in `Handler.sent`.
    """

    status: int
    fields: bytes = b""
    body: Body = b""
    content_length: int | None = None
    close: bool = False
    notes: object = None

    @property
    def size(self) -> int | None:
        """Bytes of the body as the head declares them; None: of unknown length."""
        if self.content_length is not None:
            return self.content_length
        if isinstance(self.body, bytes):
            return len(self.body)
        return getattr(self.body, "size", None)

    def head(self, *, close: bool, old: bool = False) -> bytes:
        """Status line, fields, framing, blank line. `old`: for HTTP/1.0, where a body of unknown length ends with the connection."""
        body = self.body
        # The hot path first: a body in memory.
        size = len(body) if type(body) is bytes and self.content_length is None else self.size
        if self.status in _BODILESS:
            framing = b""
        elif size is not None:
            framing = b"Content-Length: %d\r\n" % size
        else:
            framing = b"" if old else b"Transfer-Encoding: chunked\r\n"
        if close:
            framing += b"Connection: close\r\n"
        elif old:
            framing += b"Connection: keep-alive\r\n"
        return b"".join((_STATUS_LINES[self.status], self.fields, framing, b"\r\n"))


def render_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """Header lines. Values hold bytes as latin-1. A line break in one would split the response: ValueError."""
    lines = []
    for name, value in fields:
        if "\n" in value or "\r" in value:
            raise ValueError(f"the value of header {name} holds a line break")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")
