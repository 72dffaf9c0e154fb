import os

import pytest

from appliance.model.errors import BackendUnavailableError, NoSuchKeyError
from tests.support.cache_stack import MIB, FaultyBackend, stack

FOR_EVER = float("inf")


async def test_a_restart_keeps_the_cache_warm(tmp_path):
    backend = FaultyBackend()
    small, large = os.urandom(5000), os.urandom(5 * MIB + 3)
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.put("small", small)
        await s.put("large", large)
        await s.put("gone", b"x")
        await s.cache.delete("data", "gone")
    backend.asked.clear()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        assert await s.get("small") == small
        assert await s.get("large") == large
        assert backend.asked == {}
        with pytest.raises(NoSuchKeyError):
            await s.get("gone")
        assert s.cache.statistics()["orphans_removed_total"] == 0


async def test_a_partial_file_survives_a_restart(tmp_path):
    backend = FaultyBackend()
    data = os.urandom(40 * MIB)
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await backend.foreign_put("data", "k", data)
        assert await s.get_range("k", 20 * MIB, 2 * MIB) == data[20 * MIB : 22 * MIB]
        await s.quiet()
    backend.asked.clear()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        assert await s.get_range("k", 20 * MIB, 2 * MIB) == data[20 * MIB : 22 * MIB]
        assert backend.asked == {}
        assert await s.get("k") == data


async def test_after_a_restart_entries_that_age_are_asked_about(tmp_path):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=60) as s:
        await s.put("k", b"old")
        await s.put("same", b"same")
    await backend.foreign_put("data", "k", b"new")
    backend.asked.clear()
    async with stack(tmp_path, backend=backend, freshness_s=60) as s:
        assert await s.get("k") == b"new"
        assert await s.get("same") == b"same"
        assert backend.asked == {"head": 2, "read": 1}


async def test_a_write_that_a_crash_left_open_is_never_believed_unasked(tmp_path):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.put("k", b"old")
        backend.lose_answer.add("put")
        with pytest.raises(BackendUnavailableError):
            await s.put("k", b"new")
    backend.lose_answer.clear()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        assert not s.nowait("k")
        assert await s.get("k") == b"new"


async def test_files_nobody_knows_are_removed_and_missing_ones_fetched_again(tmp_path):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.put("k", b"data")
        [file] = s.files()
    file.rename(file.with_name("0" * 32))
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        assert s.cache.statistics()["orphans_removed_total"] == 1
        assert await s.get("k") == b"data"
        assert backend.asked["read"] == 1


@pytest.mark.parametrize("size", [5000, 5 * MIB])
@pytest.mark.parametrize("damage", ["flip", "cut", "sidecar"])
async def test_damage_is_found_after_an_unclean_stop(tmp_path, size, damage):
    backend = FaultyBackend()
    data = os.urandom(size)
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.put("k", data)
        files = s.files()
    if damage == "flip":
        with files[0].open("r+b") as file:
            file.seek(size // 2)
            file.write(bytes([data[size // 2] ^ 1]))
    elif damage == "cut":
        os.truncate(files[0], size - 1)
    elif len(files) > 1:
        files[1].write_bytes(b"rubbish")
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER, clean=False) as s:
        assert await s.get("k") == data


async def test_after_an_unclean_stop_each_file_is_verified_once(tmp_path):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        for key in "abc":
            await s.put(key, os.urandom(5000))
    async with stack(
        tmp_path, backend=backend, freshness_s=FOR_EVER, clean=False, open_files_max=1
    ) as s:
        assert s.cache.statistics()["unverified_files"] == 3
        for key in "abab":
            await s.get(key)
        assert s.cache.statistics()["unverified_files"] == 1
        assert backend.asked["read"] == 0


async def test_a_scrub_drops_damaged_objects_and_only_those(tmp_path):
    backend = FaultyBackend()
    data = os.urandom(3 * MIB)
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.put("damaged", data)
        [damaged] = [path for path in s.files() if path.suffix != ".blocks"]
        await s.put("fine", data)
        with damaged.open("r+b") as file:
            file.seek(MIB + 5)
            file.write(b"\0\0\0\0")
        report = await s.cache.scrub()
        assert (report.objects, report.dropped) == (2, 1)
        assert s.nowait("fine")
        assert await s.get("damaged") == data


async def test_uses_before_a_restart_count_after_it(tmp_path):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER, capacity_bytes=20 * MIB) as s:
        for number in range(8):
            await s.put(f"hot{number}", bytes(MIB))
            await s.get(f"hot{number}")
            await s.get(f"hot{number}")
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER, capacity_bytes=20 * MIB) as s:
        for number in range(50):
            await s.put(f"scan{number}", bytes(MIB))
            await s.quiet()
        assert all([await s.get(f"hot{number}") for number in range(8)])
        assert backend.asked["read"] == 0


async def test_pins_survive_a_restart(tmp_path):
    backend = FaultyBackend()
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER) as s:
        await s.cache.pin("data", "")
    async with stack(tmp_path, backend=backend, freshness_s=FOR_EVER, capacity_bytes=4 * MIB) as s:
        for number in range(10):
            await s.put(f"k{number}", bytes(MIB))
        await s.quiet()
        assert s.cache.statistics()["evicted_objects_total"] == 0
