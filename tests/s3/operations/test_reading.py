"""GetObject, HeadObject, GetObjectAttributes: whole, in ranges, by part, on conditions."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from appliance.model.errors import BackendUnavailableError
from tests.support.s3_endpoint import RunningEndpoint

DATA = bytes(range(256)) * 4


async def put(node: RunningEndpoint, key: str = "k", body: bytes = DATA, **options) -> dict:
    return await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=body, **options)


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=10-19": (10, 20),
    "bytes=1000-": (1000, 1024),
    "bytes=-24": (1000, 1024),
    "bytes=-5000": (0, 1024),
    "bytes=1000-5000": (1000, 1024),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", RANGES)
async def test_ranges(node: RunningEndpoint, header: str, method: str):
    await put(node)
    first, end = RANGES[header]
    reply = await node.request(method, "/bucket/k", headers={"Range": header})
    assert reply.status == 206
    assert reply.headers["content-range"] == f"bytes {first}-{end - 1}/1024"
    assert reply.headers["content-length"] == str(end - first)
    assert reply.body == (DATA[first:end] if method == "GET" else b"")


@pytest.mark.parametrize(
    "header", ["bytes=5-3", "lines=1-2", "bytes=1-2,4-5", "bytes=a-b", "bytes=-"]
)
async def test_a_range_that_cannot_be_understood_is_ignored(node: RunningEndpoint, header: str):
    await put(node)
    reply = await node.request("GET", "/bucket/k", headers={"Range": header})
    assert (reply.status, reply.body) == (200, DATA)


@pytest.mark.parametrize("header", ["bytes=1024-", "bytes=-0", "bytes=5000-6000"])
async def test_a_range_beyond_the_end_is_refused(node: RunningEndpoint, header: str):
    await put(node)
    reply = await node.request("GET", "/bucket/k", headers={"Range": header})
    assert (reply.status, reply.headers["content-range"]) == (416, "bytes */1024")
    assert b"<Code>InvalidRange</Code>" in reply.body


async def test_a_range_of_a_large_object(node: RunningEndpoint):
    data = os.urandom(3_000_000)
    await put(node, body=data)
    for first, last in [(0, 2_999_999), (1, 1_500_000), (2_900_000, 2_999_999)]:
        got = await node.call(
            lambda first=first, last=last: node.s3.get_object(
                Bucket="bucket", Key="k", Range=f"bytes={first}-{last}"
            )["Body"].read()
        )
        assert got == data[first : last + 1]


@pytest.mark.parametrize("read", ["get_object", "head_object"])
async def test_conditional_reads(node: RunningEndpoint, read: str):
    etag = (await put(node))["ETag"]
    call = getattr(node.s3, read)
    long_ago, tomorrow = datetime(2001, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
    holds = [{"IfMatch": etag}, {"IfMatch": "*"}, {"IfNoneMatch": '"x"'}, {"IfModifiedSince": long_ago}, {"IfUnmodifiedSince": tomorrow}, {"IfMatch": etag, "IfUnmodifiedSince": long_ago}, {"IfNoneMatch": '"x"', "IfModifiedSince": tomorrow}]  # fmt: skip
    fails = [({"IfMatch": '"x"'}, 412), ({"IfNoneMatch": etag}, 304), ({"IfNoneMatch": "*"}, 304), ({"IfModifiedSince": tomorrow}, 304), ({"IfUnmodifiedSince": long_ago}, 412)]  # fmt: skip
    for options in holds:
        answer = await node.call(call, Bucket="bucket", Key="k", **options)
        assert answer["ETag"] == etag
        if "Body" in answer:
            await node.call(answer["Body"].read)
    for options, status in fails:
        with pytest.raises(ClientError) as caught:
            await node.call(call, Bucket="bucket", Key="k", **options)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_a_304_has_the_etag_and_no_body(node: RunningEndpoint):
    etag = (await put(node))["ETag"]
    client = await node.connect()
    request = node.signed("GET", "/bucket/k", headers={"If-None-Match": etag})
    await client.send(request + request)
    for _ in range(2):
        reply = await client.reply()
        assert (reply.status, reply.headers["etag"]) == (304, etag)
        assert reply.headers["last-modified"].endswith("GMT")


async def test_response_headers_can_be_overridden(node: RunningEndpoint):
    await put(node, ContentType="text/plain")
    got = await node.call(
        node.s3.get_object,
        Bucket="bucket",
        Key="k",
        ResponseContentType="image/png",
        ResponseContentDisposition="inline",
    )
    assert (got["ContentType"], got["ContentDisposition"]) == ("image/png", "inline")


async def test_head_of_what_is_not_there_has_no_body(node: RunningEndpoint):
    client = await node.connect()
    request = node.signed("HEAD", "/bucket/none")
    await client.send(request + request)
    for _ in range(2):
        assert (await client.reply(head_request=True)).status == 404


@pytest.mark.parametrize(("path", "code"), [("/bucket/none", "NoSuchKey"), ("/none-such/k", "NoSuchBucket")])  # fmt: skip
async def test_what_is_not_there_is_a_precise_error(node: RunningEndpoint, path: str, code: str):
    reply = await node.request("GET", path)
    assert reply.status == 404
    assert f"<Code>{code}</Code>".encode() in reply.body
    assert reply.headers["x-amz-request-id"].encode() in reply.body
    assert path.encode() in reply.body


async def test_an_unknown_version_is_not_found(node: RunningEndpoint):
    await put(node)
    assert (await node.request("GET", "/bucket/k?versionId=null")).status == 200
    reply = await node.request("GET", "/bucket/k?versionId=abc")
    assert (reply.status, b"NoSuchVersion" in reply.body) == (404, True)


async def test_parts_of_an_object_and_its_attributes(node: RunningEndpoint):
    s3 = node.s3
    sizes = [5 << 20, 5 << 20, 100]
    bodies = [os.urandom(size) for size in sizes]
    upload = await node.call(
        s3.create_multipart_upload, Bucket="bucket", Key="k", ChecksumAlgorithm="SHA256"
    )
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = await node.call(
            s3.upload_part, Bucket="bucket", Key="k", UploadId=upload["UploadId"], PartNumber=number, Body=body, ChecksumAlgorithm="SHA256"
        )  # fmt: skip
        parts.append(
            {
                "PartNumber": number,
                "ETag": answer["ETag"],
                "ChecksumSHA256": answer["ChecksumSHA256"],
            }
        )
    await node.call(
        s3.complete_multipart_upload, Bucket="bucket", Key="k", UploadId=upload["UploadId"], MultipartUpload={"Parts": parts}
    )  # fmt: skip
    for number, body in enumerate(bodies, 1):
        got = await node.call(s3.get_object, Bucket="bucket", Key="k", PartNumber=number)
        assert await node.call(got["Body"].read) == body
        assert got["PartsCount"] == 3
    with pytest.raises(ClientError, match="InvalidPartNumber"):
        await node.call(s3.get_object, Bucket="bucket", Key="k", PartNumber=4)
    found = await node.call(
        s3.get_object_attributes, Bucket="bucket", Key="k", MaxParts=2,
        ObjectAttributes=["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"],
    )  # fmt: skip
    assert found["ObjectSize"] == sum(sizes)
    assert found["ETag"].endswith("-3")
    assert found["ObjectParts"]["TotalPartsCount"] == 3
    assert found["ObjectParts"]["IsTruncated"]
    assert [part["Size"] for part in found["ObjectParts"]["Parts"]] == sizes[:2]


async def test_an_unknown_attribute_is_refused(node: RunningEndpoint):
    await put(node)
    reply = await node.request(
        "GET", "/bucket/k?attributes", headers={"x-amz-object-attributes": "ETag,Colour"}
    )
    assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)


async def test_a_presigned_url_works_without_credentials(node: RunningEndpoint):
    await put(node)
    client = await node.connect()
    path = node.presigned("GET", "/bucket/k")
    await client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{node.port}\r\n\r\n".encode())
    reply = await client.reply()
    assert (reply.status, reply.body) == (200, DATA)


@pytest.mark.parametrize("path", ["/bucket/k", "/"])
async def test_anonymous_requests_are_denied(node: RunningEndpoint, path: str):
    await put(node)
    client = await node.connect()
    await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    reply = await client.reply()
    assert (reply.status, b"<Code>AccessDenied</Code>" in reply.body) == (403, True)


# --- backends and clients that go away --------------------------------------------------


async def test_a_backend_that_is_gone_is_503_with_retry_after(node: RunningEndpoint, monkeypatch):
    async def gone(*args, **kwargs):
        raise BackendUnavailableError(retry_after_s=7)

    monkeypatch.setattr(node.cache, "open_nowait", lambda *_: None)
    monkeypatch.setattr(node.cache, "open", gone)
    reply = await node.request("GET", "/bucket/k")
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert b"ServiceUnavailable" in reply.body


class FailingReader:
    """A reader whose bytes stop coming in the middle."""

    fd = -1
    source = "direct"
    stale = True

    def __init__(self, info, good: int) -> None:
        self.info = info
        self.closed = 0
        self._good = good

    async def stream(self, offset, length):
        for _ in range(self._good):
            yield bytes(1000)
        raise BackendUnavailableError

    def close(self):
        self.closed += 1


async def test_a_backend_that_goes_away_before_the_first_byte_is_an_error(
    node: RunningEndpoint, monkeypatch
):
    await put(node, body=bytes(1_000_000))
    reader = FailingReader(await node.cache.head("bucket", "k"), 0)
    monkeypatch.setattr(node.cache, "open_nowait", lambda *_: reader)
    assert (await node.request("GET", "/bucket/k")).status == 503
    assert reader.closed


async def test_a_backend_that_goes_away_in_the_middle_cuts_the_connection(
    node: RunningEndpoint, monkeypatch
):
    await put(node, body=bytes(1_000_000))
    reader = FailingReader(await node.cache.head("bucket", "k"), 3)
    monkeypatch.setattr(node.cache, "open_nowait", lambda *_: reader)
    client = await node.connect()
    await client.send(node.signed("GET", "/bucket/k"))
    data = await client.rest()
    assert data.endswith(b"<reset>")
    assert b"x-appliance-stale: possible\r\n" in data
    assert len(data) < 10_000
    assert reader.closed
    assert node.endpoint.statistics()["responses_aborted_total"] == 1


async def test_a_client_that_goes_away_in_the_middle_leaves_the_server_well(node: RunningEndpoint):
    await put(node, body=bytes(30_000_000))
    client = await node.connect()
    await client.send(node.signed("GET", "/bucket/k"))
    await client.stream.receive_some(100)
    await client.stream.aclose()
    assert (await node.request("HEAD", "/bucket/k")).status == 200
