"""Bodies on their way in: aws-chunked in its three forms, by boto3 over TLS and by hand; hashing beside writing."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.auth.signing import chunk_signature, signing_key, trailer_signature
from appliance.model.checksums import encode, new_hasher
from appliance.s3.operations.payload import BackgroundHashing
from appliance.world import RealWorld
from tests.support.certificates import self_signed
from tests.support.s3_endpoint import REGION, SECRET_KEY, RunningEndpoint, running_endpoint

SIZES = [0, 5, 70_000, 2_500_000]


def checksum(algorithm: str, data: bytes) -> str:
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return encode(hasher.digest())


def pieces(data: bytes) -> list[bytes]:
    return [data[i : i + 65536] for i in range(0, len(data), 65536)]


@pytest.mark.parametrize("size", SIZES)
async def test_boto3_over_tls_sends_trailers(tmp_path: Path, size: int):
    data = os.urandom(size)
    async with running_endpoint(tmp_path, certificate=self_signed(tmp_path)) as node:
        put = await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=io.BytesIO(data))
        got = await node.call(node.s3.get_object, Bucket="bucket", Key="k")
        assert await node.call(got["Body"].read) == data
        assert put["ChecksumCRC32"] == checksum("crc32", data)


def unsigned(data: bytes, value: str) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(data))
    return chunks + b"0\r\nx-amz-checksum-crc32c:" + value.encode() + b"\r\n\r\n"


def trailer_headers(data: bytes, body: bytes, payload: str) -> dict[str, str]:
    return {
        "x-amz-content-sha256": payload,
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": "x-amz-checksum-crc32c",
        "Content-Encoding": "aws-chunked",
        "Content-Length": str(len(body)),
    }


async def put(node: RunningEndpoint, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    client = await node.connect()
    await client.send(node.signed("PUT", "/bucket/k", b"", headers) + body)
    reply = await client.reply()
    return reply.status, reply.body


@pytest.mark.parametrize("size", SIZES)
async def test_unsigned_with_trailer(node: RunningEndpoint, size: int):
    data = os.urandom(size)
    body = unsigned(data, checksum("crc32c", data))
    status, answer = await put(
        node, trailer_headers(data, body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), body
    )
    assert (status, answer) == (200, b"")
    info = await node.cache.head("bucket", "k")
    assert (info.etag, info.checksums) == (
        hashlib.md5(data).hexdigest(),
        {"crc32c": checksum("crc32c", data)},
    )
    assert "content-encoding" not in info.headers


@pytest.mark.parametrize("size", SIZES)
async def test_a_wrong_trailer_stores_nothing(node: RunningEndpoint, size: int):
    data = os.urandom(size)
    body = unsigned(data, checksum("crc32c", data + b"x"))
    status, answer = await put(
        node, trailer_headers(data, body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), body
    )
    assert (status, b"BadDigest" in answer) == (400, True)
    assert (await node.request("HEAD", "/bucket/k")).status == 404


@pytest.mark.parametrize("size", [5, 200_000])
async def test_a_body_that_ends_before_its_last_chunk_stores_nothing(
    node: RunningEndpoint, size: int
):
    data = os.urandom(size)
    body = unsigned(data, checksum("crc32c", data))[:-10]
    status, answer = await put(
        node, trailer_headers(data, body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), body
    )
    assert (status, b"IncompleteBody" in answer) == (400, True)
    assert (await node.request("HEAD", "/bucket/k")).status == 404


def signed_body(head: bytes, data: bytes, *, break_chunk: int = -1) -> bytes:
    """aws-chunked with signatures and a signed trailer, for the request whose head this is."""
    text = head.decode("latin-1")
    previous = text.split("Signature=")[1][:64]
    scope = text.split("Credential=")[1].split(",")[0].split("/", 1)[1]
    timestamp = text.lower().split("x-amz-date: ")[1][:16].upper()
    key = signing_key(SECRET_KEY, scope.split("/")[0], REGION)
    out = b""
    for index, piece in enumerate([*pieces(data), b""]):
        previous = chunk_signature(
            key, timestamp, scope, previous, hashlib.sha256(piece).hexdigest()
        )
        shown = "0" * 64 if index == break_chunk else previous
        out += b"%x;chunk-signature=%b\r\n%b" % (len(piece), shown.encode(), piece)
        out += b"\r\n" if piece else b""
    trailer = f"x-amz-checksum-crc32c:{checksum('crc32c', data)}"
    digest = hashlib.sha256(trailer.encode() + b"\n").hexdigest()
    final = trailer_signature(key, timestamp, scope, previous, digest)
    return out + f"{trailer}\r\nx-amz-trailer-signature:{final}\r\n\r\n".encode()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("broken", [False, True], ids=["good", "broken"])
async def test_signed_with_trailer(node: RunningEndpoint, size: int, broken: bool):
    data = os.urandom(size)
    blank = bytes(
        len(
            signed_body(
                b"Signature="
                + b"0" * 64
                + b" Credential=a/20260101/r/s3/t, x-amz-date: 20260101T000000Z",
                data,
            )
        )
    )
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    head = node.signed("PUT", "/bucket/k", b"", trailer_headers(data, blank, payload))
    client = await node.connect()
    await client.send(
        head + signed_body(head, data, break_chunk=len(pieces(data)) // 2 if broken else -1)
    )
    reply = await client.reply()
    if broken:
        assert (reply.status, b"SignatureDoesNotMatch" in reply.body) == (403, True)
        assert (await node.request("HEAD", "/bucket/k")).status == 404
    else:
        assert reply.status == 200
        assert (await node.cache.head("bucket", "k")).etag == hashlib.md5(data).hexdigest()


async def test_hashing_beside_the_consumer_keeps_order_and_bounds():
    hasher = hashlib.md5()
    hashing = BackgroundHashing(RealWorld(), (hasher,))
    views = [memoryview(os.urandom(100_000)) for _ in range(7)]
    async with trio.open_nursery() as nursery:
        for view in views[:3]:
            hashing.submit(view)
        reached: list[str] = []

        async def wait() -> None:
            await hashing.wait_below(3)
            reached.append("below 3")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert reached == []
        nursery.start_soon(hashing.run)
        for view in views[3:]:
            await hashing.wait_below(3)
            hashing.submit(view)
        await hashing.wait_below(1)
        assert reached == ["below 3"]
        nursery.cancel_scope.cancel()
    assert hasher.digest() == hashlib.md5(b"".join(views)).digest()
