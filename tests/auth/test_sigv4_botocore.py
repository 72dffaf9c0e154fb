"""What botocore signs, verifies here: over any key, query and header, signed in the header or in the URL."""

import datetime as dt
import functools
import time
from unittest import mock
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.credentials import make_credentials
from appliance.auth.errors import SignatureMismatchError
from appliance.auth.sigv4 import UNSIGNED_PAYLOAD, Verifier
from appliance.s3.wire.request import Request, fold_headers, parse_request
from tests.support.root_credentials import RootCredentials

ROOT = make_credentials("AKROOT0000000000TEST", "a-secret-of-some-length")
BOTO = BotoCredentials(ROOT.access_key, ROOT.secret_key)
HOST = "s3.test:9000"
NOW_NS = time.time_ns()

keys = st.text(min_size=1, max_size=40).filter(lambda key: not {"\0"} & set(key))
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
queries = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8).map(
        lambda name: "q" + name
    ),
    st.text(max_size=12),
    max_size=4,
)


@functools.cache
def verifier():
    return Verifier(RootCredentials(ROOT))


def encodable(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def target_of(key, query):
    path = "/bucket/" + quote(key, safe="/~")
    pairs = [
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items()
    ]
    return path + ("?" + "&".join(pairs) if pairs else "")


def arrived(request, peer_host=HOST):
    """Method, target and headers of a prepared request, as the server gets them."""
    url = request.url
    target = url.split(peer_host, 1)[1].encode("latin-1")
    pairs = [
        (name.encode(), str(value).encode("latin-1")) for name, value in request.headers.items()
    ]
    return Request(method=request.method, target=target, headers=fold_headers(pairs))


@given(
    keys.filter(encodable),
    queries,
    st.dictionaries(st.sampled_from(["x-amz-meta-a", "x-amz-meta-b", "x-amz-acl"]), header_values),
    st.sampled_from(["GET", "PUT", "DELETE", "HEAD"]),
    st.booleans(),
)
def test_header_signatures_of_botocore_verify(key, query, headers, method, sign_payload):
    request = AWSRequest(
        method,
        f"http://{HOST}{target_of(key, query)}",
        headers={"Host": HOST, **headers},
        data=b"body",
    )
    request.context["payload_signing_enabled"] = sign_payload
    S3SigV4Auth(BOTO, "s3", "us-east-1").add_auth(request)
    got = arrived(request)
    result = verifier().verify(got.method, got.target, got.headers, now_ns=NOW_NS)
    assert result.identity == ROOT.identity
    assert not result.presigned
    parsed = parse_request(got)
    assert (parsed.bucket, parsed.key) == ("bucket", key)


@given(keys.filter(encodable), queries, st.sampled_from(["GET", "PUT"]), st.integers(1, 604800))
def test_presigned_urls_of_botocore_verify(key, query, method, expires):
    request = AWSRequest(method, f"http://{HOST}{target_of(key, query)}", headers={"Host": HOST})
    S3SigV4QueryAuth(BOTO, "s3", "us-east-1", expires=expires).add_auth(request)
    got = arrived(request)
    # Signed by the real clock, moments ago: judged at the second of signing.
    result = verifier().verify(got.method, got.target, {"host": HOST}, now_ns=signed_at(got.target))
    assert result.presigned
    assert result.payload == UNSIGNED_PAYLOAD
    assert parse_request(got).key == key


def signed_at(target):
    text = target.split(b"X-Amz-Date=")[1][:16].decode()
    moment = dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    return int(moment.timestamp()) * 10**9


@given(st.integers(0, 63), st.integers(1, 15))
def test_any_changed_digit_of_a_signature_is_noticed(position, change):
    request = AWSRequest("GET", f"http://{HOST}/bucket/key", headers={"Host": HOST})
    S3SigV4Auth(BOTO, "s3", "us-east-1").add_auth(request)
    got = arrived(request)
    head, signature = got.headers["authorization"].split("Signature=")
    digit = format((int(signature[position], 16) + change) % 16, "x")
    forged = signature[:position] + digit + signature[position + 1 :]
    headers = {**got.headers, "authorization": f"{head}Signature={forged}"}
    with mock.patch.object(verifier(), "_keep") as kept, pytest.raises(SignatureMismatchError):
        verifier().verify("GET", got.target, headers, now_ns=NOW_NS)
    kept.assert_not_called()
