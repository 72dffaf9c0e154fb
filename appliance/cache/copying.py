"""Copies: what a backend is told of one within it, and a reader as the body of a put, for one between backends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from appliance.cache.api import Reader
from appliance.cache.plan.s3fifo import Name
from appliance.cache.versions import is_version_name
from appliance.model.checksums import Hasher, encode, new_hasher
from appliance.model.errors import CorruptDataError
from appliance.plugin import Backend, Body, Chunk, Digests
from appliance.world import Lane, World

_THREAD_BYTES = 64 * 1024


def arguments_of_copy(
    backend: Backend, source: Name, source_version_id: str, owner: str, acl: bytes
) -> dict[str, Any]:
    """Those arguments of `Backend.copy` that backends without versions or ACLs need not know."""
    asked: dict[str, Any] = {}
    if is_version_name(source):
        asked["source_version_id"] = source_version_id
    if backend.capabilities.acls:
        asked |= {"owner": owner, "acl": acl}
    return asked


class ReaderBody(Body):
    """`length` bytes of `reader` from `offset`, hashed on the way. `checksums`: algorithms that `digests` will hold."""

    def __init__(
        self,
        world: World,
        reader: Reader,
        offset: int,
        length: int,
        checksums: tuple[str, ...] = (),
    ) -> None:
        self.size = length
        self.known = frozenset(checksums)
        self._world = world
        self._reader = reader
        self._offset = offset
        self._length = length
        self._md5 = new_hasher("md5")
        self._hashers = {name: new_hasher(name) for name in checksums}

    def __aiter__(self) -> AsyncIterator[Chunk]:
        stream = self._reader.stream(self._offset, self._length)
        return _Hashing(self._world, stream, [self._md5, *self._hashers.values()], self._length)

    def digests(self) -> Digests:
        checksums = {name: encode(hasher.digest()) for name, hasher in self._hashers.items()}
        return Digests(self._md5.digest().hex(), checksums)


class _Hashing:
    def __init__(
        self, world: World, chunks: AsyncIterator[Chunk], hashers: list[Hasher], length: int
    ) -> None:
        self._world = world
        self._chunks = chunks
        self._hashers = hashers
        self._remaining = length

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            if self._remaining:
                raise CorruptDataError("The source of the copy ended early.") from None
            raise
        self._remaining -= len(chunk)
        if len(chunk) < _THREAD_BYTES:
            self._update(chunk)
        else:
            await self._world.run_blocking(Lane.HASH, self._update, chunk)
        return chunk

    def _update(self, chunk: Chunk) -> None:
        for hasher in self._hashers:
            hasher.update(chunk)
