"""Backends that keep objects in local files: their files are served, validated by `stat` at each use, and never copied."""

import os
from contextlib import asynccontextmanager

import pytest
import trio

from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal import Journal
from appliance.model.errors import NoSuchKeyError
from appliance.model.objects import PutOptions
from appliance.plugin import BytesBody
from appliance.policy.buckets import BucketPolicy
from appliance.world import RealWorld
from appliance_posix.plugin import appliance_backend
from tests.support.cache_stack import MIB, Stack
from tests.support.plugin_host import backend_config


@asynccontextmanager
async def posix_stack(root, policy=BucketPolicy(), **limits):  # noqa: B008  # frozen
    (root / "truth" / "data").mkdir(parents=True)
    (root / "node").mkdir()
    world = RealWorld()
    backend = appliance_backend(f"posix://{root / 'truth'}", backend_config("truth"))
    await backend.start()
    journal = Journal.open(root / "node" / "appliance.db", world)
    store = Store(root / "node")
    try:
        async with journal.running(), trio.open_nursery() as nursery:
            cache = ObjectCache(
                world, journal, store, Routes([Route("*", backend, policy)]), **limits
            )
            await nursery.start(cache.run)
            yield Stack(cache, backend, world, journal, store, root / "node")
            nursery.cancel_scope.cancel()
    finally:
        journal.close()
        await backend.stop()


async def test_a_local_file_is_served_by_its_own_descriptor_and_not_copied(tmp_path):
    data = os.urandom(3 * MIB)
    async with posix_stack(tmp_path) as s:
        await s.put("k", data)
        assert await s.get("k") == data
        reader = s.cache.open_nowait("data", "k")
        assert reader.source == "local"
        assert os.pread(reader.fd, 10, 5) == data[5:15]
        assert reader.available_nowait(0, len(data)) == len(data)
        reader.close()
        await s.quiet()
        assert s.files() == []


async def test_a_file_changed_by_hand_is_seen_at_once(tmp_path):
    async with posix_stack(tmp_path) as s:
        await s.put("k", b"old")
        assert await s.get("k") == b"old"
        assert s.nowait("k")
        new = tmp_path / "truth" / "new"
        new.write_bytes(b"changed")
        new.rename(tmp_path / "truth" / "data" / "k")
        assert not s.nowait("k")
        assert await s.get("k") == b"changed"
        (tmp_path / "truth" / "data" / "k").unlink()
        with pytest.raises(NoSuchKeyError):
            await s.get("k")
        with pytest.raises(NoSuchKeyError):
            await s.cache.head("data", "k")


async def test_heads_are_remembered_and_validated_without_a_thread(tmp_path):
    async with posix_stack(tmp_path) as s:
        await s.put("k", b"data")
        info = await s.cache.head("data", "k")
        assert s.cache.head_nowait("data", "k") == info
        await s.cache.delete("data", "k")
        assert s.cache.head_nowait("data", "k") is None


async def test_descriptors_on_local_files_are_bounded(tmp_path):
    async with posix_stack(tmp_path) as s:
        s.cache._index._open_files_max = 10
        for number in range(40):
            await s.put(f"k{number}", b"%d" % number)
        for number in range(40):
            assert await s.get(f"k{number}") == b"%d" % number
        await s.put("last", b"")
        assert await s.get("last") == b""
        assert s.cache.statistics()["open_files"] <= 10
        for number in range(40):
            assert await s.get(f"k{number}") == b"%d" % number


async def test_readers_who_come_late_to_an_answer_ask_again(tmp_path):
    """Freshness 0: a reader that began after a foreign write was done never gets what was before."""
    async with posix_stack(tmp_path) as s:
        path = tmp_path / "truth" / "data" / "k"
        stop = False
        latest = 0

        async def read():
            while not stop:
                oldest = latest
                assert int(await s.get("k")) >= oldest

        async def write(number):
            nonlocal latest
            new = tmp_path / "truth" / "new"
            new.write_bytes(b"%d" % number)
            new.rename(path)
            latest = number

        await write(0)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(read)
            for number in range(1, 100):
                await trio.to_thread.run_sync(bool)
                await write(number)
            stop = True
        assert await s.get("k") == b"99"


async def test_writes_through_the_cache_are_seen_with_endless_freshness(tmp_path):
    async with posix_stack(tmp_path, BucketPolicy(freshness_s=float("inf"))) as s:
        for number in range(20):
            await s.put("k", b"%d" % number)
            assert await s.get("k") == b"%d" % number
            assert s.nowait("k")
        reader = await s.cache.open("data", "k")
        await s.cache.put("data", "k", BytesBody(b"other"), PutOptions())
        assert await reader.read(0, 10) == b"19"
        reader.close()
