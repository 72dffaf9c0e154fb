"""Parts of objects as clients of the endpoint see them, where the upstream keeps the objects and only its ETags tell of parts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from appliance.model.errors import VersionChangedError
from appliance.model.objects import ObjectInfo, ObjectPart
from appliance.model.ranges import ByteRange
from appliance_example.backend import MemoryBackend
from appliance_s3.answers import object_part
from appliance_s3.backend import S3Backend
from tests.support.ceph import Ceph
from tests.support.faulty_server import answer, faulty_server
from tests.support.plugin_host import backend_config
from tests.support.s3_backends import make_backend
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint
from tests.support.upstreams import S3Upstream

SIZES = [5 << 20, 6 << 20, 100]
BODIES = [bytes([number]) * size for number, size in enumerate(SIZES, 1)]
WHOLE = {"Bucket": "bucket", "Key": "parts"}


class ForgetfulBackend(MemoryBackend):
    """Keeps sizes of parts to itself until it is asked for one, as S3 does."""

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        return msgspec.structs.replace(await super().head(bucket, key), part_sizes=())

    async def complete_upload(self, *args: Any, **kwargs: Any) -> ObjectInfo:
        return msgspec.structs.replace(
            await super().complete_upload(*args, **kwargs), part_sizes=()
        )

    async def part(self, bucket: str, key: str, number: int, *, version: str = "") -> ObjectPart:
        info = await super().head(bucket, key)
        assert info.version == version
        sizes = info.part_sizes
        return ObjectPart(
            range=ByteRange(sum(sizes[: number - 1]), sizes[number - 1]), count=len(sizes)
        )


@contextlib.asynccontextmanager
async def over(upstream: Ceph | S3Upstream, directory: Path) -> AsyncIterator[RunningEndpoint]:
    """An endpoint whose backend is this upstream, with an object in parts; the bucket is removed afterwards."""
    backend = make_backend(upstream.endpoint, upstream.access_key, upstream.secret_key)
    async with running_endpoint(directory, backend=backend) as node:
        await upload(node)
        try:
            yield node
        finally:
            await node.cache.delete("bucket", "parts")
            await node.cache.delete_bucket("bucket")


async def upload(node: RunningEndpoint) -> None:
    s3 = node.s3
    begun = await node.call(s3.create_multipart_upload, **WHOLE, ChecksumAlgorithm="CRC32")
    parts: list[dict[str, Any]] = []
    target = {**WHOLE, "UploadId": begun["UploadId"]}
    for number, body in enumerate(BODIES, 1):
        part = await node.call(
            s3.upload_part, **target, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32"
        )
        told = {name: part[name] for name in ("ETag", "ChecksumCRC32") if name in part}
        parts.append({"PartNumber": number, **told})
    await node.call(s3.complete_multipart_upload, **target, MultipartUpload={"Parts": parts})


async def test_a_part_is_asked_for_by_its_number_and_must_be_of_the_version() -> None:
    facts = {"ETag": f'"{"0" * 32}-3"', "Last_Modified": "Fri, 20 Nov 2026 12:00:00 GMT"}
    told = answer(206, x_amz_mp_parts_count="3", Content_Range="bytes 5-9/12", **facts)
    with faulty_server(answer(200, **facts), told, told) as server:
        backend = make_backend(server.endpoint, "KEY", "secret")
        assert isinstance(backend, S3Backend)
        await backend._upstream.start()
        version = (await backend.head("bucket", "key")).version
        found = await backend.part("bucket", "key", 2, version=version)
        with pytest.raises(VersionChangedError):
            await backend.part("bucket", "key", 2, version="another")
        await backend.stop()
        assert "partNumber=2" in server.requests[1]
    assert (found.range, found.count) == (ByteRange(5, 5), 3)


async def test_each_part_can_be_read_where_the_backend_tells(tmp_path: Path) -> None:
    async with running_endpoint(tmp_path, backend=ForgetfulBackend(backend_config())) as node:
        await upload(node)
        for number, body in enumerate(BODIES, 1):
            got = await node.call(node.s3.get_object, **WHOLE, PartNumber=number)
            assert await node.call(got["Body"].read) == body
            assert got["PartsCount"] == 3
            head = await node.call(node.s3.head_object, **WHOLE, PartNumber=number)
            assert (head["ContentLength"], head["PartsCount"]) == (len(body), 3)
        reply = await node.request("GET", "/bucket/parts?partNumber=4")
        assert (reply.status, b"InvalidPartNumber" in reply.body) == (416, True)


@pytest.mark.real
@pytest.mark.parametrize("fixture", ["moto_s3", "ceph"])
async def test_where_the_upstream_tells_nothing_of_parts_they_are_refused_not_wrong(
    request: pytest.FixtureRequest, fixture: str, tmp_path: Path
) -> None:
    async with over(request.getfixturevalue(fixture), tmp_path) as node:
        for call in (node.s3.get_object, node.s3.head_object):
            with pytest.raises(ClientError) as caught:
                await node.call(call, **WHOLE, PartNumber=2)
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


@pytest.mark.real
@pytest.mark.parametrize("fixture", ["moto_s3", "ceph"])
async def test_attributes_and_checksums_tell_the_number_of_parts(
    request: pytest.FixtureRequest, fixture: str, tmp_path: Path
) -> None:
    async with over(request.getfixturevalue(fixture), tmp_path) as node:
        found = await node.call(
            node.s3.get_object_attributes, **WHOLE, ObjectAttributes=["ObjectParts", "Checksum"]
        )
        head = await node.call(node.s3.head_object, **WHOLE, ChecksumMode="ENABLED")
    assert found["ObjectParts"]["TotalPartsCount"] == 3
    values = [found.get("Checksum", {}).get("ChecksumCRC32", "-3"), head.get("ChecksumCRC32", "-3")]
    assert [value[-2:] for value in values] == ["-3", "-3"]


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"x-amz-mp-parts-count": "3", "content-range": "bytes 5-9/12"}, ByteRange(5, 5)),
        ({"x-amz-mp-parts-count": "3", "content-length": "5"}, None),
        ({"content-range": "bytes 5-9/12"}, None),
    ],
)
def test_a_part_lies_where_the_upstream_says(
    headers: dict[str, str], place: ByteRange | None
) -> None:
    found = object_part({"ResponseMetadata": {"HTTPHeaders": headers}})
    assert (found.range if found else None) == place
