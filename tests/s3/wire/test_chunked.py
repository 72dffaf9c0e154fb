"""The aws-chunked decoder: the same however the bytes are cut, and nothing visible that is not signed for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.errors import SignatureMismatchError
from appliance.auth.sigv4 import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
)
from appliance.model.errors import ApplianceError, IncompleteBodyError
from appliance.s3.wire.chunked import SIGNED_CHUNK_BYTES_MAX, ChunkedDecoder, decoder_for
from appliance.s3.wire.errors import (
    ChunkTooLargeError,
    InvalidRequestError,
    MalformedChunkError,
    MalformedTrailerError,
    MissingContentLengthError,
)
from tests.support.aws_chunked import authentication, encode

FORMS = [STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER]
CRC = ("x-amz-checksum-crc32", "AAAAAA==")


def trailers_of(form):
    return () if form == STREAMING_SIGNED else (CRC,)


def decoder(form, length, trailers=None):
    names = frozenset(name for name, _ in (trailers_of(form) if trailers is None else trailers))
    return ChunkedDecoder(authentication(form), decoded_length=length, trailer_names=names)


def body_of(form, chunks):
    return encode(authentication(form), chunks, trailers_of(form))


def drain(machine, pieces):
    """Payload, copied as it comes: views need live no longer than to the next call."""
    out = b""
    for piece in pieces:
        out += b"".join(bytes(view) for view in machine.feed(piece))
    return out


def feed_bytewise(machine, body, seen):
    for byte in body:
        seen.append(drain(machine, [bytes([byte])]))


chunk_lists = st.lists(st.binary(min_size=1, max_size=300), max_size=5)


@given(st.sampled_from(FORMS), chunk_lists, st.lists(st.integers(0, 2000), max_size=8))
def test_bytes_may_be_cut_anywhere(form, chunks, cuts):
    body = body_of(form, chunks)
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    machine = decoder(form, sum(map(len, chunks)))
    assert drain(machine, pieces) == b"".join(chunks)
    machine.finish()
    assert machine.finished
    assert machine.trailers == dict(trailers_of(form))


@pytest.mark.parametrize("form", FORMS)
def test_byte_by_byte(form):
    chunks = [b"first", b"\r\n0\r\n\r\n", b"x" * 70]
    body = body_of(form, chunks)
    machine = decoder(form, sum(map(len, chunks)))
    assert drain(machine, [body[i : i + 1] for i in range(len(body))]) == b"".join(chunks)
    machine.finish()


@pytest.mark.parametrize("form", FORMS)
def test_every_cut_short_body_is_incomplete(form):
    body = body_of(form, [b"some", b"bytes"])
    for end in range(len(body)):
        machine = decoder(form, 9)
        drain(machine, [body[:end]])
        assert not machine.finished
        with pytest.raises(IncompleteBodyError):
            machine.finish()


@pytest.mark.parametrize("form", FORMS)
def test_bytes_after_the_end_are_an_error(form):
    machine = decoder(form, 1)
    with pytest.raises(MalformedChunkError):
        machine.feed(body_of(form, [b"a"]) + b"!")


@pytest.mark.parametrize("form", [STREAMING_SIGNED, STREAMING_SIGNED_TRAILER])
def test_no_byte_of_a_changed_chunk_is_seen(form):
    """Any one bit of any chunk flipped: what was handed out before the error is chunks that were signed."""
    chunks = [b"A" * 40, b"B" * 40]
    body = body_of(form, chunks)
    for index, chunk in enumerate(chunks):
        start = body.index(chunk)
        for offset in range(len(chunk)):
            forged = bytearray(body)
            forged[start + offset] ^= 1
            machine = decoder(form, 80)
            seen = []
            with pytest.raises(SignatureMismatchError):
                feed_bytewise(machine, forged, seen)
            assert b"".join(seen) == b"".join(chunks[:index])


@pytest.mark.parametrize("form", [STREAMING_SIGNED, STREAMING_SIGNED_TRAILER])
def test_a_chunk_left_out_swapped_or_repeated_breaks_the_chain(form):
    facts = authentication(form)
    one, two = (encode(facts, [data], trailers_of(form)) for data in (b"AAAA", b"BBBB"))
    both = encode(facts, [b"AAAA", b"BBBB"], trailers_of(form))
    first = one[: one.index(b"AAAA\r\n") + 6]
    assert both.startswith(first)
    rest = both[len(first) :]
    for forged in (rest, first + first + rest, first + two):
        with pytest.raises((SignatureMismatchError, IncompleteBodyError)):
            decoder(form, 8).feed(forged)


def test_a_changed_trailer_is_noticed():
    body = body_of(STREAMING_SIGNED_TRAILER, [b"a"]).replace(b"AAAAAA==", b"AAAAAQ==")
    with pytest.raises(SignatureMismatchError):
        decoder(STREAMING_SIGNED_TRAILER, 1).feed(body)


def test_a_signed_chunk_is_bounded():
    machine = decoder(STREAMING_SIGNED, SIGNED_CHUNK_BYTES_MAX + 1)
    with pytest.raises(ChunkTooLargeError):
        machine.feed(b"%x;chunk-signature=%s\r\n" % (SIGNED_CHUNK_BYTES_MAX + 1, b"0" * 64))


def test_unsigned_payload_and_whole_signed_chunks_are_not_copied():
    for form in FORMS:
        body = body_of(form, [b"x" * 1000])
        views = decoder(form, 1000).feed(body)
        assert [view.obj is body for view in views] == [True]


U = STREAMING_UNSIGNED_TRAILER
S = STREAMING_SIGNED
SIGNATURE = b";chunk-signature=" + b"0" * 64
MALFORMED = {
    "no size": (U, b"\r\n", MalformedChunkError),
    "not hex": (U, b"xyz\r\n", MalformedChunkError),
    "negative": (U, b"-1\r\n", MalformedChunkError),
    "spaced": (U, b" 1\r\n", MalformedChunkError),
    "0x": (U, b"0x1\r\n", MalformedChunkError),
    "underscore": (U, b"1_0\r\n", MalformedChunkError),
    "bare line feed": (U, b"1\na", MalformedChunkError),
    "endless size": (U, b"1" * 300, MalformedChunkError),
    "17 digits": (U, b"0" * 17 + b"\r\n", MalformedChunkError),
    "unsigned with signature": (U, b"1" + SIGNATURE + b"\r\n", MalformedChunkError),
    "signed without": (S, b"1\r\n", MalformedChunkError),
    "short signature": (S, b"1;chunk-signature=00\r\n", MalformedChunkError),
    "chunk longer than its size": (U, b"1\r\nab\r\n", MalformedChunkError),
    "more than announced": (U, b"b\r\n", IncompleteBodyError),
    "less than announced": (U, b"1\r\na\r\n0\r\n", IncompleteBodyError),
    "signed too long": (S, b"b" + SIGNATURE + b"\r\n", IncompleteBodyError),
    "trailer without colon": (U, b"a\r\n0123456789\r\n0\r\nno colon\r\n", MalformedTrailerError),
    "unannounced trailer": (U, b"a\r\n0123456789\r\n0\r\nx-other:1\r\n", MalformedTrailerError),
    "trailer twice": (
        U,
        b"a\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:1\r\nx-amz-checksum-crc32:1\r\n",
        MalformedTrailerError,
    ),
    "missing trailer": (U, b"a\r\n0123456789\r\n0\r\n\r\n", MalformedTrailerError),
    "endless trailer": (U, b"a\r\n0123456789\r\n0\r\n" + b"x" * 5000, MalformedTrailerError),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_malformed_body_has_a_precise_error(name, step):
    form, body, error = MALFORMED[name]
    machine = decoder(form, 10)
    with pytest.raises(error):
        drain(machine, [body[start : start + step] for start in range(0, len(body), step)])


def test_trailers_as_minio_writes_them():
    body = b"1\r\na\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\n\r\n"
    machine = decoder(U, 1)
    assert drain(machine, [body[i : i + 1] for i in range(len(body))]) == b"a"
    machine.finish()
    assert machine.trailers == dict([CRC])


def test_a_signed_trailer_needs_its_signature():
    facts = authentication(STREAMING_SIGNED_TRAILER)
    body = encode(facts, [b"a"], [CRC])
    cut = body.index(b"x-amz-trailer-signature")
    with pytest.raises(MalformedTrailerError):
        decoder(STREAMING_SIGNED_TRAILER, 1).feed(body[:cut] + b"\r\n")


SCRAPS = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"0",
        b"1",
        b"a",
        b";chunk-signature=",
        b"0" * 64,
        b"x-amz-checksum-crc32:",
        b"\xff",
    ]
)


@given(
    st.sampled_from(FORMS),
    st.lists(SCRAPS | st.binary(max_size=20), max_size=30),
    st.integers(0, 50),
)
def test_anything_else_yields_payload_or_a_domain_error(form, pieces, length):
    machine = decoder(form, length)
    seen = 0
    try:
        for piece in pieces:
            seen += sum(map(len, machine.feed(piece)))
        machine.finish()
    except ApplianceError:
        pass
    assert seen <= length


# --- from headers ---------------------------------------------------------------------------------


def test_a_plain_body_has_no_decoder():
    assert decoder_for(authentication(UNSIGNED_PAYLOAD), {}) is None
    assert decoder_for(authentication("0" * 64), {"content-encoding": "aws-chunked"}) is None


@pytest.mark.parametrize(
    ("payload", "headers", "error"),
    [
        (S, {}, MissingContentLengthError),
        (S, {"x-amz-decoded-content-length": "-1"}, InvalidRequestError),
        (S, {"x-amz-decoded-content-length": "²"}, InvalidRequestError),
        (S, {"x-amz-decoded-content-length": "9" * 99}, InvalidRequestError),
        (S, {"x-amz-decoded-content-length": "1", "x-amz-trailer": "x-amz-checksum-crc32"}, InvalidRequestError),
        (UNSIGNED_PAYLOAD, {"x-amz-trailer": "x-amz-checksum-crc32"}, InvalidRequestError),
    ],
)  # fmt: skip
def test_headers_that_do_not_fit_the_body_are_refused(payload, headers, error):
    with pytest.raises(error):
        decoder_for(authentication(payload), headers)


def test_the_announced_trailers_are_expected():
    headers = {"x-amz-decoded-content-length": "1", "x-amz-trailer": " X-Amz-Checksum-CRC32 "}
    machine = decoder_for(authentication(U), headers)
    assert drain(machine, [body_of(U, [b"a"])]) == b"a"
    assert machine.finished
