"""Uploads from browsers' forms, signed by boto3, sent by hand."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import pytest

from appliance.auth.credentials import make_credentials
from appliance.policy.limits import AccountLimit, Limit
from appliance.s3.settings import S3Settings
from tests.support.people import ALICE, BOB, READER, As, people
from tests.support.posix import started
from tests.support.raw_http import Reply
from tests.support.root_credentials import RootCredentials
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, RunningEndpoint, running_endpoint

BOUNDARY = "----formboundary"


def form(fields: Mapping[str, str], content: bytes, filename: str = "name.txt") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: text/x-ignored\r\n\r\n"
    )
    return "".join([*parts, head]).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


async def send(
    node: RunningEndpoint,
    body: bytes,
    path: str = "/bucket",
    kind: str = "multipart/form-data",
    referer: str = "http://page.example/",
) -> Reply:
    client = await node.connect()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\nContent-Length: {len(body)}\r\n"
        f"Referer: {referer}\r\nContent-Type: {kind}; boundary={BOUNDARY}\r\n\r\n"
    )
    await client.send(head.encode() + body)
    return await client.reply()


def signed(node: RunningEndpoint, key: str = "user/${filename}", **options: Any) -> dict[str, str]:
    """Fields that boto3 makes."""
    client = node.client(signature_version="s3v4")
    post = client.generate_presigned_post("bucket", key, **options)
    client.close()
    return {name: str(value) for name, value in post["fields"].items()}


async def test_a_form_is_an_object(node: RunningEndpoint):
    given = {
        "Content-Type": "text/plain",
        "x-amz-meta-colour": "grün",
        "Cache-Control": "no-cache",
        "acl": "private",
        "tagging": "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2=3</Value></Tag></TagSet></Tagging>",
    }
    conditions = [["starts-with", f"${name}", ""] for name in given]
    fields = {**signed(node, Conditions=conditions), **given}
    reply = await send(node, form(fields, b"content", "C:\\dir\\füle.txt"))
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["location"] == f"{node.url}/bucket/user/f%C3%BCle.txt"
    found = await node.call(node.s3.get_object, Bucket="bucket", Key="user/füle.txt")
    assert await node.call(found["Body"].read) == b"content"
    assert reply.headers["etag"] == found["ETag"]
    assert found["ContentType"] == "text/plain"
    assert found["CacheControl"] == "no-cache"
    assert (
        found["ResponseMetadata"]["HTTPHeaders"]["x-amz-meta-colour"].encode("latin-1")
        == "grün".encode()
    )
    tags = await node.call(node.s3.get_object_tagging, Bucket="bucket", Key="user/füle.txt")
    assert tags["TagSet"] == [{"Key": "a b", "Value": "1+2=3"}]


@pytest.mark.parametrize("size", [0, 70_000, 3_000_000])
async def test_files_of_any_size_stream(node: RunningEndpoint, size: int):
    content = bytes(range(256)) * (size // 256) + b"\r\n--" * 3
    reply = await send(node, form(signed(node, "k"), content))
    assert reply.status == 204
    found = await node.call(node.s3.get_object, Bucket="bucket", Key="k")
    assert await node.call(found["Body"].read) == content


async def test_what_success_says(node: RunningEndpoint):
    for given, status in (("200", 200), ("204", 204), ("404", 204), ("", 204)):
        name = "success_action_status"
        fields = {**signed(node, "k", Conditions=[["starts-with", f"${name}", ""]]), name: given}
        reply = await send(node, form(fields, b"1"))
        assert (reply.status, reply.body) == (status, b""), given
    fields = {**signed(node, "a<b", Conditions=[{name: "201"}]), name: "201"}
    reply = await send(node, form(fields, b"1"))
    assert reply.status == 201
    document = ET.fromstring(reply.body)  # noqa: S314  # our own server's
    assert [child.tag for child in document] == ["Location", "Bucket", "Key", "ETag"]
    assert document.findtext("Key") == "a<b"
    assert document.findtext("ETag") == reply.headers["etag"]


async def test_the_browser_is_sent_on(node: RunningEndpoint):
    for url, where in (
        ("https://a.example/done?x=1#end", "https://a.example/done?x=1&bucket=bucket&key=k%20%C3%BC&etag={}#end"),
        ("http://a.example", "http://a.example?bucket=bucket&key=k%20%C3%BC&etag={}"),
        ("javascript:alert(1)", ""),
        ("not a url", ""),
    ):  # fmt: skip
        name = "success_action_redirect"
        fields = {**signed(node, "k ü", Conditions=[{name: url}]), name: url}
        reply = await send(node, form(fields, b"1"))
        etag = reply.headers["etag"].replace('"', "%22")
        assert reply.status == (303 if where else 204)
        assert reply.headers["location"] == (where.format(etag) or f"{node.url}/bucket/k%20%C3%BC")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"x-amz-signature": "0" * 64}, 403, b"SignatureDoesNotMatch"),
        ({"policy": base64.b64encode(b"{}").decode()}, 403, b"SignatureDoesNotMatch"),
        ({"policy": "ü"}, 403, b"SignatureDoesNotMatch"),
        ({"x-amz-credential": "NOBODY/20300101/us-east-1/s3/aws4_request"}, 400, b"AuthorizationQueryParametersError"),
        ({"x-amz-credential": "x"}, 400, b"AuthorizationQueryParametersError"),
        ({"x-amz-algorithm": "AWS4-ECDSA-P256-SHA256"}, 400, b"InvalidRequest"),
        ({"x-amz-security-token": "t"}, 400, b"InvalidToken"),
        ({"x-amz-meta-more": "1"}, 403, b"Extra input fields: x-amz-meta-more"),
        ({"acl": "public-read"}, 403, b"Extra input fields: acl"),
        ({"key": "else/name"}, 403, b"Policy Condition failed"),
        ({"key": ""}, 400, b"field named &apos;key&apos;"),
        ({"policy": None}, 400, b"field named &apos;policy&apos;"),
        ({"x-amz-signature": None}, 400, b"field named &apos;x-amz-signature&apos;"),
        ({"policy": None, "x-amz-signature": None, "x-amz-credential": None, "x-amz-date": None,
          "x-amz-algorithm": None}, 403, b"<Code>AccessDenied</Code>"),
    ],
)  # fmt: skip
async def test_forms_that_are_refused_change_nothing(
    node: RunningEndpoint, change: dict[str, str | None], status: int, code: bytes
):
    fields = {**signed(node), **change}
    given = {name: value for name, value in fields.items() if value is not None}
    reply = await send(node, form(given, b"content"))
    assert (reply.status, code in reply.body) == (status, True), reply
    assert await node.call(node.s3.list_objects_v2, Bucket="bucket")
    assert (await node.call(node.s3.list_objects_v2, Bucket="bucket"))["KeyCount"] == 0


async def test_version_2_signs_forms_too(node: RunningEndpoint):
    post = node.s3.generate_presigned_post("bucket", "k")
    fields = {name: str(value) for name, value in post["fields"].items()}
    assert {"AWSAccessKeyId", "signature"} < fields.keys()
    assert (await send(node, form(fields, b"content"))).status == 204
    for change, status, code in (
        ({"signature": "AAAA"}, 403, b"SignatureDoesNotMatch"),
        ({"signature": ""}, 400, b"InvalidArgument"),
        ({"AWSAccessKeyId": "NOBODY"}, 403, b"InvalidAccessKeyId"),
        ({"key": "other"}, 403, b"Policy Condition failed"),
    ):
        reply = await send(node, form({**fields, **change}, b"content"))
        assert (reply.status, code in reply.body) == (status, True), change


async def test_a_policy_is_for_one_bucket_and_some_time(node: RunningEndpoint):
    await node.call(node.s3.create_bucket, Bucket="other")
    reply = await send(node, form(signed(node), b"1"), "/other")
    assert (reply.status, b"$bucket" in reply.body) == (403, True)
    reply = await send(node, form(signed(node, ExpiresIn=-10), b"1"))
    assert (reply.status, b"Policy expired" in reply.body) == (403, True)
    reply = await send(node, form(signed(node), b"1"), "/nobucket")
    assert reply.status == 403


@pytest.mark.parametrize(("size", "status", "code"), [(9, 400, b"EntityTooSmall"), (10, 204, b""), (20, 204, b""), (21, 400, b"EntityTooLarge")])  # fmt: skip
async def test_the_size_that_a_policy_allows(
    node: RunningEndpoint, size: int, status: int, code: bytes
):
    fields = signed(node, "k", Conditions=[["content-length-range", 10, 20]])
    reply = await send(node, form(fields, b"x" * size))
    assert (reply.status, code in reply.body) == (status, True)
    listed = await node.call(node.s3.list_objects_v2, Bucket="bucket")
    assert listed["KeyCount"] == (1 if status == 204 else 0)


async def test_what_is_no_form(node: RunningEndpoint):
    whole = form(signed(node), b"content")
    for body, kind, status, code in (
        (whole, "text/plain", 412, b"PreconditionFailed"),
        (b"nonsense", "multipart/form-data", 400, b"IncompleteBody"),
        (b"", "multipart/form-data", 411, b"MissingContentLength"),
        (whole[:-4], "multipart/form-data", 400, b"IncompleteBody"),
        (whole.replace(b'name="file"', b'name="fill"'), "multipart/form-data", 400, b"IncorrectNumberOfFiles"),
        (b"x" * 30_000, "multipart/form-data", 400, b"MaxPostPreDataLengthExceeded"),
    ):  # fmt: skip
        reply = await send(node, body, kind=kind)
        assert (reply.status, code in reply.body) == (status, True), reply
    assert (await node.call(node.s3.list_objects_v2, Bucket="bucket"))["KeyCount"] == 0


async def test_checksums_in_a_form_are_verified(node: RunningEndpoint):
    name = "x-amz-checksum-crc32"
    for value, status in (("NSRBwg==", 204), ("AAAAAA==", 400)):
        fields = {**signed(node, "k", Conditions=[{name: value}]), name: value}
        reply = await send(node, form(fields, b"abc"))
        assert reply.status == status, reply


async def test_a_header_cannot_be_smuggled_in_a_field(node: RunningEndpoint):
    name = "x-amz-meta-a"
    fields = {
        **signed(node, Conditions=[["starts-with", f"${name}", ""]]),
        name: "1\r\nx-amz-acl: x",
    }
    reply = await send(node, form(fields, b"1"))
    assert (reply.status, b"control character" in reply.body) == (400, True)


async def test_virtual_hosts_get_forms_too(tmp_path):
    async with running_endpoint(tmp_path, S3Settings(domains=("s3.test",))) as node:
        client = await node.connect()
        body = form(signed(node, "k"), b"1")
        head = (
            f"POST / HTTP/1.1\r\nHost: bucket.s3.test\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        )
        await client.send(head.encode() + body)
        reply = await client.reply()
        assert (reply.status, reply.headers["location"]) == (204, "http://bucket.s3.test/k")


# --- accounts -------------------------------------------------------------------------------


async def form_of(node: RunningEndpoint, who: As, bucket: str, **given: str) -> Reply:
    """Send a form that this account signed."""
    conditions = [{name: value} for name, value in given.items()]
    post = who.client.generate_presigned_post(bucket, "k", Conditions=conditions)
    fields = {name: str(value) for name, value in post["fields"].items()}
    return await send(node, form({**fields, **given}, b"content"), f"/{bucket}")


async def test_a_form_may_what_its_signer_may(tmp_path):
    keys = people(ACCESS_KEY, SECRET_KEY)
    async with running_endpoint(tmp_path, credentials=keys) as node:
        alice, bob, reader = (As(node.url, who) for who in (ALICE, BOB, READER))
        await alice.create_bucket(Bucket="hers")
        assert (await form_of(node, alice, "hers")).status == 204
        for who in (bob, reader):
            reply = await form_of(node, who, "hers")
            assert (reply.status, b"AccessDenied" in reply.body) == (403, True)
        reply = await send(node, form({"key": "k"}, b"anonymous"), "/hers")
        assert (reply.status, b"AccessDenied" in reply.body) == (403, True)
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::hers/open/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await alice.put_bucket_policy(Bucket="hers", Policy=policy)
        assert (await send(node, form({"key": "open/k"}, b"anonymous"), "/hers")).status == 204
        assert (await send(node, form({"key": "k"}, b"anonymous"), "/hers")).status == 403
        found = await node.call(node.s3.get_object, Bucket="hers", Key="k")
        assert await node.call(found["Body"].read) == b"content"


async def test_a_form_makes_a_version(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "data").mkdir()
    async with (
        started(tmp_path / "root") as backend,
        running_endpoint(tmp_path / "data", backend=backend) as node,
    ):
        enabled = {"Status": "Enabled"}
        await node.call(
            node.s3.put_bucket_versioning, Bucket="bucket", VersioningConfiguration=enabled
        )
        fields = signed(node, "k")
        made = [
            (await send(node, form(fields, body))).headers["x-amz-version-id"]
            for body in (b"1", b"2")
        ]
        for version_id, body in zip(made, (b"1", b"2"), strict=True):
            found = await node.call(
                node.s3.get_object, Bucket="bucket", Key="k", VersionId=version_id
            )
            assert await node.call(found["Body"].read) == body


async def test_a_form_is_a_use_of_its_key(tmp_path):
    credentials = RootCredentials(make_credentials(ACCESS_KEY, SECRET_KEY))
    async with running_endpoint(tmp_path, credentials=credentials) as node:
        fields = signed(node)
        assert (await send(node, form({**fields, "policy": "e30="}, b"x"))).status == 403
        assert credentials.uses == {}
        assert (await send(node, form(fields, b"x"))).status == 204
        assert list(credentials.uses) == [ACCESS_KEY]


async def test_a_form_is_its_signers_request(tmp_path):
    """In the log, and in the limits of accounts."""
    log: list[bytes] = []
    keys = people(ACCESS_KEY, SECRET_KEY)
    one = Limit(requests_per_s=0.001)
    settings = S3Settings(access_log=True, account_limits=(AccountLimit(match="bob", limit=one),))
    async with running_endpoint(tmp_path, settings, credentials=keys, log_write=log.append) as node:
        alice, bob = As(node.url, ALICE), As(node.url, BOB)
        await alice.create_bucket(Bucket="hers")
        assert (await form_of(node, alice, "hers")).status == 204
        assert [(await form_of(node, bob, "hers")).status for _ in range(2)] == [403, 503]
        assert (await form_of(node, alice, "hers")).status == 204
        await node.endpoint.drain()
    lines = [line for line in b"".join(log).splitlines() if b'"PostObject"' in line]
    assert [json.loads(line).get("access_key") for line in lines] == [
        ALICE.access_key,
        BOB.access_key,
        BOB.access_key,
        ALICE.access_key,
    ]


async def test_a_policy_may_ask_which_page_a_form_is_on(node: RunningEndpoint):
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::bucket/*",
        "Condition": {"StringLike": {"aws:Referer": "https://ours.example/*"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await node.call(node.s3.put_bucket_policy, Bucket="bucket", Policy=policy)
    fields = {"key": "k", "referer": "https://ours.example/"}
    assert (await send(node, form(fields, b"1"))).status == 403
    assert (await send(node, form(fields, b"1"), referer="https://ours.example/a")).status == 204
