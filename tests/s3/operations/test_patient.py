"""Answers that take long. Time is trio's mock clock."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.model.errors import StorageFullError
from tests.support.raw_http import RawClient
from tests.support.s3_endpoint import RunningEndpoint

COPY = {"x-amz-copy-source": "/bucket/from"}


class SlowCopies:
    """Holds the cache's copies until told to go on."""

    def __init__(self, node: RunningEndpoint, monkeypatch) -> None:
        self.go = trio.Event()
        self.done = trio.Event()
        self.error: Exception | None = None
        self._copy = node.cache.copy
        monkeypatch.setattr(node.cache, "copy", self.copy)

    async def copy(self, *args, **kwargs):
        await self.go.wait()
        if self.error:
            raise self.error
        copied = await self._copy(*args, **kwargs)
        self.done.set()
        return copied


async def begin(node: RunningEndpoint) -> RawClient:
    await node.request("PUT", "/bucket/from", b"data")
    client = await node.connect()
    await client.send(node.signed("PUT", "/bucket/to", b"", COPY))
    await wait_all_tasks_blocked()
    return client


async def test_a_slow_copy_is_answered_with_white_space_first(
    node: RunningEndpoint, monkeypatch, mock_clock: MockClock
):
    copies = SlowCopies(node, monkeypatch)
    client = await begin(node)
    for _ in range(3):
        mock_clock.jump(11)
        await wait_all_tasks_blocked()
    copies.go.set()
    reply = await client.reply()
    assert (reply.status, reply.headers["transfer-encoding"]) == (200, "chunked")
    assert reply.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n   <CopyObjectResult')
    await client.send(node.signed("GET", "/bucket/to"))
    assert (await client.reply()).body == b"data"


async def test_a_slow_copy_that_fails_says_so_in_its_200(
    node: RunningEndpoint, monkeypatch, mock_clock: MockClock
):
    copies = SlowCopies(node, monkeypatch)
    copies.error = StorageFullError()
    client = await begin(node)
    mock_clock.jump(11)
    await wait_all_tasks_blocked()
    copies.go.set()
    reply = await client.reply()
    assert reply.status == 200
    assert b"<Code>InsufficientStorage</Code>" in reply.body


async def test_a_copy_that_fails_soon_has_its_own_status(node: RunningEndpoint, monkeypatch):
    copies = SlowCopies(node, monkeypatch)
    copies.error = StorageFullError()
    copies.go.set()
    client = await begin(node)
    assert (await client.reply()).status == 507


async def test_a_slow_copy_goes_on_when_the_client_leaves(node: RunningEndpoint, monkeypatch):
    copies = SlowCopies(node, monkeypatch)
    client = await begin(node)
    await client.stream.aclose()
    copies.go.set()
    await copies.done.wait()
    assert (await node.cache.head("bucket", "to")).size == 4
