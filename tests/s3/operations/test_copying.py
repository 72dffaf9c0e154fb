"""Copies whose source is overwritten while they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.model.objects import ObjectInfo, PartInfo, PutOptions
from appliance.plugin import BytesBody
from appliance.s3.operations.copying import ATTEMPTS
from appliance_example.backend import MemoryBackend
from tests.support.plugin_host import backend_config
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint


class BusyBackend(MemoryBackend):
    """Somebody overwrites the source just before each of the next `times` copies; the cache does not hear of it."""

    times = 0

    async def _overwrite(self, bucket: str, key: str) -> None:
        if self.times:
            self.times -= 1
            await self.put(bucket, key, BytesBody(b"new %d" % self.times), PutOptions())

    async def copy(self, source_bucket: str, source_key: str, *args: Any, **kwargs: Any) -> ObjectInfo:  # fmt: skip
        await self._overwrite(source_bucket, source_key)
        return await super().copy(source_bucket, source_key, *args, **kwargs)

    async def copy_part(self, source_bucket: str, source_key: str, *args: Any, **kwargs: Any) -> PartInfo:  # fmt: skip
        await self._overwrite(source_bucket, source_key)
        return await super().copy_part(source_bucket, source_key, *args, **kwargs)


@pytest.fixture
async def busy(tmp_path: Path):
    backend = BusyBackend(backend_config())
    async with running_endpoint(tmp_path, backend=backend) as node:
        await node.request("PUT", "/bucket/source", b"old")
        yield node


async def copy(node: RunningEndpoint, times: int, path: str = "/bucket/k", **headers: str):
    node.backend.times = times
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await node.request("PUT", path, headers={"x-amz-copy-source": "/bucket/source", **given})


async def test_what_is_there_in_the_end_is_copied(busy: RunningEndpoint):
    assert (await copy(busy, 3)).status == 200
    assert (await busy.request("GET", "/bucket/k")).body == b"new 0"


async def test_so_is_a_part(busy: RunningEndpoint):
    s3 = busy.s3
    target = {"Bucket": "bucket", "Key": "k"}
    upload = await busy.call(s3.create_multipart_upload, **target)
    path = f"/bucket/k?partNumber=1&uploadId={upload['UploadId']}"
    assert (await copy(busy, 2, path, x_amz_copy_source_range="bytes=0-2")).status == 200
    parts = await busy.call(s3.list_parts, **target, UploadId=upload["UploadId"])
    assert [part["Size"] for part in parts["Parts"]] == [3]


async def test_a_condition_is_checked_of_what_is_copied(busy: RunningEndpoint):
    etag = (await busy.request("HEAD", "/bucket/source")).headers["etag"]
    reply = await copy(busy, 1, x_amz_copy_source_if_match=etag)
    assert reply.status == 412
    assert (await busy.request("GET", "/bucket/k")).status == 404


async def test_a_source_that_never_rests_is_to_be_tried_again_later(busy: RunningEndpoint):
    reply = await copy(busy, ATTEMPTS)
    assert (reply.status, b"<Code>SlowDown</Code>" in reply.body) == (503, True)
    assert reply.headers["retry-after"] == "1"
