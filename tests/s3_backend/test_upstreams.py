"""The real servers that tests use come up, answer S3 requests signed with their keys, and store what they are given."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.config
import pytest

from tests.support.ceph import Ceph
from tests.support.upstreams import S3Upstream


def boto_client(upstream: Ceph | S3Upstream) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=upstream.endpoint,
        aws_access_key_id=upstream.access_key,
        aws_secret_access_key=upstream.secret_key,
        region_name="us-east-1",
        config=botocore.config.Config(s3={"addressing_style": "path"}),
    )


@pytest.mark.real
@pytest.mark.parametrize("fixture", ["ceph", "rclone_s3", "moto_s3"])
def test_an_upstream_stores_an_object(request: pytest.FixtureRequest, fixture: str) -> None:
    client = boto_client(request.getfixturevalue(fixture))
    client.create_bucket(Bucket="fixture-check")
    client.put_object(Bucket="fixture-check", Key="a", Body=b"bytes")
    assert client.get_object(Bucket="fixture-check", Key="a")["Body"].read() == b"bytes"
    client.delete_object(Bucket="fixture-check", Key="a")
    client.delete_bucket(Bucket="fixture-check")
    client.close()


@pytest.mark.real
def test_cephfs_is_a_filesystem_with_space(ceph: Ceph) -> None:
    path = ceph.cephfs / "fixture-check"
    path.write_bytes(b"bytes")
    assert path.read_bytes() == b"bytes"
    path.unlink()
