"""`Response`: status, headers and a small body, ready to be written; as error documents are.

Header values are `str` that hold bytes as latin-1 (what HTTP/1.1 carries); text beyond ASCII is UTF-8 underneath (`header_text`).
The server adds Date, Server, x-amz-request-id, x-amz-id-2, Content-Length and Connection.
"""

from __future__ import annotations

import msgspec

Headers = list[tuple[str, str]]

XML = ("Content-Type", "application/xml")


class Response(msgspec.Struct, frozen=True):
    """An answer whose body is in memory. Objects' bytes never come this way: see `headers.object_headers`."""

    status: int = 200
    headers: Headers = []
    body: bytes = b""


def header_text(value: str) -> str:
    """Text as a header value: ASCII as it is, anything else as UTF-8 bytes. Control characters, which could split a response, go."""
    if value.isascii() and value.isprintable():
        return value
    clean = "".join(" " if ord(c) < 0x20 or c == "\x7f" else c for c in value)
    return clean.encode("utf-8", "surrogateescape").decode("latin-1")
