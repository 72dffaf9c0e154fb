"""What S3 has and this product has not is recognised, authenticated, and answered 501; it never does something else."""

from __future__ import annotations

from appliance.s3.operations.table import OPERATIONS
from appliance.s3.wire.operations import Level, Operation
from tests.support.s3_endpoint import RunningEndpoint

PATHS = {Level.SERVICE: "/", Level.BUCKET: "/bucket", Level.OBJECT: "/bucket/key"}
MISSING = [operation for operation in Operation if operation not in OPERATIONS]


def target(operation: Operation) -> str:
    """Path and query that ask for it."""
    query = operation.subresource
    if query and not operation.detail.startswith("no "):
        query += "=&id=one&annotationName=one"
    return f"{PATHS[operation.level]}?{query}" if query else PATHS[operation.level]


async def test_each_of_them(node: RunningEndpoint):
    await node.call(node.s3.put_object, Bucket="bucket", Key="key", Body=b"kept")
    for operation in MISSING:
        reply = await node.request(operation.method, target(operation), b"<Any/>")
        assert reply.status == 501, operation
        if operation.method != "HEAD":
            assert b"<Code>NotImplemented</Code>" in reply.body, operation
            assert operation.name.encode() in reply.body
    kept = await node.call(node.s3.get_object, Bucket="bucket", Key="key")
    assert await node.call(kept["Body"].read) == b"kept"


async def test_who_asks_comes_first(node: RunningEndpoint):
    client = await node.connect()
    for operation in MISSING:
        await client.send(
            f"{operation.method} {target(operation)} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        )
        reply = await client.reply()
        assert (reply.status, b"AccessDenied" in reply.body) == (403, True), operation


async def test_headers_without_effect_are_no_reason_to_refuse(node: RunningEndpoint):
    headers = {
        "x-amz-request-payer": "requester",
        "x-amz-mfa": "20899872 301749",
        "x-amz-optional-object-attributes": "RestoreStatus",
    }
    assert (await node.request("PUT", "/bucket/key", b"kept", headers)).status == 200
    assert (await node.request("GET", "/bucket/key", headers=headers)).body == b"kept"
    assert (await node.request("GET", "/bucket?list-type=2", headers=headers)).status == 200
    assert (await node.request("DELETE", "/bucket/key", headers=headers)).status == 204
