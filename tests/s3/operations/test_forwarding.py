"""What is passed on to an S3 upstream: re-signed, stripped of what is ours, answered as the upstream answers; and SSE-C, past the cache."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from botocore.exceptions import ClientError

from appliance.auth.credentials import make_credentials
from appliance.s3.operations.forwarding import FORWARDED
from appliance.s3.operations.table import OPERATIONS
from appliance.s3.wire.listing import sealed_upload_id
from tests.support.people import ALICE, BOB, As, People, people
from tests.support.recording_upstream import KEYS, RecordingUpstream, recording_upstream
from tests.support.s3_backends import make_backend
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, RunningEndpoint, running_endpoint

KEY = bytes(range(32))
SSE_C = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
    "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(
        hashlib.md5(KEY).digest()
    ).decode(),
}
RULES = b"<LifecycleConfiguration><Rule/></LifecycleConfiguration>"
GONE = b"<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"


@asynccontextmanager
async def in_front_of_upstream(
    directory: Path, place: str = ""
) -> AsyncIterator[tuple[RunningEndpoint, RecordingUpstream]]:
    async with recording_upstream() as upstream:
        backend = make_backend(upstream.endpoint, *KEYS, place)
        async with running_endpoint(directory, backend=backend) as node:
            yield node, upstream


@pytest.fixture
async def pair(tmp_path: Path):
    async with in_front_of_upstream(tmp_path) as both:
        yield both


def test_what_is_passed_on_is_not_answered_here_too():
    assert FORWARDED.isdisjoint(OPERATIONS)


async def test_a_configuration_goes_up_and_comes_down(pair):
    node, upstream = pair
    reply = await node.request(
        "PUT", "/bucket?lifecycle", RULES, {"x-amz-transition-default-minimum-object-size": "x"}
    )
    assert reply.status == 200
    sent = upstream.last()
    assert (sent.method, sent.target, sent.body) == ("PUT", "/bucket?lifecycle=", RULES)
    assert sent.headers["content-md5"] == base64.b64encode(hashlib.md5(RULES).digest()).decode()
    assert sent.headers["x-amz-transition-default-minimum-object-size"] == "x"
    assert ACCESS_KEY not in str(sent.headers)
    upstream.answer(
        "GET", "/bucket?lifecycle=", 200, RULES, Content_Type="application/xml", x_amz_a="1"
    )
    reply = await node.request("GET", "/bucket?lifecycle")
    assert (reply.status, reply.body, reply.headers["x-amz-a"]) == (200, RULES, "1")
    assert reply.headers["x-amz-request-id"]
    upstream.answer("GET", "/bucket?lifecycle=", 404, GONE)
    reply = await node.request("GET", "/bucket?lifecycle")
    assert (reply.status, reply.body) == (404, GONE)


async def test_names_and_parameters_arrive_as_they_were(pair):
    node, upstream = pair
    path = "/bucket/a%20b/%C3%BC%2B+~?versionId=v%2F1=x&legal-hold="
    target = "/bucket/a%20b/%C3%BC%2B%2B~?versionId=v%2F1%3Dx&legal-hold="
    upstream.answer("GET", target, 200, x_amz_version_id="v/1=x")
    reply = await node.request("GET", path)
    assert (reply.status, reply.headers["x-amz-version-id"]) == (200, "v/1=x")
    assert upstream.last().target == target
    reply = await node.request("GET", "/bucket/k?versionId=%20&legal-hold=")
    assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)


async def test_a_presigned_request_is_signed_anew(pair):
    node, upstream = pair
    client = await node.connect()
    target = node.presigned("GET", "/bucket/key?retention=")
    await client.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\n\r\n".encode())
    assert (await client.reply()).status == 200
    assert upstream.last().target == "/bucket/key?retention="


async def test_trouble_with_our_own_credentials_is_not_the_clients(pair):
    node, upstream = pair
    body = b"<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>UPSTREAMKEY</AWSAccessKeyId></Error>"
    upstream.answer("GET", "/bucket?website=", 403, body)
    reply = await node.request("GET", "/bucket?website")
    assert (reply.status, b"<Code>AccessDenied</Code>" in reply.body) == (403, True)
    assert b"UPSTREAMKEY" not in reply.body
    upstream.answer("GET", "/bucket?website=", 500, b"<html>broken</html>")
    reply = await node.request("GET", "/bucket?website")
    assert (reply.status, b"ServiceUnavailable" in reply.body) == (503, True)


async def test_an_answer_of_unknown_length_streams(pair):
    node, upstream = pair

    async def pieces():
        for _ in range(50):
            yield b"event" * 1000

    upstream.answers["POST", "/bucket/key?select=&select-type=2"] = upstream.answers["GET", "/"]
    upstream.answers["POST", "/bucket/key?select=&select-type=2"].body = pieces()
    reply = await node.request("POST", "/bucket/key?select&select-type=2", b"<Select/>")
    assert (reply.status, reply.body) == (200, b"event" * 50_000)


async def test_an_answer_without_a_body_leaves_the_connection_in_order(pair):
    node, upstream = pair
    client = await node.connect()
    for status in (204, 304, 404, 200):
        upstream.answer("GET", "/bucket/key?retention=", status, b"", ETag='"e"')
        await client.send(node.signed("GET", "/bucket/key?retention="))
        reply = await client.reply()
        assert (reply.status, reply.body, reply.headers["etag"]) == (status, b"", '"e"')


async def test_configurations_of_a_part_of_a_bucket_are_not_the_buckets(tmp_path: Path):
    async with in_front_of_upstream(tmp_path, "bucket/below/") as (node, upstream):
        before = len(upstream.received)
        reply = await node.request("GET", "/bucket?lifecycle")
        assert (reply.status, len(upstream.received)) == (501, before)
        assert (await node.request("GET", "/bucket/key?legal-hold")).status == 200
        assert upstream.last().target == "/bucket/below/key?legal-hold="


async def test_a_bucket_with_object_lock_is_made_upstream(pair):
    node, upstream = pair
    locked = {"x-amz-bucket-object-lock-enabled": "true"}
    upstream.answer("HEAD", "/locked", 404)
    upstream.answer(
        "PUT", "/locked", 400, b"<Error><Code>IllegalLocationConstraintException</Code></Error>"
    )
    assert (await node.request("PUT", "/locked", b"", locked)).status == 500
    upstream.answer("PUT", "/locked", 200)
    assert (await node.request("PUT", "/locked", b"", locked)).status == 200
    assert upstream.last().headers["x-amz-bucket-object-lock-enabled"] == "true"


async def test_a_bucket_with_object_lock_elsewhere_is_not_made(node: RunningEndpoint):
    reply = await node.request("PUT", "/locked", b"", {"x-amz-bucket-object-lock-enabled": "true"})
    assert (reply.status, b"Object lock" in reply.body) == (501, True)
    assert (await node.request("HEAD", "/locked")).status == 404


LOCK = {
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z",
}


async def test_an_object_is_locked_by_the_upstream(pair):
    node, upstream = pair
    reply = await node.request("PUT", "/bucket/kept", b"data", {**LOCK, "x-amz-tagging": "a=b"})
    assert (reply.status, reply.headers["etag"]) == (200, '"etag-of-the-upstream"')
    sent = upstream.last()
    assert (sent.method, sent.target, sent.body) == ("PUT", "/bucket/kept", b"data")
    for name, value in {**LOCK, "x-amz-tagging": "a=b"}.items():
        assert sent.headers[name] == value
    before = len(upstream.received)
    for wrong, code in (
        ({"x-amz-acl": "public-read"}, b"AccessControlListNotSupported"),
        ({"x-amz-meta-a": "x" * 3000}, b"MetadataTooLarge"),
        ({"x-amz-tagging": "a=1&a=2"}, b"InvalidTag"),
    ):
        for headers in (LOCK, SSE_C):
            reply = await node.request("PUT", "/bucket/kept", b"data", {**headers, **wrong})
            assert (reply.status, code in reply.body) == (400, True), reply
    assert {sent.method for sent in upstream.received[before:]} <= {"HEAD"}


async def test_where_nothing_can_be_locked_it_is_said(node: RunningEndpoint):
    reply = await node.request("PUT", "/bucket/kept", b"data", LOCK)
    assert (reply.status, b"x-amz-object-lock-mode" in reply.body) == (501, True)


# --- SSE-C ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
async def test_an_object_with_a_key_goes_up_with_it(pair, size: int):
    node, upstream = pair
    data = bytes(size)
    headers = {**SSE_C, "x-amz-meta-a": "1", "Content-Length": str(size)}
    reply = await node.request("PUT", "/bucket/secret", data, headers)
    assert (reply.status, reply.headers["etag"]) == (200, '"etag-of-the-upstream"')
    sent = upstream.last()
    assert (sent.method, sent.target, sent.body) == ("PUT", "/bucket/secret", data)
    for name, value in SSE_C.items():
        assert sent.headers[name.lower()] == value
    assert sent.headers["x-amz-meta-a"] == "1"


async def test_a_body_that_breaks_its_promise_is_not_sent_whole(pair):
    node, upstream = pair
    before = len(upstream.received)
    for size in (10, 3_000_000):
        headers = {**SSE_C, "x-amz-content-sha256": hashlib.sha256(b"else").hexdigest()}
        reply = await node.request("PUT", "/bucket/secret", bytes(size), headers)
        assert (reply.status, b"XAmzContentSHA256Mismatch" in reply.body) == (400, True)
    assert [sent for sent in upstream.received[before:] if sent.target == "/bucket/secret"] == []


async def test_reading_with_a_key_never_touches_the_cache(pair):
    node, upstream = pair
    for _ in range(2):
        upstream.answer(
            "GET", "/bucket/secret", 206, b"cret", Content_Range="bytes 2-5/6", ETag='"e"'
        )
        reply = await node.request("GET", "/bucket/secret", headers={**SSE_C, "Range": "bytes=2-5"})
        assert (reply.status, reply.body) == (206, b"cret")
        assert reply.headers["content-range"] == "bytes 2-5/6"
        assert upstream.last().headers["range"] == "bytes=2-5"
    upstream.answers["HEAD", "/bucket/secret"] = upstream.answers["GET", "/bucket/secret"]
    reply = await node.request("HEAD", "/bucket/secret", headers=SSE_C)
    assert (reply.status, reply.headers["content-length"]) == (206, "4")
    assert node.cache.open_nowait("bucket", "secret") is None
    assert node.cache.statistics()["objects"] == 0


async def test_a_write_with_a_key_makes_the_cache_forget(pair):
    node, upstream = pair
    upstream.answer(
        "GET", "/bucket/k", 200, b"old", ETag='"0"', Last_Modified="Fri, 01 Jan 2021 00:00:00 GMT"
    )
    upstream.answers["HEAD", "/bucket/k"] = upstream.answers["GET", "/bucket/k"]
    assert (await node.request("GET", "/bucket/k")).body == b"old"
    assert node.cache.head_nowait("bucket", "k") is not None
    upstream.answer("PUT", "/bucket/k", 412, b"<Error><Code>PreconditionFailed</Code></Error>")
    assert (
        await node.request("PUT", "/bucket/k", b"n", {**SSE_C, "If-Match": '"x"'})
    ).status == 412
    del upstream.answers["PUT", "/bucket/k"]
    assert (await node.request("PUT", "/bucket/k", b"new", SSE_C)).status == 200
    assert node.cache.head_nowait("bucket", "k") is None


async def test_an_upload_in_parts_with_a_key(pair):
    node, upstream = pair
    begun = b"<InitiateMultipartUploadResult><UploadId>2~a&amp;b</UploadId></InitiateMultipartUploadResult>"
    upstream.answer("POST", "/bucket/k?uploads=", 200, begun, Content_Type="application/xml")
    reply = await node.request(
        "POST", "/bucket/k?uploads", b"", {**SSE_C, "x-amz-checksum-algorithm": "CRC32"}
    )
    assert reply.status == 200
    assert upstream.last().headers["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    sealed = sealed_upload_id("2~a&b", "bucket", "k", b"seals")
    assert f"<UploadId>{sealed}</UploadId>".encode() in reply.body
    part = "/bucket/k?partNumber=3&uploadId=2~a%26b"
    upstream.answer("PUT", part, 200, ETag='"part"')
    reply = await node.request("PUT", f"/bucket/k?partNumber=3&uploadId={sealed}", b"data", SSE_C)
    assert (reply.status, reply.headers["etag"]) == (200, '"part"')
    assert (upstream.last().target, upstream.last().body) == (part, b"data")
    reply = await node.request("PUT", "/bucket/k?partNumber=3&uploadId=made-up", b"data", SSE_C)
    assert (reply.status, b"NoSuchUpload" in reply.body) == (404, True)
    # Completing it, nobody can be told of the object without the key: it is there all the same.
    done = b"<CompleteMultipartUploadResult><ETag>&quot;whole-1&quot;</ETag></CompleteMultipartUploadResult>"
    upstream.answer("POST", "/bucket/k?uploadId=2~a%26b", 200, done, Content_Type="application/xml")
    upstream.answer("HEAD", "/bucket/k", 400)
    parts = b"<CompleteMultipartUpload><Part><PartNumber>3</PartNumber><ETag>part</ETag></Part></CompleteMultipartUpload>"
    reply = await node.request("POST", f"/bucket/k?uploadId={sealed}", parts)
    assert (reply.status, b"whole-1" in reply.body) == (200, True)
    assert (await node.request("HEAD", "/bucket/k")).status == 400


BROKEN = {
    "no algorithm": {"x-amz-server-side-encryption-customer-algorithm": ""},
    "another algorithm": {"x-amz-server-side-encryption-customer-algorithm": "AES128"},
    "no key": {"x-amz-server-side-encryption-customer-key": ""},
    "no digest": {"x-amz-server-side-encryption-customer-key-MD5": ""},
    "no base64": {"x-amz-server-side-encryption-customer-key": "!"},
    "a short key": {"x-amz-server-side-encryption-customer-key": "AAAA"},
    "another digest": {"x-amz-server-side-encryption-customer-key-MD5": "AAAA"},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
async def test_keys_that_cannot_be_are_refused_here(pair, change: dict[str, str]):
    node, upstream = pair
    before = len(upstream.received)
    for method in ("PUT", "GET"):
        reply = await node.request(method, "/bucket/secret", b"", {**SSE_C, **change})
        assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)
        assert SSE_C["x-amz-server-side-encryption-customer-key"].encode() not in reply.body
    assert len(upstream.received) == before


async def test_where_storage_does_not_encrypt_it_is_said(node: RunningEndpoint):
    reply = await node.request("PUT", "/bucket/k", b"1", SSE_C)
    assert (reply.status, b"NotImplemented" in reply.body) == (501, True)
    assert b"Customer provided keys" in reply.body
    assert (await node.request("GET", "/bucket/k", headers=SSE_C)).status == 404
    await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"1")
    reply = await node.request("GET", "/bucket/k", headers=SSE_C)
    assert (reply.status, b"not applicable to this object" in reply.body) == (400, True)
    with pytest.raises(ClientError, match="NotImplemented"):
        await node.call(
            node.s3.create_multipart_upload, Bucket="bucket", Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey=KEY
        )  # fmt: skip


# --- accounts -----------------------------------------------------------------------------------

BYPASS = "x-amz-bypass-governance-retention"


@asynccontextmanager
async def hers_upstream(directory: Path) -> AsyncIterator[tuple[As, As, RecordingUpstream]]:
    """Alice, whose bucket "hers" is kept by the upstream, and Bob."""
    async with recording_upstream() as upstream:
        upstream.answer("HEAD", "/hers", 404)
        backend = make_backend(upstream.endpoint, *KEYS)
        keys = people(ACCESS_KEY, SECRET_KEY)
        async with running_endpoint(directory, backend=backend, credentials=keys) as node:
            alice = As(node.url, ALICE)
            await alice.create_bucket(Bucket="hers")
            del upstream.answers["HEAD", "/hers"]
            yield alice, As(node.url, BOB), upstream


async def let(alice: As, *actions: str) -> None:
    """Everybody may do this to Alice's objects."""
    allowed = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": [f"s3:{name}" for name in actions],
        "Resource": "arn:aws:s3:::hers/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    await alice.put_bucket_policy(Bucket="hers", Policy=document)


async def test_who_may_write_may_not_lock(tmp_path: Path):
    until = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": "2099-01-01T00:00:00Z"}
    hold = {"ObjectLockLegalHoldStatus": "ON"}
    put = {"Bucket": "hers", "Key": "k", "Body": b"data"}
    async with hers_upstream(tmp_path) as (alice, bob, upstream):
        before = len(upstream.received)
        for allowed, refused in (
            (("PutObject",), (until, hold)),
            (("PutObject", "PutObjectLegalHold"), (until, {**until, **hold})),
            (("PutObject", "PutObjectRetention"), (hold, {**until, **hold})),
        ):
            await let(alice, *allowed)
            for locks in refused:
                assert await bob.code("put_object", **put, **locks) == "AccessDenied"
        assert {sent.method for sent in upstream.received[before:]} <= {"HEAD"}
        await let(alice, "PutObject", "PutObjectRetention", "PutObjectLegalHold")
        assert await bob.code("put_object", **put, **until, **hold) == ""
        assert upstream.last().headers["x-amz-object-lock-mode"] == "COMPLIANCE"


async def test_going_past_a_retention_needs_leave_and_is_passed_on(tmp_path: Path):
    name = {"Bucket": "hers", "Key": "k"}
    retention = {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": "2099-01-01T00:00:00Z"}}
    both = {"Objects": [{"Key": "k", "VersionId": "v1"}, {"Key": "k2"}]}
    past = {"BypassGovernanceRetention": True}
    calls = (
        ("put_object_retention", {**name, **retention}),
        ("delete_object", {**name, "VersionId": "v1"}),
    )
    leave = ("PutObjectRetention", "DeleteObject", "DeleteObjectVersion")
    gone = b"<DeleteResult><Deleted><Key>k</Key><VersionId>v1</VersionId></Deleted><Deleted><Key>k2</Key></Deleted></DeleteResult>"
    async with hers_upstream(tmp_path) as (alice, bob, upstream):
        upstream.answer("POST", "/hers?delete", 200, gone, Content_Type="application/xml")
        await let(alice, *leave)
        before = len(upstream.received)
        for call, about in calls:
            assert await bob.code(call, **about, **past) == "AccessDenied"
        answer = await bob.delete_objects(Bucket="hers", Delete=both, **past)
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"] * 2
        assert {sent.method for sent in upstream.received[before:]} <= {"HEAD"}
        for call, about in calls:
            assert await bob.code(call, **about) == ""
            assert BYPASS not in upstream.last().headers
        await let(alice, *leave, "BypassGovernanceRetention")
        for call, about in calls:
            assert await bob.code(call, **about, **past) == ""
            assert upstream.last().headers[BYPASS] == "true"
        answer = await bob.delete_objects(Bucket="hers", Delete=both, **past)
        assert (len(answer["Deleted"]), answer.get("Errors")) == (2, None)
        assert upstream.last().headers[BYPASS] == "true"
        await bob.delete_objects(Bucket="hers", Delete=both)
        assert BYPASS not in upstream.last().headers


async def test_what_means_nothing_of_a_lock_does_not_carry_the_way_past_it(pair):
    node, upstream = pair
    for target in ("/bucket/k?legal-hold=", "/bucket?object-lock="):
        assert (await node.request("PUT", target, b"<X/>", {BYPASS: "true"})).status == 200
        assert BYPASS not in upstream.last().headers


async def test_where_nothing_is_locked_there_is_nothing_to_go_past(node: RunningEndpoint):
    await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"1")
    assert (await node.request("DELETE", "/bucket/k", b"", {BYPASS: "true"})).status == 204
    assert (await node.request("HEAD", "/bucket/k")).status == 404


RESTORE = "<RestoreRequest><OutputLocation><S3><BucketName>others</BucketName></S3></OutputLocation></RestoreRequest>"
REACHING = {
    "plain": (RESTORE.encode(), 403),
    "UTF-16": (RESTORE.encode("utf-16"), 403),
    "UTF-16, declared": (f'<?xml version="1.0" encoding="utf-16"?>{RESTORE}'.encode("utf-16"), 403),
    "in a namespace": (
        RESTORE.replace("OutputLocation", "a:OutputLocation")
        .replace("<RestoreRequest>", '<RestoreRequest xmlns:a="http://a">')
        .encode(),
        400,
    ),
    "deep": (b"<RestoreRequest><A><OutputLocation/></A></RestoreRequest>", 403),
    "an encoding that nobody knows": (RESTORE.encode("utf-32"), 400),
    "an entity": (b"<!DOCTYPE a [<!ENTITY b 'c'>]><RestoreRequest/>", 400),
    "another document": (b"<Restore/>", 400),
    "no document": (b"nonsense", 400),
}


@pytest.mark.parametrize(("document", "status"), REACHING.values(), ids=REACHING)
async def test_a_restore_does_not_reach_out(tmp_path: Path, document: bytes, status: int):
    async with recording_upstream() as upstream:
        backend = make_backend(upstream.endpoint, *KEYS)
        root = msgspec.structs.replace(
            make_credentials(ACCESS_KEY, SECRET_KEY),
            identity=msgspec.structs.replace(ALICE.identity, access_key=ACCESS_KEY),
        )
        keys = People(root, ())
        async with running_endpoint(tmp_path, backend=backend, credentials=keys) as node:
            upstream.answer("HEAD", "/hers", 404)
            assert (await node.request("PUT", "/hers")).status == 200
            del upstream.answers["HEAD", "/hers"]
            before = len(upstream.received)
            reply = await node.request("POST", "/hers/k?restore", document)
            assert (reply.status, len(upstream.received)) == (status, before)
            for harmless in (b"", b"<RestoreRequest><Days>1</Days></RestoreRequest>"):
                assert (await node.request("POST", "/hers/k?restore", harmless)).status == 200
                assert upstream.last().body == harmless


async def test_who_may_not_is_not_passed_on(tmp_path: Path):
    async with recording_upstream() as upstream:
        upstream.answer("HEAD", "/hers", 404)
        backend = make_backend(upstream.endpoint, *KEYS)
        keys = people(ACCESS_KEY, SECRET_KEY)
        async with running_endpoint(tmp_path, backend=backend, credentials=keys) as node:
            alice, bob = As(node.url, ALICE), As(node.url, BOB)
            await alice.create_bucket(Bucket="hers")
            del upstream.answers["HEAD", "/hers"]
            upstream.answer("GET", "/hers?lifecycle=", 200, RULES)
            assert await alice.code("get_bucket_lifecycle_configuration", Bucket="hers") == ""
            before = len(upstream.received)
            for name in ("get_bucket_lifecycle_configuration", "get_bucket_replication"):
                assert await bob.code(name, Bucket="hers") == "AccessDenied"
            key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
            assert (
                await bob.code("put_object", Bucket="hers", Key="k", Body=b"1", **key)
                == "AccessDenied"
            )
            assert await bob.code("get_object", Bucket="hers", Key="k", **key) == "AccessDenied"
            # Her own bucket, but it would write to others' with the appliance's permissions.
            rule = {
                "Status": "Enabled",
                "Destination": {"Bucket": "arn:aws:s3:::others"},
                "Prefix": "",
            }
            replication = {"Role": "arn:aws:iam::1:role/r", "Rules": [rule]}
            put = {"Bucket": "hers", "ReplicationConfiguration": replication}
            assert await alice.code("put_bucket_replication", **put) == "AccessDenied"
            assert {sent.method for sent in upstream.received[before:]} <= {"HEAD"}
            assert await node.call(node.s3.put_bucket_replication, **put)
            assert upstream.last().target == "/hers?replication="
