"""The checksums S3 knows: computing, combining and naming them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
CRCs are linear, so the CRC of a whole object follows from those of its parts (`combine`), without reading a byte again.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

from awscrt import checksums as crt

# Algorithm -> bytes in its digest. The names are the lower-case tails of the x-amz-checksum-* headers.
DIGEST_BYTES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
ALGORITHMS = tuple(DIGEST_BYTES)
# Reflected polynomials, as awscrt uses them.
_POLYNOMIAL = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78, "crc64nvme": 0x9A6C9329AC4BC9B5}
FULL_OBJECT_ALGORITHMS = frozenset(_POLYNOMIAL)


class Hasher(Protocol):
    """Takes bytes in order; `digest` may be called once all are in."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = self._function(data, self._value)  # type: ignore[arg-type]  # takes any buffer

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def new_hasher(algorithm: str) -> Hasher:
    """A hasher for one of `ALGORITHMS` or "md5". awscrt and hashlib release the GIL on large updates."""
    match algorithm:
        case "crc32":
            return _Crc(crt.crc32, 4)
        case "crc32c":
            return _Crc(crt.crc32c, 4)
        case "crc64nvme":
            return _Crc(crt.crc64nvme, 8)
        case "sha1" | "sha256" | "md5":
            return hashlib.new(algorithm, usedforsecurity=False)
    raise ValueError(f"unknown checksum algorithm {algorithm!r}")


def encode(digest: bytes) -> str:
    """A digest as S3 headers carry it."""
    return base64.b64encode(digest).decode("ascii")


def decode(algorithm: str, value: str) -> bytes | None:
    """Bytes of a header's base64 value; None if it is not one of this algorithm."""
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES[algorithm] else None


def composite(algorithm: str, parts: Iterable[str]) -> str:
    """The checksum of the parts' checksums (base64 each), as CompleteMultipartUpload makes it, without `-N`."""
    hasher = new_hasher(algorithm)
    for value in parts:
        hasher.update(base64.b64decode(value))
    return encode(hasher.digest())


def full_object(algorithm: str, parts: Iterable[tuple[str, int]]) -> str:
    """The CRC of a whole object from those of its consecutive parts: (base64 value, size in bytes) each."""
    size = DIGEST_BYTES[algorithm]
    value = 0
    for encoded, length in parts:
        part = int.from_bytes(base64.b64decode(encoded), "big")
        value = combine(algorithm, value, part, length)
    return encode(value.to_bytes(size, "big"))


def multipart_etag(part_etags: Iterable[str]) -> str:
    """S3's ETag of a multipart object: MD5 of the parts' MD5s, dash, count."""
    etags = list(part_etags)
    joined = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"


def combine(algorithm: str, first: int, second: int, second_bytes: int) -> int:
    """CRC of A+B from CRC(A), CRC(B) and len(B): advance CRC(A) over len(B) zero bytes.

    The zero-byte operator is a matrix over GF(2); appending n zeros is its n-th power (the method of zlib's crc32_combine). Powers of two
    are kept, so that a part of 5 MiB costs two multiplications (10,000 parts: well under a second) and not 25 squarings.
    """
    value = first
    for bit in range(second_bytes.bit_length()):
        if second_bytes >> bit & 1:
            value = _apply(_zero_bytes(algorithm, bit), value)
    return value ^ second


@functools.cache
def _zero_bytes(algorithm: str, exponent: int) -> list[int]:
    """The operator that appends 2**exponent zero bytes."""
    if exponent > 0:
        return _square(_zero_bytes(algorithm, exponent - 1))
    # One zero bit: shift right, and fold the polynomial in when a one falls out. Three squarings make it eight.
    width = DIGEST_BYTES[algorithm] * 8
    operator = [_POLYNOMIAL[algorithm]] + [1 << bit for bit in range(width - 1)]
    for _ in range(3):
        operator = _square(operator)
    return operator


def _apply(operator: list[int], vector: int) -> int:
    total = 0
    row = 0
    while vector:
        if vector & 1:
            total ^= operator[row]
        vector >>= 1
        row += 1
    return total


def _square(operator: list[int]) -> list[int]:
    return [_apply(operator, row) for row in operator]
