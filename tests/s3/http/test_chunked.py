"""The chunked transfer coding: whatever the pieces, the same payload, and not a byte of what follows."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.s3.http.chunked import LINE_BYTES_MAX, TRAILER_BYTES_MAX, ChunkedDecoder
from appliance.s3.wire.errors import BadRequestError

NEXT = b"GET / HTTP/1.1\r\n"


def decode(pieces: list[bytes], limit: int = 1 << 20) -> tuple[bytes, bytes, bool]:
    decoder = ChunkedDecoder()
    payload = b""
    for piece in pieces:
        decoder.feed(piece)
        while data := decoder.take(limit):
            payload += data
    return payload, decoder.unread, decoder.ended


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    limit=st.integers(1, 50),
    extension=st.sampled_from([b"", b";a", b' ;a="b"', b"\t"]),
    trailer=st.sampled_from([b"", b"A: b\r\n", b"A:b\r\nC:\r\n"]),
)
def test_decodes_to_the_same_however_it_arrives(chunks, cuts, limit, extension, trailer):
    raw = b"".join(b"%X%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks)
    raw += b"0\r\n" + trailer + b"\r\n" + NEXT
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(edges)]
    assert decode(pieces, limit) == (b"".join(chunks), NEXT, True)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_incomplete_never_anything_else(raw):
    try:
        _, _, ended = decode([raw])
    except BadRequestError:
        return
    assert not ended or b"0" in raw


@pytest.mark.parametrize(
    "raw",
    [
        b"0x5\r\n",
        b"+5\r\n",
        b"5 5\r\n",
        b"\r\n",
        b"5\r\r\n",
        b"5\n",
        b"1234567890abcdef\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n\n",
        b"5;\x00\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"5" * (LINE_BYTES_MAX + 1),
        b"0\r\n" + b"A: b\r\n" * (TRAILER_BYTES_MAX // 5),
    ],
)
def test_what_is_not_strictly_the_coding_is_refused(raw):
    with pytest.raises(BadRequestError):
        decode([raw])


def test_a_violation_is_final():
    decoder = ChunkedDecoder()
    decoder.feed(b"zz\r\n0\r\n\r\n" + NEXT)
    for _ in range(2):
        with pytest.raises(BadRequestError, match="chunk size"):
            decoder.take(100)
        decoder.feed(b"0\r\n\r\n" + NEXT)
    assert not decoder.ended
    assert decoder.failure
