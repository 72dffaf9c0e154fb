"""The cache for accounts that are users of the system: what is here is shared by all, so each of them is checked before it is used.

A backend that knows its callers (`Capabilities.callers`) is asked whether this one may read the object, then the cache goes on as for
anybody: what it opens, fetches and keeps is the appliance's, and serves whoever comes next and is checked in turn. Between the check and
the bytes the permission may be withdrawn; that is as if the bytes had been asked for a moment earlier. Writes, deletes and listings reach
the backend with their caller and are checked there. `open_nowait` and `head_nowait` check nothing: whoever calls them has no caller.
"""

from __future__ import annotations

from typing import Any

from appliance.cache.api import Reader
from appliance.cache.object_cache import ObjectCache
from appliance.model.objects import ObjectInfo, PartInfo
from appliance.plugin import CALLER, acting_as


class CheckedCache(ObjectCache):
    """See `appliance.cache.api.Cache`."""

    async def open(self, bucket: str, key: str, *, version_id: str = "") -> Reader:
        if CALLER.get() is None:
            return await super().open(bucket, key, version_id=version_id)
        await self._check(bucket, key, version_id)
        with acting_as(None):
            return await super().open(bucket, key, version_id=version_id)

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        if CALLER.get() is None:
            return await super().head(bucket, key, version_id=version_id)
        await self._check(bucket, key, version_id)
        with acting_as(None):
            return await super().head(bucket, key, version_id=version_id)

    async def get_tags(self, bucket: str, key: str, *, version_id: str = "") -> dict[str, str]:
        await self._check(bucket, key, version_id)
        return await super().get_tags(bucket, key, version_id=version_id)

    async def copy(
        self, source_bucket: str, source_key: str, bucket: str, key: str, **options: Any
    ) -> ObjectInfo:
        await self._check(source_bucket, source_key, options.get("source_version_id", ""))
        return await super().copy(source_bucket, source_key, bucket, key, **options)

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        **options: Any,
    ) -> PartInfo:
        await self._check(source_bucket, source_key, options.get("source_version_id", ""))
        return await super().copy_part(
            source_bucket, source_key, bucket, key, upload_id, number, **options
        )

    async def _check(self, bucket: str, key: str, version_id: str) -> None:
        """Raise AccessDeniedError unless the caller may read this."""
        if CALLER.get() is None:
            return
        backend = self._routes.find(bucket).backend
        if backend.capabilities.callers:
            await backend.check_read(bucket, key, **self._asked(bucket, key, version_id))
