"""The hot lane: turns, wake-ups, cancellation; and connections on it that do everything but the usual."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.s3.http.connection import Answer
from appliance.s3.http.head import Head
from appliance.s3.http.hot import HotLane
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response
from tests.support.raw_http import FunctionHandler, serving

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


class NowHandler(FunctionHandler):
    """Answers at once, with `size` bytes."""

    size = 2

    def handle(self, head: Head, body: IncomingBody) -> Answer:
        if head.request.target == b"/bug":
            raise ZeroDivisionError
        response = Response(200, b"", b"x" * self.size)
        response.close = head.request.target == b"/close"
        return response


@pytest.fixture
async def running(monkeypatch):
    monkeypatch.setattr("tests.support.raw_http.FunctionHandler", NowHandler)
    async with serving() as running:
        yield running


async def test_turns_until_one_leaves_something():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    received: list[bytes] = []

    def turn() -> bytes | None:
        received.append(ours.recv(1))
        return received[-1] if received[-1] == b"!" else None

    lane: HotLane[bytes] = HotLane()
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.run)
            theirs.send(b"ab!c")
            assert await lane.park(ours.fileno(), turn) == b"!"
            assert lane.statistics() == {"hot_turns_total": 3, "hot_parked": 0}
            await wait_all_tasks_blocked()
            assert received == [b"a", b"b", b"!"]
            nursery.cancel_scope.cancel()
    lane.close()


async def test_a_parked_task_can_be_cancelled_and_park_again():
    ours, theirs = socket.socketpair()
    lane: HotLane[bytes] = HotLane()
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.run)
            for _ in range(2):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await lane.park(ours.fileno(), lambda: b"x")
                assert scope.cancelled_caught
            theirs.send(b"x")
            assert await lane.park(ours.fileno(), lambda: b"left") == b"left"
            nursery.cancel_scope.cancel()
    lane.close()


async def test_requests_that_can_be_answered_at_once_never_wake_a_task(running):
    client = await running.connect()
    for _ in range(10):
        await client.send(GET)
        assert (await client.reply()).body == b"xx"
    assert running.server.statistics()["hot_turns_total"] == 10
    assert running.server.statistics()["hot_parked"] == 1
    assert [status for status, _, _ in running.handler.sent_log] == [200] * 10


async def test_head_requests_pieces_and_pipelines_go_on_in_order(running):
    client = await running.connect()
    await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply(head_request=True)).headers["content-length"] == "2"
    await client.send_bytewise(GET)
    await client.send(GET + GET)
    for _ in range(3):
        assert (await client.reply()).body == b"xx"
    await client.send(GET)
    assert (await client.reply()).body == b"xx"


async def test_an_answer_that_does_not_fit_the_socket_is_finished_by_the_task(running):
    running.handler.size = 30_000_000
    client = await running.connect()
    await client.send(GET)
    await wait_all_tasks_blocked()
    assert running.handler.sent_log == []
    assert len((await client.reply()).body) == running.handler.size
    await client.send(GET)
    assert len((await client.reply()).body) == running.handler.size


async def test_a_response_that_wants_to_close_does(running):
    client = await running.connect()
    await client.send(b"GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply()).headers["connection"] == "close"
    assert await client.closed()


async def test_a_malformed_request_after_good_ones_is_refused(running):
    client = await running.connect()
    await client.send(GET)
    await client.reply()
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert (await client.reply()).headers["x-error"] == "BadRequestError"


async def test_a_bug_costs_its_connection_only(running, caplog):
    client, other = await running.connect(), await running.connect()
    await client.send(b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.closed()
    assert "ZeroDivisionError" in caplog.text
    await other.send(GET)
    assert (await other.reply()).status == 200


async def test_a_drain_is_told_in_the_next_answer_not_by_cutting_it(running):
    client = await running.connect()
    await client.send(GET[:10])
    await wait_all_tasks_blocked()
    running.server.drain()
    await client.send(GET[10:])
    assert (await client.reply()).headers["connection"] == "close"
    await running.stopped.wait()
