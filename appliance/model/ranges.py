"""Byte ranges: what a client asks for (`RangeSpec`), and what that means for an object of a known size (`ByteRange`).

Source of the rules: RFC 9110 section 14. A range header that cannot be parsed, or asks for several ranges, is ignored as the RFC allows
and as S3 does; one that lies wholly beyond the end is an error.
"""

from __future__ import annotations

import re

import msgspec

from appliance.model.errors import InvalidRangeError

# Range units are case-insensitive (RFC 9110 section 14.1); digits are ASCII.
_HEADER = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z", re.IGNORECASE)
# Beyond any object; longer numbers are no larger to us, and Python refuses to parse thousands of digits.
_BEYOND = 10**19


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
    match = _HEADER.match(value.strip(" \t"))
    if match is None:
        return None
    first, last = (_number(text) for text in match.groups())
    if first is None and last is None:
        return None
    if first is not None and last is not None and last < first:
        return None
    return RangeSpec(first, last)


def _number(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 19 else _BEYOND
