"""What the cache passes on unchanged: buckets, listings, tags as they are read, and uploads until they are completed.

None of it makes or changes a visible object, so nothing here touches the index. Listings always come from the backend: they see every
write acknowledged before they began, also those of foreign writers, and no rule about freshness is needed for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from appliance.cache.routes import Routes
from appliance.cache.versions import VersionRoutes, is_version_name
from appliance.cache.writing import Writer
from appliance.model.errors import ApplianceError, BackendError
from appliance.model.objects import (
    BucketInfo,
    ListPage,
    ListRequest,
    ObjectInfo,
    ObjectPart,
    PartInfo,
    PartPage,
    PutOptions,
    UploadInfo,
    UploadPage,
    Versioning,
    VersionListRequest,
    VersionPage,
)
from appliance.plugin import Body, ForwardAnswer, ForwardRequest


class _RefusedAnswerError(ApplianceError):
    """The upstream refused a write: nothing happened."""

    def __init__(self, answer: ForwardAnswer, body: bytes) -> None:
        super().__init__()
        self.answer = answer, body


class _FailedAnswerError(BackendError, _RefusedAnswerError):
    """The upstream failed in a write: nobody knows what happened."""


def _check(answer: ForwardAnswer, body: bytes) -> None:
    if answer.status >= 500:
        raise _FailedAnswerError(answer, body)
    if answer.status >= 300:
        raise _RefusedAnswerError(answer, body)


class Forward:
    """The part of `appliance.cache.api.Cache` that only routes."""

    _writer: Writer

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._versions = VersionRoutes(routes)

    # --- buckets ---------------------------------------------------------------

    async def list_buckets(self) -> Sequence[BucketInfo]:
        """Buckets of all backends that a route serves, ordered by name."""
        found: dict[str, BucketInfo] = {}
        for backend in self._routes.backends:
            for info in await backend.list_buckets():
                if self._routes.holds(info.name, backend):
                    found[info.name] = info
        return [found[name] for name in sorted(found)]

    async def head_bucket(self, bucket: str) -> BucketInfo:
        return await self._routes.find(bucket).backend.head_bucket(bucket)

    async def create_bucket(self, bucket: str) -> None:
        await self._routes.find(bucket).backend.create_bucket(bucket)

    async def get_versioning(self, bucket: str) -> Versioning:
        return await self._routes.find(bucket).backend.get_versioning(bucket)

    async def put_versioning(self, bucket: str, state: Versioning) -> None:
        await self._routes.find(bucket).backend.put_versioning(bucket, state)

    def keeps_acls(self, bucket: str) -> bool:
        return self._routes.find(bucket).backend.capabilities.acls

    def keeps_checksum(self, bucket: str, algorithm: str) -> bool:
        return algorithm in self._routes.find(bucket).backend.capabilities.checksums

    # --- reading ---------------------------------------------------------------

    async def part(
        self, bucket: str, key: str, number: int, *, version: str, version_id: str = ""
    ) -> ObjectPart:
        backend = self._routes.find(bucket).backend
        asked = self._asked(bucket, key, version_id)
        return await backend.part(bucket, key, number, version=version, **asked)

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        return await self._routes.find(bucket).backend.list_objects(bucket, request)

    async def list_versions(self, bucket: str, request: VersionListRequest) -> VersionPage:
        return await self._routes.find(bucket).backend.list_versions(bucket, request)

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        backend = self._routes.find(bucket).backend
        return await backend.get_tags(bucket, key, **self._asked(bucket, key, version_id))

    def _asked(
        self, bucket: str, key: str, version_id: str, argument: str = "version_id"
    ) -> dict[str, str]:
        """The keyword that asks a backend for a version, none for the current one: those without versions need not know it.

        Raises NoSuchVersionError.
        """
        name = self._versions.version(bucket, key, version_id)
        return {argument: version_id} if is_version_name(name) else {}

    async def _options_of(
        self, bucket: str, key: str, version_id: str, info: ObjectInfo
    ) -> PutOptions:
        """All that is said about an object, for a copy of it in another backend."""
        tags = await self.get_tags(bucket, key, version_id=version_id) if info.tag_count else {}
        return PutOptions(
            headers=info.headers,
            metadata=info.metadata,
            tags=tags,
            checksums=tuple(info.checksums),
        )

    # --- uploads -----------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, options: PutOptions) -> UploadInfo:
        return await self._routes.find(bucket).backend.create_upload(bucket, key, options)

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body
    ) -> PartInfo:
        backend = self._routes.find(bucket).backend
        return await backend.put_part(bucket, key, upload_id, number, body)

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        backend = self._routes.find(bucket).backend
        return await backend.list_parts(bucket, key, upload_id, after=after, limit=limit)

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        return await self._routes.find(bucket).backend.list_uploads(
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            upload_id_marker=upload_id_marker,
            limit=limit,
        )

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        await self._routes.find(bucket).backend.abort_upload(bucket, key, upload_id)

    # --- what is passed on as it is ----------------------------------------------------

    def forwards(self, bucket: str) -> bool:
        return self._routes.find(bucket).backend.capabilities.forwarding

    def forward(self, request: ForwardRequest) -> AbstractAsyncContextManager[ForwardAnswer]:
        return self._routes.find(request.bucket).backend.forward(request)

    async def forward_write(
        self, request: ForwardRequest, *, origin: str = "s3"
    ) -> tuple[ForwardAnswer, bytes]:
        route = self._routes.find(request.bucket)
        name = (request.bucket, request.key)
        try:
            async with self._writer.write(route, name, "put", origin) as write:
                async with route.backend.forward(request) as answer:
                    body = await answer.read()
                _check(answer, body)
                # Which version it is now, only the next reader asks.
                write.done(None)
        except _RefusedAnswerError as refused:
            return refused.answer
        return answer, body
