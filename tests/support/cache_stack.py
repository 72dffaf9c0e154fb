"""A whole cache over a memory backend that counts, waits and fails on demand: for tests of `appliance.cache`."""

from __future__ import annotations

import collections
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from appliance.cache.limits import Limits
from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal import Journal
from appliance.model.errors import BackendUnavailableError
from appliance.model.objects import PutOptions
from appliance.plugin import BytesBody, Capabilities, ObjectStream
from appliance.policy.buckets import BucketPolicy
from appliance.world import RealWorld
from appliance.world.disk import Disk
from appliance_example.backend import MemoryBackend
from appliance_example.store import Store as MemoryStore
from tests.support.plugin_host import backend_config

MIB = 1 << 20


class SteppedWorld(RealWorld):
    """Real, except that time passes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_s = 0.0
        self._began_s = super().boot_s()

    def boot_s(self) -> float:
        return self._began_s + self.offset_s


class FaultyBackend(MemoryBackend):
    """Counts what is asked of it. `gate[op]`: wait there; `fail[op]`: raise that; `break_after`: reads end so after that many bytes."""

    # Whether its streams are written by a thread (`ObjectStream.drain`), as those of an S3 upstream.
    drains = False
    capabilities = Capabilities(
        conditional_put=True,
        conditional_delete=True,
        server_side_copy=True,
        tagging=True,
        checksums=MemoryBackend.capabilities.checksums,
    )

    def __init__(self, name: str = "memory", store: MemoryStore | None = None) -> None:
        super().__init__(backend_config(name), store=store)
        self.asked: collections.Counter[str] = collections.Counter()
        self.read_bytes = 0
        self.ranges: list[tuple[int, int]] = []
        self.gates: dict[str, trio.Event] = {}
        self.arrived: dict[str, trio.Event] = collections.defaultdict(trio.Event)
        self.fail: dict[str, Exception] = {}
        self.lose_answer: set[str] = set()
        self.lose_request = False
        self.break_after: int | None = None
        self.hold_after: int | None = None
        self.cut_after: int | None = None
        self.released = trio.Event()
        self.chunk_bytes = 256 * 1024

    async def piece(self, size: int) -> None:
        """Bytes are on their way."""

    async def _before(self, op: str) -> None:
        self.asked[op] += 1
        self.arrived[op].set()
        if op in self.gates:
            await self.gates[op].wait()
        if op in self.fail:
            raise self.fail[op]

    def validate_nowait(self, bucket, key, version):
        return None

    async def head(self, bucket, key):
        await self._before("head")
        return await super().head(bucket, key)

    @asynccontextmanager
    async def read(self, bucket, key, range=None, **options):  # noqa: A002
        await self._before("read")
        async with super().read(bucket, key, range, **options) as stream:
            self.ranges.append((stream.range.offset, stream.range.length))
            draining = _Stream(self, stream)
            try:
                yield draining
            finally:
                await draining.end()

    async def put(self, bucket, key, body, options, *conditions):
        await self._before("put")
        if self.lose_request:
            async for _ in body:
                pass
            raise BackendUnavailableError("the request was lost")
        info = await super().put(bucket, key, body, options, *conditions)
        await self._after("put")
        return info

    async def delete(self, bucket, key, *conditions):
        await self._before("delete")
        await super().delete(bucket, key, *conditions)
        await self._after("delete")

    async def copy(self, *args, **options):
        await self._before("copy")
        return await super().copy(*args, **options)

    async def _after(self, op: str) -> None:
        self.arrived["after " + op].set()
        if "after " + op in self.gates:
            await self.gates["after " + op].wait()
        if op in self.lose_answer:
            raise BackendUnavailableError("the answer was lost")

    async def foreign_put(self, bucket: str, key: str, data: bytes):
        """Behind the cache's back."""
        return await MemoryBackend.put(self, bucket, key, BytesBody(data), PutOptions())

    async def foreign_delete(self, bucket: str, key: str):
        await MemoryBackend.delete(self, bucket, key)


class _Stream(ObjectStream):
    def __init__(self, backend: FaultyBackend, stream: ObjectStream) -> None:
        self.info = stream.info
        self.range = stream.range
        self._backend = backend
        self._stream = stream
        self._left: AsyncGenerator[bytes] | None = None

    async def drain(self, write):
        if not self._backend.drains:
            return False
        if self._left is None:
            self._left = aiter(self)
        async for chunk in self._left:
            if not await trio.to_thread.run_sync(write, memoryview(chunk)):
                break
        return True

    async def end(self):
        if self._left is not None:
            await self._left.aclose()

    async def __aiter__(self):
        sent = 0
        async for chunk in self._stream:
            for offset in range(0, len(chunk), self._backend.chunk_bytes):
                piece = chunk[offset : offset + self._backend.chunk_bytes]
                limit = self._backend.break_after
                if limit is not None and sent + len(piece) > limit:
                    raise BackendUnavailableError("the connection broke")
                if self._backend.cut_after is not None and sent >= self._backend.cut_after:
                    return
                hold = self._backend.hold_after
                if hold is not None and sent + len(piece) > hold:
                    self._backend.arrived["hold"].set()
                    await self._backend.released.wait()
                sent += len(piece)
                await self._backend.piece(len(piece))
                self._backend.read_bytes += len(piece)
                yield piece


class Stack:
    """What a test holds in its hands."""

    def __init__(self, cache, backend, world, journal, store, root) -> None:
        self.cache: ObjectCache = cache
        self.backend: FaultyBackend = backend
        self.world: SteppedWorld = world
        self.journal: Journal = journal
        self.store: Store = store
        self.root: Path = root

    async def put(self, key: str, data: bytes, bucket: str = "data", **options):
        return await self.cache.put(bucket, key, BytesBody(data), PutOptions(**options))

    async def get(self, key: str, bucket: str = "data") -> bytes:
        reader = await self.cache.open(bucket, key)
        try:
            return await reader.read(0, reader.info.size)
        finally:
            reader.close()

    async def get_range(self, key: str, offset: int, length: int, bucket: str = "data") -> bytes:
        reader = await self.cache.open(bucket, key)
        try:
            return await reader.read(offset, length)
        finally:
            reader.close()

    def nowait(self, key: str, bucket: str = "data") -> bool:
        reader = self.cache.open_nowait(bucket, key)
        if reader is not None:
            reader.close()
        return reader is not None

    async def quiet(self) -> None:
        """Until every background task waits, and the journal has all."""
        await trio.testing.wait_all_tasks_blocked(0.005)
        while self._busy(self.cache.statistics()):
            await trio.testing.wait_all_tasks_blocked(0.005)
        await self.journal.flush()

    def _busy(self, statistics) -> bool:
        names = ("fetches_in_flight", "files_to_remove", "write_behind_bytes")
        return any(statistics[name] for name in names)

    def files(self) -> list[Path]:
        return sorted(path for path in (self.root / "objects").rglob("*") if path.is_file())


@asynccontextmanager
async def stack(
    root: Path,
    *,
    backend: FaultyBackend | None = None,
    world: SteppedWorld | None = None,
    disk: Disk | None = None,
    freshness_s: float | None = None,
    on_outage: str = "serve",
    clean: bool = True,
    more_routes: tuple[Route, ...] = (),
    **limits,
) -> AsyncIterator[Stack]:
    """A running cache over `root`, with the bucket "data"."""
    world = world or SteppedWorld()
    backend = backend or FaultyBackend()
    backend.store.buckets or await backend.create_bucket("data")
    policy = BucketPolicy(freshness_s=freshness_s, on_outage=on_outage)
    routes = Routes([*more_routes, Route("*", backend, policy)])
    limits.setdefault("min_free_bytes", 0)
    limits.setdefault("capacity_bytes", 1 << 30)
    journal = Journal.open(root / "appliance.db", world)
    journal.clean_stop = journal.clean_stop and clean
    store = Store(root, disk)
    try:
        async with journal.running(), trio.open_nursery() as nursery:
            cache = ObjectCache(world, journal, store, routes, limits=Limits(**limits))
            await nursery.start(cache.run)
            yield Stack(cache, backend, world, journal, store, root)
            nursery.cancel_scope.cancel()
    finally:
        journal.close()
