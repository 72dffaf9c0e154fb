"""Byte ranges: what a client asks for (`RangeSpec`), and what that means for an object of a known size (`ByteRange`).

Source of the rules: RFC 9110 section 14. A range header that cannot be parsed, or asks for several ranges, is ignored as the RFC allows
and as S3 does; one that lies wholly beyond the end is an error.
"""

from __future__ import annotations

import re

import msgspec

from appliance.model.errors import InvalidRangeError

_HEADER = re.compile(r"bytes=(\d*)-(\d*)\Z")


class ByteRange(msgspec.Struct, frozen=True):
    """`length` bytes from `offset`; both in bytes, both >= 0."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """First byte after the range."""
        return self.offset + self.length


class RangeSpec(msgspec.Struct, frozen=True):
    """An asked-for range: first and last byte, both inclusive. `first=None`: the last `last` bytes. `last=None`: to the end."""

    first: int | None
    last: int | None

    def resolve(self, size: int) -> ByteRange:
        """The range within an object of `size` bytes. Raises InvalidRangeError if no byte of it exists."""
        if self.first is None:
            length = min(self.last or 0, size)
            if length == 0:
                raise InvalidRangeError(size=size)
            return ByteRange(size - length, length)
        if self.first >= size:
            raise InvalidRangeError(size=size)
        last = size - 1 if self.last is None else min(self.last, size - 1)
        return ByteRange(self.first, last - self.first + 1)


def parse_range_header(value: str) -> RangeSpec | None:
    """Parse a `Range` header; None where it is to be ignored (RFC 9110 section 14.2)."""
    match = _HEADER.match(value.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if len(first) > 19 or len(last) > 19:
        return None
    if not first:
        return RangeSpec(None, int(last))
    if last and int(last) < int(first):
        return None
    return RangeSpec(int(first), int(last) if last else None)
