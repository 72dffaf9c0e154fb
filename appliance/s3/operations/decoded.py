"""The bytes that a body carries, out of the coding they came in: aws-chunked, a form, or none."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import msgspec

from appliance.s3.http.incoming import IncomingBody

_ENCODED_RECEIVE_BYTES = 256 << 10


class Decoder(Protocol):
    """A pure decoder, fed with the body as it arrives."""

    @property
    def trailers(self) -> Mapping[str, str]:
        """What came after the content."""
        ...

    def feed(self, data: memoryview) -> list[memoryview]:
        """Content, valid until the next call. Raises domain errors."""
        ...

    def finish(self) -> None:
        """The body has ended; raise if the content has not ended with it."""
        ...


class Decoded:
    """Content of a body, received and decoded as it is asked for."""

    __slots__ = ("_buffer", "_decoder", "_incoming", "_pieces")

    def __init__(self, incoming: IncomingBody, decoder: Decoder | None) -> None:
        self._incoming = incoming
        self._decoder = decoder
        self._pieces: deque[memoryview] = deque()
        self._buffer = memoryview(b"")

    @property
    def trailers(self) -> Mapping[str, str]:
        return self._decoder.trailers if self._decoder is not None else {}

    async def fill(self, target: memoryview) -> int:
        """As many bytes as fit; fewer only at the end."""
        if self._decoder is None:
            return await self._incoming.fill(target)
        done = 0
        while done < len(target):
            if not self._pieces and not await self.advance(self._decoder):
                break
            if self._pieces:
                done += self._take(target[done:])
        return done

    async def advance(self, decoder: Decoder) -> bool:
        """Receive once and feed the decoder; False at the end. Only for a decoder whose views stay valid may pieces be waiting."""
        if not self._buffer:
            length = self._incoming.length
            size = _ENCODED_RECEIVE_BYTES if length is None else max(1, length)
            self._buffer = memoryview(bytearray(min(size, _ENCODED_RECEIVE_BYTES)))
        count = await self._incoming.receive_into(self._buffer)
        if count == 0:
            decoder.finish()
            return False
        self._pieces.extend(piece for piece in decoder.feed(self._buffer[:count]) if piece)
        return True

    def _take(self, target: memoryview) -> int:
        piece = self._pieces.popleft()
        count = min(len(piece), len(target))
        target[:count] = piece[:count]
        if count < len(piece):
            self._pieces.appendleft(piece[count:])
        return count


class FormFile(msgspec.Struct, frozen=True):
    """The file of a form whose fields have been read, and the sizes its policy allows."""

    content: Decoded
    size_min: int = 0
    size_max: int | None = None
