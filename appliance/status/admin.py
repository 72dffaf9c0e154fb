"""A listener of a few fixed GET pages: one short request a connection, nothing kept alive, nothing written.

It answers only requests that name it by an address or a loopback name, so that a web page cannot reach it through a visitor's browser.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

logger = logging.getLogger("appliance.status")

_REQUEST_BYTES_MAX = 8192
_TIMEOUT_S = 10.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class Page(msgspec.Struct, frozen=True):
    """An answer: status, content type, bytes."""

    status: int
    content_type: str
    content: bytes


def text(status: int, line: str) -> Page:
    """A line for people and probes."""
    return Page(status, "text/plain; charset=utf-8", f"{line}\n".encode())


Pages = Mapping[str, Callable[[], Awaitable[Page]]]


class Request(msgspec.Struct, frozen=True):
    """What matters of a request: `path` is without query."""

    method: str
    path: str
    host: str


def parse(head: bytes) -> Request | None:
    """Parse a request head up to and including the empty line; None if it is not HTTP/1."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
    return Request(words[0], words[1].partition("?")[0], headers.get("host", "").strip())


def is_direct(host: str) -> bool:
    """True if a Host header holds an IP address or localhost: a name could be an attacker's, pointed at us (DNS rebinding)."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name in {"", "localhost"}:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def answer(request: Request | None, pages: Pages) -> Page:
    """The page for a request."""
    if request is None:
        return text(400, "This is not an HTTP/1.1 request.")
    if not is_direct(request.host):
        return text(403, "Address this listener by its IP address or as localhost.")
    if request.method not in {"GET", "HEAD"}:
        return text(405, "Only GET and HEAD are answered here.")
    make = pages.get(request.path)
    if make is None:
        return text(404, f"There is {', '.join(sorted(pages))}.")
    try:
        return await make()
    except Exception:
        logger.exception("page %s failed", request.path)
        return text(503, "The page could not be made; the log says why.")


def render(page: Page, *, head_only: bool) -> bytes:
    """The response on the wire."""
    head = (
        f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\n"
        f"Content-Type: {page.content_type}\r\nContent-Length: {len(page.content)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    ).encode()
    return head if head_only else head + page.content


async def serve(
    listeners: list[trio.SocketListener],
    pages: Pages,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled."""

    async def one(stream: trio.SocketStream) -> None:
        with trio.move_on_after(_TIMEOUT_S):
            try:
                head = await _receive_head(stream)
                request = parse(head) if head else None
                page = await answer(request, pages)
                head_only = request is not None and request.method == "HEAD"
                await stream.send_all(render(page, head_only=head_only))
                await _end(stream)
            except trio.BrokenResourceError:
                pass

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, one, listeners)
        task_status.started()


async def _end(stream: trio.SocketStream) -> None:
    """Close after taking what a talkative client still sends: closing over unread bytes would reset the connection, answer and all."""
    await stream.send_eof()
    for _ in range(8):
        if not await stream.receive_some(_REQUEST_BYTES_MAX):
            break


async def _receive_head(stream: trio.SocketStream) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _REQUEST_BYTES_MAX:
        chunk = await stream.receive_some(_REQUEST_BYTES_MAX)
        if not chunk:
            break
        received += chunk
    head, end, _ = received.partition(b"\r\n\r\n")
    return head + end if end else b""
