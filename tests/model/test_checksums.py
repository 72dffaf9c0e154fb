"""Checksums: published check values, and combining against hashing the whole."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.checksums import (
    ALGORITHMS,
    DIGEST_BYTES,
    FULL_OBJECT_ALGORITHMS,
    combine,
    composite,
    decode,
    encode,
    full_object,
    multipart_etag,
    new_hasher,
)

# The check values of the CRC catalogue (of "123456789"), and FIPS 180's of "abc".
CHECK_VALUES = [
    ("crc32", b"123456789", "cbf43926"),
    ("crc32c", b"123456789", "e3069283"),
    ("crc64nvme", b"123456789", "ae8b14860a799888"),
    ("sha1", b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("md5", b"abc", "900150983cd24fb0d6963f7d28e17f72"),
]
CRCS = sorted(FULL_OBJECT_ALGORITHMS)


def digest(algorithm: str, data: bytes) -> bytes:
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return hasher.digest()


@pytest.mark.parametrize(("algorithm", "data", "expected"), CHECK_VALUES)
def test_published_check_values(algorithm: str, data: bytes, expected: str) -> None:
    assert digest(algorithm, data).hex() == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(chunks=st.lists(st.binary(max_size=50), max_size=6))
def test_chunks_of_any_buffer_type_hash_as_the_whole(algorithm: str, chunks: list[bytes]) -> None:
    hasher = new_hasher(algorithm)
    for index, chunk in enumerate(chunks):
        hasher.update([chunk, bytearray(chunk), memoryview(chunk)][index % 3])
    assert hasher.digest() == digest(algorithm, b"".join(chunks))
    assert len(hasher.digest()) == DIGEST_BYTES[algorithm]


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="crc16"):
        new_hasher("crc16")


@pytest.mark.parametrize("algorithm", CRCS)
@given(first=st.binary(max_size=2000), second=st.binary(max_size=2000))
def test_combining_two_crcs_is_the_crc_of_both(algorithm: str, first: bytes, second: bytes) -> None:
    one, two, both = (
        int.from_bytes(digest(algorithm, data), "big") for data in (first, second, first + second)
    )
    assert combine(algorithm, one, two, len(second)) == both


@pytest.mark.parametrize("algorithm", CRCS)
def test_combining_over_many_zero_bytes(algorithm: str) -> None:
    """Lengths around powers of two, where the squarings start and stop."""
    for exponent in (0, 1, 2, 3, 7, 8, 12, 16, 20):
        for size in {max(0, (1 << exponent) - 1), 1 << exponent, (1 << exponent) + 1}:
            tail = bytes(size)
            one, two, both = (
                int.from_bytes(digest(algorithm, data), "big")
                for data in (b"head", tail, b"head" + tail)
            )
            assert combine(algorithm, one, two, size) == both


def test_combining_agrees_with_zlib_over_lengths_that_no_memory_holds() -> None:
    """CRC of 5 TiB of zeros in parts of 5 GiB, by doubling and by parts: the same."""
    part = int.from_bytes(digest("crc32", bytes(1 << 20)), "big")
    assert part == zlib.crc32(bytes(1 << 20))
    size, value = 1 << 20, part
    while size < 1 << 40:  # doubling
        value, size = combine("crc32", value, value, size), size * 2
    by_parts = full_object("crc32", [(encode(value.to_bytes(4, "big")), size)] * 5)
    again = 0
    for _ in range(5):
        again = combine("crc32", again, value, size)
    assert by_parts == encode(again.to_bytes(4, "big"))


@pytest.mark.parametrize("algorithm", CRCS)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_the_checksum_of_an_object_follows_from_its_parts(
    algorithm: str, parts: list[bytes]
) -> None:
    sums = [(encode(digest(algorithm, part)), len(part)) for part in parts]
    assert full_object(algorithm, sums) == encode(digest(algorithm, b"".join(parts)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_composite_checksum_hashes_the_digests(algorithm: str) -> None:
    parts = [digest(algorithm, data) for data in (b"one", b"two", b"three")]
    expected = encode(digest(algorithm, b"".join(parts)))
    assert composite(algorithm, [encode(part) for part in parts]) == expected


def test_a_multipart_etag_is_the_md5_of_the_md5s_and_their_count() -> None:
    etags = [hashlib.md5(data).hexdigest() for data in (b"a", b"b", b"c")]
    joined = b"".join(hashlib.md5(data).digest() for data in (b"a", b"b", b"c"))
    assert multipart_etag(etags) == hashlib.md5(joined).hexdigest() + "-3"
    assert multipart_etag(iter(etags[:1])).endswith("-1")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_header_values_round_trip_and_wrong_ones_are_none(algorithm: str) -> None:
    raw = digest(algorithm, b"data")
    value = encode(raw)
    assert decode(algorithm, value) == raw
    wrong = [
        "",
        "?",
        value[:-4],
        value + "AAAA",
        value.replace("=", "") + "*",
        " " + value,
        "é" + value[1:],
        value + "\n",
    ]
    for text in [*wrong, base64.b64encode(raw + b"\0").decode()]:
        assert decode(algorithm, text) is None, text
