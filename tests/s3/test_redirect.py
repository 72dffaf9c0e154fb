"""The plain HTTP listener beside an endpoint that speaks TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from appliance.s3.http.server import listen
from appliance.s3.redirect import HttpsRedirect
from appliance.s3.settings import HttpSettings
from appliance.world import RealWorld
from tests.support.raw_http import RawClient, Reply


@asynccontextmanager
async def redirecting(port: int = 9443) -> AsyncIterator[tuple[HttpsRedirect, int]]:
    redirect = HttpsRedirect(port, HttpSettings(), RealWorld())
    listeners = listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        own = listeners[0].getsockname()[1]
        await nursery.start(redirect.serve, listeners)
        yield redirect, own
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes) -> Reply:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        return await RawClient(stream).reply()


@pytest.mark.parametrize(
    ("host", "port", "location"),
    [
        ("s3.example.org:9080", 9443, "https://s3.example.org:9443/b/k%20?x=1&y"),
        ("s3.example.org", 443, "https://s3.example.org/b/k%20?x=1&y"),
        ("[::1]:9080", 9443, "https://[::1]:9443/b/k%20?x=1&y"),
    ],
)
async def test_everybody_is_sent_to_https(host: str, port: int, location: str):
    async with redirecting(port) as (redirect, own):
        reply = await ask(
            own,
            f"PUT /b/k%20?x=1&y HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc".encode(),
        )
        assert (reply.status, reply.headers["location"]) == (308, location)
        assert b"<Code>PermanentRedirect</Code>" in reply.body
        assert reply.headers["connection"] == "close"
        assert redirect.statistics()["redirected_total"] == 1


@pytest.mark.parametrize("host", ["a b", "evil.example/path", "x@y", "[zz]", "a:999999"])
async def test_a_host_that_is_none_leads_nowhere(host: str):
    async with redirecting() as (_, own):
        reply = await ask(own, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert (reply.status, "location" in reply.headers) == (400, False)


async def test_what_is_no_request_is_refused():
    async with redirecting() as (_, own):
        assert (await ask(own, b"\x16\x03\x01 hello\r\n\r\n")).status == 400
