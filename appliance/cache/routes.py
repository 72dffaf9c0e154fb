"""Which backend holds a bucket, and under which policy: the first pattern that matches wins."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from appliance.model.errors import NoSuchBucketError
from appliance.plugin import Backend
from appliance.policy.buckets import BucketPolicy

# Names asked for are remembered, so that a hit costs a dict lookup; clients that ask for made-up buckets must not fill the memory.
_REMEMBERED_MAX = 10_000


class Route(msgspec.Struct, frozen=True, eq=False):
    """Buckets whose name matches `pattern` and `also` (fnmatch) live in `backend` and follow `policy`.

    Two patterns, because configurations choose the backend and the policy by lists of their own.
    """

    pattern: str
    backend: Backend
    policy: BucketPolicy
    also: str = "*"

    @property
    def freshness_s(self) -> float:
        """Seconds for which an entry is trusted after it was last known to be current."""
        return self.policy.effective_freshness_s(
            cheap_validation=self.backend.capabilities.cheap_validation
        )


class Routes:
    """Bucket name -> `Route`."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._remembered: dict[str, Route] = {}

    @property
    def backends(self) -> Sequence[Backend]:
        """Each backend once, in order."""
        return list({id(route.backend): route.backend for route in self._routes}.values())

    def find(self, bucket: str) -> Route:
        """Raises NoSuchBucketError where no pattern matches."""
        route = self._remembered.get(bucket)
        return route if route is not None else self._match(bucket)

    def holds(self, bucket: str, backend: Backend) -> bool:
        """Whether `bucket` is served from `backend` (and not shadowed by an earlier pattern)."""
        route = self._first(bucket)
        return route is not None and route.backend is backend

    def _first(self, bucket: str) -> Route | None:
        for route in self._routes:
            if fnmatchcase(bucket, route.pattern) and fnmatchcase(bucket, route.also):
                return route
        return None

    def _match(self, bucket: str) -> Route:
        route = self._first(bucket)
        if route is None:
            raise NoSuchBucketError(
                f"No backend is configured for the bucket {bucket!r}.", bucket=bucket
            )
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[bucket] = route
        return route
