"""The endpoint around the operations: request ids, log, counters, bugs, drain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trio.testing import wait_all_tasks_blocked

from appliance.s3.settings import S3Settings
from tests.support.raw_http import reset
from tests.support.s3_endpoint import ACCESS_KEY, RunningEndpoint, running_endpoint


async def test_every_response_has_an_id_of_its_own(node: RunningEndpoint):
    ids = [
        (await node.request("GET", path)).headers["x-amz-request-id"]
        for path in ("/", "/bucket", "/bucket/none", "/bucket?policy")
    ]
    client = await node.connect()
    await client.send(b"garbage\r\n\r\n")
    ids.append((await client.reply()).headers["x-amz-request-id"])
    assert len(set(ids)) == 5


async def test_malformed_http_is_answered_as_s3_answers(node: RunningEndpoint):
    client = await node.connect()
    await client.send(b"GET / HTTP/1.1\nHost: x\n\n")
    reply = await client.reply()
    assert (reply.status, reply.headers["content-type"]) == (400, "application/xml")
    assert b"<Code>BadRequest</Code>" in reply.body


async def test_a_bug_is_an_internal_error_and_logged_with_its_id(
    node: RunningEndpoint, monkeypatch, caplog
):
    async def broken():
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(node.cache, "list_buckets", broken)
    reply = await node.request("GET", "/")
    assert (reply.status, b"InternalError" in reply.body) == (500, True)
    assert b"secret" not in reply.body
    assert reply.headers["x-amz-request-id"] in caplog.text
    assert (await node.request("GET", "/bucket")).status == 200


async def test_the_request_log_has_a_line_a_request_and_no_secret(tmp_path: Path):
    lines: list[bytes] = []
    settings = S3Settings(access_log=True)
    async with running_endpoint(tmp_path, settings, log_write=lines.append) as node:
        reply = await node.request("PUT", "/bucket/k", b"data", {"User-Agent": "tests"})
        await node.request("GET", node.presigned("GET", "/bucket/k"))
        await node.request("GET", "/bucket/none")
        await node.endpoint.drain()
    raw = b"".join(lines)
    entries = [json.loads(line) for line in raw.splitlines()]
    assert [entry["operation"] for entry in entries] == ["PutObject", "GetObject", "GetObject"]
    assert entries[0]["request_id"] == reply.headers["x-amz-request-id"]
    assert (entries[0]["received_bytes"], entries[0]["user_agent"]) == (4, "tests")
    assert (entries[0]["access_key"], entries[0]["peer"]) == (ACCESS_KEY, "127.0.0.1")
    assert (entries[2]["status"], entries[2]["error"]) == (404, "NoSuchKey")
    assert b"Signature" not in raw


async def test_counters(node: RunningEndpoint):
    await node.request("PUT", "/bucket/k", b"data")
    await node.request("GET", "/bucket/k")
    await node.request("GET", "/bucket/none")
    found = node.endpoint.statistics()
    assert found["requests_total"] == 3
    assert found["received_bytes_total"] == 4
    assert found["requests_in_flight"] == 0
    assert found["signatures_verified_total"] == 3
    assert node.endpoint.metrics.requests == {
        ("PutObject", 200): 1,
        ("GetObject", 200): 1,
        ("GetObject", 404): 1,
    }
    assert sum(node.endpoint.metrics.durations["GetObject"].counts) == 2


async def test_drain_finishes_an_upload_in_flight(node: RunningEndpoint):
    assert node.endpoint.ready
    client = await node.connect()
    headers = {"Content-Length": "300000", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    await client.send(node.signed("PUT", "/bucket/k", b"", headers) + bytes(100_000))
    await wait_all_tasks_blocked()
    node.endpoint._server.drain()
    assert not node.endpoint.ready
    await client.send(bytes(200_000))
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    await node.stopped.wait()
    assert (await node.cache.head("bucket", "k")).size == 300_000


async def test_drain_that_runs_out_of_time_leaves_nothing_half_written(node: RunningEndpoint):
    client = await node.connect()
    headers = {"Content-Length": "300000", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    await client.send(node.signed("PUT", "/bucket/k", b"", headers) + bytes(200_000))
    await wait_all_tasks_blocked()
    await node.endpoint.drain(0)
    assert (await client.rest()).removesuffix(b"<reset>") == b""
    assert node.backend.statistics()["objects"] == 0


async def test_a_client_gone_in_the_middle_of_an_upload_leaves_nothing(node: RunningEndpoint):
    client = await node.connect()
    headers = {"Content-Length": "300000", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    await client.send(node.signed("PUT", "/bucket/k", b"", headers) + bytes(200_000))
    await wait_all_tasks_blocked()
    reset(client.stream)
    await node.endpoint.drain()
    assert node.backend.statistics()["objects"] == 0
    assert node.endpoint.statistics()["responses_aborted_total"] == 1
    assert node.endpoint.metrics.requests == {("PutObject", 499): 1}


@pytest.mark.parametrize("header", ["Authorization", "x-amz-date"])
async def test_a_header_that_must_be_single_is_refused_twice(node: RunningEndpoint, header: str):
    raw = node.signed("GET", "/bucket")
    client = await node.connect()
    await client.send(raw.removesuffix(b"\r\n") + f"{header}: x\r\n\r\n".encode())
    assert (await client.reply()).status == 400
