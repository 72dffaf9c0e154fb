"""Clients that are slow, silent or gone. Time is trio's mock clock: it stands still until a test moves it."""

from __future__ import annotations

import errno
import socket
from typing import ClassVar

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.patience import Patience
from appliance.s3.http.response import Response
from appliance.s3.http.server import listen
from appliance.s3.settings import HttpSettings
from tests.support.raw_http import reset, serving

SETTINGS = HttpSettings(
    head_timeout_s=20,
    idle_timeout_s=75,
    stall_timeout_s=30,
    grace_s=40,
    minimum_bytes_per_s=10,
    linger_timeout_s=5,
)
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
BEGUN = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


async def test_an_idle_connection_is_closed_after_its_time(mock_clock: MockClock):
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(GET)
        await client.reply()
        await wait_all_tasks_blocked()
        mock_clock.jump(74)
        await client.send(GET)
        await client.reply()
        await wait_all_tasks_blocked()
        mock_clock.jump(74)
        await client.send(GET)
        await client.reply()
        await wait_all_tasks_blocked()
        mock_clock.jump(76)
        assert await client.closed()


async def test_a_head_that_does_not_end_is_refused(mock_clock: MockClock):
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(b"GET /a HTTP/1.1\r\n")
        for _ in range(3):
            await wait_all_tasks_blocked()
            mock_clock.jump(6)
            await client.send(b"A: b\r\n")
        await wait_all_tasks_blocked()
        mock_clock.jump(6)
        assert (await client.reply()).headers["x-error"] == "RequestTimeoutError"
        await client.stream.send_eof()
        assert await client.closed()


async def test_a_body_that_stalls_is_refused(mock_clock: MockClock):
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(BEGUN)
        await wait_all_tasks_blocked()
        mock_clock.jump(29)
        await client.send(b"x")
        await wait_all_tasks_blocked()
        mock_clock.jump(31)
        assert (await client.reply()).body == b"RequestTimeoutError"


async def test_a_body_that_trickles_is_refused(mock_clock: MockClock):
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(BEGUN)
        for _ in range(4):
            await wait_all_tasks_blocked()
            mock_clock.jump(10)
            await client.send(b"x")
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        assert (await client.reply()).body == b"RequestTimeoutError"


class Endless:
    """A body that is larger than any socket buffer."""

    size = 1 << 40

    async def send_to(self, sink):
        while True:
            await sink.send(bytes(1 << 20))

    async def aclose(self):
        pass


async def endless(head: Head, body: IncomingBody) -> Response:
    return Response(200, b"", Endless())


async def test_a_client_that_takes_nothing_is_dropped(mock_clock: MockClock):
    async with serving(endless, SETTINGS) as running:
        client = await running.connect()
        await client.send(GET)
        await wait_all_tasks_blocked()
        mock_clock.jump(31)
        await running.handler.finished.wait()
        [(status, sent_bytes, error)] = running.handler.sent_log
        assert (status, type(error).__name__) == (200, "ClientGoneError")
        assert 0 < sent_bytes < Endless.size


async def test_a_client_that_resets_while_it_is_answered_is_noticed():
    async with serving(endless, SETTINGS) as running:
        client = await running.connect()
        await client.send(GET)
        await client.stream.receive_some(1)
        reset(client.stream)
        await running.handler.finished.wait()
        assert type(running.handler.sent_log[0][2]).__name__ == "ClientGoneError"


async def test_a_client_that_resets_while_it_sends_is_noticed():
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(BEGUN)
        await wait_all_tasks_blocked()
        reset(client.stream)
        await running.handler.finished.wait()
        assert running.handler.gone == 1
        assert running.handler.sent_log == []


async def test_the_longest_idle_connection_makes_room_for_a_new_one():
    async with serving(settings=HttpSettings(connections_max=2)) as running:
        first, second = await running.connect(), await running.connect()
        for client in (second, first, second):
            await client.send(GET)
            await client.reply()
        third = await running.connect()
        await third.send(GET)
        assert (await third.reply()).status == 200
        assert await first.closed()
        await second.send(GET)
        assert (await second.reply()).status == 200


async def test_when_all_connections_are_busy_a_new_one_is_turned_away():
    async with serving(settings=HttpSettings(connections_max=1)) as running:
        busy = await running.connect()
        await busy.send(BEGUN)
        await wait_all_tasks_blocked()
        other = await running.connect()
        assert (await other.reply()).headers["x-error"] == "SlowDownError"
        assert running.server.statistics()["connections_turned_away_total"] == 1
        await busy.send(bytes(1000))
        assert (await busy.reply()).status == 200


class ExhaustedListener(socket.socket):
    """Out of descriptors, once; then a connection that ended before it was accepted; then well."""

    failures: ClassVar[list[int]] = []

    def accept(self):
        if self.failures:
            raise OSError(self.failures.pop(0), "cannot accept")
        return super().accept()


async def test_running_out_of_descriptors_is_a_pause_not_an_end(
    mock_clock: MockClock, monkeypatch, caplog
):
    monkeypatch.setattr(ExhaustedListener, "failures", [errno.EMFILE, errno.ECONNABORTED])
    monkeypatch.setattr(
        "tests.support.raw_http.listen",
        lambda *where: [ExhaustedListener(fileno=sock.detach()) for sock in listen(*where)],
    )
    async with serving() as running:
        client = await running.connect()
        await client.send(GET)
        await wait_all_tasks_blocked()
        assert running.server.statistics()["connections_open"] == 0
        assert "raise the limit of open files" in caplog.text
        mock_clock.jump(1)
        assert (await client.reply()).status == 200


# --- drain ---------------------------------------------------------------------------


async def test_drain_closes_idle_connections_and_stops_accepting():
    async with serving() as running:
        client = await running.connect()
        await client.send(GET)
        await client.reply()
        await wait_all_tasks_blocked()
        running.server.drain()
        assert await client.closed()
        await running.stopped.wait()
        with pytest.raises(OSError):
            await running.connect()


async def test_drain_lets_an_upload_finish_and_then_closes():
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(BEGUN + bytes(500))
        await wait_all_tasks_blocked()
        running.server.drain()
        await wait_all_tasks_blocked()
        assert not running.stopped.is_set()
        await client.send(bytes(500))
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await client.closed()
        await running.stopped.wait()


async def test_drain_gives_up_after_its_time(mock_clock: MockClock):
    async with serving(settings=SETTINGS) as running:
        client = await running.connect()
        await client.send(BEGUN + bytes(500))
        await wait_all_tasks_blocked()
        running.server.drain(10)
        await wait_all_tasks_blocked()
        assert not running.stopped.is_set()
        mock_clock.jump(11)
        await running.stopped.wait()
        assert running.handler.sent_log == []


# --- patience ----------------------------------------------------------------------------


def test_patience_is_a_bucket_that_bytes_refill():
    patience = Patience(SETTINGS)
    assert patience.wait_s() == 30
    patience.waited(35)
    assert patience.wait_s() == 5
    patience.moved(100)
    assert patience.wait_s() == 15
    patience.moved(10**9)
    assert patience.wait_s() == 30
    patience.waited(41)
    assert 0 < patience.wait_s() < 0.01
