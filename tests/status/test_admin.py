"""The admin listener answers its pages, to direct requests only, and survives anything else."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.status import admin
from appliance.status.admin import Page, is_direct, parse, text
from appliance.status.metrics import Metrics


async def fine() -> Page:
    return text(200, "fine")


async def broken() -> Page:
    raise RuntimeError("inner detail")


PAGES = {"/healthz": fine, "/broken": broken}


async def ask(request: bytes) -> bytes:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(admin.serve, listeners, PAGES)
        stream = await trio.testing.open_stream_to_socket_listener(listeners[0])
        async with stream:
            await stream.send_all(request)
            await stream.send_eof()
            answer = b"".join([chunk async for chunk in stream])
        nursery.cancel_scope.cancel()
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status", "content"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost:9001\r\n\r\n", b"200 OK", b"fine\n"),
        (b"GET /healthz?x=1 HTTP/1.0\r\n\r\n", b"200 OK", b"fine\n"),
        (b"HEAD /healthz HTTP/1.1\r\nHost: [::1]:9001\r\n\r\n", b"200 OK", b""),
        (
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            b"404 Not Found",
            b"There is /broken, /healthz.\n",
        ),
        (b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"405 Method", b"Only GET and HEAD"),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403 Forbidden", b"Address this"),
        (b"hello\r\n\r\n", b"400 Bad", b"This is not"),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 9000, b"400 Bad", b"This is not"),
        (b"", b"400 Bad", b"This is not"),
    ],
)
async def test_each_request_has_its_answer(request_bytes, status, content):
    head, _, body = (await ask(request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert body.startswith(content)
    assert bool(body) == bool(content)


async def test_a_page_that_fails_tells_the_log_and_not_the_client(caplog):
    answer = await ask(b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"inner detail" not in answer
    assert "inner detail" in caplog.text


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_do_not(head):
    request = parse(head)
    assert request is None or isinstance(request.path, str)


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("", True),
        ("localhost", True),
        ("127.0.0.1:9001", True),
        ("[::1]:9001", True),
        ("10.0.0.5", True),
        ("a.example", False),
        ("a.example:9001", False),
    ],
)
def test_only_addresses_and_localhost_are_direct(host, direct):
    assert is_direct(host) is direct


def test_statistics_become_metrics():
    metrics = Metrics(
        {
            "cache": lambda: {
                "hits_total": 3,
                "size_bytes": 7,
                'requests_total{method="GET"}': 1,
                'requests_total{method="PUT"}': 2,
            }
        },
        lambda: [("appliance_plugin_seconds", "From a plugin", 1.5)],
    )
    page = metrics.page().decode()
    for line in (
        "appliance_cache_hits_total 3.0",
        "# TYPE appliance_cache_hits_total counter",
        "appliance_cache_size_bytes 7.0",
        "# TYPE appliance_cache_size_bytes gauge",
        'appliance_cache_requests_total{method="GET"} 1.0',
        'appliance_cache_requests_total{method="PUT"} 2.0',
        "appliance_plugin_seconds 1.5",
        "process_resident_memory_bytes",
    ):
        assert line in page
