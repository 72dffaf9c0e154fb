"""A process that streams large objects through a cache, in and out at once, and prints the peak of its resident memory in bytes.

Run as a script: DIRECTORY OBJECT_BYTES STREAMS.
"""

from __future__ import annotations

import math
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal import Journal
from appliance.model.objects import ObjectInfo, PutOptions
from appliance.model.ranges import ByteRange
from appliance.plugin import Body, Digests, ObjectStream
from appliance.policy.buckets import BucketPolicy
from appliance.world import RealWorld
from tests.support.cache_stack import FaultyBackend

CHUNK = bytes(range(256)) * 1024


class EndlessStream(ObjectStream):
    def __init__(self, info: ObjectInfo, wanted: ByteRange) -> None:
        self.info, self.range, self._left = info, wanted, wanted.length

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise StopAsyncIteration
        take = min(self._left, len(CHUNK))
        self._left -= take
        return CHUNK[:take]


class BigBackend(FaultyBackend):
    """Every key holds an object of that many bytes; what is put is counted and thrown away."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key=key, size=self.size, etag="e", version="v", modified_ns=0)

    async def head(self, bucket, key):
        await trio.lowlevel.checkpoint()
        return self._info(key)

    @asynccontextmanager
    async def read(self, bucket, key, range=None, **options):  # noqa: A002
        await trio.lowlevel.checkpoint()
        wanted = range.resolve(self.size) if range else ByteRange(0, self.size)
        yield EndlessStream(self._info(key), wanted)

    async def put(self, bucket, key, body, options, *conditions):
        total = 0
        async for chunk in body:
            total += len(chunk)
        assert total == self.size
        return self._info(key)


class EndlessBody(Body):
    def __init__(self, size: int) -> None:
        self.size = size

    def __aiter__(self):
        return EndlessStream(None, ByteRange(0, self.size))

    def digests(self):
        return Digests("")


async def _get(cache: ObjectCache, key: str) -> None:
    reader = await cache.open("data", key)
    offset = 0
    while offset < reader.info.size:
        offset += await reader.available(offset, reader.info.size - offset)
    reader.close()


async def main(root: Path, size: int, streams: int) -> None:
    world = RealWorld()
    journal = Journal.open(root / "appliance.db", world)
    routes = Routes([Route("*", BigBackend(size), BucketPolicy(freshness_s=math.inf))])
    async with journal.running(), trio.open_nursery() as nursery:
        cache = ObjectCache(world, journal, Store(root), routes, capacity_bytes=64 << 30)
        await nursery.start(cache.run)
        async with trio.open_nursery() as work:
            for number in range(streams):
                work.start_soon(_get, cache, f"get{number}")
                work.start_soon(cache.put, "data", f"put{number}", EndlessBody(size), PutOptions())
        nursery.cancel_scope.cancel()
    journal.close()
    sys.stdout.write(f"{_peak_bytes()}\n")


def _peak_bytes() -> int:
    """Not from getrusage: that peak outlives exec, and is the parent's."""
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    ]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
