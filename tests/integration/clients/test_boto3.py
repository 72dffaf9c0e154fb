"""boto3: its transfers in parts, paginators, waiters and presigned URLs."""

from __future__ import annotations

import io

import pytest
from boto3.s3.transfer import TransferConfig

from tests.support.clients import MIB, fetch, noise

pytestmark = pytest.mark.real

IN_PARTS = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=5 * MIB)
BUCKET = "boto3-round-trip"


def test_boto3_makes_its_round_trip(near):
    s3 = near.s3
    s3.create_bucket(Bucket=BUCKET)
    s3.get_waiter("bucket_exists").wait(Bucket=BUCKET)
    big = noise(16 * MIB)
    extra = {"Metadata": {"colour": "blue"}, "ContentType": "text/x-test"}
    s3.upload_fileobj(io.BytesIO(big), BUCKET, "dir/big", Config=IN_PARTS, ExtraArgs=extra)
    for number in range(12):
        s3.put_object(Bucket=BUCKET, Key=f"small/{number:02}", Body=noise(number, number))
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, PaginationConfig={"PageSize": 5}
    )
    assert [item["Key"] for page in pages for item in page["Contents"]] == [
        "dir/big",
        *(f"small/{number:02}" for number in range(12)),
    ]
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "dir/big", back, Config=IN_PARTS)
    assert back.getvalue() == big
    ranged = s3.get_object(Bucket=BUCKET, Key="dir/big", Range="bytes=-7")
    assert ranged["ContentRange"] == f"bytes {16 * MIB - 7}-{16 * MIB - 1}/{16 * MIB}"
    with ranged["Body"] as body:
        assert body.read() == big[-7:]
    # A managed copy of an object this large is made of UploadPartCopy.
    s3.copy({"Bucket": BUCKET, "Key": "dir/big"}, BUCKET, "copy", Config=IN_PARTS)
    copied = s3.head_object(Bucket=BUCKET, Key="copy")
    assert (copied["ContentLength"], copied["Metadata"]) == (len(big), {"colour": "blue"})
    assert near.get(BUCKET, "copy") == big
    put = s3.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": "put"}, ExpiresIn=60)
    assert fetch(put, "PUT", b"by anybody") == (200, b"")
    get = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "put"}, ExpiresIn=60)
    assert fetch(get) == (200, b"by anybody")
    status, answer = fetch(get.replace("/put?", "/copy?"))
    assert (status, b"SignatureDoesNotMatch" in answer) == (403, True)
    keys = [{"Key": key} for key in near.keys(BUCKET)]
    assert len(s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})["Deleted"]) == 15
    s3.delete_bucket(Bucket=BUCKET)
    s3.get_waiter("bucket_not_exists").wait(Bucket=BUCKET)
