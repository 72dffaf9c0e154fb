"""Presigned URLs of Signature Version 2, as botocore makes them by default; and what may not be made of them."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.credentials import make_credentials
from appliance.auth.errors import (
    AuthError,
    AuthorizationQueryError,
    InvalidAccessKeyError,
    PayloadHashHeaderError,
    RequestExpiredError,
    SecurityTokenError,
    SignatureMismatchError,
)
from appliance.auth.sigv4 import UNSIGNED_PAYLOAD, Verifier
from appliance.s3.wire.request import Request, parse_request
from tests.support.root_credentials import RootCredentials

ROOT = make_credentials("AKROOT0000000000TEST", "a-secret-of-some-length")
HOST = "s3.test:9000"
NOW_S = int(time.time())


def presigned(path, query="", method="GET", headers=None, secret=ROOT.secret_key, expires=3600):
    """Target and headers of a URL that botocore signs now."""
    url = f"http://{HOST}{path}{'?' + query if query else ''}"
    request = AWSRequest(method, url, headers=headers or {})
    HmacV1QueryAuth(BotoCredentials(ROOT.access_key, secret), expires=expires).add_auth(request)
    target = request.url.split(HOST, 1)[1].encode("latin-1")
    return target, {"host": HOST, **(headers or {})}


def verify(target, headers, method="GET", now_s=NOW_S, host_bucket=""):
    return Verifier(RootCredentials(ROOT)).verify(
        method, target, headers, now_ns=now_s * 10**9, host_bucket=host_bucket
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.sampled_from(["", "uploadId=abc&partNumber=3", "response-content-type=text%2Fplain", "acl"]),
    st.sampled_from(["GET", "PUT", "HEAD"]),
    st.sampled_from([{}, {"x-amz-meta-a": "b", "x-amz-acl": "private"}, {"content-type": "a/b"}]),
)
def test_what_botocore_signs_verifies(key, query, method, headers):
    target, headers = presigned("/bucket/" + quote(key, safe="/~"), query, method, headers)
    found = verify(target, headers, method)
    assert (found.identity, found.presigned, found.payload) == (
        ROOT.identity,
        True,
        UNSIGNED_PAYLOAD,
    )
    assert parse_request(Request(method=method, target=target, headers=headers)).key == key


def test_a_bucket_in_the_host_is_part_of_what_is_signed():
    target, headers = presigned("/bucket/key")
    short = target.replace(b"/bucket/key", b"/key")
    assert verify(short, headers, host_bucket="bucket").identity == ROOT.identity
    with pytest.raises(SignatureMismatchError):
        verify(short, headers, host_bucket="other")


TARGET, HEADERS = presigned("/b/k")
REFUSED = {
    "another key": (TARGET.replace(b"/k", b"/l"), HEADERS, SignatureMismatchError),
    "an operation of the scheme's time": (TARGET + b"&acl", HEADERS, SignatureMismatchError),
    "an operation younger than the scheme": (
        TARGET + b"&attributes",
        HEADERS,
        SignatureMismatchError,
    ),
    "a listing widened": (TARGET + b"&prefix=x", HEADERS, SignatureMismatchError),
    "a header in the query": (TARGET + b"&x-amz-acl=public-read", HEADERS, SignatureMismatchError),
    "a header": (TARGET, {**HEADERS, "x-amz-copy-source": "b/secret"}, SignatureMismatchError),
    "a content type": (TARGET, {**HEADERS, "content-type": "text/html"}, SignatureMismatchError),
    "a signature beyond ASCII": (
        TARGET.split(b"&Signature")[0].split(b"?")[0]
        + b"?AWSAccessKeyId=AKROOT0000000000TEST&Expires=%d&Signature=%%ff" % (NOW_S + 9),
        HEADERS,
        SignatureMismatchError,
    ),
    "another secret": (*presigned("/b/k", secret="another-secret"), SignatureMismatchError),
    "an unknown key": (TARGET.replace(b"AKROOT", b"AKOTHER"), HEADERS, InvalidAccessKeyError),
    "twice": (TARGET + b"&Expires=1", HEADERS, AuthorizationQueryError),
    "no expiry": (b"/b/k?AWSAccessKeyId=a&Signature=b", HEADERS, AuthorizationQueryError),
    "no number": (b"/b/k?AWSAccessKeyId=a&Signature=b&Expires=x", HEADERS, AuthorizationQueryError),
    "too long": (*presigned("/b/k", expires=8 * 24 * 3600), AuthorizationQueryError),
    "a session token": (TARGET + b"&x-amz-security-token=t", HEADERS, SecurityTokenError),
}


@pytest.mark.parametrize("case", REFUSED)
def test_changed_urls_are_refused(case):
    target, headers, error = REFUSED[case]
    with pytest.raises(error):
        verify(target, headers)


def test_an_url_ends():
    with pytest.raises(RequestExpiredError):
        verify(TARGET, HEADERS, now_s=NOW_S + 3700)


def test_signed_chunks_have_no_key_to_be_signed_with():
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    with pytest.raises(PayloadHashHeaderError):
        verify(*presigned("/b/k", method="PUT", headers=headers), method="PUT")


@given(st.binary(max_size=60))
def test_nothing_else_escapes(noise):
    printable = bytes(byte for byte in noise if 0x20 < byte < 0x7F)
    with pytest.raises(AuthError):
        verify(b"/b/k?AWSAccessKeyId=a&Signature=b&" + printable, HEADERS)
