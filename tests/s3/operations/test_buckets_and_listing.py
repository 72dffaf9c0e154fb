"""Buckets, listings, tags, copies; and what is not implemented."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from appliance.s3.settings import S3Settings
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint


async def fill(node: RunningEndpoint, *keys: str) -> None:
    for key in keys:
        await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=key.encode())


# --- buckets -----------------------------------------------------------------------


async def test_the_life_of_a_bucket(node: RunningEndpoint):
    s3 = node.s3
    await node.call(s3.create_bucket, Bucket="other")
    listed = await node.call(s3.list_buckets)
    assert [item["Name"] for item in listed["Buckets"]] == ["bucket", "other"]
    assert listed["Owner"]["ID"]
    head = await node.call(s3.head_bucket, Bucket="other")
    assert head["BucketRegion"] == "us-east-1"
    assert (await node.call(s3.get_bucket_location, Bucket="other"))["LocationConstraint"] is None
    assert "Status" not in await node.call(s3.get_bucket_versioning, Bucket="other")
    await node.call(s3.delete_bucket, Bucket="other")
    with pytest.raises(ClientError, match="404"):
        await node.call(s3.head_bucket, Bucket="other")


async def test_creating_ones_own_bucket_again_succeeds(node: RunningEndpoint):
    await node.call(node.s3.put_object, Bucket="bucket", Key="kept", Body=b"1")
    created = await node.call(node.s3.create_bucket, Bucket="bucket")
    assert created["Location"] == "/bucket"
    assert (await node.call(node.s3.head_object, Bucket="bucket", Key="kept"))["ContentLength"] == 1


async def test_bad_bucket_names_are_refused(node: RunningEndpoint):
    for name in ("ab", "Upper", "a..b", "192.168.0.1", "xn--a"):
        reply = await node.request("PUT", f"/{name}")
        assert (reply.status, b"InvalidBucketName" in reply.body) == (400, True), name


async def test_another_region_is_refused(node: RunningEndpoint):
    with pytest.raises(ClientError, match="InvalidLocationConstraint"):
        await node.call(
            node.s3.create_bucket,
            Bucket="other",
            CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
        )


async def test_a_bucket_with_objects_stays(node: RunningEndpoint):
    await fill(node, "a")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        await node.call(node.s3.delete_bucket, Bucket="bucket")


# --- listings ------------------------------------------------------------------------

KEYS = ("a", "a.b", "a/1", "a/2", "b c", "ü", "z/y/x")


async def test_listings_are_in_order_of_bytes(node: RunningEndpoint):
    await fill(node, *reversed(KEYS))
    for call in (node.s3.list_objects, node.s3.list_objects_v2):
        page = await node.call(call, Bucket="bucket")
        assert [item["Key"] for item in page["Contents"]] == sorted(KEYS, key=str.encode)
    versions = await node.call(node.s3.list_object_versions, Bucket="bucket")
    assert [item["Key"] for item in versions["Versions"]] == sorted(KEYS, key=str.encode)
    assert {item["VersionId"] for item in versions["Versions"]} == {"null"}


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_object_versions"])
async def test_pages_add_up_to_the_whole(node: RunningEndpoint, operation: str):
    await fill(node, *KEYS)

    def pages(**options):
        return list(
            node.s3.get_paginator(operation).paginate(
                Bucket="bucket", PaginationConfig={"PageSize": 2}, **options
            )
        )

    items = "Versions" if operation == "list_object_versions" else "Contents"
    flat = await node.call(pages)
    assert [i["Key"] for page in flat for i in page.get(items, [])] == sorted(KEYS, key=str.encode)
    folded = await node.call(pages, Delimiter="/")
    assert [i["Key"] for page in folded for i in page.get(items, [])] == ["a", "a.b", "b c", "ü"]
    assert [i["Prefix"] for page in folded for i in page.get("CommonPrefixes", [])] == ["a/", "z/"]
    inside = await node.call(pages, Prefix="a/")
    assert [i["Key"] for page in inside for i in page.get(items, [])] == ["a/1", "a/2"]


async def test_start_after_and_owner(node: RunningEndpoint):
    await fill(node, "a", "b", "c")
    page = await node.call(
        node.s3.list_objects_v2, Bucket="bucket", StartAfter="a", FetchOwner=True
    )
    assert [item["Key"] for item in page["Contents"]] == ["b", "c"]
    assert all(item["Owner"]["ID"] for item in page["Contents"])


async def test_a_bad_page_size_or_token_is_refused(node: RunningEndpoint):
    for query in ("max-keys=x", "max-keys=-1", "continuation-token=made-up"):
        reply = await node.request("GET", f"/bucket?list-type=2&{query}")
        assert (reply.status, b"InvalidArgument" in reply.body) == (400, True), query


# --- tags ----------------------------------------------------------------------------------


async def test_tags(node: RunningEndpoint):
    s3 = node.s3
    await node.call(s3.put_object, Bucket="bucket", Key="k", Body=b"", Tagging="a=1&b=2")
    tags = await node.call(s3.get_object_tagging, Bucket="bucket", Key="k")
    assert sorted((t["Key"], t["Value"]) for t in tags["TagSet"]) == [("a", "1"), ("b", "2")]
    assert (await node.call(s3.head_object, Bucket="bucket", Key="k"))["TagCount"] == 2
    await node.call(
        s3.put_object_tagging,
        Bucket="bucket",
        Key="k",
        Tagging={"TagSet": [{"Key": "c", "Value": "3"}]},
    )
    tags = await node.call(s3.get_object_tagging, Bucket="bucket", Key="k")
    assert tags["TagSet"] == [{"Key": "c", "Value": "3"}]
    await node.call(s3.delete_object_tagging, Bucket="bucket", Key="k")
    assert (await node.call(s3.get_object_tagging, Bucket="bucket", Key="k"))["TagSet"] == []


async def test_too_many_or_bad_tags_are_refused(node: RunningEndpoint):
    await fill(node, "k")
    many = {"TagSet": [{"Key": str(i), "Value": ""} for i in range(11)]}
    for tags in (
        many,
        {"TagSet": [{"Key": "a", "Value": "1"}] * 2},
        {"TagSet": [{"Key": "a" * 129, "Value": ""}]},
    ):
        with pytest.raises(ClientError, match=r"InvalidTag|BadRequest"):
            await node.call(node.s3.put_object_tagging, Bucket="bucket", Key="k", Tagging=tags)


# --- copies -----------------------------------------------------------------------------------


async def source(node: RunningEndpoint) -> dict:
    await node.call(
        node.s3.put_object, Bucket="bucket", Key="from/ü +%", Body=b"data", Metadata={"a": "1"},
        ContentType="text/x", Tagging="t=1",
    )  # fmt: skip
    return {"Bucket": "bucket", "Key": "from/ü +%"}


async def test_a_copy_carries_everything(node: RunningEndpoint):
    copied = await node.call(
        node.s3.copy_object, Bucket="bucket", Key="to", CopySource=await source(node)
    )
    head = await node.call(node.s3.get_object, Bucket="bucket", Key="to")
    assert await node.call(head["Body"].read) == b"data"
    assert (head["Metadata"], head["ContentType"], head["TagCount"]) == ({"a": "1"}, "text/x", 1)
    assert copied["CopyObjectResult"]["ETag"] == head["ETag"]


async def test_a_copy_may_replace_metadata_or_tags(node: RunningEndpoint):
    s3, origin = node.s3, await source(node)
    await node.call(
        s3.copy_object, Bucket="bucket", Key="m", CopySource=origin, MetadataDirective="REPLACE", Metadata={"b": "2"}
    )  # fmt: skip
    head = await node.call(s3.head_object, Bucket="bucket", Key="m")
    assert (head["Metadata"], head["TagCount"]) == ({"b": "2"}, 1)
    await node.call(
        s3.copy_object, Bucket="bucket", Key="t", CopySource=origin, TaggingDirective="REPLACE", Tagging="x=1&y=2"
    )  # fmt: skip
    head = await node.call(s3.head_object, Bucket="bucket", Key="t")
    assert (head["Metadata"], head["TagCount"]) == ({"a": "1"}, 2)


async def test_a_copy_onto_itself_must_change_something(node: RunningEndpoint):
    s3, origin = node.s3, await source(node)
    with pytest.raises(ClientError, match="InvalidRequest"):
        await node.call(s3.copy_object, **origin, CopySource=origin)
    await node.call(
        s3.copy_object,
        **origin,
        CopySource=origin,
        MetadataDirective="REPLACE",
        Metadata={"n": "3"},
    )
    head = await node.call(s3.head_object, **origin)
    assert head["Metadata"] == {"n": "3"}


async def test_a_copys_conditions(node: RunningEndpoint):
    s3, origin = node.s3, await source(node)
    etag = (await node.call(s3.head_object, **origin))["ETag"]
    for options in ({"CopySourceIfMatch": '"x"'}, {"CopySourceIfNoneMatch": etag}):
        with pytest.raises(ClientError, match="PreconditionFailed"):
            await node.call(s3.copy_object, Bucket="bucket", Key="to", CopySource=origin, **options)
    await node.call(
        s3.copy_object, Bucket="bucket", Key="to", CopySource=origin, CopySourceIfMatch=etag
    )
    assert (await node.call(s3.head_object, Bucket="bucket", Key="to"))["ETag"] == etag


async def test_a_copy_of_nothing(node: RunningEndpoint):
    with pytest.raises(ClientError, match="NoSuchKey"):
        await node.call(node.s3.copy_object, Bucket="bucket", Key="to", CopySource="bucket/none")


# --- what there is not, and other ways in ---------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/bucket?replication"), ("GET", "/bucket/k?legal-hold"), ("PUT", "/bucket/k?retention"), ("POST", "/bucket/k?select&select-type=2"), ("DELETE", "/bucket?lifecycle")],
)  # fmt: skip
async def test_what_is_not_implemented_says_so_and_does_nothing(
    node: RunningEndpoint, method: str, path: str
):
    reply = await node.request(method, path, b"<x/>" if method != "GET" else b"")
    assert (reply.status, b"<Code>NotImplemented</Code>" in reply.body) == (501, True)
    assert (await node.request("HEAD", "/bucket")).status == 200


async def test_a_method_that_fits_nothing(node: RunningEndpoint):
    reply = await node.request("DELETE", "/")
    assert (reply.status, b"MethodNotAllowed" in reply.body) == (405, True)


async def test_virtual_hosts(tmp_path):
    async with running_endpoint(tmp_path, S3Settings(domains=("s3.test",))) as node:
        client = await node.connect()
        port = node.port
        node.url = f"http://bucket.s3.test:{port}"
        for method, body in (("PUT", b"data"), ("GET", b"")):
            raw = node.signed(method, "/a/b", body)
            await client.send(
                raw.replace(
                    f"Host: 127.0.0.1:{port}".encode(), f"Host: bucket.s3.test:{port}".encode()
                )
            )
            reply = await client.reply()
            assert reply.status == 200
        assert reply.body == b"data"
        assert (await node.cache.head("bucket", "a/b")).size == 4


async def begin_upload(node: RunningEndpoint, key: str) -> None:
    """By hand: the answer holds the key, which boto3's parser of XML may refuse."""
    assert (await node.request("POST", f"/bucket/{quote(key)}?uploads")).status == 200


@pytest.mark.parametrize("query", ["marker=", "list-type=2", "versions", "uploads"])
async def test_names_that_xml_cannot_carry_are_encoded_everywhere(
    node: RunningEndpoint, query: str
):
    names = ["a\x01%+ü/1", "a\x01%+ü/2", "b\n/x", "c&<d"]
    for name in names:
        await node.call(node.s3.put_object, Bucket="bucket", Key=name, Body=b"1")
        await begin_upload(node, name)
    asked = f"/bucket?{query}&encoding-type=url&delimiter=/&prefix="
    text = (await node.request("GET", asked)).body.decode()
    assert "<EncodingType>url</EncodingType>" in text
    for encoded in ("a%01%25%2B%C3%BC/", "b%0A/"):
        assert f"<CommonPrefixes><Prefix>{encoded}</Prefix></CommonPrefixes>" in text
    assert "<Key>c%26%3Cd</Key>" in text
    text = (
        await node.request("GET", f"/bucket?{query}&encoding-type=url&prefix=a%01")
    ).body.decode()
    assert "<Prefix>a%01</Prefix>" in text
    assert "<Key>a%01%25%2B%C3%BC/1</Key>" in text
    reply = await node.request("GET", f"/bucket?{query}&encoding-type=base64")
    assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)


@pytest.mark.parametrize(
    ("query", "tag"),
    [
        ("max-keys=1&delimiter=z", "NextMarker"),
        ("list-type=2&start-after=%01", "StartAfter"),
        ("versions&max-keys=1", "NextKeyMarker"),
        ("versions&key-marker=%01", "KeyMarker"),
        ("uploads&max-uploads=1", "NextKeyMarker"),
        ("uploads&key-marker=%01", "KeyMarker"),
        ("marker=%01", "Marker"),
        ("delimiter=%01", "Delimiter"),
    ],
)
async def test_markers_are_encoded_too(node: RunningEndpoint, query: str, tag: str):
    for name in ("\x01 a", "\x01 b"):
        await node.call(node.s3.put_object, Bucket="bucket", Key=name, Body=b"1")
        await begin_upload(node, name)
    text = (await node.request("GET", f"/bucket?{query}&encoding-type=url")).body.decode()
    assert f"<{tag}>%01" in text
