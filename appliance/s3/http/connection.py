"""One connection: request, response, request ... strictly in order, until either side has had enough.

Whether the connection outlives a response is decided before the response is sent: not after an error that leaves much of a body unread, not
when the client may still be about to send one ("100 Continue" was owed), not while draining. When it ends with request bytes unread, what
is still arriving is read for a while, or TCP would answer it with a reset that can destroy the response on its way to the client.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec
import trio

from appliance.model.errors import ApplianceError
from appliance.s3.http.errors import ClientGoneError, ResponseCutError, TruncatedFileError
from appliance.s3.http.head import END, Head, HeadProbe, parse_head
from appliance.s3.http.hot import HotLane
from appliance.s3.http.idle import IdleConnections
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.patience import Patience
from appliance.s3.http.response import Response, Source
from appliance.s3.http.transport import Transport
from appliance.s3.settings import HttpSettings
from appliance.s3.wire.errors import HeadersTooLargeError, RequestTimeoutError

logger = logging.getLogger(__name__)

# An unread rest of a body up to this size is read away to keep the connection; a larger one costs more than a new connection.
DISCARD_BYTES_MAX = 64 << 10


# At once, or by a function that waits.
Answer = Response | Callable[[], Awaitable[Response]]


class Handler(Protocol):
    """What the engine serves."""

    def handle(self, head: Head, body: IncomingBody) -> Answer:
        """Answer a request: at once, or by a function that waits. That raises nothing but ClientGoneError; other errors are answers."""
        ...

    def refuse(self, error: ApplianceError, peer: str) -> Response:
        """The answer to what is no request."""
        ...

    def sent(self, response: Response, sent_bytes: int, error: Exception | None) -> None:
        """A response from `handle` or `refuse` is out, or was cut off by `error`. Must not block."""
        ...


class Shared(Protocol):
    """What connections of one server share."""

    handler: Handler
    settings: HttpSettings
    idle: IdleConnections
    hot: HotLane[Turn]
    draining: bool


class Turn(msgspec.Struct, frozen=True):
    """What a turn on the hot lane left to the connection's task: bytes received, or a request and its answer, or an error.

    `unsent` is the rest of an answer that has been sent in part. Nothing at all: the client will send no more.
    """

    data: bytes = b""
    head: Head | None = None
    body: IncomingBody | None = None
    answer: Answer | None = None
    unsent: bytes | None = None
    error: Exception | None = None


class Connection:
    """Runs one connection; owns its transport."""

    __slots__ = ("_fd", "_peer", "_received", "_scope", "_shared", "_tls", "_transport")

    def __init__(self, transport: Transport, shared: Shared, peer: str, *, tls: bool) -> None:
        self._transport = transport
        self._fd = transport.pollable_fd
        self._shared = shared
        self._peer = peer
        self._tls = tls
        self._received = b""
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve until the connection ends. Any other error here is a bug; it costs this connection only."""
        try:
            with self._scope:
                while await self._serve_one():
                    pass
        except ClientGoneError:
            pass
        except ResponseCutError:
            self._transport.reset()
        except Exception:
            logger.exception("internal error on a connection from %s; it is closed", self._peer)
        finally:
            self._transport.abort()

    async def _serve_one(self) -> bool:
        """One request and its response (or, on the hot lane, any number and then one); False when the connection is to end."""
        shared = self._shared
        try:
            if not self._received and self._fd >= 0:
                turn = await self._park()
                if turn.answer is not None:
                    return await self._complete(turn)
                if turn.error is not None:
                    raise turn.error
                if not turn.data:
                    return False
                self._received = turn.data
            head = await self._next_head()
        except ApplianceError as error:
            await self._answer(None, None, shared.handler.refuse(error, self._peer))
            return False
        if head is None:
            return False
        body = IncomingBody(self._transport, head, self._received, shared.settings)
        return await self._complete(Turn(b"", head, body, shared.handler.handle(head, body)))

    async def _complete(self, turn: Turn) -> bool:
        """Answer what was asked for; False when the connection is to end."""
        answer = turn.answer
        if not isinstance(answer, Response):
            assert answer is not None  # noqa: S101  # the caller looked
            answer = await answer()
        return await self._answer(turn.head, turn.body, answer, turn.unsent)

    # --- the hot lane -----------------------------------------------------------

    async def _park(self) -> Turn:
        shared = self._shared
        if shared.draining:
            return Turn()
        shared.idle.enter(self._scope)
        try:
            return await shared.hot.park(self._fd, self._take_turn)
        finally:
            shared.idle.leave(self._scope)

    def _take_turn(self) -> Turn | None:
        """There is something to receive: do what can be done about it now. None: all of it."""
        data = b""
        try:
            received = self._transport.receive_nowait()
            if received is None:
                return None
            data = received
            if data.find(END) != len(data) - len(END) or data[0] in b"\r\n":
                # The client's end, half a head, a body, or several requests.
                return Turn(data)
            return self._answer_now(parse_head(data, self._peer, tls=self._tls))
        except Exception as error:  # noqa: BLE001  # raised in the connection's task
            return Turn(data, error=error)

    def _answer_now(self, head: Head) -> Turn | None:
        """A request without a body, or whose body is still to come."""
        shared = self._shared
        body = IncomingBody(self._transport, head, b"", shared.settings)
        answer = shared.handler.handle(head, body)
        if (
            not isinstance(answer, Response)
            or not isinstance(answer.body, bytes)
            or answer.close
            or not head.keep_alive
            or head.old
            or not body.ended
            or shared.draining
        ):
            return Turn(b"", head, body, answer)
        data = body.greeting() + answer.head(close=False)
        if head.request.method != "HEAD":
            data += answer.body
        count = self._transport.send_nowait(data)
        if count < len(data):
            return Turn(b"", head, body, answer, data[count:])
        shared.handler.sent(answer, count, None)
        shared.idle.enter(self._scope)
        return None

    # --- receiving a head -------------------------------------------------------

    async def _next_head(self) -> Head | None:
        """The next request's head; None if client or server has had enough. Raises an error of `parse_head`, RequestTimeoutError."""
        data = self._received or await self._first_bytes()
        while data and data[0] in b"\r\n":
            # An empty line before a request line is to be ignored (RFC 9112 section 2.2).
            data = data.lstrip(b"\r\n") or await self._first_bytes()
        if not data:
            return None
        end = data.find(END)
        if end < 0:
            data, end = await self._rest_of_head(data)
            if not data:
                return None
        end += len(END)
        if end > self._shared.settings.head_bytes_max:
            raise HeadersTooLargeError
        if end == len(data):
            self._received = b""
            return parse_head(data, self._peer, tls=self._tls)
        if self._received is data:
            # Pipelined: nothing was awaited since the last request, and others want their turn.
            await trio.lowlevel.checkpoint()
        self._received = data[end:]
        return parse_head(data[:end], self._peer, tls=self._tls)

    async def _first_bytes(self) -> bytes:
        """Wait for a request to begin. Idle connections may be closed at any time."""
        shared = self._shared
        if shared.draining:
            return b""
        shared.idle.enter(self._scope)
        try:
            return await self._transport.receive()
        finally:
            shared.idle.leave(self._scope)

    async def _rest_of_head(self, begin: bytes) -> tuple[bytes, int]:
        """The head's bytes (with what came after it) and where its blank line is; nothing if the client closed."""
        settings = self._shared.settings
        probe = HeadProbe()
        data = bytearray(begin)
        more = begin
        with trio.move_on_after(settings.head_timeout_s):
            while True:
                end = data.find(END, max(0, len(data) - len(more) - len(END)))
                if end >= 0:
                    return bytes(data), end
                if len(data) > settings.head_bytes_max:
                    raise HeadersTooLargeError
                probe.feed(more)
                more = await self._transport.receive()
                if not more:
                    return b"", 0
                data += more
        raise RequestTimeoutError

    # --- sending a response ------------------------------------------------------

    async def _answer(
        self,
        head: Head | None,
        body: IncomingBody | None,
        response: Response,
        unsent: bytes | None = None,
    ) -> bool:
        """Send a response (or the rest of one, `unsent`); False when the connection is to end."""
        close = (
            head is None
            or not head.keep_alive
            or response.close
            or self._shared.draining
            or (body is not None and not body.ended and not _worth_discarding(body))
            or (head.old and response.size is None)
        )
        greeting = body.greeting() if body is not None and unsent is None else b""
        await self._send(head, response, unsent, greeting=greeting, close=close)
        if head is None or body is None:
            await self._linger()
            return False
        if not body.ended and (close or not await self._discard(body)):
            await self._linger()
            return False
        self._received = body.unread
        return not close

    async def _send(
        self,
        head: Head | None,
        response: Response,
        unsent: bytes | None,
        *,
        greeting: bytes,
        close: bool,
    ) -> None:
        """Send it, tell the handler, and pass on what cut it off."""
        old = head is not None and head.old
        data = greeting + response.head(close=close, old=old) if unsent is None else unsent
        content = response.body
        bodiless = head is not None and head.request.method == "HEAD"
        count = 0
        if isinstance(content, bytes):
            if not bodiless and unsent is None:
                data += content
            count = self._transport.send_nowait(data)
            if count == len(data):
                self._shared.handler.sent(response, count, None)
                return
        sink = ConnectionSink(self._transport, Patience(self._shared.settings))
        error: Exception | None = None
        try:
            if isinstance(content, bytes):
                await sink.send(memoryview(data)[count:])
            else:
                await sink.send(data)
                if not bodiless:
                    await _send_content(sink, content, response.size, old=old)
        except Exception as caught:
            error = caught
            raise ResponseCutError from caught
        finally:
            # Sources have it, and generators, which may hold on to something.
            aclose = getattr(content, "aclose", None)
            if aclose is not None:
                await aclose()
            self._shared.handler.sent(response, sink.sent_bytes, error)

    # --- ending -----------------------------------------------------------------

    async def _discard(self, body: IncomingBody) -> bool:
        """Read the rest of a body away; False if it is too much, or not coming."""
        scratch = memoryview(bytearray(DISCARD_BYTES_MAX))
        try:
            await body.fill(scratch)
        except ApplianceError:
            return False
        return body.ended

    async def _linger(self) -> None:
        """Say that nothing more comes, and read what is still arriving, for a bounded while."""
        settings = self._shared.settings
        scratch = memoryview(bytearray(DISCARD_BYTES_MAX))
        left = settings.linger_bytes_max
        with trio.move_on_after(settings.linger_timeout_s):
            await self._transport.end_sending()
            while left > 0:
                count = await self._transport.receive_into(scratch, Patience(settings))
                if count == 0:
                    break
                left -= count


class ConnectionSink:
    """`Sink` over a transport; counts."""

    __slots__ = ("_patience", "_transport", "sent_bytes")

    def __init__(self, transport: Transport, patience: Patience) -> None:
        self._transport = transport
        self._patience = patience
        self.sent_bytes = 0

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        await self._transport.send(data, self._patience)
        self.sent_bytes += len(data)

    async def send_file(self, fd: int, offset: int, length: int) -> None:
        await self._transport.send_file(fd, offset, length, self._patience)
        self.sent_bytes += length


async def _send_content(
    sink: ConnectionSink, content: Source | AsyncIterator[bytes], size: int | None, *, old: bool
) -> None:
    if isinstance(content, AsyncIterator):
        async for piece in content:
            await sink.send(piece if old else b"%x\r\n%b\r\n" % (len(piece), piece))
        if not old:
            await sink.send(b"0\r\n\r\n")
        return
    before = sink.sent_bytes
    await content.send_to(sink)
    if sink.sent_bytes - before != size:
        raise TruncatedFileError


def _worth_discarding(body: IncomingBody) -> bool:
    return not (body.broken or body.continue_owed) and (
        body.left is None or body.left <= DISCARD_BYTES_MAX
    )
