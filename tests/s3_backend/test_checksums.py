"""Checksums of what is streamed reach the upstream: by the value that its sender promised, or gathered where only the end tells."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from appliance.model.checksums import composite, encode, new_hasher
from appliance.model.objects import PutOptions
from appliance.plugin import BytesBody
from appliance_s3.backend import S3Backend
from appliance_s3.probe import Features
from tests.support.faulty_server import FaultyServer, answer, faulty_server
from tests.support.s3_backends import make_backend
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, RunningEndpoint, running_endpoint

MIB = 1 << 20
DATA = os.urandom(3 * MIB)


def checksum(algorithm: str, data: bytes = DATA) -> str:
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return encode(hasher.digest())


def promising(data: bytes, algorithm: str) -> BytesBody:
    body = BytesBody(data, (algorithm,))
    body.promised = {algorithm: checksum(algorithm, data)}
    return body


@contextlib.asynccontextmanager
async def facing(can: Features) -> AsyncIterator[tuple[S3Backend, FaultyServer]]:
    stored = answer(200, ETag=f'"{BytesBody(DATA).digests().md5}"')
    with faulty_server(stored) as server:
        backend = make_backend(server.endpoint, "ACCESSKEY", "secret")
        assert isinstance(backend, S3Backend)
        await backend._upstream.start()
        backend._abilities.features = can
        backend._abilities.noted("bucket", versioned=False)
        try:
            yield backend, server
        finally:
            await backend.stop()


def trailing(data: bytes, algorithm: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of a part in one aws-chunk with its checksum behind it."""
    name = f"x-amz-checksum-{algorithm}"
    fields = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": name,
        "Content-Encoding": "aws-chunked",
    }
    end = f"\r\n0\r\n{name}:{checksum(algorithm, data)}\r\n\r\n".encode()
    return fields, b"%x\r\n" % len(data) + data + end


@contextlib.asynccontextmanager
async def chain(directory: Path) -> AsyncIterator[RunningEndpoint]:
    """An endpoint whose upstream, another one, keeps every checksum."""
    async with running_endpoint(directory / "upstream") as upstream:
        backend = make_backend(upstream.url, ACCESS_KEY, SECRET_KEY)
        async with running_endpoint(directory / "node", backend=backend) as node:
            yield node


@pytest.mark.parametrize("algorithm", ["crc32", "crc64nvme", "sha256"])
@pytest.mark.parametrize("promised", [True, False], ids=["promised", "known at the end"])
async def test_a_checksum_of_a_large_object_goes_along(algorithm: str, promised: bool) -> None:
    body = promising(DATA, algorithm) if promised else BytesBody(DATA, (algorithm,))
    async with facing(Features.documented()) as (backend, server):
        await backend.put("bucket", "key", body, PutOptions(checksums=(algorithm,)))
    assert f"x-amz-checksum-{algorithm}: {checksum(algorithm)}" in server.requests[0]
    # What is gathered carries its MD5, what streams cannot.
    assert ("Content-MD5" in server.requests[0]) is not promised


async def test_to_who_keeps_none_it_is_not_sent_and_nothing_is_gathered_for_it() -> None:
    body = BytesBody(DATA, ("crc32",))
    async with facing(Features(writable=True)) as (backend, server):
        await backend.put("bucket", "key", body, PutOptions(checksums=("crc32",)))
    assert "x-amz-checksum-crc32" not in server.requests[0]
    assert "Content-MD5" not in server.requests[0]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
@pytest.mark.parametrize("size", [100, 3 * MIB], ids=["small", "large"])
async def test_clients_see_what_they_sent(tmp_path: Path, algorithm: str, size: int) -> None:
    place = {"Bucket": "bucket", "Key": "object"}
    name, data = f"Checksum{algorithm}", DATA[:size]
    async with chain(tmp_path) as node:
        put = await node.call(node.s3.put_object, **place, Body=data, ChecksumAlgorithm=algorithm)
        head = await node.call(node.s3.head_object, **place, ChecksumMode="ENABLED")
    assert (put[name], head[name]) == (checksum(algorithm.lower(), data),) * 2


@pytest.mark.parametrize(
    ("algorithm", "kind", "late"),
    [
        ("CRC32", "FULL_OBJECT", False),
        ("CRC32", "COMPOSITE", True),
        ("SHA256", "COMPOSITE", False),
        ("SHA256", "COMPOSITE", True),
    ],
)
async def test_checksums_of_an_upload_are_kept(
    tmp_path: Path, algorithm: str, kind: str, late: bool
) -> None:
    """Its parts stream (more than 8 MiB) or not; `late`: only their ends tell their checksums."""
    name, place = algorithm.lower(), {"Bucket": "bucket", "Key": "object"}
    datas = [os.urandom(9 * MIB), b"end"]
    async with chain(tmp_path) as node:
        upload = await node.call(
            node.s3.create_multipart_upload, **place, ChecksumAlgorithm=algorithm, ChecksumType=kind
        )
        assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == (algorithm, kind)
        target = {**place, "UploadId": upload["UploadId"]}
        parts = []
        for number, data in enumerate(datas, 1):
            path = f"/bucket/object?partNumber={number}&uploadId={upload['UploadId']}"
            if late:
                fields, body = trailing(data, name)
            else:
                fields, body = {f"x-amz-checksum-{name}": checksum(name, data)}, data
            reply = await node.request("PUT", path, body, fields)
            assert reply.status == 200
            assert reply.headers[f"x-amz-checksum-{name}"] == checksum(name, data)
            told = {"ETag": reply.headers["etag"], f"Checksum{algorithm}": checksum(name, data)}
            parts.append({"PartNumber": number, **told})
        listed = await node.call(node.s3.list_parts, **target)
        done = await node.call(
            node.s3.complete_multipart_upload, **target, MultipartUpload={"Parts": parts}
        )
        head = await node.call(node.s3.head_object, **place, ChecksumMode="ENABLED")
    values = [checksum(name, data) for data in datas]
    assert [part[f"Checksum{algorithm}"] for part in listed["Parts"]] == values
    whole = checksum(name, b"".join(datas))
    if kind == "COMPOSITE":
        whole = composite(name, values) + "-2"
    assert (done[f"Checksum{algorithm}"], head[f"Checksum{algorithm}"]) == (whole, whole)
    assert head["ChecksumType"] == kind


async def test_a_wrong_checksum_at_completion_is_refused_by_the_upstream(tmp_path: Path) -> None:
    place = {"Bucket": "bucket", "Key": "object"}
    async with chain(tmp_path) as node:
        s3 = node.s3
        upload = await node.call(s3.create_multipart_upload, **place, ChecksumAlgorithm="SHA256")
        target = {**place, "UploadId": upload["UploadId"]}
        part = await node.call(
            s3.upload_part, **target, PartNumber=1, Body=b"a", ChecksumAlgorithm="SHA256"
        )
        named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": checksum("sha256", b"b")}
        with pytest.raises(ClientError, match="InvalidPart"):
            await node.call(
                s3.complete_multipart_upload, **target, MultipartUpload={"Parts": [named]}
            )
