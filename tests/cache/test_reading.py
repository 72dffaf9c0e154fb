import os

import pytest
import trio
import trio.testing

from appliance.model.errors import BackendUnavailableError, NoSuchKeyError, VersionChangedError
from tests.support.cache_stack import MIB, FaultyBackend, stack

pytestmark = pytest.mark.usefixtures("each_way")

FOR_EVER = float("inf")


async def test_one_miss_is_one_backend_read_for_fifty_readers(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", b"x" * 5000)
        s.backend.gates["read"] = trio.Event()
        results = []

        async def get():
            results.append(await s.get("k"))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(get)
            await trio.testing.wait_all_tasks_blocked()
            s.backend.gates["read"].set()
        assert results == [b"x" * 5000] * 50
        assert s.backend.asked == {"read": 1}


@pytest.mark.parametrize("size", [0, 1, 5000, MIB - 1, MIB, MIB + 1, 3 * MIB + 7, 20 * MIB + 3])
async def test_what_is_read_is_what_is_there_and_hits_ask_nobody(tmp_path, size):
    data = os.urandom(size)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        assert await s.get("k") == data
        await s.quiet()
        asked, read_bytes = s.backend.asked.copy(), s.backend.read_bytes
        assert s.nowait("k")
        assert await s.get("k") == data
        assert s.cache.head_nowait("data", "k") == await s.cache.head("data", "k")
        assert (s.backend.asked, s.backend.read_bytes) == (asked, read_bytes)
        assert read_bytes == size


async def test_a_missing_key_is_an_error_each_time(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        for _ in range(2):
            with pytest.raises(NoSuchKeyError):
                await s.cache.open("data", "k")
            with pytest.raises(NoSuchKeyError):
                await s.cache.head("data", "k")
        await s.backend.foreign_put("data", "k", b"now")
        assert await s.get("k") == b"now"


async def test_a_cold_random_read_fetches_only_the_blocks_it_touches(tmp_path):
    data = os.urandom(64 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        for offset in (33 * MIB + 5, 50 * MIB - 10, 3 * MIB):
            assert await s.get_range("k", offset, 20) == data[offset : offset + 20]
        await s.quiet()
        # The first block, or as much as came before the stream was stopped; one block; two that the read straddles; one.
        assert s.backend.read_bytes <= 6 * MIB
        assert await s.get_range("k", 50 * MIB - 100, 200) == data[50 * MIB - 100 : 50 * MIB + 100]


async def test_bytes_can_be_read_before_their_block_is_whole(tmp_path):
    data = os.urandom(6 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        s.backend.hold_after = MIB // 2
        reader = await s.cache.open("data", "k")
        count = await reader.available(0, len(data))
        assert 0 < count <= MIB // 2
        assert os.pread(reader.fd, count, 0) == data[:count]
        s.backend.hold_after = None
        s.backend.released.set()
        assert await reader.read(0, len(data)) == data
        reader.close()


async def test_the_backend_failing_midway_is_an_error_and_what_landed_stays(tmp_path):
    data = os.urandom(4 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        s.backend.break_after = 2 * MIB + 5000
        with pytest.raises(BackendUnavailableError):
            await s.get("k")
        await s.quiet()
        assert await s.get_range("k", 0, 2 * MIB) == data[: 2 * MIB]
        s.backend.break_after = None
        assert await s.get("k") == data
        assert all(offset >= 2 * MIB for offset, _ in s.backend.ranges[1:])


async def test_a_version_that_changes_midway_is_never_mixed(tmp_path):
    old, new = os.urandom(40 * MIB), os.urandom(40 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", old)
        reader = await s.cache.open("data", "k")
        assert await reader.read(0, 1000) == old[:1000]
        await s.quiet()
        await s.backend.foreign_put("data", "k", new)
        with pytest.raises(VersionChangedError):
            await reader.read(30 * MIB, 1000)
        assert await s.get("k") == new
        reader.close()


async def test_a_client_that_goes_away_stops_the_fetch(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", bytes(64 * MIB))
        s.backend.hold_after = 2 * MIB
        reader = await s.cache.open("data", "k")
        await reader.available(0, 64 * MIB)
        await s.backend.arrived["hold"].wait()
        reader.close()
        with trio.fail_after(60):
            await s.quiet()
        statistics = s.cache.statistics()
        assert statistics["fetches_in_flight"] == 0
        assert statistics["fetches_cancelled_total"] > 0


async def test_everybody_who_waits_for_a_miss_may_leave(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", b"data")
        s.backend.gates["read"] = trio.Event()
        with trio.move_on_after(0) as scope:
            await s.cache.open("data", "k")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.cache.open, "data", "k")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert s.cache.statistics()["opens_in_flight"] == 0
        s.backend.gates.clear()
        assert await s.get("k") == b"data"


async def test_sequential_reads_are_read_ahead_of(tmp_path):
    data = os.urandom(40 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        reader = await s.cache.open("data", "k")
        for offset in range(0, 12 * MIB, 128 * 1024):
            assert await reader.read(offset, 128 * 1024) == data[offset : offset + 128 * 1024]
        await s.quiet()
        assert s.backend.read_bytes > 16 * MIB
        assert reader.available_nowait(15 * MIB, MIB) == MIB
        reader.close()


async def test_streaming_gives_exactly_the_range(tmp_path):
    data = os.urandom(9 * MIB + 11)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        for offset, length in (
            (0, 10),
            (5, 3 * MIB),
            (8 * MIB, MIB + 11),
            (9 * MIB + 10, 1),
            (3, 0),
        ):
            reader = await s.cache.open("data", "k")
            got = b"".join([bytes(c) async for c in reader.stream(offset, length)])
            reader.close()
            assert got == data[offset : offset + length]


# --- trust -----------------------------------------------------------------------------


async def test_a_foreign_write_is_seen_once_the_entry_is_no_longer_fresh(tmp_path):
    async with stack(tmp_path, freshness_s=60) as s:
        await s.put("k", b"old")
        await s.backend.foreign_put("data", "k", b"new")
        s.world.offset_s = 59
        assert s.nowait("k")
        s.world.offset_s = 61
        assert not s.nowait("k")
        assert await s.get("k") == b"new"
        assert s.nowait("k")


async def test_an_entry_that_is_still_current_is_trusted_again_after_one_request(tmp_path):
    async with stack(tmp_path, freshness_s=60) as s:
        await s.put("k", b"data")
        s.world.offset_s = 61
        s.backend.asked.clear()
        assert await s.get("k") == b"data"
        assert s.nowait("k")
        assert s.backend.asked == {"head": 1}


async def test_an_object_that_vanished_behind_the_cache_is_gone(tmp_path):
    async with stack(tmp_path, freshness_s=0) as s:
        await s.put("k", b"data")
        told = []
        s.cache.subscribe(told.append)
        await s.backend.foreign_delete("data", "k")
        with pytest.raises(NoSuchKeyError):
            await s.get("k")
        assert [(change.key, change.origin, change.info) for change in told] == [
            ("k", "backend", None)
        ]


async def test_without_the_backend_hits_are_served_and_marked(tmp_path):
    async with stack(tmp_path, freshness_s=0) as s:
        await s.put("k", b"data")
        s.backend.fail["head"] = BackendUnavailableError()
        reader = await s.cache.open("data", "k")
        assert reader.stale
        assert await reader.read(0, 4) == b"data"
        reader.close()
        s.backend.fail.clear()
        reader = await s.cache.open("data", "k")
        assert not reader.stale
        reader.close()


async def test_without_the_backend_hits_are_refused_where_so_configured(tmp_path):
    async with stack(tmp_path, freshness_s=0, on_outage="refuse") as s:
        await s.put("k", b"data")
        s.backend.fail["head"] = BackendUnavailableError()
        with pytest.raises(BackendUnavailableError):
            await s.cache.open("data", "k")


async def test_a_reader_keeps_its_version_whatever_happens_to_the_name(tmp_path):
    data = os.urandom(2 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.put("k", data)
        reader = await s.cache.open("data", "k")
        await s.put("k", b"new")
        await s.cache.delete("data", "k")
        await s.quiet()
        assert await reader.read(0, len(data)) == data
        reader.close()
        await s.quiet()
        assert s.files() == []


async def test_head_is_remembered_for_as_long_as_it_is_fresh(tmp_path):
    async with stack(tmp_path, freshness_s=60) as s:
        await s.backend.foreign_put("data", "k", b"data")
        info = await s.cache.head("data", "k")
        assert await s.cache.head("data", "k") == info
        assert s.backend.asked == {"head": 1}
        assert await s.get("k") == b"data"
        assert s.backend.asked == {"head": 1, "read": 1}


async def test_a_bug_in_a_backend_is_an_error_of_this_request_only(tmp_path):
    async with stack(tmp_path, backend=FaultyBackend(), freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", b"data")
        s.backend.fail["read"] = ZeroDivisionError("bug")
        with pytest.raises(Exception, match="backend"):
            await s.get("k")
        s.backend.fail.clear()
        assert await s.get("k") == b"data"


async def test_when_the_cache_stops_those_who_wait_get_an_error_and_never_a_short_object(tmp_path):
    outcomes = []

    async def read(s, chunked):
        reader = await s.cache.open("data", "k")
        with pytest.raises(BackendUnavailableError):
            await (reader.read(0, 8 * MIB) if chunked else reader.available(6 * MIB - 1, 1))
        outcomes.append(chunked)
        reader.close()

    async with trio.open_nursery() as nursery, stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", bytes(8 * MIB))
        s.backend.hold_after = MIB // 2
        nursery.start_soon(read, s, True)
        nursery.start_soon(read, s, False)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await s.backend.arrived["hold"].wait()
    assert sorted(outcomes) == [False, True]
