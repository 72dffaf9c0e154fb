"""The bytes of a put or a part on their way in: a stream that knows its digests once it has ended.

Whoever hands a body in has wrapped whatever must be verified into it: if the bytes break a promise of their sender (length, MD5, checksum,
signature), iteration raises the domain error instead of ending. So a backend publishes only after the iteration has ended normally, and
must leave nothing visible when it raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TypeAlias

import msgspec

from appliance.model.checksums import Hasher, encode, new_hasher

Chunk: TypeAlias = bytes | bytearray | memoryview


class Digests(msgspec.Struct, frozen=True):
    """What a whole body hashed to: MD5 in hex, and the checksums asked for (algorithm -> base64)."""

    md5: str
    checksums: dict[str, str] = {}


class Body(ABC):
    """One pass over some bytes. `size` is None where the sender did not say; `known` are the checksums that `digests` will hold.

    `promised` are those of them whose values (base64) the sender gave in advance: the iteration raises at its end if they are wrong.
    """

    size: int | None = None
    known: frozenset[str] = frozenset()
    promised: Mapping[str, str] = {}

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
        self.known = frozenset(checksums)
        self._data = data
        self._chunk_bytes = chunk_bytes

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return _Slices(self._data, self._chunk_bytes)

    def digests(self) -> Digests:
        def whole(algorithm: str) -> bytes:
            hasher = new_hasher(algorithm)
            hasher.update(self._data)
            return hasher.digest()

        return Digests(whole("md5").hex(), {name: encode(whole(name)) for name in self.known})


class ChecksummedBody(Body):
    """A body that also knows the checksums in `algorithms`, computing those that `inner` does not.

    A part may arrive without the checksums that its upload was created with, so whoever must keep them wraps what it was given in this.
    Nothing is hashed twice unless `inner` tells less than was hoped: then the missing ones are computed on the way.
    """

    def __init__(self, inner: Body, algorithms: Iterable[str]) -> None:
        self.size = inner.size
        self.known = inner.known | frozenset(algorithms)
        self.promised = inner.promised
        self._inner = inner
        self._hashers = {name: new_hasher(name) for name in self.known - inner.known}

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return _Hashing(self._inner.__aiter__(), tuple(self._hashers.values()))

    def digests(self) -> Digests:
        told = self._inner.digests()
        computed = {name: encode(hasher.digest()) for name, hasher in self._hashers.items()}
        return Digests(told.md5, computed | told.checksums)


# Iterators are classes, not generators: an abandoned body (the put was cancelled) then leaves no suspended generator to finalise.


class _Slices:
    def __init__(self, data: bytes, size: int) -> None:
        self._view = memoryview(data)
        self._size = size

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if not self._view:
            raise StopAsyncIteration
        chunk, self._view = self._view[: self._size], self._view[self._size :]
        return chunk


class _Hashing:
    def __init__(self, chunks: AsyncIterator[Chunk], hashers: tuple[Hasher, ...]) -> None:
        self._chunks = chunks
        self._hashers = hashers

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await self._chunks.__anext__()
        for hasher in self._hashers:
            hasher.update(chunk)
        return chunk
