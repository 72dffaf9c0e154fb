"""PutObject, DeleteObject, DeleteObjects: by boto3, and by hand where boto3 is too polite."""

from __future__ import annotations

import base64
import hashlib
import io
import os

import msgspec
import pytest
from awscrt.checksums import crc64nvme
from botocore.exceptions import ClientError

from appliance.model.checksums import encode
from tests.support.s3_endpoint import RunningEndpoint

MIB = 1 << 20


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def content(node: RunningEndpoint, key: str) -> bytes:
    answer = await node.call(node.s3.get_object, Bucket="bucket", Key=key)
    data: bytes = await node.call(answer["Body"].read)
    return data


@pytest.mark.parametrize("size", [0, 1, 4096, 64 * 1024, 64 * 1024 + 1, MIB, 5 * MIB + 17])
async def test_what_was_put_is_what_is_got(node: RunningEndpoint, size: int):
    data = os.urandom(size)
    put = await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=data)
    assert put["ETag"] == f'"{md5(data)}"'
    got = await node.call(node.s3.get_object, Bucket="bucket", Key="k")
    assert await node.call(got["Body"].read) == data
    assert (got["ETag"], got["ContentLength"]) == (put["ETag"], size)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
async def test_checksums_are_kept_and_given_back(node: RunningEndpoint, algorithm: str):
    put = await node.call(
        node.s3.put_object, Bucket="bucket", Key="k", Body=b"hello", ChecksumAlgorithm=algorithm
    )
    value = put[f"Checksum{algorithm}"]
    head = await node.call(node.s3.head_object, Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    assert value
    assert head[f"Checksum{algorithm}"] == value


@pytest.mark.parametrize("size", [9, 3 * MIB], ids=["small", "large"])
async def test_without_a_checksum_of_the_client_it_is_crc64nvme(node: RunningEndpoint, size: int):
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html."""
    data = b"123456789" if size == 9 else os.urandom(size)
    put = await node.request("PUT", "/bucket/k", data)
    value = encode(crc64nvme(data).to_bytes(8, "big"))
    assert (put.headers["x-amz-checksum-crc64nvme"], put.headers["x-amz-checksum-type"]) == (
        value,
        "FULL_OBJECT",
    )
    head = await node.call(node.s3.head_object, Bucket="bucket", Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (value, "FULL_OBJECT")


async def test_a_backend_that_keeps_no_checksums_gets_no_default(node: RunningEndpoint):
    can = node.backend.capabilities
    node.backend.capabilities = msgspec.structs.replace(can, checksums=frozenset())
    put = await node.request("PUT", "/bucket/k", b"hello")
    assert put.status == 200
    assert not [name for name in put.headers if name.startswith("x-amz-checksum")]


async def test_an_upload_from_a_stream_in_aws_chunks(node: RunningEndpoint):
    data = os.urandom(3 * MIB + 5)
    client = node.client(s3={"addressing_style": "path", "payload_signing_enabled": False})
    await node.call(
        client.put_object,
        Bucket="bucket",
        Key="k",
        Body=io.BytesIO(data),
        ChecksumAlgorithm="SHA256",
    )
    client.close()
    assert await content(node, "k") == data


async def test_an_upload_in_http_chunks_without_a_length(node: RunningEndpoint):
    data = os.urandom(200_000)
    raw = node.signed(
        "PUT",
        "/bucket/k",
        b"",
        {"x-amz-content-sha256": "UNSIGNED-PAYLOAD", "Transfer-Encoding": "chunked"},
    )
    client = await node.connect()
    pieces = [data[i : i + 9999] for i in range(0, len(data), 9999)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    await client.send(raw + body)
    reply = await client.reply()
    assert (reply.status, reply.headers["etag"]) == (200, f'"{md5(data)}"')
    assert await content(node, "k") == data


WRONG = {
    "Content-MD5": ({"Content-MD5": base64.b64encode(bytes(16)).decode()}, "BadDigest"),
    "malformed Content-MD5": ({"Content-MD5": "zzz"}, "InvalidDigest"),
    "x-amz-content-sha256": ({"x-amz-content-sha256": "0" * 64}, "XAmzContentSHA256Mismatch"),
    "x-amz-checksum-crc32": ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
    "x-amz-checksum-sha256": ({"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}, "BadDigest"),
}  # fmt: skip


@pytest.mark.parametrize("size", [100, 300_000], ids=["small", "large"])
@pytest.mark.parametrize(("headers", "code"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_digest_is_refused_and_nothing_is_stored(
    node: RunningEndpoint, headers: dict[str, str], code: str, size: int
):
    reply = await node.request("PUT", "/bucket/k", bytes(size), headers)
    assert (reply.status, f"<Code>{code}</Code>".encode() in reply.body) == (400, True)
    assert (await node.request("HEAD", "/bucket/k")).status == 404


async def test_a_wrong_signature_is_refused_before_the_body_is_asked_for(node: RunningEndpoint):
    raw = node.signed(
        "PUT",
        "/bucket/k",
        b"",
        {
            "Expect": "100-continue",
            "Content-Length": "5",
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        },
    )
    head, _, signature = raw.partition(b"Signature=")
    client = await node.connect()
    flipped = (b"1" if signature[:1] == b"0" else b"0") + signature[1:]
    await client.send(head + b"Signature=" + flipped)
    reply = await client.reply()
    assert (reply.status, b"SignatureDoesNotMatch" in reply.body) == (403, True)
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("sent", [10, 200_000], ids=["small", "large"])
async def test_a_truncated_body_stores_nothing(node: RunningEndpoint, sent: int):
    headers = {"Content-Length": str(sent + 1), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    client = await node.connect()
    await client.send(node.signed("PUT", "/bucket/k", b"", headers) + bytes(sent))
    await client.stream.send_eof()
    reply = await client.reply()
    assert (reply.status, b"IncompleteBody" in reply.body) == (400, True)
    assert (await node.request("HEAD", "/bucket/k")).status == 404


async def test_a_body_without_a_length_is_refused(node: RunningEndpoint):
    client = await node.connect()
    await client.send(node.signed("PUT", "/bucket/k", b""))
    reply = await client.reply()
    assert (reply.status, b"MissingContentLength" in reply.body) == (411, True)


async def test_conditional_writes(node: RunningEndpoint):
    s3 = node.s3
    first = await node.call(s3.put_object, Bucket="bucket", Key="k", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        await node.call(s3.put_object, Bucket="bucket", Key="k", Body=b"2", IfNoneMatch="*")
    await node.call(s3.put_object, Bucket="bucket", Key="k", Body=b"3", IfMatch=first["ETag"])
    with pytest.raises(ClientError, match="PreconditionFailed"):
        await node.call(s3.put_object, Bucket="bucket", Key="k", Body=b"4", IfMatch=first["ETag"])
    assert await content(node, "k") == b"3"


async def test_metadata_and_system_headers_come_back_as_they_went(node: RunningEndpoint):
    headers = {
        "ContentType": "text/plain; charset=utf-8",
        "CacheControl": "max-age=5",
        "ContentDisposition": 'attachment; filename="a b"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"colour": "grün".encode().decode("latin-1"), "empty": ""},
    }
    headers["Metadata"] = {"colour": "green", "other": "x y"}
    await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"", **headers)
    head = await node.call(node.s3.head_object, Bucket="bucket", Key="k")
    assert {name: head[name] for name in headers} == headers


async def test_delete_succeeds_whether_or_not_the_object_is_there(node: RunningEndpoint):
    await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"1")
    for _ in range(2):
        await node.call(node.s3.delete_object, Bucket="bucket", Key="k")
    with pytest.raises(ClientError, match="404"):
        await node.call(node.s3.head_object, Bucket="bucket", Key="k")


async def test_delete_objects_tells_about_each(node: RunningEndpoint):
    for key in "abc":
        await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=b"1")
    answer = await node.call(
        node.s3.delete_objects,
        Bucket="bucket",
        Delete={"Objects": [{"Key": "a"}, {"Key": "never"}, {"Key": "c", "VersionId": "x"}]},
    )
    assert [item["Key"] for item in answer["Deleted"]] == ["a", "never"]
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [("c", "NoSuchVersion")]
    page = await node.call(node.s3.list_objects_v2, Bucket="bucket")
    assert [item["Key"] for item in page["Contents"]] == ["b", "c"]


async def test_deletes_on_condition(node: RunningEndpoint):
    etags = {}
    for key in "abc":
        answer = await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=key.encode())
        etags[key] = answer["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        await node.call(node.s3.delete_object, Bucket="bucket", Key="a", IfMatch=etags["b"])
    await node.call(node.s3.delete_object, Bucket="bucket", Key="a", IfMatch=etags["a"])
    answer = await node.call(
        node.s3.delete_objects,
        Bucket="bucket",
        Delete={"Objects": [{"Key": "b", "ETag": etags["b"]}, {"Key": "c", "ETag": etags["b"]}]},
    )
    assert [item["Key"] for item in answer["Deleted"]] == ["b"]
    assert [(item["Key"], item["Code"]) for item in answer["Errors"]] == [
        ("c", "PreconditionFailed")
    ]


async def test_a_condition_on_what_is_missing_is_told_for_its_key(node: RunningEndpoint):
    await node.call(node.s3.put_object, Bucket="bucket", Key="b", Body=b"1")
    answer = await node.call(
        node.s3.delete_objects,
        Bucket="bucket",
        Delete={"Objects": [{"Key": "a", "ETag": "0" * 32}, {"Key": "b"}]},
    )
    assert [item["Key"] for item in answer["Deleted"]] == ["b"]
    [error] = answer["Errors"]
    assert (error["Key"], error["Code"] in {"NoSuchKey", "PreconditionFailed"}) == ("a", True)


@pytest.mark.parametrize(
    "condition", [{"IfMatchSize": 7}, {"IfMatchLastModifiedTime": "2020-01-01T00:00:00Z"}]
)
async def test_conditions_that_are_not_implemented_delete_nothing(
    node: RunningEndpoint, condition: dict[str, object]
):
    await node.call(node.s3.put_object, Bucket="bucket", Key="k", Body=b"1")
    with pytest.raises(ClientError, match="NotImplemented"):
        await node.call(node.s3.delete_object, Bucket="bucket", Key="k", **condition)
    assert await content(node, "k") == b"1"


async def test_delete_objects_without_a_digest_is_refused(node: RunningEndpoint):
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    reply = await node.request("POST", "/bucket?delete", body)
    assert (reply.status, b"InvalidRequest" in reply.body) == (400, True)


async def test_an_xml_bomb_is_refused(node: RunningEndpoint):
    entities = b"".join(
        b'<!ENTITY a%d "%b">' % (i, b"&a%d;" % (i - 1) * 10 if i else b"x") for i in range(10)
    )
    body = b"<!DOCTYPE x [%b]><Delete><Object><Key>&a9;</Key></Object></Delete>" % entities
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    reply = await node.request("POST", "/bucket?delete", body, {"Content-MD5": digest})
    assert (reply.status, b"MalformedXML" in reply.body) == (400, True)


async def test_a_document_that_is_too_large_is_refused(node: RunningEndpoint):
    headers = {"Content-Length": str(3 * MIB), "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    client = await node.connect()
    await client.send(node.signed("POST", "/bucket?delete", b"", headers))
    assert (await client.reply()).status == 400


@pytest.mark.parametrize(("key", "code"), [("k" * 1025, "KeyTooLongError")])
async def test_a_bad_key_is_refused(node: RunningEndpoint, key: str, code: str):
    with pytest.raises(ClientError, match=code):
        await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=b"")


@pytest.mark.parametrize(
    "key", ["a b", "a+b", "a%20b", "ü/€/😀", "a//b", "a/../b", "./a", "a/", "a?b#c&d", "k" * 1024, "<&>\"'"]
)  # fmt: skip
async def test_every_key_round_trips(node: RunningEndpoint, key: str):
    data = key.encode()
    await node.call(node.s3.put_object, Bucket="bucket", Key=key, Body=data)
    assert await content(node, key) == data
    page = await node.call(node.s3.list_objects_v2, Bucket="bucket")
    assert [item["Key"] for item in page["Contents"]] == [key]
