"""Every way a signature can be wrong has its own error; nothing else comes out of the verifier."""

import calendar
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.auth.canonical import canonical_request, plain_query
from appliance.auth.credentials import make_credentials
from appliance.auth.errors import (
    AnonymousError,
    AuthError,
    AuthorizationHeaderError,
    AuthorizationQueryError,
    AuthTypeError,
    ClockSkewError,
    InvalidAccessKeyError,
    MissingPayloadHashError,
    PayloadHashHeaderError,
    RequestExpiredError,
    SecurityTokenError,
    SignatureMismatchError,
    SignatureVersionError,
    UnsignedHeadersError,
)
from appliance.auth.signing import request_signature, signing_key, string_to_sign
from appliance.auth.sigv4 import EXPIRES_MAX_S, SKEW_S, UNSIGNED_PAYLOAD, Verifier
from tests.support.root_credentials import RootCredentials

ROOT = make_credentials("AKROOT0000000000TEST", "a-secret-of-some-length")
NOW_S = calendar.timegm((2026, 11, 20, 12, 0, 0))
HOST = {"host": "h"}


def stamp(unix_s):
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y%m%dT%H%M%SZ")


def signed_headers_of(
    method="GET",
    path="/b/k",
    query="",
    *,
    at=NOW_S,
    extra=None,
    names=None,
    payload=UNSIGNED_PAYLOAD,
    region="us-east-1",
    scope=None,
    root=ROOT,
):
    """Headers that sign the request, by our own arithmetic (botocore's agreement with it is tested elsewhere)."""
    headers = {"host": "h", "x-amz-date": stamp(at), "x-amz-content-sha256": payload} | (
        extra or {}
    )
    names = names or ";".join(sorted(headers))
    scope = scope or f"{stamp(at)[:8]}/{region}/s3/aws4_request"
    request = canonical_request(
        method, path, plain_query(query) if query else "", headers, names, payload
    )
    key = signing_key(root.secret_key, stamp(at)[:8], region)
    signature = request_signature(key, string_to_sign(stamp(at), scope, request))
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={root.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def presigned(path="/b/k", *, at=NOW_S, expires=3600, replace=None, extra=""):
    date = stamp(at)
    scope = f"{date[:8]}/us-east-1/s3/aws4_request"
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{ROOT.access_key}/{scope}".replace("/", "%2F"),
        "X-Amz-Date": date,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    } | (replace or {})
    query = (
        "&".join(f"{name}={value}" for name, value in fields.items() if value is not None) + extra
    )
    text = canonical_request("GET", path, plain_query(query), HOST, "host", UNSIGNED_PAYLOAD)
    key = signing_key(ROOT.secret_key, date[:8], "us-east-1")
    signature = request_signature(key, string_to_sign(date, scope, text))
    return f"{path}?{query}&X-Amz-Signature={signature}".encode()


@pytest.fixture
def verifier():
    return Verifier(RootCredentials(ROOT))


def verify(verifier, target=b"/b/k", headers=None, now_s=NOW_S, method="GET"):
    return verifier.verify(
        method, target, HOST if headers is None else headers, now_ns=now_s * 10**9
    )


def test_a_signed_request_is_its_accounts(verifier):
    result = verify(verifier, headers=signed_headers_of())
    assert result.identity == ROOT.identity
    assert ROOT.secret_key not in repr(result)
    assert verifier.statistics() == {"verified_total": 1, "refused_total": 0, "signing_keys": 1}


@pytest.mark.parametrize("skew", [-SKEW_S, 0, SKEW_S])
def test_clocks_may_differ_by_fifteen_minutes(verifier, skew):
    assert verify(verifier, headers=signed_headers_of(at=NOW_S + skew)).identity == ROOT.identity


@pytest.mark.parametrize("skew", [-SKEW_S - 1, SKEW_S + 1])
def test_but_not_by_more(verifier, skew):
    with pytest.raises(ClockSkewError) as caught:
        verify(verifier, headers=signed_headers_of(at=NOW_S + skew))
    assert caught.value.extra["MaxAllowedSkewMilliseconds"] == "900000"


def test_the_fields_may_come_in_any_order(verifier):
    headers = signed_headers_of()
    scheme, _, rest = headers["authorization"].partition(" ")
    fields = rest.split(", ")
    headers["authorization"] = f"{scheme}  {','.join(reversed(fields))}"
    assert verify(verifier, headers=headers).identity == ROOT.identity


@pytest.mark.parametrize(
    "date", ["Fri, 20 Nov 2026 12:00:00 GMT", "Friday, 20-Nov-26 12:00:00 GMT"]
)
def test_a_date_header_will_do(verifier, date):
    headers = signed_headers_of(extra={"date": date})
    # Signed without x-amz-date: build it again without that header.
    del headers["x-amz-date"], headers["authorization"]
    names = "date;host;x-amz-content-sha256"
    request = canonical_request("GET", "/b/k", "", headers, names, UNSIGNED_PAYLOAD)
    scope = f"{stamp(NOW_S)[:8]}/us-east-1/s3/aws4_request"
    key = signing_key(ROOT.secret_key, stamp(NOW_S)[:8], "us-east-1")
    signature = request_signature(key, string_to_sign(stamp(NOW_S), scope, request))
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ROOT.access_key}/{scope},SignedHeaders={names},Signature={signature}"
    )
    assert verify(verifier, headers=headers).timestamp == stamp(NOW_S)


def changed(**changes):
    """Headers signed properly and then changed; None removes one."""
    headers = signed_headers_of()
    for argument, value in changes.items():
        name = argument.replace("_", "-")
        if value is None:
            headers.pop(name, None)
        else:
            headers[name] = value
    return headers


def with_authorization(old, new):
    headers = signed_headers_of()
    assert old in headers["authorization"]
    headers["authorization"] = headers["authorization"].replace(old, new)
    return headers


REFUSED_HEADERS = {
    "nothing": ({"host": "h"}, AnonymousError),
    "sigv2": (changed(authorization="AWS AK:c2lnbmF0dXJl"), SignatureVersionError),
    "sigv4a": (changed(authorization="AWS4-ECDSA-P256-SHA256 Credential=x"), SignatureVersionError),
    "basic": (changed(authorization="Basic dTpw"), AuthTypeError),
    "empty": (changed(authorization=""), AnonymousError),
    "no fields": (changed(authorization="AWS4-HMAC-SHA256 "), AuthorizationHeaderError),
    "missing field": (
        changed(authorization="AWS4-HMAC-SHA256 Credential=a,SignedHeaders=host"),
        AuthorizationHeaderError,
    ),
    "field twice": (
        changed(authorization="AWS4-HMAC-SHA256 Credential=a,Credential=a,SignedHeaders=h,Signature=x"),
        AuthorizationHeaderError,
    ),
    "unknown key": (with_authorization(ROOT.access_key, "AKNOBODY"), InvalidAccessKeyError),
    "no access key": (with_authorization(ROOT.access_key, ""), AuthorizationHeaderError),
    "short scope": (with_authorization("/aws4_request", ""), AuthorizationHeaderError),
    "other terminator": (with_authorization("aws4_request", "aws3"), AuthorizationHeaderError),
    "other service": (with_authorization("/s3/", "/sqs/"), AuthorizationHeaderError),
    "other region": (signed_headers_of(region="eu-west-1"), AuthorizationHeaderError),
    "other day": (with_authorization("/20261120/", "/20261119/"), AuthorizationHeaderError),
    "no date": (changed(x_amz_date=None), AuthorizationHeaderError),
    "bad date": (changed(x_amz_date="20261320T120000Z"), AuthorizationHeaderError),
    "date with digits of another script": (changed(x_amz_date="\uff120261120T120000Z"), AuthorizationHeaderError),
    "no payload hash": (changed(x_amz_content_sha256=None), MissingPayloadHashError),
    "bad payload hash": (changed(x_amz_content_sha256="abc"), PayloadHashHeaderError),
    "sigv4a stream": (
        changed(x_amz_content_sha256="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        PayloadHashHeaderError,
    ),
    "session token": (changed(x_amz_security_token="t"), SecurityTokenError),
    "unsigned x-amz": (changed(x_amz_meta_a="1"), UnsignedHeadersError),
    "unsigned host": (signed_headers_of(names="x-amz-content-sha256;x-amz-date"), UnsignedHeadersError),
    "absent headers signed": (signed_headers_of(names=";".join(["host"] * 300)), SignatureMismatchError),
    "other payload": (changed(x_amz_content_sha256="0" * 64), SignatureMismatchError),
    "other secret": (
        signed_headers_of(root=make_credentials(ROOT.access_key, "another-secret")),
        SignatureMismatchError,
    ),
    "signature beyond ASCII": (with_authorization("Signature=", "Signature=é"), SignatureMismatchError),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_HEADERS)
def test_a_wrong_header_signature_has_its_own_error(verifier, name):
    headers, error = REFUSED_HEADERS[name]
    with pytest.raises(error) as caught:
        verify(verifier, headers=headers)
    assert ROOT.secret_key not in f"{caught.value} {caught.value.extra}"
    assert verifier.statistics()["signing_keys"] == 0


def test_another_method_path_or_query_does_not_verify(verifier):
    headers = signed_headers_of()
    for method, target in (
        ("PUT", b"/b/k"),
        ("GET", b"/b/k2"),
        ("GET", b"/b/k?acl"),
        ("GET", b"/b//k"),
    ):
        with pytest.raises(SignatureMismatchError):
            verify(verifier, target, headers, method=method)


def test_the_error_shows_what_was_expected_to_be_signed(verifier):
    with pytest.raises(SignatureMismatchError) as caught:
        verify(verifier, b"/b/other", signed_headers_of())
    assert caught.value.extra["CanonicalRequest"].startswith("GET\n/b/other\n\nhost:h\n")
    assert caught.value.extra["StringToSign"].startswith("AWS4-HMAC-SHA256\n20261120T120000Z\n")


def test_any_region_will_do_where_none_is_configured():
    verifier = Verifier(RootCredentials(ROOT), region="")
    assert verify(verifier, headers=signed_headers_of(region="mars")).scope.split("/")[1] == "mars"


def test_a_rotated_secret_stops_working_at_once():
    store = RootCredentials(ROOT)
    verifier = Verifier(store)
    verify(verifier, headers=signed_headers_of())
    store.root = make_credentials(ROOT.access_key, "a-rotated-secret")
    with pytest.raises(SignatureMismatchError):
        verify(verifier, headers=signed_headers_of())
    assert verify(verifier, headers=signed_headers_of(root=store.root)).identity == ROOT.identity


def test_a_cached_key_does_not_outlive_its_day(verifier):
    verify(verifier, headers=signed_headers_of())
    tomorrow = NOW_S + 24 * 3600
    old_scope = f"{stamp(NOW_S)[:8]}/us-east-1/s3/aws4_request"
    headers = signed_headers_of(at=tomorrow, scope=old_scope)
    with pytest.raises(AuthorizationHeaderError):
        verify(verifier, headers=headers, now_s=tomorrow)


def test_runs_of_spaces_in_a_header_count_as_one(verifier):
    headers = signed_headers_of(extra={"x-amz-meta-a": "a b"})
    headers["x-amz-meta-a"] = "a \t  b"
    assert verify(verifier, headers=headers).identity == ROOT.identity


def test_either_spelling_of_a_path_verifies(verifier):
    """A client that signs `/b/a%7Eb` for what it sends as `/b/a~b`, and the other way round."""
    signed = signed_headers_of(path="/b/a~%20b", query="x=%20")
    assert verify(verifier, b"/b/a%7e%20b?x=+", signed).identity == ROOT.identity


# --- presigned ---------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [0, 3600])
def test_a_presigned_url_works_until_it_expires(verifier, later):
    assert verify(verifier, presigned(), now_s=NOW_S + later).presigned


def test_a_presigned_url_may_live_a_week(verifier):
    target = presigned(expires=EXPIRES_MAX_S)
    assert verify(verifier, target, now_s=NOW_S + EXPIRES_MAX_S).presigned


REFUSED_URLS = {
    "expired": (presigned(at=NOW_S - 3601), RequestExpiredError),
    "lives no time": (presigned(expires=0), RequestExpiredError),
    "from the future": (presigned(at=NOW_S + SKEW_S + 1), RequestExpiredError),
    "lives too long": (presigned(expires=EXPIRES_MAX_S + 1), AuthorizationQueryError),
    "lives negative": (presigned(expires=-1), AuthorizationQueryError),
    "no number": (presigned(expires="soon"), AuthorizationQueryError),
    "huge number": (presigned(expires="9" * 400), AuthorizationQueryError),
    "bad date": (presigned(replace={"X-Amz-Date": "now"}), AuthorizationQueryError),
    "no date": (presigned(replace={"X-Amz-Date": None}), AuthorizationQueryError),
    "no credential": (presigned(replace={"X-Amz-Credential": None}), AuthorizationQueryError),
    "short credential": (presigned(replace={"X-Amz-Credential": "a%2Fb"}), AuthorizationQueryError),
    "other algorithm": (presigned(replace={"X-Amz-Algorithm": "AWS4"}), AuthorizationQueryError),
    "no algorithm": (presigned(replace={"X-Amz-Algorithm": None}), AuthorizationQueryError),
    "host not signed": (presigned(replace={"X-Amz-SignedHeaders": "date"}), UnsignedHeadersError),
    "session token": (presigned(extra="&X-Amz-Security-Token=t"), SecurityTokenError),
    "sigv2": (b"/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", RequestExpiredError),
    "changed": (presigned() + b"&response-content-type=text%2Fhtml", SignatureMismatchError),
    "other path": (presigned().replace(b"/b/k", b"/b/l"), SignatureMismatchError),
}


@pytest.mark.parametrize("name", REFUSED_URLS)
def test_a_wrong_presigned_url_has_its_own_error(verifier, name):
    target, error = REFUSED_URLS[name]
    with pytest.raises(error):
        verify(verifier, target)


def test_two_ways_of_signing_at_once_are_refused(verifier):
    with pytest.raises(AuthTypeError):
        verify(verifier, presigned(), signed_headers_of())


def test_a_presigned_request_may_not_gain_amz_headers(verifier):
    with pytest.raises(UnsignedHeadersError):
        verify(verifier, presigned(), HOST | {"x-amz-acl": "public-read"})


def test_a_presigned_request_may_say_that_its_payload_is_unsigned(verifier):
    headers = HOST | {"x-amz-content-sha256": UNSIGNED_PAYLOAD}
    assert verify(verifier, presigned(), headers).payload == UNSIGNED_PAYLOAD


# --- anything at all ------------------------------------------------------------------------------

latin = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n\0"), max_size=60)
PARTS = st.sampled_from(
    ["AWS4-HMAC-SHA256 ", "Credential=", "SignedHeaders=", "Signature=", ",", "/", "host", ROOT.access_key, "us-east-1", "s3",
     "aws4_request", "20261120", "a" * 64, "%2F", "&", "=", "X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Expires", "\xff"]
)  # fmt: skip
scraps = st.lists(PARTS | latin, max_size=12).map("".join)


@given(
    scraps,
    scraps,
    st.none() | scraps,
    st.none() | st.just(stamp(NOW_S)) | latin,
    st.none() | st.just(UNSIGNED_PAYLOAD) | latin,
)
@example("", "", None, None, None)
def test_whatever_comes_the_verifier_refuses_with_an_auth_error(
    path, query, authorization, date, payload
):
    given_headers = {
        "authorization": authorization,
        "x-amz-date": date,
        "x-amz-content-sha256": payload,
    }
    headers = HOST | {name: value for name, value in given_headers.items() if value is not None}
    target = f"/{path}?{query}".encode("latin-1")
    with pytest.raises(AuthError):
        Verifier(RootCredentials(ROOT)).verify("GET", target, headers, now_ns=NOW_S * 10**9)


def test_the_last_use_of_a_key_is_that_of_a_request_whose_signature_held():
    store = RootCredentials(ROOT)
    verifier = Verifier(store)
    with pytest.raises(SignatureMismatchError):
        verify(
            verifier,
            headers=signed_headers_of(root=make_credentials(ROOT.access_key, "wrong-secret")),
        )
    assert store.uses == {}
    verify(verifier, headers=signed_headers_of())
    assert store.uses == {ROOT.access_key: NOW_S}
