"""The body of a request as HTTP frames it: received on demand, to its end and not a byte further.

Nothing is asked of the client before someone wants the body: "100 Continue" goes out with the first receive, which is after the request
was authorised. What was received beyond the body (pipelined requests) is in `unread`.
"""

from __future__ import annotations

from appliance.model.errors import ApplianceError, IncompleteBodyError
from appliance.s3.http.chunked import ChunkedDecoder
from appliance.s3.http.head import Head
from appliance.s3.http.patience import Patience
from appliance.s3.http.response import CONTINUE
from appliance.s3.http.transport import Transport
from appliance.s3.settings import HttpSettings

_CHUNKED_RECEIVE_BYTES = 64 << 10


class IncomingBody:
    """One pass over the bytes of one request's body. `length` is None if it is chunked."""

    __slots__ = (
        "_broken",
        "_decoder",
        "_expects",
        "_left",
        "_patience",
        "_settings",
        "_transport",
        "length",
        "received_bytes",
        "unread",
    )

    def __init__(
        self, transport: Transport, head: Head, received: bytes, settings: HttpSettings
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._patience: Patience | None = None
        self._expects = head.expects
        self._broken = False
        self.length = head.content_length
        self._left = head.content_length or 0
        self.received_bytes = 0
        self.unread = received
        self._decoder = ChunkedDecoder() if head.content_length is None else None
        if self._decoder is not None:
            self._decoder.feed(received)
            self.unread = b""

    @property
    def ended(self) -> bool:
        """All of the body has been taken."""
        return self._left == 0 if self._decoder is None else self._decoder.ended

    @property
    def broken(self) -> bool:
        """Its end will never be known: nothing that follows may be taken for a request."""
        return self._broken or (self._decoder is not None and bool(self._decoder.failure))

    @property
    def continue_owed(self) -> bool:
        """The client still waits for "100 Continue": it may or may not send the body after any other answer."""
        return self._expects and not self.ended

    def greeting(self) -> bytes:
        """What goes before the final answer: "100 Continue" too, where the client waits for it though its body is empty.

        RFC 9110 section 10.1.1 lets servers omit it there; S3 does not, and botocore takes the next answer on the connection for a
        continuation of one that came without.
        """
        if self._expects and self.ended and not self.received_bytes:
            self._expects = False
            return CONTINUE
        return b""

    @property
    def left(self) -> int | None:
        """Bytes that were not taken yet; None if nobody knows."""
        return self._left if self._decoder is None else None

    async def receive_into(self, buffer: memoryview) -> int:
        """Bytes of the body, at least one; 0 at its end.

        Raises IncompleteBodyError, RequestTimeoutError, BadRequestError (chunked coding), ClientGoneError.
        """
        if self._decoder is not None:
            return await self._receive_chunked(buffer)
        if self._left == 0:
            return 0
        buffer = buffer[: self._left]
        if self.unread:
            count = min(len(buffer), len(self.unread))
            buffer[:count] = self.unread[:count]
            self.unread = self.unread[count:]
        else:
            count = await self._receive(buffer)
        self._left -= count
        self.received_bytes += count
        return count

    async def fill(self, buffer: memoryview) -> int:
        """As many bytes as fit; fewer only at the end."""
        done = 0
        while done < len(buffer):
            count = await self.receive_into(buffer[done:])
            if count == 0:
                break
            done += count
        return done

    async def _receive_chunked(self, buffer: memoryview) -> int:
        decoder = self._decoder
        assert decoder is not None  # noqa: S101  # the caller looked
        data = decoder.take(len(buffer))
        while not data and not decoder.ended:
            scratch = memoryview(bytearray(_CHUNKED_RECEIVE_BYTES))
            decoder.feed(scratch[: await self._receive(scratch)])
            data = decoder.take(len(buffer))
        if decoder.ended:
            self.unread = decoder.unread
        buffer[: len(data)] = data
        self.received_bytes += len(data)
        return len(data)

    async def _receive(self, buffer: memoryview) -> int:
        if self._patience is None:
            self._patience = Patience(self._settings)
        if self._expects:
            self._expects = False
            await self._transport.send(CONTINUE, self._patience)
        try:
            count = await self._transport.receive_into(buffer, self._patience)
        except ApplianceError:
            self._broken = True
            raise
        if count == 0:
            self._broken = True
            raise IncompleteBodyError
        return count
