"""A client that sends bytes as they are and reads responses, and a server that runs one handler: for tests of HTTP itself."""

from __future__ import annotations

import functools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from appliance.model.errors import ApplianceError
from appliance.s3.http.errors import ClientGoneError
from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response
from appliance.s3.http.server import HttpServer, listen
from appliance.s3.settings import HttpSettings
from appliance.world import RealWorld

_DEFAULTS = HttpSettings()
Respond = Callable[[Head, IncomingBody], Awaitable[Response]]


async def echo(head: Head, body: IncomingBody) -> Response:
    """Method, target and body, so that a test sees what was understood."""
    data = await read_all(body)
    first = f"{head.request.method} {head.request.target.decode('latin-1')} ".encode()
    return Response(200, b"", first + data)


async def read_all(body: IncomingBody) -> bytes:
    data = b""
    buffer = memoryview(bytearray(65536))
    while count := await body.receive_into(buffer):
        data += bytes(buffer[:count])
    return data


class FunctionHandler:
    """A `Handler` around one function; keeps what it was told."""

    def __init__(self, respond: Respond = echo) -> None:
        self._respond = respond
        self.refused: list[ApplianceError] = []
        self.sent_log: list[tuple[int, int, Exception | None]] = []
        self.gone = 0
        self.finished = trio.Event()

    def handle(self, head: Head, body: IncomingBody) -> Callable[[], Awaitable[Response]]:
        return functools.partial(self._handle, head, body)

    async def _handle(self, head: Head, body: IncomingBody) -> Response:
        try:
            return await self._respond(head, body)
        except ClientGoneError:
            self.gone += 1
            self.finished.set()
            raise
        except ApplianceError as error:
            return Response(400, b"", type(error).__name__.encode())

    def refuse(self, error: ApplianceError, peer: str) -> Response:
        self.refused.append(error)
        return Response(
            400, b"X-Error: " + type(error).__name__.encode() + b"\r\n", str(error).encode()
        )

    def sent(self, response: Response, sent_bytes: int, error: Exception | None) -> None:
        self.sent_log.append((response.status, sent_bytes, error))
        self.finished.set()


class Reply:
    """A response as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Reply({self.status}, {self.headers}, {self.body[:200]!r})"


class RawClient:
    """One connection. What was received beyond a response stays for the next."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_bytewise(self, data: bytes) -> None:
        for index in range(len(data)):
            await self.stream.send_all(data[index : index + 1])

    async def reply(self, *, head_request: bool = False) -> Reply:
        """The next response. Raises EOFError if the server closes first."""
        while b"\r\n\r\n" not in self._buffer:
            await self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.lower(): value.strip() for name, value in pairs}
        status = int(first.split(" ")[1])
        if head_request or status in {100, 204, 304}:
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, await self._chunks())
        if "content-length" not in headers:
            return Reply(status, headers, await self.rest())
        return Reply(status, headers, await self._exactly(int(headers["content-length"])))

    async def rest(self) -> bytes:
        """Everything up to the server's end of the stream."""
        data, self._buffer = self._buffer, b""
        try:
            while piece := await self.stream.receive_some(65536):
                data += piece
        except trio.BrokenResourceError:
            data += b"<reset>"
        return data

    async def closed(self) -> bool:
        """Whether the server closes without sending more. Waits until one or the other happens."""
        return not await self.rest()

    async def _chunks(self) -> bytes:
        data = b""
        while True:
            while b"\r\n" not in self._buffer:
                await self._more()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            size = int(line, 16)
            data += await self._exactly(size)
            assert await self._exactly(2) == b"\r\n"
            if size == 0:
                return data

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def _more(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise EOFError(f"the server closed after {self._buffer!r}")
        self._buffer += data


def reset(stream: trio.SocketStream) -> None:
    """Close so that the peer sees a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


class Running:
    """A server that runs, and how to reach it."""

    def __init__(self, server: HttpServer, handler: FunctionHandler, port: int) -> None:
        self.server = server
        self.handler = handler
        self.port = port
        self.stopped = trio.Event()
        self.streams: list[trio.abc.Stream] = []

    async def connect(self) -> RawClient:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        return RawClient(stream)


@asynccontextmanager
async def serving(
    respond: Respond = echo,
    settings: HttpSettings = _DEFAULTS,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Running]:
    """A server of `respond` on a free loopback port."""
    handler = FunctionHandler(respond)
    server = HttpServer(handler, settings, RealWorld(), tls)
    listeners = listen("127.0.0.1", 0)
    running = Running(server, handler, listeners[0].getsockname()[1])

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await server.serve(listeners, task_status=task_status)
        running.stopped.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        try:
            yield running
        finally:
            for stream in running.streams:
                await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()
