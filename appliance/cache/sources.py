"""Where bytes come from on a miss: an ordered list of sources, the nearest first. The backend is the last and always answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from appliance.cache.routes import Route
from appliance.model.errors import BackendUnavailableError
from appliance.model.ranges import RangeSpec
from appliance.plugin import ObjectStream


class Source(Protocol):
    """Somewhere an object may be had from."""

    async def locate(
        self, route: Route, bucket: str, key: str, wanted: RangeSpec | None, *, version: str
    ) -> AbstractAsyncContextManager[ObjectStream] | None:
        """A read like `Backend.read`; None where this source has not got it."""
        ...


class BackendSource:
    """The truth."""

    async def locate(
        self, route: Route, bucket: str, key: str, wanted: RangeSpec | None, *, version: str
    ) -> AbstractAsyncContextManager[ObjectStream] | None:
        return route.backend.read(bucket, key, wanted, version=version)


@asynccontextmanager
async def read_from(
    sources: Sequence[Source],
    route: Route,
    name: tuple[str, str],
    wanted: RangeSpec | None = None,
    *,
    version: str = "",
) -> AsyncIterator[ObjectStream]:
    """Read from the first source that has it."""
    bucket, key = name
    for source in sources:
        found = await source.locate(route, bucket, key, wanted, version=version)
        if found is not None:
            async with found as stream:
                yield stream
            return
    raise BackendUnavailableError("No source is configured.", bucket=bucket, key=key)


@asynccontextmanager
async def chunks_of(stream: ObjectStream) -> AsyncIterator[AsyncIterator[bytes]]:
    """Iterate a stream that may be left early: where the backend wrote a generator, it is finalised here and not by the collector."""
    chunks = aiter(stream)
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
