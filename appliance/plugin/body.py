"""The bytes of a put or a part on their way in: a stream that knows its digests once it has ended.

Whoever hands a body in has wrapped whatever must be verified into it: if the bytes break a promise of their sender (length, MD5, checksum,
signature), iteration raises the domain error instead of ending. So a backend publishes only after the iteration has ended normally, and
must leave nothing visible when it raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TypeAlias

import msgspec

from appliance.model.checksums import encode, new_hasher

Chunk: TypeAlias = bytes | bytearray | memoryview


class Digests(msgspec.Struct, frozen=True):
    """What a whole body hashed to: MD5 in hex, and the checksums asked for (algorithm -> base64)."""

    md5: str
    checksums: dict[str, str] = {}


class Body(ABC):
    """One pass over some bytes. `size` is None where the sender did not say."""

    size: int | None = None

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Chunks of 1 byte to about 1 MiB, none empty. **A chunk is valid only until the next one is asked for**: its buffer is reused."""

    @abstractmethod
    def digests(self) -> Digests:
        """Digests of all bytes; only after the iteration has ended normally."""


class BytesBody(Body):
    """A body that is already in memory."""

    def __init__(
        self, data: bytes, checksums: tuple[str, ...] = (), chunk_bytes: int = 1 << 20
    ) -> None:
        self.size = len(data)
        self._data = data
        self._algorithms = checksums
        self._chunk_bytes = chunk_bytes

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        view = memoryview(self._data)
        for offset in range(0, len(view), self._chunk_bytes):
            yield view[offset : offset + self._chunk_bytes]

    def digests(self) -> Digests:
        def whole(algorithm: str) -> bytes:
            hasher = new_hasher(algorithm)
            hasher.update(self._data)
            return hasher.digest()

        return Digests(whole("md5").hex(), {name: encode(whole(name)) for name in self._algorithms})
