"""A node whose upstream is another node: everything it needs of an S3 server is there."""

from __future__ import annotations

import contextlib
import hashlib
import os

import pytest

from tests.support.clients import KEYS, MIB, noise
from tests.support.node import Node

pytestmark = pytest.mark.real


@pytest.fixture
def near(tmp_path):
    (tmp_path / "buckets" / "demo").mkdir(parents=True)
    with contextlib.closing(Node(tmp_path / "near", f"posix://{tmp_path}/buckets")) as node:
        yield node


def test_a_node_can_be_the_upstream_of_another(near, tmp_path):
    url = f"s3://?endpoint_url={near.endpoint}&region=us-east-1"
    with contextlib.closing(Node(tmp_path / "second", url, mount=True, environment=KEYS)) as second:
        body = noise(6 * MIB)
        etag = second.put(
            "demo", "through", body, Metadata={"colour": "blue"}, ContentType="text/x-test"
        )
        assert etag == hashlib.md5(body).hexdigest()
        for node in (near, second):
            answer = node.s3.get_object(Bucket="demo", Key="through")
            assert answer["Body"].read() == body
            assert answer["Metadata"] == {"colour": "blue"}
            assert answer["ContentType"] == "text/x-test"
            assert answer["ETag"] == f'"{etag}"'
        near.put("demo", "from-below", b"below")
        assert (second.mount / "demo" / "from-below").read_bytes() == b"below"
        (second.mount / "demo" / "from-above").write_bytes(b"above")
        assert near.get("demo", "from-above") == b"above"
        upload = second.s3.create_multipart_upload(Bucket="demo", Key="parts")["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": second.s3.upload_part(
                    Bucket="demo",
                    Key="parts",
                    UploadId=upload,
                    PartNumber=number,
                    Body=noise(5 * MIB, number),
                )["ETag"],
            }
            for number in (1, 2)
        ]
        second.s3.complete_multipart_upload(
            Bucket="demo", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        assert near.get("demo", "parts") == noise(5 * MIB, 1) + noise(5 * MIB, 2)
        second.s3.put_object_tagging(
            Bucket="demo", Key="through", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
        )
        assert near.s3.get_object_tagging(Bucket="demo", Key="through")["TagSet"] == [
            {"Key": "a", "Value": "b"}
        ]
        with pytest.raises(second.s3.exceptions.ClientError, match="PreconditionFailed"):
            second.put("demo", "through", b"x", IfNoneMatch="*")
        second.s3.delete_objects(
            Bucket="demo", Delete={"Objects": [{"Key": key} for key in near.keys("demo")]}
        )
        assert near.keys("demo") == []
        assert os.listdir(second.mount / "demo") == []
