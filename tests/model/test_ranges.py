"""Byte ranges against slices, exhaustively for small sizes; headers against RFC 9110 section 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import InvalidRangeError
from appliance.model.ranges import ByteRange, RangeSpec, parse_range_header

DATA = bytes(range(8))
POSITIONS = range(10)


def expected_slice(spec: RangeSpec, data: bytes) -> bytes:
    if spec.first is None:
        assert spec.last is not None
        return data[max(0, len(data) - spec.last) :]
    end = len(data) if spec.last is None else spec.last + 1
    return data[spec.first : end]


def check_against_a_slice(spec: RangeSpec, data: bytes) -> None:
    expected = expected_slice(spec, data)
    if not expected:
        with pytest.raises(InvalidRangeError) as caught:
            spec.resolve(len(data))
        assert caught.value.size == len(data)
        return
    found = spec.resolve(len(data))
    assert data[found.offset : found.end] == expected
    assert found.length == len(expected) > 0
    assert 0 <= found.offset < found.end <= len(data)


@pytest.mark.parametrize("size", range(9))
def test_every_small_range_is_the_slice_it_names(size: int) -> None:
    data = DATA[:size]
    for first in POSITIONS:
        check_against_a_slice(RangeSpec(first, None), data)
        check_against_a_slice(RangeSpec(None, first), data)
        for last in range(first, 10):
            check_against_a_slice(RangeSpec(first, last), data)


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, 2**63))
def test_large_ranges_stay_within_the_object(first: int, more: int, size: int) -> None:
    spec = RangeSpec(first, first + more)
    if first >= size:
        with pytest.raises(InvalidRangeError):
            spec.resolve(size)
    else:
        assert spec.resolve(size) == ByteRange(first, min(more + 1, size - first))


@pytest.mark.parametrize(
    ("header", "spec"),
    [
        ("bytes=0-0", RangeSpec(0, 0)),
        ("bytes=0-499", RangeSpec(0, 499)),
        ("bytes=9500-", RangeSpec(9500, None)),
        ("bytes=-500", RangeSpec(None, 500)),
        ("bytes=-0", RangeSpec(None, 0)),
        ("Bytes=1-2", RangeSpec(1, 2)),
        ("BYTES=1-", RangeSpec(1, None)),
        ("  bytes=1-2\t", RangeSpec(1, 2)),
        ("bytes=000-0010", RangeSpec(0, 10)),
        ("bytes=0-99999999999999999999", RangeSpec(0, 10**19)),
        ("bytes=-" + "9" * 5000, RangeSpec(None, 10**19)),
        ("bytes=" + "0" * 5000 + "7-", RangeSpec(7, None)),
    ],
)
def test_headers_that_count(header: str, spec: RangeSpec) -> None:
    assert parse_range_header(header) == spec


@pytest.mark.parametrize(
    "header",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=2-1", "bytes=0-1,3-4", "bytes=0-1,", "lines=0-1", "bytes 0-1",
        "bytes=0 - 1", "bytes=+1-2", "bytes=1-+2", "bytes=--1", "bytes=-1-2", "bytes=0x1-0x2", "bytes=1.0-2", "bytes=٣-٤", "bytes=1-2\n",
        "bytes=1-2\r\nX: y", "bytes:0-1", "\u00a0bytes=0-1", "bytes=²-3",
    ],
)  # fmt: skip
def test_headers_that_are_ignored(header: str) -> None:
    assert parse_range_header(header) is None


def test_a_first_byte_beyond_all_objects_is_unsatisfiable_not_ignored() -> None:
    spec = parse_range_header("bytes=99999999999999999999-")
    assert spec is not None
    with pytest.raises(InvalidRangeError):
        spec.resolve(5 * 1024**4)


@given(st.integers(0, 10**18), st.none() | st.integers(0, 10**18))
def test_what_is_written_is_parsed_back(first: int, more: int | None) -> None:
    last = None if more is None else first + more
    header = f"bytes={first}-{'' if last is None else last}"
    assert parse_range_header(header) == RangeSpec(first, last)


@given(st.text(max_size=30))
def test_nothing_else_is_a_range(text: str) -> None:
    spec = parse_range_header("bytes=" + text)
    if spec is not None:
        assert set(text.strip(" \t")) <= set("0123456789-")
