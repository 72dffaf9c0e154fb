"""Rules of cross-origin requests: what they take, which of them fits, and what the browser hears."""

from __future__ import annotations

import pytest

from appliance.s3.wire.cors import CorsRule, parse_cors, preflight, render_cors, shared_with
from appliance.s3.wire.errors import (
    BadRequestError,
    CorsRefusedError,
    InvalidRequestError,
    MalformedXmlError,
)


def document(*rules: str) -> bytes:
    return f"<CORSConfiguration>{''.join(f'<CORSRule>{rule}</CORSRule>' for rule in rules)}</CORSConfiguration>".encode()


MINIMAL = "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"


def rule(origin: str, *methods: str, **other: object) -> CorsRule:
    return CorsRule(origins=(origin,), methods=methods or ("GET",), **other)  # type: ignore[arg-type]


def test_a_document_comes_back_as_it_was():
    full = (
        "<ID>one</ID><AllowedHeader>X-Amz-*</AllowedHeader><AllowedMethod>GET</AllowedMethod>"
        "<AllowedMethod>PUT</AllowedMethod><AllowedOrigin>https://*.example.org</AllowedOrigin>"
        "<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds>"
    )
    rules = parse_cors(document(full, MINIMAL))
    assert rules[0] == CorsRule(
        name="one",
        headers=("X-Amz-*",),
        methods=("GET", "PUT"),
        origins=("https://*.example.org",),
        exposed=("ETag",),
        max_age_s=60,
    )
    assert parse_cors(render_cors(rules)) == rules
    assert full.encode() in render_cors(rules)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (document(), MalformedXmlError),
        (document(*[MINIMAL] * 101), MalformedXmlError),
        (document("<AllowedOrigin>*</AllowedOrigin>"), MalformedXmlError),
        (document("<AllowedMethod>GET</AllowedMethod>"), MalformedXmlError),
        (document(MINIMAL + "<Unknown>x</Unknown>"), MalformedXmlError),
        (document(MINIMAL + "<ID>a</ID><ID>b</ID>"), MalformedXmlError),
        (document(MINIMAL + "<MaxAgeSeconds>-1</MaxAgeSeconds>"), MalformedXmlError),
        (document(MINIMAL + "<MaxAgeSeconds>soon</MaxAgeSeconds>"), MalformedXmlError),
        (document(MINIMAL) + b" " * 70_000, MalformedXmlError),
        (document(MINIMAL.replace("GET", "OPTIONS")), InvalidRequestError),
        (document(MINIMAL.replace("GET", "get")), InvalidRequestError),
        (document(MINIMAL.replace("*", "*.*")), InvalidRequestError),
        (document(MINIMAL + "<AllowedHeader>a*b*</AllowedHeader>"), InvalidRequestError),
        (document(MINIMAL + "<ExposeHeader>x-*</ExposeHeader>"), InvalidRequestError),
        (document(MINIMAL + "<ExposeHeader>x\nSet-Cookie: a</ExposeHeader>"), InvalidRequestError),
        (document(MINIMAL + f"<ID>{'i' * 256}</ID>"), InvalidRequestError),
    ],
)
def test_what_s3_does_not_take_is_refused(body: bytes, error: type[Exception]):
    with pytest.raises(error):
        parse_cors(body)


@pytest.mark.parametrize(
    ("pattern", "origin", "fits"),
    [
        ("*suffix", "foo.suffix", True), ("*suffix", "foo.suffix.get", False),
        ("start*end", "startend", True), ("start*end", "start12end", True), ("start*end", "0startend", False),
        ("ab*ba", "aba", False), ("prefix*", "prefix", True), ("prefix*", "bla.prefix", False),
        ("https://a", "https://a", True), ("https://a", "https://A", False), ("*", "null", True),
    ],
)  # fmt: skip
def test_origins(pattern: str, origin: str, fits: bool):
    told = shared_with([rule(pattern)], "GET", {"origin": origin})
    assert bool(told) is fits


def test_a_browser_is_told_what_it_asked_about():
    rules = [
        rule("https://a", headers=("x-amz-*", "Content-Type"), exposed=("ETag", "x-amz-meta-a"), max_age_s=5),
        rule("*", "PUT"),
    ]  # fmt: skip
    asked = {
        "origin": "https://a",
        "access-control-request-method": "GET",
        "access-control-request-headers": "X-Amz-Date, content-type",
    }
    assert dict(preflight(rules, asked)) == {
        "Access-Control-Allow-Origin": "https://a",
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Allow-Headers": "x-amz-date, content-type",
        "Access-Control-Expose-Headers": "ETag, x-amz-meta-a",
        "Access-Control-Max-Age": "5",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    # Anybody: then no credentials.
    told = dict(preflight(rules, {"origin": "https://b", "access-control-request-method": "PUT"}))
    assert told["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in told


def test_a_preflight_may_ask_about_so_many_headers():
    asked = {"origin": "a", "access-control-request-method": "GET"}
    names = [f"x-{number}" for number in range(101)]
    for given, allowed in ((names[:100], True), (names, False), (names[:50] * 5, True)):
        headers = {**asked, "access-control-request-headers": ",".join(given)}
        if allowed:
            assert preflight([rule("*", headers=("*",))], headers)
        else:
            with pytest.raises(CorsRefusedError):
                preflight([rule("*", headers=("*",))], headers)


@pytest.mark.parametrize(
    ("rules", "headers", "error"),
    [
        ([rule("*")], {}, BadRequestError),
        ([rule("*")], {"origin": "a"}, BadRequestError),
        ([rule("*")], {"origin": "a", "access-control-request-method": "TRACE"}, BadRequestError),
        (None, {"origin": "a", "access-control-request-method": "GET"}, CorsRefusedError),
        ([], {"origin": "a", "access-control-request-method": "GET"}, CorsRefusedError),
        ([rule("*")], {"origin": "a", "access-control-request-method": "PUT"}, CorsRefusedError),
        (
            [rule("*")],
            {
                "origin": "a",
                "access-control-request-method": "GET",
                "access-control-request-headers": "x-amz-meta-header2",
            },
            CorsRefusedError,
        ),
    ],
)
def test_preflights_that_are_refused(rules, headers, error: type[Exception]):
    with pytest.raises(error):
        preflight(rules, headers)
