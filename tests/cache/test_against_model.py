"""Random operations, foreign writers, restarts and evictions among them, against a dict: the reference that says what is correct."""

import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model.errors import BackendUnavailableError, NoSuchKeyError, VersionChangedError
from appliance.model.objects import PutOptions
from appliance.plugin import BytesBody
from tests.support.cache_stack import MIB, FaultyBackend, SteppedWorld, stack

pytestmark = pytest.mark.usefixtures("each_way")

KEYS = ("a", "b", "dir/c")
SIZES = (0, 1, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB + 5)
CAPACITY_BYTES = 5 * MIB

keys = st.sampled_from(KEYS)
sizes = st.sampled_from(SIZES)
operations = st.one_of(
    st.tuples(st.just("put"), keys, sizes),
    st.tuples(st.just("put"), keys, sizes),
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("get"), keys),
    st.tuples(
        st.just("range"), keys, st.integers(0, 3 * MIB), st.sampled_from([1, 4096, MIB, 2 * MIB])
    ),
    st.tuples(st.just("head"), keys),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("delete_many"), st.lists(keys, max_size=3)),
    st.tuples(st.just("copy"), keys, keys),
    st.tuples(st.just("tags"), keys),
    st.tuples(st.just("foreign_put"), keys, sizes),
    st.tuples(st.just("foreign_delete"), keys),
    st.tuples(st.just("lost_answer"), keys, sizes),
    st.tuples(st.just("race"), keys, st.lists(sizes, min_size=2, max_size=3)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("restart"), st.booleans()),
)


class Model:
    """The interpreter: every operation on the cache and on a dict."""

    def __init__(self, *, exclusive: bool) -> None:
        self.exclusive = exclusive
        self.backend = FaultyBackend()
        self.world = SteppedWorld()
        self.objects: dict[str, bytes] = {}
        self.count = 0
        self.s = None

    def bytes_of(self, size: int) -> bytes:
        """Different each time, and everywhere."""
        self.count += 1
        return (b"%8d" % self.count * (size // 8 + 1))[:size]

    async def put(self, key, size):
        data = self.bytes_of(size)
        await self.s.put(key, data)
        self.objects[key] = data

    async def get(self, key):
        if key in self.objects:
            assert await self.s.get(key) == self.objects[key]
        else:
            with pytest.raises(NoSuchKeyError):
                await self.s.get(key)

    async def range(self, key, offset, length):
        data = self.objects.get(key, b"")
        if offset < len(data):
            assert await self.s.get_range(key, offset, length) == data[offset : offset + length]

    async def head(self, key):
        if key in self.objects:
            assert (await self.s.cache.head("data", key)).size == len(self.objects[key])
        else:
            with pytest.raises(NoSuchKeyError):
                await self.s.cache.head("data", key)

    async def delete(self, key):
        await self.s.cache.delete("data", key)
        self.objects.pop(key, None)

    async def delete_many(self, keys):
        outcomes = await self.s.cache.delete_many("data", keys)
        assert [outcome.error for outcome in outcomes] == [None] * len(keys)
        for key in keys:
            self.objects.pop(key, None)

    async def copy(self, source, target):
        if source in self.objects:
            await self.s.cache.copy("data", source, "data", target, options=PutOptions())
            self.objects[target] = self.objects[source]

    async def tags(self, key):
        if key in self.objects:
            await self.s.cache.put_tags("data", key, {"n": str(self.count)})
            assert (await self.s.cache.head("data", key)).tag_count == 1

    async def foreign_put(self, key, size):
        if not self.exclusive:
            self.objects[key] = self.bytes_of(size)
            await self.backend.foreign_put("data", key, self.objects[key])

    async def foreign_delete(self, key):
        if not self.exclusive:
            self.objects.pop(key, None)
            await self.backend.foreign_delete("data", key)

    async def lost_answer(self, key, size):
        data = self.bytes_of(size)
        self.backend.lose_answer.add("put")
        with pytest.raises(BackendUnavailableError):
            await self.s.put(key, data)
        self.backend.lose_answer.clear()
        self.objects[key] = data

    async def race(self, key, sizes):
        """Writers and readers at once: what the backend ends with is what everybody reads afterwards."""
        datas = [self.bytes_of(size) for size in sizes]
        allowed = {*datas, self.objects.get(key)}

        async def read():
            try:
                assert await self.s.get(key) in allowed
            except NoSuchKeyError:
                assert None in allowed
            except VersionChangedError:
                pass  # a reader of a partial version may lose it, but never see it mixed

        async with trio.open_nursery() as nursery:
            for data in datas:
                nursery.start_soon(
                    self.s.cache.put,
                    "data",
                    key,
                    BytesBody(data, chunk_bytes=300_000),
                    PutOptions(),
                )
                nursery.start_soon(read)
        self.objects[key] = self.backend.store.buckets["data"].objects[key].data

    async def settle(self):
        self.world.offset_s += 61
        await self.s.cache.settle()

    async def run(self, steps) -> None:
        with tempfile.TemporaryDirectory() as directory:
            remaining, clean = list(steps), True
            while True:
                async with stack(
                    Path(directory),
                    backend=self.backend,
                    world=self.world,
                    freshness_s=float("inf") if self.exclusive else 0.0,
                    capacity_bytes=CAPACITY_BYTES,
                    clean=clean,
                ) as self.s:
                    restart = await self._until_restart(remaining)
                    for key in KEYS:
                        await self.get(key)
                    await self.s.quiet()
                    used = self.s.cache.statistics()["used_bytes"]
                    assert used <= CAPACITY_BYTES
                    on_disk = sum(p.stat().st_size for p in self.s.files() if p.suffix != ".blocks")
                    assert on_disk >= used
                if restart is None:
                    return
                clean = restart

    async def _until_restart(self, remaining):
        while remaining:
            op, *arguments = remaining.pop(0)
            if op == "restart":
                return arguments[0]
            await getattr(self, op)(*arguments)
        return None


@pytest.mark.parametrize("exclusive", [True, False])
@settings(max_examples=40)
@given(steps=st.lists(operations, max_size=25))
def test_the_cache_behaves_like_a_dict(exclusive, steps):
    trio.run(Model(exclusive=exclusive).run, steps)
