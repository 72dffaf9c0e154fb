"""Multipart uploads: all seven operations."""

from __future__ import annotations

import hashlib
import os

import pytest
from botocore.exceptions import ClientError

from appliance.model.checksums import encode, new_hasher
from tests.support.s3_endpoint import RunningEndpoint

MIB = 1 << 20


async def begin(node: RunningEndpoint, key: str = "k", **options) -> dict:
    answer = await node.call(node.s3.create_multipart_upload, Bucket="bucket", Key=key, **options)
    return {"Bucket": "bucket", "Key": key, "UploadId": answer["UploadId"]}


async def test_an_upload_in_parts(node: RunningEndpoint):
    s3 = node.s3
    bodies = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"]
    upload = await begin(node, Metadata={"a": "b"}, ContentType="text/x")
    parts = []
    for number, body in reversed(list(enumerate(bodies, 1))):
        answer = await node.call(s3.upload_part, **upload, PartNumber=number, Body=body)
        assert answer["ETag"] == f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        parts.insert(0, {"PartNumber": number, "ETag": answer["ETag"]})
    listed = await node.call(s3.list_parts, **upload)
    assert [(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [
        (1, 5 * MIB),
        (2, 5 * MIB),
        (3, 3),
    ]
    uploads = await node.call(s3.list_multipart_uploads, Bucket="bucket")
    assert [(u["Key"], u["UploadId"]) for u in uploads["Uploads"]] == [("k", upload["UploadId"])]
    done = await node.call(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    digests = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in bodies)
    assert done["ETag"] == f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-3"'
    assert done["Location"].endswith("/bucket/k")
    got = await node.call(s3.get_object, Bucket="bucket", Key="k")
    assert await node.call(got["Body"].read) == b"".join(bodies)
    assert (got["Metadata"], got["ContentType"]) == ({"a": "b"}, "text/x")
    assert "Uploads" not in await node.call(s3.list_multipart_uploads, Bucket="bucket")


async def test_without_a_checksum_of_the_client_the_object_has_crc64nvme(node: RunningEndpoint):
    """The upload's default is not told as the client's choice; parts may bring other checksums of their own (boto3's CRC32)."""
    created = await node.call(node.s3.create_multipart_upload, Bucket="bucket", Key="k")
    assert "ChecksumAlgorithm" not in created
    upload = {"Bucket": "bucket", "Key": "k", "UploadId": created["UploadId"]}
    bodies = [os.urandom(5 * MIB), b"end"]
    path = f"/bucket/k?uploadId={upload['UploadId']}&partNumber=1"
    first = await node.request("PUT", path, bodies[0])
    second = await node.call(node.s3.upload_part, **upload, PartNumber=2, Body=bodies[1])
    assert (first.status, "ChecksumCRC32" in second) == (200, True)
    parts = [
        {"PartNumber": 1, "ETag": first.headers["etag"]},
        {"PartNumber": 2, "ETag": second["ETag"], "ChecksumCRC32": second["ChecksumCRC32"]},
    ]
    done = await node.call(
        node.s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts}
    )
    hasher = new_hasher("crc64nvme")
    hasher.update(b"".join(bodies))
    value = encode(hasher.digest())
    assert (done["ChecksumCRC64NVME"], done["ChecksumType"]) == (value, "FULL_OBJECT")
    head = await node.call(node.s3.head_object, Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (value, "FULL_OBJECT")


async def test_a_part_copied_from_an_object(node: RunningEndpoint):
    s3 = node.s3
    data = os.urandom(6 * MIB)
    await node.call(s3.put_object, Bucket="bucket", Key="source ü", Body=data)
    upload = await begin(node)
    source = {"Bucket": "bucket", "Key": "source ü"}
    first = await node.call(s3.upload_part_copy, **upload, PartNumber=1, CopySource=source)
    second = await node.call(
        s3.upload_part_copy,
        **upload,
        PartNumber=2,
        CopySource=source,
        CopySourceRange="bytes=10-19",
    )
    with pytest.raises(ClientError, match="InvalidArgument"):
        await node.call(
            s3.upload_part_copy,
            **upload,
            PartNumber=3,
            CopySource=source,
            CopySourceRange=f"bytes=0-{6 * MIB}",
        )
    parts = [
        {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}
        for number, answer in enumerate((first, second), 1)
    ]
    await node.call(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    got = await node.call(s3.get_object, Bucket="bucket", Key="k")
    assert await node.call(got["Body"].read) == data + data[10:20]


async def test_an_aborted_upload_is_gone(node: RunningEndpoint):
    upload = await begin(node)
    await node.call(node.s3.abort_multipart_upload, **upload)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        await node.call(node.s3.upload_part, **upload, PartNumber=1, Body=b"x")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        await node.call(node.s3.list_parts, **upload)


async def test_upload_ids_are_bound_to_their_key_and_cannot_be_made_up(node: RunningEndpoint):
    upload = await begin(node)
    for forged in (
        {**upload, "Key": "other"},
        {**upload, "UploadId": "../../etc"},
        {**upload, "UploadId": "x" * 40},
    ):
        with pytest.raises(ClientError, match="NoSuchUpload"):
            await node.call(node.s3.upload_part, **forged, PartNumber=1, Body=b"x")
        with pytest.raises(ClientError, match="NoSuchUpload"):
            await node.call(node.s3.abort_multipart_upload, **forged)


async def test_a_completion_that_names_wrong_parts_is_refused_and_can_be_repeated(
    node: RunningEndpoint,
):
    s3 = node.s3
    upload = await begin(node)
    etags = [
        (await node.call(s3.upload_part, **upload, PartNumber=number, Body=bytes(size)))["ETag"]
        for number, size in ((1, 100), (2, 5 * MIB), (3, 10))
    ]
    wrong = {
        "InvalidPart": [{"PartNumber": 9, "ETag": etags[0]}],
        "InvalidPartOrder": [
            {"PartNumber": 3, "ETag": etags[2]},
            {"PartNumber": 2, "ETag": etags[1]},
        ],
        "EntityTooSmall": [
            {"PartNumber": 1, "ETag": etags[0]},
            {"PartNumber": 2, "ETag": etags[1]},
        ],
    }
    for code, parts in wrong.items():
        with pytest.raises(ClientError, match=code):
            await node.call(
                s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts}
            )
    right = [{"PartNumber": 2, "ETag": etags[1]}, {"PartNumber": 3, "ETag": etags[2]}]
    await node.call(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": right})
    head = await node.call(s3.head_object, Bucket="bucket", Key="k")
    assert head["ContentLength"] == 5 * MIB + 10


@pytest.mark.parametrize("number", [0, 10_001, "x"])
async def test_a_part_number_out_of_range_is_refused(node: RunningEndpoint, number: object):
    upload = await begin(node)
    path = f"/bucket/k?partNumber={number}&uploadId={upload['UploadId']}"
    reply = await node.request("PUT", path, b"x")
    assert (reply.status, b"InvalidArgument" in reply.body) == (400, True)


async def test_a_part_with_a_wrong_digest_is_not_kept(node: RunningEndpoint):
    upload = await begin(node)
    path = f"/bucket/k?partNumber=1&uploadId={upload['UploadId']}"
    reply = await node.request("PUT", path, b"x", {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    assert reply.status == 400
    assert "Parts" not in await node.call(node.s3.list_parts, **upload)


async def test_uploads_and_parts_in_pages(node: RunningEndpoint):
    s3 = node.s3
    ids = [(await begin(node, key))["UploadId"] for key in ("a", "a", "b/1", "b/2", "c")]
    found = []
    for page in await node.call(
        lambda: list(
            s3.get_paginator("list_multipart_uploads").paginate(
                Bucket="bucket", PaginationConfig={"PageSize": 2}
            )
        )
    ):
        found += [item["UploadId"] for item in page.get("Uploads", [])]
    assert sorted(found) == sorted(ids)
    grouped = await node.call(s3.list_multipart_uploads, Bucket="bucket", Delimiter="/")
    assert [item["Prefix"] for item in grouped["CommonPrefixes"]] == ["b/"]
    upload = {"Bucket": "bucket", "Key": "c", "UploadId": ids[-1]}
    for number in range(1, 6):
        await node.call(s3.upload_part, **upload, PartNumber=number, Body=b"x")
    pages = await node.call(
        lambda: list(
            s3.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": 2})
        )
    )
    assert [part["PartNumber"] for page in pages for part in page["Parts"]] == [1, 2, 3, 4, 5]


async def test_a_malformed_completion_is_refused(node: RunningEndpoint):
    upload = await begin(node)
    for body in (b"", b"<a", b"<CompleteMultipartUpload/>", b"<Other/>"):
        reply = await node.request("POST", f"/bucket/k?uploadId={upload['UploadId']}", body)
        assert (reply.status, b"MalformedXML" in reply.body) == (400, True), body


async def test_boto3s_managed_transfer(node: RunningEndpoint, tmp_path):
    data = os.urandom(20 * MIB)
    (tmp_path / "up").write_bytes(data)
    await node.call(node.s3.upload_file, str(tmp_path / "up"), "bucket", "k")
    await node.call(node.s3.download_file, "bucket", "k", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == data


async def test_what_is_said_about_the_whole_object_must_follow_from_its_parts(
    node: RunningEndpoint,
):
    s3 = node.s3
    upload = await begin(node, ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT")
    bodies = [os.urandom(5 * MIB), b"end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = await node.call(
            s3.upload_part, **upload, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32C"
        )
        parts.append(
            {
                "PartNumber": number,
                "ETag": answer["ETag"],
                "ChecksumCRC32C": answer["ChecksumCRC32C"],
            }
        )
    hasher = new_hasher("crc32c")
    hasher.update(b"".join(bodies))
    right = encode(hasher.digest())
    wrong = [
        ({"MpuObjectSize": 5}, "InvalidRequest"),
        ({"ChecksumCRC32C": "AAAAAA=="}, "BadDigest"),
    ]
    for options, code in wrong:
        with pytest.raises(ClientError, match=code):
            await node.call(
                s3.complete_multipart_upload, **upload, **options, MultipartUpload={"Parts": parts}
            )
    done = await node.call(
        s3.complete_multipart_upload,
        **upload,
        ChecksumCRC32C=right,
        MpuObjectSize=sum(map(len, bodies)),
        MultipartUpload={"Parts": parts},
    )
    assert (done["ChecksumCRC32C"], done["ChecksumType"]) == (right, "FULL_OBJECT")


async def test_completing_again_is_answered_as_the_first_time(node: RunningEndpoint):
    s3 = node.s3
    upload = await begin(node)
    body = {"Body": b"one", "PartNumber": 1}
    etag = (await node.call(s3.upload_part, **upload, **body))["ETag"]
    done = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]}}
    first = await node.call(s3.complete_multipart_upload, **upload, **done)
    for declared in ({}, {"MpuObjectSize": 3}):
        again = await node.call(s3.complete_multipart_upload, **upload, **done, **declared)
        assert (again["ETag"], again["Location"]) == (first["ETag"], first["Location"])
    with pytest.raises(ClientError, match="NoSuchUpload"):
        await node.call(s3.complete_multipart_upload, **upload, **done, IfNoneMatch="*")
    await node.call(s3.put_object, Bucket="bucket", Key="k", Body=b"another")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        await node.call(s3.complete_multipart_upload, **upload, **done)
    await node.call(s3.delete_object, Bucket="bucket", Key="k")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        await node.call(s3.complete_multipart_upload, **upload, **done)
