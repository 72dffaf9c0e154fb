"""`ObjectCache`: the facade that all front ends use. For now every operation goes straight to the backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import trio

from appliance.cache.api import Invalidation, Reader
from appliance.cache.forward import Forward
from appliance.cache.readers import DirectReader, FileReader
from appliance.cache.routes import Routes
from appliance.model.errors import UnsupportedError
from appliance.model.objects import (
    NO_CONDITIONS,
    CompletedPart,
    Conditions,
    DeleteOutcome,
    ObjectInfo,
    PartInfo,
    PutOptions,
)
from appliance.model.ranges import ByteRange
from appliance.plugin import Body, Chunk, Digests
from appliance.world import World


class ReaderBody(Body):
    """A (range of a) reader as the body of a put."""

    def __init__(self, reader: Reader, offset: int, length: int) -> None:
        self.size = length
        self._reader = reader
        self._offset = offset

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        async for chunk in self._reader.stream(self._offset, self.size or 0):
            yield chunk

    def digests(self) -> Digests:
        return Digests("")


class ObjectCache(Forward):
    """See `appliance.cache.api.Cache`."""

    def __init__(self, world: World, journal: Any, store: Any, routes: Routes) -> None:
        super().__init__(routes)
        self._world = world
        self._listeners: list[Callable[[Invalidation], None]] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the cache's background tasks until cancelled."""
        task_status.started()
        await trio.sleep_forever()

    # --- reading ---------------------------------------------------------------

    def open_nowait(self, bucket: str, key: str) -> Reader | None:
        return None

    async def open(self, bucket: str, key: str) -> Reader:
        backend = self._routes.find(bucket).backend
        local = await backend.open_local(bucket, key)
        if local is not None:
            return FileReader(self._world, local.info, local.fd, "local", local.close)
        return DirectReader(backend, bucket, await backend.head(bucket, key))

    def head_nowait(self, bucket: str, key: str) -> ObjectInfo | None:
        return None

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        return await self._routes.find(bucket).backend.head(bucket, key)

    # --- writing ---------------------------------------------------------------

    async def delete_bucket(self, bucket: str) -> None:
        await self._routes.find(bucket).backend.delete_bucket(bucket)

    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        options: PutOptions,
        conditions: Conditions = NO_CONDITIONS,
        *,
        origin: str = "s3",
    ) -> ObjectInfo:
        info = await self._routes.find(bucket).backend.put(bucket, key, body, options, conditions)
        self._tell(bucket, key, origin, info)
        return info

    async def delete(
        self, bucket: str, key: str, conditions: Conditions = NO_CONDITIONS, *, origin: str = "s3"
    ) -> None:
        await self._routes.find(bucket).backend.delete(bucket, key, conditions)
        self._tell(bucket, key, origin, None)

    async def delete_many(
        self, bucket: str, keys: Sequence[str], *, origin: str = "s3"
    ) -> Sequence[DeleteOutcome]:
        outcomes = await self._routes.find(bucket).backend.delete_many(bucket, keys)
        for outcome in outcomes:
            self._tell(bucket, outcome.key, origin, None)
        return outcomes

    async def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version: str = "",
        options: PutOptions | None = None,
        conditions: Conditions = NO_CONDITIONS,
        origin: str = "s3",
    ) -> ObjectInfo:
        backend = self._routes.find(bucket).backend
        if self._routes.find(source_bucket).backend is not backend:
            raise UnsupportedError("Copying between backends is not possible yet.")
        info = await backend.copy(
            source_bucket,
            source_key,
            bucket,
            key,
            source_version=source_version,
            options=options,
            conditions=conditions,
        )
        self._tell(bucket, key, origin, info)
        return info

    async def put_tags(self, bucket: str, key: str, tags: dict[str, str]) -> ObjectInfo:
        info = await self._routes.find(bucket).backend.put_tags(bucket, key, tags)
        self._tell(bucket, key, "s3", info)
        return info

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        range: ByteRange | None = None,  # noqa: A002  # the field's own word
        source_version: str = "",
    ) -> PartInfo:
        backend = self._routes.find(bucket).backend
        if self._routes.find(source_bucket).backend is not backend:
            raise UnsupportedError("Copying between backends is not possible yet.")
        return await backend.copy_part(
            source_bucket,
            source_key,
            bucket,
            key,
            upload_id,
            number,
            range=range,
            source_version=source_version,
        )

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
        *,
        origin: str = "s3",
    ) -> ObjectInfo:
        backend = self._routes.find(bucket).backend
        info = await backend.complete_upload(bucket, key, upload_id, parts, conditions)
        self._tell(bucket, key, origin, info)
        return info

    # --- coherence, care -----------------------------------------------------------

    def subscribe(self, listener: Callable[[Invalidation], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def trust_seconds(self, bucket: str) -> float:
        return self._routes.find(bucket).freshness_s

    async def pin(self, bucket: str, key: str) -> None:
        pass

    async def unpin(self, bucket: str, key: str) -> None:
        pass

    def statistics(self) -> dict[str, float]:
        return {}

    def _tell(self, bucket: str, key: str, origin: str, info: ObjectInfo | None) -> None:
        change = Invalidation(bucket, key, origin, info)
        for listener in tuple(self._listeners):
            listener(change)
