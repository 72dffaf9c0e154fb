"""Ids and tokens that clients carry: what this cluster did not make, or made for something else, is an error before any backend sees it."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from appliance.model.errors import NoSuchUploadError
from appliance_example.backend import MemoryBackend
from tests.support.plugin_host import backend_config
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint

COMPLETE = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"
FORGED = [
    "x",
    "../../etc/passwd",
    "%00",
    "A" * 9000,
    base64.urlsafe_b64encode(b"0" * 16 + b"1").decode(),
    "ü",
]


class Listening(MemoryBackend):
    """Remembers which upload ids and tokens came this far."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.heard: list[str] = []

    async def list_objects(self, bucket, request):
        self.heard.append(request.continuation)
        return await super().list_objects(bucket, request)

    def _upload(self, bucket, key, upload_id):
        self.heard.append(upload_id)
        raise NoSuchUploadError

    async def list_uploads(self, bucket, **markers):
        self.heard.append(markers["upload_id_marker"])
        return await super().list_uploads(bucket, **markers)


@pytest.fixture
async def listening(tmp_path):
    async with running_endpoint(tmp_path, backend=Listening(backend_config())) as running:
        yield running


def of_uploads(upload_id: str) -> list[tuple[str, str, bytes, dict[str, str]]]:
    """Every operation that takes an upload id."""
    query = f"uploadId={quote(upload_id)}"
    source = {"x-amz-copy-source": "bucket/there"}
    return [
        ("PUT", f"/bucket/key?partNumber=1&{query}", b"data", {}),
        ("PUT", f"/bucket/key?partNumber=1&{query}", b"", source),
        ("GET", f"/bucket/key?{query}", b"", {}),
        ("POST", f"/bucket/key?{query}", COMPLETE, {}),
        ("DELETE", f"/bucket/key?{query}", b"", {}),
    ]


async def refused(
    node: RunningEndpoint, code: bytes, requests: list[tuple[str, str, bytes, dict[str, str]]]
) -> None:
    backend = node.backend
    assert isinstance(backend, Listening)
    for method, path, body, headers in requests:
        backend.heard.clear()
        reply = await node.request(method, path, body, headers)
        assert (reply.status in {400, 404}, code in reply.body) == (True, True), (
            method,
            path,
            reply,
        )
        assert backend.heard == []


@pytest.mark.parametrize("forged", FORGED)
async def test_upload_ids_that_nobody_made(listening: RunningEndpoint, forged: str):
    await listening.request("PUT", "/bucket/there", b"source")
    await refused(listening, b"<Code>NoSuchUpload</Code>", of_uploads(forged))


async def test_upload_ids_of_another_key_or_bucket(listening: RunningEndpoint):
    node = listening
    await node.request("PUT", "/other")
    await node.request("PUT", "/bucket/there", b"source")
    for place in ({"Bucket": "bucket", "Key": "key2"}, {"Bucket": "other", "Key": "key"}):
        made = await node.call(node.s3.create_multipart_upload, **place)
        await refused(node, b"<Code>NoSuchUpload</Code>", of_uploads(made["UploadId"]))


@pytest.mark.parametrize("forged", FORGED)
async def test_tokens_that_nobody_made(listening: RunningEndpoint, forged: str):
    value = quote(forged)
    await refused(
        listening,
        b"<Code>InvalidArgument</Code>",
        [
            ("GET", f"/bucket?list-type=2&continuation-token={value}", b"", {}),
            ("GET", f"/?continuation-token={value}", b"", {}),
        ],
    )
    marked = f"/bucket?uploads&key-marker=key&upload-id-marker={value}"
    await refused(listening, b"<Code>NoSuchUpload</Code>", [("GET", marked, b"", {})])


async def test_tokens_of_another_bucket(listening: RunningEndpoint):
    node = listening
    await node.request("PUT", "/other")
    for key in ("a", "b", "c"):
        await node.request("PUT", f"/other/{key}", b"1")
    page = await node.call(node.s3.list_objects_v2, Bucket="other", MaxKeys=1)
    token = quote(page["NextContinuationToken"])
    elsewhere = [("GET", f"/bucket?list-type=2&continuation-token={token}", b"", {})]
    await refused(node, b"<Code>InvalidArgument</Code>", elsewhere)
    assert (
        await node.request("GET", f"/other?list-type=2&continuation-token={token}")
    ).status == 200
