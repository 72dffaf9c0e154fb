"""Versions by id in the cache: over a backend that has them, and over one that has none."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal import Journal
from appliance.model.errors import DeleteMarkerError, NoSuchVersionError
from appliance.model.objects import (
    NULL_VERSION,
    DeleteTarget,
    PutOptions,
    Versioning,
    VersionListRequest,
)
from appliance.plugin import BytesBody
from appliance.policy.buckets import BucketPolicy
from appliance.world import RealWorld
from appliance_example.backend import MemoryBackend
from appliance_posix.backend import PosixBackend
from tests.support.plugin_host import backend_config
from tests.support.posix import started

MIB = 1 << 20


class Far:
    """A versioned backend whose bytes must be fetched: the POSIX one, asked as if it were far away."""

    def __init__(self, backend: PosixBackend) -> None:
        self._backend = backend
        self.reads = 0
        self.capabilities = msgspec.structs.replace(
            backend.capabilities, local_files=False, cheap_validation=False
        )

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def read(self, *args: object, **options: object) -> object:
        self.reads += 1
        return self._backend.read(*args, **options)

    def validate_nowait(self, *_: object) -> None:
        return None


@asynccontextmanager
async def cached(directory: Path, backend: object):
    world = RealWorld()
    journal = Journal.open(directory / "appliance.db", world)
    routes = Routes([Route("*", backend, BucketPolicy())])
    try:
        async with journal.running(), trio.open_nursery() as nursery:
            cache = ObjectCache(world, journal, Store(directory), routes, capacity_bytes=1 << 30)
            await nursery.start(cache.run)
            yield cache
            nursery.cancel_scope.cancel()
    finally:
        journal.close()


@pytest.fixture
async def far(tmp_path: Path):
    (tmp_path / "root").mkdir()
    async with started(tmp_path / "root", bucket="bucket") as backend:
        await backend.put_versioning("bucket", Versioning.ENABLED)
        yield Far(backend)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


async def put(cache: ObjectCache, data: bytes) -> str:
    info = await cache.put("bucket", "k", BytesBody(data), PutOptions())
    return info.version_id


async def read(cache: ObjectCache, version_id: str = "") -> tuple[bytes, str]:
    reader = await cache.open("bucket", "k", version_id=version_id)
    try:
        return await reader.read(0, reader.info.size), reader.source
    finally:
        reader.close()


async def test_an_old_version_is_fetched_once_also_across_restarts(far: Far, data: Path):
    bodies = [b"one" * MIB, b"two", b"three"]
    async with cached(data, far) as cache:
        ids = [await put(cache, body) for body in bodies]
        for version_id, body in zip(ids, bodies, strict=True):
            assert (await read(cache, version_id))[0] == body
        before = far.reads
        for version_id, body in zip(ids, bodies, strict=True):
            assert await read(cache, version_id) == (body, "hit")
            assert (await cache.head("bucket", "k", version_id=version_id)).size == len(body)
        assert far.reads == before
    async with cached(data, far) as cache:
        for version_id, body in zip(ids[:2], bodies[:2], strict=True):
            assert await read(cache, version_id) == (body, "hit")
        assert far.reads == before


async def test_the_current_version_by_its_id_is_the_hit_that_it_is_without(far: Far, data: Path):
    async with cached(data, far) as cache:
        version_id = await put(cache, b"data")
        assert await read(cache) == (b"data", "hit")
        assert await read(cache, version_id) == (b"data", "hit")
        assert far.reads == 0


async def test_a_deleted_version_is_gone_from_the_cache_and_the_next_is_current(
    far: Far, data: Path
):
    async with cached(data, far) as cache:
        old, new = await put(cache, b"old"), await put(cache, b"new")
        assert (await read(cache, old))[0] == b"old"
        assert (await read(cache))[0] == b"new"
        deleted = await cache.delete("bucket", "k", version_id=new)
        assert deleted.version_id == new
        assert (await read(cache))[0] == b"old"
        with pytest.raises(NoSuchVersionError):
            await read(cache, new)
        marker = await cache.delete("bucket", "k")
        with pytest.raises(DeleteMarkerError):
            await read(cache, marker.version_id)
        targets = [DeleteTarget(key="k", version_id=one) for one in (old, marker.version_id)]
        assert [one.error for one in await cache.delete_versions("bucket", targets)] == [None] * 2
        with pytest.raises(NoSuchVersionError):
            await read(cache, old)


async def test_deleting_an_old_version_leaves_the_current_one_cached(far: Far, data: Path):
    async with cached(data, far) as cache:
        old, _ = await put(cache, b"old"), await put(cache, b"new")
        await cache.delete("bucket", "k", version_id=old)
        assert await read(cache) == (b"new", "hit")


async def test_tags_of_a_version_change_what_the_cache_tells_of_it(far: Far, data: Path):
    async with cached(data, far) as cache:
        old, _ = await put(cache, b"old"), await put(cache, b"new")
        assert (await cache.head("bucket", "k", version_id=old)).tag_count == 0
        await cache.put_tags("bucket", "k", {"a": "1"}, version_id=old)
        assert (await cache.head("bucket", "k", version_id=old)).tag_count == 1
        assert (await cache.head("bucket", "k")).tag_count == 0
        await cache.put_acl("bucket", "k", b"acl", version_id=old)
        assert (await cache.head("bucket", "k", version_id=old)).acl == b"acl"


async def test_the_null_version_is_what_was_written_last(far: Far, data: Path):
    async with cached(data, far) as cache:
        await cache.put_versioning("bucket", Versioning.SUSPENDED)
        for body in (b"one", b"two", b"three"):
            assert await put(cache, body) == NULL_VERSION
            for _ in range(2):
                assert (await read(cache, NULL_VERSION))[0] == body
        await cache.delete("bucket", "k")
        with pytest.raises(DeleteMarkerError):
            await read(cache, NULL_VERSION)


async def test_switching_versioning_on_shows_at_what_is_cached(tmp_path: Path, data: Path):
    (tmp_path / "root").mkdir()
    async with (
        started(tmp_path / "root", bucket="bucket") as backend,
        cached(data, Far(backend)) as cache,
    ):
        assert await put(cache, b"data") == ""
        assert (await cache.head("bucket", "k")).version_id == ""
        await cache.put_versioning("bucket", Versioning.ENABLED)
        assert (await cache.head("bucket", "k")).version_id == NULL_VERSION


async def test_copies_take_the_version_that_is_named(far: Far, data: Path):
    async with cached(data, far) as cache:
        old, _ = await put(cache, b"old"), await put(cache, b"new")
        await cache.copy("bucket", "k", "bucket", "k", source_version_id=old, owner="o" * 64)
        assert (await read(cache))[0] == b"old"
        assert (await cache.head("bucket", "k")).owner == "o" * 64


async def test_a_backend_without_versions_has_null_ones(data: Path):
    backend = MemoryBackend(backend_config())
    await backend.create_bucket("bucket")
    async with cached(data, backend) as cache:
        await put(cache, b"data")
        assert await read(cache, NULL_VERSION) == (b"data", "hit")
        for call in (cache.head, cache.open, cache.get_tags, cache.delete):
            with pytest.raises(NoSuchVersionError):
                await call("bucket", "k", version_id="v1")
        page = await cache.list_versions("bucket", VersionListRequest())
        assert [one.info.key for one in page.versions] == ["k"]
        targets = [DeleteTarget(key="k", version_id=one) for one in ("v1", NULL_VERSION, "")]
        outcomes = await cache.delete_versions("bucket", targets)
        assert [type(one.error) for one in outcomes] == [NoSuchVersionError, type(None), type(None)]
        assert [one.version_id for one in outcomes] == ["v1", NULL_VERSION, ""]
