"""Versions by id, cached like objects: to the index, the journal and the eviction a version is an object of its own name.

That name is the key, a NUL (which no key holds) and the version id; its route leads to the same backend, asked for that version. So a
version that is read again is a hit like any other, and is fetched by blocks, shared and evicted like any other.

What may change: its tags and ACL, and that it is deleted. Both pass through here and make its name suspect; when done elsewhere they are
seen after the bucket's freshness, like all foreign changes. The null version is another thing: any write to a suspended bucket replaces
its bytes, so it is validated at each use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import msgspec

from appliance.cache.plan.s3fifo import Name
from appliance.cache.routes import Route, Routes
from appliance.model.errors import NoSuchVersionError
from appliance.model.objects import NULL_VERSION, DeleteOutcome, DeleteTarget, ObjectInfo
from appliance.model.ranges import RangeSpec
from appliance.plugin import Backend, LocalFile, ObjectStream

SEPARATOR = "\0"


def version_name(bucket: str, key: str, version_id: str) -> Name:
    """The name under which the cache knows a version; the object's own for "" (the current one)."""
    return (bucket, f"{key}{SEPARATOR}{version_id}" if version_id else key)


def is_version_name(name: Name) -> bool:
    """Whether `name` is a version's: front ends know nothing of such names."""
    return SEPARATOR in name[1]


class VersionReads:
    """The part of `Backend` that filling the cache needs, for keys of the form of `version_name`."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.capabilities = backend.capabilities
        self._backend = backend

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        key, _, version_id = key.partition(SEPARATOR)
        return await self._backend.head(bucket, key, version_id=version_id)

    def read(
        self,
        bucket: str,
        key: str,
        wanted: RangeSpec | None = None,
        *,
        version: str = "",
    ) -> AbstractAsyncContextManager[ObjectStream]:
        key, _, version_id = key.partition(SEPARATOR)
        return self._backend.read(bucket, key, wanted, version=version, version_id=version_id)

    async def open_local(self, bucket: str, key: str, *, version: str = "") -> LocalFile | None:
        key, _, version_id = key.partition(SEPARATOR)
        return await self._backend.open_local(bucket, key, version=version, version_id=version_id)

    def validate_nowait(self, bucket: str, key: str, version: str) -> bool | None:
        """Nobody can tell that at once."""
        return None


class VersionRoutes:
    """Where a name, of an object or of a version, leads."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._made: dict[tuple[Route, bool], Route] = {}

    def find(self, name: Name) -> Route:
        """Raises NoSuchBucketError."""
        route = self._routes.find(name[0])
        if not is_version_name(name):
            return route
        return self._version_route(route, is_null=name[1].endswith(SEPARATOR + NULL_VERSION))

    def version(self, bucket: str, key: str, version_id: str) -> Name:
        """The name of a version. Raises NoSuchVersionError where the backend has none."""
        if not version_id:
            return (bucket, key)
        if self._routes.find(bucket).backend.capabilities.versioning:
            return version_name(bucket, key, version_id)
        if version_id != NULL_VERSION:
            raise NoSuchVersionError(bucket=bucket, key=key, version_id=version_id)
        return (bucket, key)

    def changed(
        self, bucket: str, key: str, version_id: str, current: ObjectInfo | None
    ) -> list[Name]:
        """Names whose state a change of this version, or ("") of the current one, may change; `current` is what is thought to be that."""
        name = self.version(bucket, key, version_id)
        if not is_version_name(name):
            return [name]
        if current is not None and current.version_id not in {"", version_id}:
            return [name]
        return [name, (bucket, key)]

    def _version_route(self, route: Route, *, is_null: bool) -> Route:
        made = self._made.get((route, is_null))
        if made is None:
            policy = route.policy
            if is_null:
                policy = msgspec.structs.replace(policy, freshness_s=0.0)
            # Only what VersionReads has is asked of a version's route.
            backend = cast(Backend, VersionReads(route.backend))
            made = msgspec.structs.replace(route, backend=backend, policy=policy)
            self._made[route, is_null] = made
        return made


def unversioned_outcomes(
    targets: Sequence[DeleteTarget], outcomes: Iterable[DeleteOutcome]
) -> list[DeleteOutcome]:
    """What a multi-delete says where there are no versions: `outcomes` for the targets that can exist, in order, else no such version."""
    known = iter(outcomes)
    told = []
    for target in targets:
        key, version_id = target.key, target.version_id
        if version_id in {"", NULL_VERSION}:
            told.append(msgspec.structs.replace(next(known), version_id=version_id))
        else:
            error = NoSuchVersionError(key=key, version_id=version_id)
            told.append(DeleteOutcome(key=key, version_id=version_id, error=error))
    return told
