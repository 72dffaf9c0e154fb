"""Condition keys: every key that a policy may name has an answer, and it is the request's."""

from __future__ import annotations

import pytest

from appliance.auth.identity import ANONYMOUS, Authentication, Identity
from appliance.policy.access.keys import KEYS
from appliance.s3.wire.request import Request, parse_request
from appliance.s3.wire.request_keys import RequestKeys

WHO = Identity(account_id="a" * 64, display_name="alice", access_key="ak")
NOW_NS = 1_704_153_600 * 10**9  # 2024-01-02T00:00:00Z


def keys(
    target: bytes = b"/b/k",
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    identity: Identity = WHO,
    presigned: bool = False,
    signature: str = "ab",
    timestamp: str = "20240101T235900Z",
    **more: object,
) -> RequestKeys:
    request = Request(
        method=method, target=target, headers=headers or {}, peer="10.0.0.7", tls=True
    )
    authentication = Authentication(
        identity=identity,
        payload="UNSIGNED-PAYLOAD",
        presigned=presigned,
        signature=signature,
        signing_key=b"",
        scope="",
        timestamp=timestamp if signature else "",
    )
    return RequestKeys(
        request=parse_request(request),
        authentication=authentication,
        now_ns=NOW_NS,
        bucket_owner="f" * 64,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_has_an_answer_even_of_a_bare_request(key):
    found = keys(identity=ANONYMOUS, signature="")(key)
    assert all(isinstance(value, str) for value in found)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aws:currenttime", "2024-01-02T00:00:00Z"),
        ("aws:epochtime", "1704153600"),
        ("aws:principalaccount", "a" * 64),
        ("aws:principalarn", f"arn:aws:iam::{'a' * 64}:root"),
        ("aws:principaltype", "Account"),
        ("aws:resourceaccount", "f" * 64),
        ("s3:resourceaccount", "f" * 64),
        ("aws:securetransport", "true"),
        ("aws:sourceip", "10.0.0.7"),
        ("aws:userid", "a" * 64),
        ("aws:username", "alice"),
        ("s3:authtype", "REST-HEADER"),
        ("s3:signatureversion", "AWS4-HMAC-SHA256"),
    ],
)
def test_keys_of_every_signed_request(key, value):
    assert tuple(keys()(key)) == (value,)


def test_keys_of_nobody():
    nobody = keys(identity=ANONYMOUS, signature="")
    assert nobody("aws:userid") == ("anonymous",)
    assert nobody("aws:principaltype") == ("Anonymous",)
    for key in ("aws:principalarn", "aws:username", "s3:authtype", "s3:signatureversion"):
        assert not nobody(key)


def test_presigned_requests_and_forms():
    presigned = keys(presigned=True)
    assert presigned("s3:authtype") == ("REST-QUERY-STRING",)
    assert presigned("s3:signatureage") == ("60000",)
    assert not keys()("s3:signatureage")
    assert keys(signature="")("s3:authtype") == ("POST",)


def test_presigned_requests_of_version_2():
    presigned = keys(presigned=True, timestamp="")
    assert presigned("s3:signatureversion") == ("AWS",)
    assert presigned("s3:authtype") == ("REST-QUERY-STRING",)
    assert not presigned("s3:signatureage")


def test_parameters_and_headers():
    listing = keys(b"/b?list-type=2&prefix=a%2Fb&delimiter=/&max-keys=7")
    asked = [listing(f"s3:{name}") for name in ("prefix", "delimiter", "max-keys", "versionid")]
    assert asked == [("a/b",), ("/",), ("7",), ()]
    assert keys(b"/b/k?versionId=v")("s3:versionid") == ("v",)
    headers = {
        "x-amz-acl": "public-read",
        "x-amz-storage-class": "STANDARD_IA",
        "referer": "https://example.org/",
        "user-agent": "test",
        "if-none-match": "*",
        "x-amz-server-side-encryption": "AES256",
    }
    put = keys(b"/b/k", headers, method="PUT")
    assert put("s3:x-amz-acl") == ("public-read",)
    assert put("s3:x-amz-storage-class") == ("STANDARD_IA",)
    assert put("aws:referer") == ("https://example.org/",)
    assert put("aws:useragent") == ("test",)
    assert put("s3:if-none-match") == ("*",)
    assert put("s3:x-amz-server-side-encryption") == ("AES256",)
    assert not put("s3:x-amz-grant-read")


@pytest.mark.parametrize("source", ["/s/a%2Fb", "s/a/b", "/s/a/b?versionId=3", "s%2Fa%2Fb"])
def test_a_copys_source_is_one_value_however_it_is_spelled(source):
    put = keys(b"/b/k", {"x-amz-copy-source": source}, method="PUT")
    assert put("s3:x-amz-copy-source") == ("s/a/b",)


def test_tags_of_object_and_request():
    put = keys(b"/b/k", {"x-amz-tagging": "a=1&b=2"}, method="PUT", existing_tags={"A": "old"})
    assert put("s3:requestobjecttag/a") == ("1",)
    assert not put("s3:requestobjecttag/A")
    assert put("s3:requestobjecttagkeys") == ("a", "b")
    assert put("s3:existingobjecttag/A") == ("old",)
    body = keys(b"/b/k?tagging", method="PUT", request_tags={"c": "3"})
    assert body("s3:requestobjecttag/c") == ("3",)
    assert not keys(b"/b/k", {"x-amz-tagging": "a=1&a=2&%"}, method="PUT")("s3:requestobjecttag/c")
