"""Request heads: what is understood of them, and that the quick way of reading headers gives what the rule gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import ApplianceError
from appliance.s3.http.head import HeadProbe, parse_head
from appliance.s3.wire.errors import BadRequestError, HeadersTooLargeError, InvalidHeaderError
from appliance.s3.wire.request import HEADERS_MAX, fold_headers

NAMES = st.text("abcXYZ-09_", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {"host", "content-length", "expect", "connection", "upgrade"}
)
VALUES = st.binary(max_size=30).map(
    lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte < 127 or byte >= 128)
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_headers_are_read_as_the_rule_says(pairs):
    encoded = [(name.encode(), value) for name, value in pairs]
    lines = b"".join(b"%b:%b\r\n" % pair for pair in encoded)
    head = parse_head(b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
    assert head.request.headers == fold_headers([(b"host", b"x"), *encoded])


@given(st.binary(max_size=300))
def test_garbage_is_refused(raw):
    with pytest.raises(BadRequestError):
        parse_head(raw + b"\x00\r\n\r\n")


@given(st.binary(max_size=100), st.integers(0, 100))
def test_the_probe_refuses_only_what_the_parser_refuses(garbage, cut):
    raw = b"GET /" + garbage + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    probe = HeadProbe()
    refused = False
    try:
        # All but the last line feed, so that the probe sees no complete message.
        for piece in (raw[:cut], raw[cut:-1]):
            probe.feed(piece)
    except BadRequestError:
        refused = True
    if refused:
        with pytest.raises(ApplianceError):
            parse_head(raw)


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", True),
    ],
)
def test_keep_alive(lines: bytes, keep_alive: bool):
    assert parse_head(lines + b"\r\n").keep_alive is keep_alive


@pytest.mark.parametrize(
    ("header", "length", "expects"),
    [
        (b"Content-Length: 0\r\n", 0, False),
        (b"Content-Length: 123\r\n", 123, False),
        (b"Transfer-Encoding: Chunked\r\n", None, False),
        (b"Content-Length: 5\r\nExpect: 100-Continue\r\n", 5, True),
        (b"", 0, False),
    ],
)
def test_framing(header: bytes, length: int | None, expects: bool):
    head = parse_head(b"PUT /a HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")
    assert (head.content_length, head.expects) == (length, expects)


def test_an_absolute_target_is_its_path_and_must_name_the_same_host():
    head = parse_head(b"GET http://h:9/a%20b?c HTTP/1.1\r\nHost: H:9\r\n\r\n", "10.0.0.1", tls=True)
    request = head.request
    assert (request.method, request.target) == ("GET", b"/a%20b?c")
    assert parse_head(b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n").request.target == b"/"
    with pytest.raises(BadRequestError):
        parse_head(b"GET http://other/a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (request.peer, request.tls) == ("10.0.0.1", True)


def test_too_many_and_repeated_headers():
    many = b"".join(b"h%d: x\r\n" % i for i in range(HEADERS_MAX + 1))
    with pytest.raises(HeadersTooLargeError):
        parse_head(b"GET / HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")
    with pytest.raises(InvalidHeaderError):
        parse_head(b"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n")
