"""Features of real upstreams, used through an endpoint that knows nothing of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.ceph import Ceph
from tests.support.s3_backends import make_backend
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint
from tests.support.upstreams import S3Upstream

pytestmark = pytest.mark.real

LIFECYCLE = {
    "Rules": [
        {
            "ID": "old things",
            "Status": "Enabled",
            "Filter": {"Prefix": "tmp/"},
            "Expiration": {"Days": 3},
        }
    ]
}


async def use_lifecycle(node: RunningEndpoint, bucket: str) -> None:
    s3 = node.s3
    await node.call(s3.create_bucket, Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        await node.call(s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    await node.call(
        s3.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration=LIFECYCLE
    )
    [rule] = (await node.call(s3.get_bucket_lifecycle_configuration, Bucket=bucket))["Rules"]
    assert (rule["ID"], rule["Expiration"]["Days"]) == ("old things", 3)
    await node.call(s3.delete_bucket_lifecycle, Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        await node.call(s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    await node.call(s3.delete_bucket, Bucket=bucket)


async def test_lifecycle_rules_of_radosgw(ceph: Ceph, tmp_path: Path):
    backend = make_backend(ceph.endpoint, ceph.access_key, ceph.secret_key)
    async with running_endpoint(tmp_path, backend=backend) as node:
        await use_lifecycle(node, "forwarded-lifecycle")


async def test_lifecycle_rules_of_moto(moto_s3: S3Upstream, tmp_path: Path):
    backend = make_backend(moto_s3.endpoint, moto_s3.access_key, moto_s3.secret_key)
    async with running_endpoint(tmp_path, backend=backend) as node:
        await use_lifecycle(node, "forwarded-lifecycle")


async def test_object_lock_of_radosgw(ceph: Ceph, tmp_path: Path):
    backend = make_backend(ceph.endpoint, ceph.access_key, ceph.secret_key)
    bucket = "forwarded-lock"
    async with running_endpoint(tmp_path, backend=backend) as node:
        await node.call(node.s3.create_bucket, Bucket=bucket, ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        await node.call(
            node.s3.put_object_lock_configuration,
            Bucket=bucket,
            ObjectLockConfiguration=configuration,
        )
        found = await node.call(node.s3.get_object_lock_configuration, Bucket=bucket)
        assert found["ObjectLockConfiguration"] == configuration
        await node.call(node.s3.put_object, Bucket=bucket, Key="kept", Body=b"1")
        await node.call(
            node.s3.put_object_legal_hold, Bucket=bucket, Key="kept", LegalHold={"Status": "ON"}
        )
        held = await node.call(node.s3.get_object_legal_hold, Bucket=bucket, Key="kept")
        assert held["LegalHold"] == {"Status": "ON"}
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
        await node.call(
            node.s3.put_object_retention,
            Bucket=bucket,
            Key="kept",
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
        )
        kept = await node.call(node.s3.get_object_retention, Bucket=bucket, Key="kept")
        assert kept["Retention"]["RetainUntilDate"] == until
