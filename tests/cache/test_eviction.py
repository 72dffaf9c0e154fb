import os

import trio

from tests.support.cache_stack import MIB, stack

FOR_EVER = float("inf")


async def test_the_cache_stays_below_its_capacity(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER, capacity_bytes=20 * MIB) as s:
        for number in range(60):
            await s.put(f"k{number}", bytes(MIB))
        await s.quiet()
        statistics = s.cache.statistics()
        assert statistics["used_bytes"] <= 20 * MIB
        assert statistics["evicted_objects_total"] >= 40
        assert sum(path.stat().st_size for path in s.files()) <= 20 * MIB
        for number in range(60):
            assert await s.get(f"k{number}") == bytes(MIB)


async def test_a_scan_larger_than_the_disk_leaves_the_working_set(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER, capacity_bytes=40 * MIB) as s:
        hot = [f"hot{number}" for number in range(20)]
        for key in hot:
            await s.backend.foreign_put("data", key, bytes(MIB))
        for _ in range(3):
            for key in hot:
                await s.get(key)
        for number in range(100):
            await s.backend.foreign_put("data", f"scan{number}", bytes(MIB))
            await s.get(f"scan{number}")
            await s.quiet()
        s.backend.asked.clear()
        for key in hot:
            await s.get(key)
        assert s.backend.asked["read"] <= 2


async def test_pinned_and_open_objects_are_never_evicted(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER, capacity_bytes=10 * MIB) as s:
        await s.cache.pin("data", "pinned")
        await s.cache.pin("data", "dir/")
        await s.put("pinned", b"a" * MIB)
        await s.put("dir/x", b"b" * MIB)
        await s.put("open", b"c" * MIB)
        reader = await s.cache.open("data", "open")
        for number in range(40):
            await s.put(f"k{number}", bytes(MIB))
        await s.quiet()
        assert s.nowait("pinned")
        assert s.nowait("dir/x")
        assert s.nowait("open")
        reader.close()
        await s.cache.unpin("data", "pinned")
        for number in range(
            40
        ):  # used again, they go to the main queue, where the unpinned one waits
            await s.put(f"k{number}", bytes(MIB))
            await s.get(f"k{number}")
            await s.get(f"k{number}")
        await s.quiet()
        assert not s.nowait("pinned")
        assert s.nowait("dir/x")


async def test_open_descriptors_are_bounded(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER, open_files_max=10) as s:
        for number in range(50):
            await s.put(f"k{number}", b"%d" % number)
        assert s.cache.statistics()["open_files"] <= 10
        readers = [await s.cache.open("data", f"k{number}") for number in range(50)]
        for number, reader in enumerate(readers):
            assert await reader.read(0, 10) == b"%d" % number
            reader.close()
        for number in range(50):
            assert await s.get(f"k{number}") == b"%d" % number
        await s.put("one more", b"")
        assert s.cache.statistics()["open_files"] <= 10
        assert s.backend.asked["read"] == 0


async def test_what_is_forgotten_in_memory_is_found_in_the_journal(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        s.cache._index._entries_max = 10
        for number in range(50):
            await s.put(f"k{number}", b"%d" % number)
        assert s.cache.statistics()["memory_entries"] <= 10
        for number in range(50):
            assert await s.get(f"k{number}") == b"%d" % number
        assert s.backend.asked["read"] == 0
        await s.put("k0", b"new")
        assert await s.get("k0") == b"new"
        await s.cache.delete_many("data", [f"k{number}" for number in range(50)])
        await s.quiet()
        assert s.files() == []


async def test_readers_that_overlap_evictions_always_see_whole_objects(tmp_path):
    datas = {f"k{number}": os.urandom(MIB + number) for number in range(16)}
    async with stack(tmp_path, freshness_s=FOR_EVER, capacity_bytes=6 * MIB) as s:
        for key, data in datas.items():
            await s.backend.foreign_put("data", key, data)

        async def read(start):
            for number in range(32):
                key = f"k{(start + number * 7) % 16}"
                assert await s.get(key) == datas[key]

        async with trio.open_nursery() as nursery:
            for start in range(4):
                nursery.start_soon(read, start)
        await s.quiet()
        assert s.cache.statistics()["used_bytes"] <= 6 * MIB
