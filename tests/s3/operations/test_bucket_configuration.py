"""CORS and tags of buckets, through a real client and by hand."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.support.raw_http import Reply
from tests.support.s3_endpoint import RunningEndpoint

RULES = {
    "CORSRules": [
        {
            "AllowedMethods": ["GET", "PUT"],
            "AllowedOrigins": ["https://*.example.org"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 30,
        }
    ]
}
ORIGIN = "https://page.example.org"


async def options(node: RunningEndpoint, path: str, **headers: str) -> Reply:
    """A preflight, as browsers send it: unsigned."""
    client = await node.connect()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    await client.send(f"OPTIONS {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
    return await client.reply()


async def test_the_life_of_cors_rules(node: RunningEndpoint):
    s3 = node.s3
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        await node.call(s3.get_bucket_cors, Bucket="bucket")
    await node.call(s3.put_bucket_cors, Bucket="bucket", CORSConfiguration=RULES)
    found = await node.call(s3.get_bucket_cors, Bucket="bucket")
    assert found["CORSRules"] == RULES["CORSRules"]
    await node.call(s3.delete_bucket_cors, Bucket="bucket")
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        await node.call(s3.get_bucket_cors, Bucket="bucket")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        await node.call(s3.put_bucket_cors, Bucket="nobucket", CORSConfiguration=RULES)


async def test_preflights(node: RunningEndpoint):
    asked = {"Origin": ORIGIN, "Access_Control_Request_Method": "PUT"}
    assert (await options(node, "/bucket/key", **asked)).status == 403
    assert (await options(node, "/bucket/key")).status == 400
    await node.call(node.s3.put_bucket_cors, Bucket="bucket", CORSConfiguration=RULES)
    for path in ("/bucket", "/bucket/key", node.presigned("PUT", "/bucket/key")):
        reply = await options(node, path, **asked, Access_Control_Request_Headers="x-amz-meta-a")
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert reply.headers["access-control-allow-methods"] == "GET, PUT"
        assert reply.headers["access-control-allow-headers"] == "x-amz-meta-a"
        assert reply.headers["access-control-max-age"] == "30"
    reply = await options(node, "/bucket/key", **{**asked, "Origin": "https://example.com"})
    assert (reply.status, b"<Code>AccessForbidden</Code>" in reply.body) == (403, True)
    assert (await options(node, "/nobucket/key", **asked)).status == 403


async def test_answers_tell_the_browser_who_may_see_them(node: RunningEndpoint):
    await node.call(node.s3.put_bucket_cors, Bucket="bucket", CORSConfiguration=RULES)
    await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"1")
    for path, status in (("/bucket/k", 200), ("/bucket/none", 404), ("/bucket?list-type=2", 200)):
        reply = await node.request("GET", path, headers={"Origin": ORIGIN})
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert reply.headers["access-control-expose-headers"] == "ETag"
        assert "Origin" in reply.headers["vary"]
    for headers in ({}, {"Origin": "https://example.com"}):
        reply = await node.request("GET", "/bucket/k", headers=headers)
        assert "access-control-allow-origin" not in reply.headers
    reply = await node.request("DELETE", "/bucket/k", headers={"Origin": ORIGIN})
    assert (reply.status, "access-control-allow-origin" in reply.headers) == (204, False)


async def test_the_life_of_bucket_tags(node: RunningEndpoint):
    s3 = node.s3
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        await node.call(s3.get_bucket_tagging, Bucket="bucket")
    tags = [{"Key": f"k{number:02}", "Value": "ü"} for number in range(50)]
    await node.call(s3.put_bucket_tagging, Bucket="bucket", Tagging={"TagSet": tags})
    assert (await node.call(s3.get_bucket_tagging, Bucket="bucket"))["TagSet"] == tags
    many = [*tags, {"Key": "one-more", "Value": ""}]
    with pytest.raises(ClientError, match="Bucket tags cannot be greater than 50"):
        await node.call(s3.put_bucket_tagging, Bucket="bucket", Tagging={"TagSet": many})
    await node.call(s3.delete_bucket_tagging, Bucket="bucket")
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        await node.call(s3.get_bucket_tagging, Bucket="bucket")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        await node.call(s3.put_bucket_tagging, Bucket="nobucket", Tagging={"TagSet": []})


async def test_a_new_bucket_has_nothing_of_an_old_one_of_its_name(node: RunningEndpoint):
    s3 = node.s3
    await node.call(s3.create_bucket, Bucket="again")
    await node.call(s3.put_bucket_cors, Bucket="again", CORSConfiguration=RULES)
    await node.call(s3.delete_bucket, Bucket="again")
    await node.call(s3.create_bucket, Bucket="again")
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        await node.call(s3.get_bucket_cors, Bucket="again")


async def test_buckets_come_in_pages(node: RunningEndpoint):
    names = ["bucket", *(f"paged-{number}" for number in range(5))]
    for name in names[1:]:
        await node.call(node.s3.create_bucket, Bucket=name)
    whole = await node.call(node.s3.list_buckets)
    assert [item["Name"] for item in whole["Buckets"]] == names
    assert "ContinuationToken" not in whole
    pages = node.s3.get_paginator("list_buckets").paginate(
        PaginationConfig={"PageSize": 2}, Prefix="paged-"
    )
    found = await node.call(lambda: list(pages))
    assert [[item["Name"] for item in page["Buckets"]] for page in found] == [
        names[1:3],
        names[3:5],
        names[5:],
    ]
    assert {item["BucketRegion"] for page in found for item in page["Buckets"]} == {"us-east-1"}
    assert found[0]["Prefix"] == "paged-"
    elsewhere = await node.call(node.s3.list_buckets, BucketRegion="eu-west-1")
    assert elsewhere["Buckets"] == []


@pytest.mark.parametrize("query", ["max-buckets=0", "max-buckets=10001", "max-buckets=x", "max-buckets=-1", "continuation-token=bucket"])  # fmt: skip
async def test_pages_of_buckets_that_cannot_be(node: RunningEndpoint, query: str):
    reply = await node.request("GET", f"/?{query}")
    assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)
