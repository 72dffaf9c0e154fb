"""How large objects come: one stream while that is fast, several requests where it is not, and never more than somebody wants."""

import os

import pytest
import trio

from appliance.cache.entry import Fetch
from appliance.cache.plan.fetch import Span
from tests.support.cache_stack import MIB, FaultyBackend, SteppedWorld, stack

pytestmark = pytest.mark.usefixtures("each_way")

FOR_EVER = float("inf")


class TimedBackend(FaultyBackend):
    """Time passes with its bytes: `latency_s` a request, then `bytes_per_s`."""

    def __init__(self, world, latency_s, bytes_per_s):
        super().__init__()
        self.world, self.latency_s, self.bytes_per_s = world, latency_s, bytes_per_s

    async def _before(self, op):
        self.world.offset_s += self.latency_s
        await super()._before(op)

    async def piece(self, size):
        self.world.offset_s += size / self.bytes_per_s


async def read_all(s, key, step=128 * 1024):
    reader = await s.cache.open("data", key)
    parts = [await reader.read(offset, step) for offset in range(0, reader.info.size, step)]
    reader.close()
    return b"".join(parts)


@pytest.mark.parametrize(
    ("latency_s", "bytes_per_s", "requests"),
    [(0.001, 500e6, 1), (0.05, 20e6, "many"), (0.5, 50e6, 1)],
    ids=["fast", "far", "slow to answer"],
)
async def test_one_request_serves_a_long_read_unless_several_would_be_faster(
    tmp_path, latency_s, bytes_per_s, requests
):
    world = SteppedWorld()
    backend = TimedBackend(world, latency_s, bytes_per_s)
    data = os.urandom(96 * MIB)
    async with stack(tmp_path, backend=backend, world=world, freshness_s=FOR_EVER) as s:
        await backend.foreign_put("data", "k", data)
        assert await read_all(s, "k", 2 * MIB) == data
        asked = backend.asked["read"]
        assert asked > 3 if requests == "many" else asked == requests
        assert backend.read_bytes <= len(data) + 2 * MIB


async def test_a_reader_that_stops_leaves_the_rest_where_it_is(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", bytes(96 * MIB))
        reader = await s.cache.open("data", "k")
        for offset in range(0, 4 * MIB, MIB):
            await reader.read(offset, MIB)
        with trio.fail_after(60):
            await s.quiet()
        assert s.backend.read_bytes < 32 * MIB
        reader.close()


async def test_a_far_read_does_not_wait_for_the_stream_that_will_come_by(tmp_path):
    data = os.urandom(48 * MIB)
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        s.backend.hold_after = 2 * MIB
        first = await s.cache.open("data", "k")
        await first.available(0, len(data))
        await s.backend.arrived["hold"].wait()
        s.backend.hold_after = None
        second = await s.cache.open("data", "k")
        with trio.fail_after(60):
            assert await second.read(40 * MIB, 1000) == data[40 * MIB : 40 * MIB + 1000]
        second.close()
        s.backend.released.set()
        assert await first.read(0, len(data)) == data
        first.close()
        assert s.backend.read_bytes <= len(data) + 2 * MIB


def test_a_lazy_fetch_speaks_only_for_what_is_wanted_of_it():
    fetch = Fetch(Span(2, 100), 100 * MIB, asked_s=0.0, lazy=True)
    assert fetch.span == Span(2, 3)
    fetch.wanted_end = 10 * MIB + 1
    assert fetch.span == Span(2, 11)
    fetch.cap(7 * MIB)
    assert fetch.span == Span(2, 7)
    fetch.landed = 5 * MIB
    fetch.cap(3 * MIB)
    assert fetch.end == 7 * MIB
    assert Fetch(Span(2, 100), 99 * MIB + 5, asked_s=0.0).span == Span(2, 100)
