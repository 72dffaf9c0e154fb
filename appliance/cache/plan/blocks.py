"""Which blocks of an object are here, and the CRC32C of each: the truth about a data file, never the filesystem's extents.

A block is 1 MiB (the last one may be shorter). It is present only once all of its bytes have been written. Serialised as

    magic 8 | size of the object u64 | present, one byte a block | CRC32C u32 a block | CRC32C u32 of all before        (little-endian)

so that a torn or foreign sidecar is recognised and dropped.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator

from awscrt import checksums as crt

BLOCK_BYTES = 1 << 20
_MAGIC = b"cablock1"
_HEAD = struct.Struct("<8sQ")
_TAIL = struct.Struct("<I")


class BlockMap:
    """Blocks of an object of `size` bytes. An empty object has none, and is complete."""

    __slots__ = ("_crcs", "_present", "count", "filled", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = -(-size // BLOCK_BYTES)
        self.filled = 0
        self._present = bytearray(self.count)
        self._crcs = array("I", bytes(4 * self.count))

    @property
    def complete(self) -> bool:
        return self.filled == self.count

    @property
    def present_bytes(self) -> int:
        """Bytes of the blocks that are here."""
        total = self.filled * BLOCK_BYTES
        if self.count and self._present[-1]:
            total -= self.count * BLOCK_BYTES - self.size
        return total

    def span(self, index: int) -> tuple[int, int]:
        """(offset, length) of a block, in bytes."""
        offset = index * BLOCK_BYTES
        return offset, min(BLOCK_BYTES, self.size - offset)

    def has(self, index: int) -> bool:
        return self._present[index] == 1

    def crc(self, index: int) -> int:
        return self._crcs[index]

    def add(self, index: int, crc: int) -> None:
        """All bytes of block `index` are written, and this is their CRC32C."""
        self.filled += 1 - self._present[index]
        self._present[index] = 1
        self._crcs[index] = crc

    def discard(self, index: int) -> None:
        self.filled -= self._present[index]
        self._present[index] = 0

    def present(self) -> Iterator[tuple[int, int]]:
        """(index, CRC32C) of every block that is here."""
        index = self._present.find(1)
        while index >= 0:
            yield index, self._crcs[index]
            index = self._present.find(1, index + 1)

    def contiguous(self, offset: int, length: int) -> int:
        """How many bytes from `offset` on are here without a gap, at most `length`."""
        first = offset // BLOCK_BYTES
        last = -(-(offset + length) // BLOCK_BYTES)
        gap = self._present.find(0, first, last)
        return length if gap < 0 else max(0, min(length, gap * BLOCK_BYTES - offset))

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Runs [first, last) of blocks within [first, last) that are not here."""
        last = min(last, self.count)
        while (start := self._present.find(0, first, last)) >= 0:
            end = self._present.find(1, start, last)
            first = last if end < 0 else end
            yield start, first

    def to_bytes(self) -> bytes:
        crcs = array("I", self._crcs)
        if sys.byteorder == "big":
            crcs.byteswap()
        content = _HEAD.pack(_MAGIC, self.size) + bytes(self._present) + crcs.tobytes()
        return content + _TAIL.pack(crt.crc32c(content))

    @classmethod
    def from_bytes(cls, data: bytes, size: int) -> BlockMap | None:
        """The map of an object of `size` bytes; None if `data` is not one, whole and intact."""
        blocks = cls(size)
        if len(data) != _HEAD.size + 5 * blocks.count + _TAIL.size:
            return None
        content, tail = data[: -_TAIL.size], data[-_TAIL.size :]
        if _HEAD.unpack_from(content) != (_MAGIC, size):
            return None
        if _TAIL.unpack(tail) != (crt.crc32c(content),):
            return None
        flags = _HEAD.size + blocks.count
        blocks._present[:] = content[_HEAD.size : flags]
        blocks._crcs = array("I", content[flags:])
        if sys.byteorder == "big":
            blocks._crcs.byteswap()
        blocks.filled = blocks._present.count(1)
        return blocks
