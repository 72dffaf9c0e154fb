"""Versions as boto3 sees them, over a POSIX backend; and what they mean to the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from botocore.exceptions import ClientError

from tests.support.posix import started
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint


@pytest.fixture
async def node(tmp_path: Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "data").mkdir()
    async with (
        started(tmp_path / "root") as backend,
        running_endpoint(tmp_path / "data", backend=backend) as running,
    ):
        yield running


async def switch(node: RunningEndpoint, status: str) -> None:
    await node.call(
        node.s3.put_bucket_versioning,
        Bucket="bucket",
        VersioningConfiguration={"Status": status},
    )


async def put(node: RunningEndpoint, key: str, body: bytes) -> str:
    answer = await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=body)
    return answer.get("VersionId", "")


async def body_of(node: RunningEndpoint, key: str, **version: str) -> bytes:
    answer = await node.call(node.s3.get_object, Bucket="bucket", Key=key, **version)
    return await node.call(answer["Body"].read)


async def listed(node: RunningEndpoint, **asked: object) -> list[tuple[str, str, bool, bool]]:
    page = await node.call(node.s3.list_object_versions, Bucket="bucket", **asked)
    versions = [
        (one["Key"], one["VersionId"], one["IsLatest"], is_marker)
        for name, is_marker in (("Versions", False), ("DeleteMarkers", True))
        for one in page.get(name, [])
    ]
    return sorted(versions)


async def test_the_state_of_a_bucket(node: RunningEndpoint):
    s3 = node.s3
    assert "Status" not in await node.call(s3.get_bucket_versioning, Bucket="bucket")
    for status in ("Enabled", "Suspended", "Enabled"):
        await switch(node, status)
        answer = await node.call(s3.get_bucket_versioning, Bucket="bucket")
        assert answer["Status"] == status
    for body, code in (
        (b"<VersioningConfiguration/>", b"IllegalVersioningConfigurationException"),
        (
            b"<VersioningConfiguration><Status>On</Status></VersioningConfiguration>",
            b"MalformedXML",
        ),
        (
            b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>",
            b"NotImplemented",
        ),
    ):
        reply = await node.request("PUT", "/bucket?versioning", body)
        assert code in reply.body
    with pytest.raises(ClientError, match="NoSuchBucket"):
        await node.call(s3.get_bucket_versioning, Bucket="nothing")


async def test_each_version_is_had_by_its_id(node: RunningEndpoint):
    await switch(node, "Enabled")
    ids = [await put(node, "k", f"version {n}".encode()) for n in range(3)]
    for n, version_id in enumerate(ids):
        for _ in range(2):
            assert await body_of(node, "k", VersionId=version_id) == f"version {n}".encode()
        head = await node.call(node.s3.head_object, Bucket="bucket", Key="k", VersionId=version_id)
        assert head["VersionId"] == version_id
        part = await node.call(
            node.s3.get_object, Bucket="bucket", Key="k", VersionId=version_id, Range="bytes=8-"
        )
        assert (part["VersionId"], part["ContentLength"]) == (version_id, 1)
    assert await body_of(node, "k") == b"version 2"
    assert [line[1:] for line in await listed(node)] == sorted(
        (version_id, version_id == ids[2], False) for version_id in ids
    )


async def test_what_a_delete_marker_answers(node: RunningEndpoint):
    await switch(node, "Enabled")
    version_id = await put(node, "k", b"data")
    marker = await node.call(node.s3.delete_object, Bucket="bucket", Key="k")
    assert marker["DeleteMarker"]
    reply = await node.request("GET", "/bucket/k")
    assert (reply.status, reply.headers["x-amz-delete-marker"]) == (404, "true")
    assert reply.headers["x-amz-version-id"] == marker["VersionId"]
    assert b"<Code>NoSuchKey</Code>" in reply.body
    reply = await node.request("GET", f"/bucket/k?versionId={marker['VersionId']}")
    assert (reply.status, reply.headers["allow"]) == (405, "DELETE")
    assert "last-modified" in reply.headers
    assert await body_of(node, "k", VersionId=version_id) == b"data"
    removed = await node.call(
        node.s3.delete_object, Bucket="bucket", Key="k", VersionId=marker["VersionId"]
    )
    assert (removed["DeleteMarker"], removed["VersionId"]) == (True, marker["VersionId"])
    assert await body_of(node, "k") == b"data"


async def test_no_version_is_made_up(node: RunningEndpoint):
    await switch(node, "Enabled")
    version_id = await put(node, "k", b"data")
    await put(node, "other", b"data")
    for wrong in ("0" * 48, version_id[:-1] + "x", "null"):
        with pytest.raises(ClientError, match="NoSuchVersion"):
            await body_of(node, "k", VersionId=wrong)
    with pytest.raises(ClientError, match="NoSuchVersion"):
        await body_of(node, "other", VersionId=version_id)
    for impossible in ("", "..%2F..%2Fx%00", "%C3%BC", "v" * 2000):
        reply = await node.request("GET", f"/bucket/k?versionId={impossible}")
        assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)


async def test_versions_that_are_cached_stay_true(node: RunningEndpoint):
    """A version deleted by its id is gone from the cache too; what becomes current then is current there."""
    await switch(node, "Enabled")
    old = await put(node, "k", b"old")
    new = await put(node, "k", b"new")
    assert await body_of(node, "k", VersionId=old) == b"old"
    assert await body_of(node, "k") == b"new"
    await node.call(node.s3.delete_object, Bucket="bucket", Key="k", VersionId=new)
    assert await body_of(node, "k") == b"old"
    with pytest.raises(ClientError, match="NoSuchVersion"):
        await body_of(node, "k", VersionId=new)
    await switch(node, "Suspended")
    for data in (b"null 1", b"null 2"):
        assert await put(node, "k", data) == ""
        assert await body_of(node, "k", VersionId="null") == data
        assert await body_of(node, "k", VersionId=old) == b"old"


async def test_multi_delete_takes_version_ids(node: RunningEndpoint):
    await switch(node, "Enabled")
    old, new = await put(node, "a", b"old"), await put(node, "a", b"new")
    await put(node, "b", b"data")
    answer = await node.call(
        node.s3.delete_objects,
        Bucket="bucket",
        Delete={
            "Objects": [
                {"Key": "a", "VersionId": old},
                {"Key": "b"},
                {"Key": "a", "VersionId": "../x y"},
            ]
        },
    )
    deleted = {one["Key"]: one for one in answer["Deleted"]}
    assert deleted["a"] == {"Key": "a", "VersionId": old}
    assert deleted["b"]["DeleteMarker"]
    assert deleted["b"]["DeleteMarkerVersionId"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("a", "InvalidArgument")]
    assert [line[1] for line in await listed(node, Prefix="a")] == [new]


async def test_multi_delete_by_null_empties_a_bucket_without_versions(node: RunningEndpoint):
    s3 = node.s3
    for key in ("a", "b"):
        await node.call(s3.put_object, Bucket="bucket", Key=key, Body=b"data")
    lines = await listed(node)
    assert lines == [("a", "null", True, False), ("b", "null", True, False)]
    objects = [{"Key": key, "VersionId": version_id} for key, version_id, _, _ in lines]
    await node.call(s3.delete_objects, Bucket="bucket", Delete={"Objects": objects})
    assert await listed(node) == []
    await node.call(s3.delete_bucket, Bucket="bucket")


async def test_copies_name_their_source_version(node: RunningEndpoint):
    await switch(node, "Enabled")
    s3 = node.s3
    old, _ = await put(node, "k", b"old"), await put(node, "k", b"new")
    source = {"Bucket": "bucket", "Key": "k", "VersionId": old}
    copied = await node.call(s3.copy_object, Bucket="bucket", Key="copy", CopySource=source)
    assert copied["CopySourceVersionId"] == old
    assert await body_of(node, "copy", VersionId=copied["VersionId"]) == b"old"
    await node.call(s3.copy_object, Bucket="bucket", Key="k", CopySource=source)
    assert await body_of(node, "k") == b"old"
    upload = await node.call(s3.create_multipart_upload, Bucket="bucket", Key="parts")
    target = {"Bucket": "bucket", "Key": "parts", "UploadId": upload["UploadId"]}
    part = await node.call(s3.upload_part_copy, PartNumber=1, CopySource=source, **target)
    assert part["CopySourceVersionId"] == old
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    done = await node.call(s3.complete_multipart_upload, MultipartUpload=parts, **target)
    assert await body_of(node, "parts", VersionId=done["VersionId"]) == b"old"
    marker = await node.call(s3.delete_object, Bucket="bucket", Key="k")
    with pytest.raises(ClientError, match="InvalidRequest"):
        await node.call(
            s3.copy_object,
            Bucket="bucket",
            Key="copy",
            CopySource={**source, "VersionId": marker["VersionId"]},
        )


async def test_tags_acls_and_attributes_of_a_version(node: RunningEndpoint):
    await switch(node, "Enabled")
    s3 = node.s3
    old, new = await put(node, "k", b"old"), await put(node, "k", b"newer")
    place = {"Bucket": "bucket", "Key": "k"}
    tags = [{"Key": "n", "Value": "1"}]
    answer = await node.call(
        s3.put_object_tagging, VersionId=old, Tagging={"TagSet": tags}, **place
    )
    assert answer["VersionId"] == old
    for version_id, found in ((old, tags), (new, [])):
        answer = await node.call(s3.get_object_tagging, VersionId=version_id, **place)
        assert (answer["TagSet"], answer["VersionId"]) == (found, version_id)
    await node.call(s3.delete_object_tagging, VersionId=old, **place)
    assert (await node.call(s3.get_object_tagging, VersionId=old, **place))["TagSet"] == []
    for version_id, size in ((old, 3), (new, 5)):
        answer = await node.call(
            s3.get_object_attributes, VersionId=version_id, ObjectAttributes=["ObjectSize"], **place
        )
        assert (answer["ObjectSize"], answer["VersionId"]) == (size, version_id)


async def test_pages_of_versions_go_on_in_the_middle_of_a_key(node: RunningEndpoint):
    await switch(node, "Enabled")
    for n in range(3):
        await put(node, "a", f"{n}".encode())
    await put(node, "b/c", b"data")
    whole = [(key, version_id) for key, version_id, _, _ in await listed(node)]
    found: list[tuple[str, str]] = []
    asked: dict[str, str] = {}
    while True:
        page = await node.call(node.s3.list_object_versions, Bucket="bucket", MaxKeys=2, **asked)
        found += [(one["Key"], one["VersionId"]) for one in page["Versions"]]
        if not page["IsTruncated"]:
            break
        asked = {
            "KeyMarker": page["NextKeyMarker"],
            "VersionIdMarker": page["NextVersionIdMarker"],
        }
    assert sorted(found) == whole
    page = await node.call(node.s3.list_object_versions, Bucket="bucket", Delimiter="/")
    assert page["CommonPrefixes"] == [{"Prefix": "b/"}]


async def test_racing_writers_each_get_a_version(node: RunningEndpoint):
    await switch(node, "Enabled")
    ids: list[str] = []

    async def one(n: int) -> None:
        ids.append(await put(node, "k", f"{n}".encode()))

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(one, n)
    assert sorted(line[1] for line in await listed(node)) == sorted(ids)
    assert len(set(ids)) == 8
