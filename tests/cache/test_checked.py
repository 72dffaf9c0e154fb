"""Callers of one cache: each is checked before it is served, what they share is the appliance's."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
import trio.testing

from appliance.cache.checked import CheckedCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal import Journal
from appliance.model.errors import AccessDeniedError, NoSuchKeyError
from appliance.model.objects import ListRequest, PutOptions
from appliance.plugin import CALLER, BytesBody, Caller, acting_as
from appliance.policy.buckets import FOR_EVER, BucketPolicy
from appliance.world import RealWorld
from appliance_example.backend import MemoryBackend
from tests.support.plugin_host import backend_config

ALICE, BOB = Caller(1, (1,)), Caller(2, (2,))


class OwnedBackend(MemoryBackend):
    """Objects of which some are somebody's. `as_whom`: the callers that each operation came with."""

    capabilities = msgspec.structs.replace(MemoryBackend.capabilities, callers=True)

    def __init__(self, name="owned") -> None:
        super().__init__(backend_config(name))
        self.readers: dict[str, set[Caller]] = {}
        self.as_whom: dict[str, list[Caller | None]] = {}
        self.gate: trio.Event | None = None

    def _note(self, op: str) -> None:
        self.as_whom.setdefault(op, []).append(CALLER.get())

    async def check_read(self, bucket, key, *, version_id=""):
        await trio.lowlevel.checkpoint()
        if CALLER.get() not in self.readers.get(key, {ALICE, BOB}):
            raise AccessDeniedError(bucket=bucket, key=key)

    def validate_nowait(self, bucket, key, version):
        return None

    def read(self, *args, **kwargs):
        self._note("read")
        return super().read(*args, **kwargs)

    async def head(self, *args, **kwargs):
        self._note("head")
        if self.gate is not None:
            await self.gate.wait()
        return await super().head(*args, **kwargs)

    async def put(self, *args, **kwargs):
        self._note("put")
        return await super().put(*args, **kwargs)

    async def delete(self, *args, **kwargs):
        self._note("delete")
        return await super().delete(*args, **kwargs)

    async def list_objects(self, *args, **kwargs):
        self._note("list")
        return await super().list_objects(*args, **kwargs)


@asynccontextmanager
async def checked(directory, *backends, freshness_s=FOR_EVER):
    world = RealWorld()
    journal = Journal.open(directory / "appliance.db", world)
    routes = Routes(
        [
            Route(pattern, backend, BucketPolicy(freshness_s=freshness_s))
            for pattern, backend in zip(("data", "*"), backends, strict=False)
        ]
    )
    async with journal.running(), trio.open_nursery() as nursery:
        cache = CheckedCache(world, journal, Store(directory), routes, capacity_bytes=1 << 28)
        await nursery.start(cache.run)
        await cache.create_bucket("data")
        try:
            yield cache
        finally:
            nursery.cancel_scope.cancel()
    journal.close()


async def put(cache, key, data=b"x" * 5000, bucket="data"):
    await cache.put(bucket, key, BytesBody(data), PutOptions())


async def get(cache, key, bucket="data") -> bytes:
    reader = await cache.open(bucket, key)
    try:
        return await reader.read(0, reader.info.size)
    finally:
        reader.close()


@pytest.mark.parametrize("freshness_s", [FOR_EVER, 0.0])
async def test_a_hit_is_checked_as_a_miss_is(tmp_path, freshness_s):
    backend = OwnedBackend()
    async with checked(tmp_path, backend, freshness_s=freshness_s) as cache:
        await put(cache, "k")
        backend.readers["k"] = {ALICE}
        for _ in range(2):
            with acting_as(ALICE):
                assert await get(cache, "k") == b"x" * 5000
                assert (await cache.head("data", "k")).size == 5000
            with acting_as(BOB):
                for refused in (get(cache, "k"), cache.head("data", "k")):
                    with pytest.raises(AccessDeniedError):
                        await refused
                with pytest.raises(AccessDeniedError):
                    await cache.get_tags("data", "k")
        assert await get(cache, "k") == b"x" * 5000  # the appliance itself


async def test_permissions_that_are_withdrawn_are_withdrawn_from_hits(tmp_path):
    backend = OwnedBackend()
    async with checked(tmp_path, backend) as cache:
        await put(cache, "k")
        with acting_as(ALICE):
            assert await get(cache, "k")
            backend.readers["k"] = {BOB}
            with pytest.raises(AccessDeniedError):
                await get(cache, "k")


async def test_what_is_shared_is_fetched_as_the_appliance(tmp_path):
    backend = OwnedBackend()
    async with checked(tmp_path, backend, freshness_s=0.0) as cache:
        await put(cache, "k")
        backend.as_whom.clear()
        backend.gate = trio.Event()
        bodies = []

        async def one(caller):
            with acting_as(caller):
                bodies.append(await get(cache, "k"))

        async with trio.open_nursery() as nursery:
            for caller in (ALICE, BOB, None, ALICE):
                nursery.start_soon(one, caller)
            await trio.testing.wait_all_tasks_blocked()
            backend.gate.set()
        assert bodies == [b"x" * 5000] * 4
        assert set(backend.as_whom["head"] + backend.as_whom.get("read", [])) == {None}


async def test_changes_and_listings_reach_the_backend_with_their_caller(tmp_path):
    backend = OwnedBackend()
    async with checked(tmp_path, backend) as cache:
        with acting_as(ALICE):
            await put(cache, "k")
            await cache.delete("data", "k")
        with acting_as(BOB):
            await cache.list_objects("data", ListRequest())
        assert backend.as_whom == {"put": [ALICE], "delete": [ALICE], "list": [BOB]}


async def test_the_source_of_a_copy_is_checked(tmp_path):
    here, there = OwnedBackend("here"), OwnedBackend("there")
    async with checked(tmp_path, here, there) as cache:
        await cache.create_bucket("other")
        await put(cache, "k")
        here.readers["k"] = {ALICE}
        upload = await cache.create_upload("data", "u", PutOptions())
        for bucket in ("data", "other"):  # within the backend, and between two
            with acting_as(BOB), pytest.raises(AccessDeniedError):
                await cache.copy("data", "k", bucket, "copied")
            with acting_as(ALICE):
                await cache.copy("data", "k", bucket, "copied")
            assert await get(cache, "copied", bucket) == b"x" * 5000
        with acting_as(BOB), pytest.raises(AccessDeniedError):
            await cache.copy_part("data", "k", "data", "u", upload.upload_id, 1)


async def test_what_is_not_there_is_not_there(tmp_path):
    async with checked(tmp_path, OwnedBackend()) as cache:
        with acting_as(ALICE), pytest.raises(NoSuchKeyError):
            await cache.open("data", "missing")


async def test_backends_that_know_no_users_are_not_asked(tmp_path):
    backend = OwnedBackend()
    backend.capabilities = msgspec.structs.replace(backend.capabilities, callers=False)
    async with checked(tmp_path, backend) as cache:
        await put(cache, "k")
        backend.readers["k"] = set()
        with acting_as(ALICE):
            assert await get(cache, "k") == b"x" * 5000
