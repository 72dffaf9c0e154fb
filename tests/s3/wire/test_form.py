"""Forms of browser uploads: whole, in pieces, and broken."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError, IncompleteBodyError
from appliance.s3.wire.errors import (
    FormFieldsTooLargeError,
    InvalidArgumentValueError,
    MalformedFormError,
    NotAFormError,
    OneFileError,
)
from appliance.s3.wire.form import FIELDS_BYTES_MAX, FormDecoder, boundary_of

BOUNDARY = b"b0undary"


def part(name: str, content: bytes, extra: str = "") -> bytes:
    head = f'--{BOUNDARY.decode()}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def decode(data: bytes, *cuts: int) -> tuple[FormDecoder, bytes]:
    """Feed `data`, cut at these offsets."""
    decoder = FormDecoder(BOUNDARY)
    edges = [0, *sorted(cuts), len(data)]
    out = b""
    for start, end in itertools.pairwise(edges):
        out += b"".join(decoder.feed(data[start:end]))
    decoder.finish()
    return decoder, out


WHOLE = form(
    part("Key", "dir/${filename} ü".encode()),
    part("empty", b""),
    part("x-ignore-me", b"1"),
    part("x-ignore-me", b"2"),
    part("file", b"a\r\n--b0undar\r\n\r--", '; filename="C:\\dir\\na%22me.txt"'),
    part("submit", b"Upload"),
)


def test_fields_and_file():
    decoder, content = decode(WHOLE)
    assert decoder.fields == {"key": "dir/${filename} ü", "empty": ""}
    assert decoder.filename == 'C:\\dir\\na"me.txt'
    assert content == b"a\r\n--b0undar\r\n\r--"
    assert decoder.in_file


def test_byte_by_byte_it_is_the_same():
    decoder, content = decode(WHOLE, *range(len(WHOLE)))
    whole, expected = decode(WHOLE)
    assert (decoder.fields, decoder.filename, content) == (whole.fields, whole.filename, expected)


def test_a_preamble_and_an_epilogue_say_nothing():
    decoder, content = decode(b"hello\r\n" + form(part("file", b"x")) + b"bye" * 100_000)
    assert (decoder.fields, content) == ({}, b"x")


def test_padding_after_a_boundary():
    data = form(part("file", b"x")).replace(BOUNDARY + b"\r\n", BOUNDARY + b" \t\r\n")
    assert decode(data)[1] == b"x"
    assert decode(data, *range(len(data)))[1] == b"x"


def test_the_file_can_be_empty():
    assert decode(form(part("file", b"")))[1] == b""


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (form(), OneFileError),
        (form(part("key", b"k")), OneFileError),
        (form(part("file", b"1"), part("file", b"2")), OneFileError),
        (form(part("key", b"1"), part("KEY", b"2")), InvalidArgumentValueError),
        (form(part("file", b"1"))[:-6], IncompleteBodyError),
        (b"", IncompleteBodyError),
        (form(part("", b"1")), MalformedFormError),
        (form(part("file", b"1").replace(b"form-data", b"attachment")), MalformedFormError),
        (form(part("file", b"1").replace(b"Content-Disposition:", b"Nothing")), MalformedFormError),
        (
            form(part("file", b"1").replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")),
            MalformedFormError,
        ),
        (form(part("file", b"1").replace(BOUNDARY + b"\r\n", BOUNDARY + b"x\r\n")), MalformedFormError),
        (form(part("key", b"1", "; x=" + "y" * 5000)), MalformedFormError),
        (form(part("key", b"k" * FIELDS_BYTES_MAX), part("file", b"")), FormFieldsTooLargeError),
        (b"x" * (FIELDS_BYTES_MAX + 1), FormFieldsTooLargeError),
        (form(part("file", b""), part("more", b"m" * 70_000)), MalformedFormError),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_however_it_arrives(data: bytes, error: type[ApplianceError]):
    with pytest.raises(error):
        decode(data)
    with pytest.raises(error):
        decode(data, *range(0, len(data), 97))


@given(st.binary(max_size=200), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_file_comes_through_any_cuts(content: bytes, cuts: list[int]):
    data = form(part("key", b"k"), part("file", content))
    if b"\r\n--" + BOUNDARY in content:
        return
    assert decode(data, *[min(cut, len(data)) for cut in cuts])[1] == content


TOKENS = [b"\r\n", b"--", b"--b0undary", b"name=", b'"file"', b": ", b"Content-Disposition", b"form-data; ", b"x", b"\r"]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=30), st.integers(0, 100))
@settings(max_examples=300, deadline=None)
def test_nonsense_is_an_error_or_a_form_and_never_depends_on_cuts(tokens: list[bytes], cut: int):
    data = b"".join(tokens)

    def outcome(*cuts: int) -> object:
        try:
            decoder, content = decode(data, *cuts)
        except ApplianceError as error:
            return type(error)
        return decoder.fields, decoder.filename, content

    assert outcome() == outcome(min(cut, len(data)))


def test_boundaries():
    header = "Multipart/Form-Data; charset=utf-8; boundary={}"
    assert boundary_of({"content-type": header.format("abc")}) == b"abc"
    assert boundary_of({"content-type": header.format('"a b"')}) == b"a b"
    for value in ("", "text/plain", "application/x-www-form-urlencoded; boundary=x"):
        with pytest.raises(NotAFormError):
            boundary_of({"content-type": value})
    for value in ("multipart/form-data", header.format(""), header.format("x" * 300)):
        with pytest.raises(MalformedFormError):
            boundary_of({"content-type": value})
