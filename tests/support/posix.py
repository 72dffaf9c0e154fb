"""POSIX backends for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from appliance.model.objects import ListRequest, ObjectInfo, PutOptions
from appliance.plugin import Backend, BytesBody
from appliance_posix.backend import PosixBackend
from appliance_posix.plugin import appliance_backend
from tests.support.plugin_host import backend_config


@asynccontextmanager
async def started(root: Path, bucket: str = "", **options: object) -> AsyncIterator[PosixBackend]:
    """A started backend on `root`, with a bucket if one is named."""
    backend = appliance_backend(f"posix://{root}", backend_config("posix", **options))
    assert isinstance(backend, PosixBackend)
    await backend.start()
    try:
        if bucket:
            await backend.create_bucket(bucket)
        yield backend
    finally:
        await backend.stop()


async def put(
    backend: Backend, key: str, data: bytes = b"data", bucket: str = "bucket", **options: object
) -> ObjectInfo:
    """Store bytes."""
    return await backend.put(bucket, key, BytesBody(data), PutOptions(**options))  # type: ignore[arg-type]


async def get(backend: Backend, key: str, bucket: str = "bucket") -> bytes:
    """All bytes of an object."""
    async with backend.read(bucket, key) as stream:
        return b"".join([chunk async for chunk in stream])


async def all_keys(backend: Backend, bucket: str = "bucket", limit: int = 1000) -> list[str]:
    """Every key, by pages of `limit`."""
    keys: list[str] = []
    token = ""
    while True:
        page = await backend.list_objects(bucket, ListRequest(continuation=token, limit=limit))
        keys += [item.key for item in page.objects]
        if not page.continuation:
            return keys
        token = page.continuation
