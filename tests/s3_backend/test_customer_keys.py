"""boto3's transfers of objects with a client's own key, through an endpoint to moto."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.support.s3_backends import make_backend
from tests.support.s3_endpoint import running_endpoint
from tests.support.upstreams import S3Upstream

pytestmark = pytest.mark.real

KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(range(32))}


@pytest.mark.parametrize("size", [5, 9 << 20])
async def test_transfers_with_a_key(moto_s3: S3Upstream, tmp_path: Path, size: int):
    data = os.urandom(size)
    backend = make_backend(moto_s3.endpoint, moto_s3.access_key, moto_s3.secret_key)
    async with running_endpoint(tmp_path, backend=backend) as node:
        key = f"secret-{size}"
        await node.call(node.s3.upload_fileobj, io.BytesIO(data), "bucket", key, ExtraArgs=KEY)
        target = io.BytesIO()
        await node.call(node.s3.download_fileobj, "bucket", key, target, ExtraArgs=KEY)
        assert target.getvalue() == data
        head = await node.call(node.s3.head_object, Bucket="bucket", Key=key, **KEY)
        assert head["ContentLength"] == size
        assert node.cache.statistics()["objects"] == 0
        await node.call(node.s3.delete_object, Bucket="bucket", Key=key)
