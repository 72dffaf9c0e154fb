"""Inside the process of `mount_process`: a cache over a backend that counts and fails, and what tests may ask for."""

from __future__ import annotations

import base64
import collections
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio
from msgspec import structs

from appliance.assembly.wiring import PluginHost
from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal.journal import Journal
from appliance.model import errors
from appliance.model.objects import ListPage, ListRequest, PutOptions
from appliance.mount import Mount
from appliance.plugin import Backend, BackendConfig, BytesBody
from appliance.policy.buckets import BucketPolicy
from appliance.world import RealWorld
from appliance_example.backend import MemoryBackend
from appliance_posix import config as posix_options
from appliance_posix.backend import PosixBackend

CAPACITY_BYTES = 1 << 30
HOLD_MAX_S = 20.0
_OPERATIONS = ("head", "list_objects", "put", "delete", "copy", "head_bucket", "list_buckets")


class Faulty(Backend):
    """Counts requests in `counts`; while `fault` names a domain error, every one fails with it; while `held`, every one waits."""

    directory: Path | None = None
    fault = ""
    held: trio.Event | None = None
    held_operations: tuple[str, ...] = _OPERATIONS

    def read(self, *args: Any, **kwargs: Any) -> Any:
        self._count("read")
        return super().read(*args, **kwargs)  # type: ignore[safe-super]  # there is a backend behind

    @functools.cached_property
    def waiting(self) -> trio.Event:
        """Set once a request waits."""
        return trio.Event()

    @functools.cached_property
    def counts(self) -> collections.Counter[str]:
        return collections.Counter()

    def _count(self, name: str) -> None:
        self.counts[name] += 1
        if self.fault:
            raise getattr(errors, self.fault)("injected")


def _counted(name: str) -> Any:
    async def method(self: Faulty, *args: Any, **kwargs: Any) -> Any:
        self._count(name)
        if self.held is not None and name in self.held_operations:
            self.waiting.set()
            # Bounded, so that a test that fails while requests are held does not hang in the kernel.
            with trio.move_on_after(HOLD_MAX_S):
                await self.held.wait()
        return await getattr(super(Faulty, self), name)(*args, **kwargs)

    return method


for _name in _OPERATIONS:
    setattr(Faulty, _name, _counted(_name))


class FaultyMemory(Faulty, MemoryBackend):
    bare = False

    async def list_objects(self, bucket: str, request: ListRequest) -> ListPage:
        """With `bare`, as S3 lists: without metadata."""
        page = await super().list_objects(bucket, request)
        if not self.bare:
            return page
        objects = [structs.replace(info, metadata={}) for info in page.objects]
        return structs.replace(page, objects=objects)


class FaultyPosix(Faulty, PosixBackend):
    pass


def make_backend(kind: str, data: Path, world: RealWorld) -> Faulty:
    """A backend of `kind`: "memory", "bare" (listings without metadata), or "posix" below the data directory."""
    config = BackendConfig(name=kind, host=PluginHost(world, kind))
    if kind == "memory":
        return FaultyMemory(config)
    if kind == "bare":
        backend = FaultyMemory(config)
        backend.bare = True
        return backend
    root = data / "buckets"
    root.mkdir(exist_ok=True)
    backend = FaultyPosix(config, posix_options.parse(f"posix://{root}", kind, {}))
    backend.directory = root
    return backend


@contextlib.asynccontextmanager
async def stack(
    config: dict[str, Any],
) -> AsyncIterator[tuple[ObjectCache, RealWorld, Faulty]]:
    """A cache with the bucket "data" and one more."""
    world = RealWorld()
    policy = BucketPolicy(freshness_s=float(config.get("freshness_s", "inf")))
    data = Path(config["data"])
    data.mkdir(exist_ok=True)  # noqa: ASYNC240  # before anything runs that it could hold up
    backend = make_backend(config.get("backend", "memory"), data, world)
    await backend.start()
    journal = Journal.open(data / "appliance.db", world)
    try:
        async with journal.running(), trio.open_nursery() as nursery:
            routes = Routes([Route("*", backend, policy)])
            cache = ObjectCache(world, journal, Store(data), routes, capacity_bytes=CAPACITY_BYTES)
            await nursery.start(cache.run)
            for bucket in ("data", "other"):
                with contextlib.suppress(errors.BucketExistsError):
                    await cache.create_bucket(bucket)
            yield cache, world, backend
            nursery.cancel_scope.cancel()
    finally:
        journal.close()
        with trio.CancelScope(shield=True):
            await backend.stop()


class Remote:
    """Operations by name, arguments and results as JSON has them."""

    def __init__(self, cache: ObjectCache, mount: Mount, backend: Faulty) -> None:
        self._cache = cache
        self._mount = mount
        self._backend = backend
        self._directory = backend.directory

    async def put(self, bucket: str, key: str, data: str, options: dict[str, Any]) -> Any:
        """As an S3 client: acknowledged when the kernel knows too."""
        body = BytesBody(base64.b64decode(data))
        info = await self._cache.put(bucket, key, body, PutOptions(**options))
        await self._mount.settled()
        return {"etag": info.etag, "size": info.size}

    async def put_unsettled(self, bucket: str, key: str, data: str) -> None:
        """As `put`, but nobody waits for the kernel: for use while it waits for an answer in that directory."""
        body = BytesBody(base64.b64decode(data))
        await self._cache.put(bucket, key, body, PutOptions(), origin="peer")

    async def overtake_opens(self, key: str) -> None:
        """From now on another version of `key` arrives right before each OPEN: b"v1", b"v22", b"v333", ..."""
        files = self._mount._files  # between two requests of the kernel is no other place
        open_file = files.open
        count = 0

        async def overtaken(*args: Any) -> Any:
            nonlocal count
            count += 1
            body = BytesBody(b"v" + str(count).encode() * count)
            await self._cache.put("data", key, body, PutOptions(), origin="peer")
            return await open_file(*args)

        files.open = overtaken  # type: ignore[method-assign]  # see above

    async def put_acknowledged(self, bucket: str, key: str, data: str) -> None:
        """As `put`, and what was acknowledged is all there is to rely on."""
        await self._cache.put(bucket, key, BytesBody(base64.b64decode(data)), PutOptions())

    async def foreign_put_many(self, bucket: str, keys: list[str]) -> None:
        """Many objects behind the appliance's back, each holding its key; on a filesystem, files made by hand."""
        for key in keys:
            if self._directory is not None:
                (self._directory / bucket / key).write_text(key)
            else:
                await self.foreign_put(bucket, key, base64.b64encode(key.encode()).decode())

    async def foreign_put(self, bucket: str, key: str, data: str) -> None:
        """Behind the appliance's back."""
        body = BytesBody(base64.b64decode(data))
        await super(Faulty, self._backend).put(bucket, key, body, PutOptions())

    async def foreign_put_metadata(self, key: str, metadata: dict[str, str]) -> None:
        """As `foreign_put`, of an object with metadata, in the bucket "data"."""
        options = PutOptions(metadata=metadata)
        await super(Faulty, self._backend).put("data", key, BytesBody(b"1"), options)

    async def get(self, bucket: str, key: str) -> str:
        reader = await self._cache.open(bucket, key)
        try:
            return base64.b64encode(await reader.read(0, reader.info.size)).decode()
        finally:
            reader.close()

    async def head(self, bucket: str, key: str) -> dict[str, Any]:
        info = await self._cache.head(bucket, key)
        return {
            "etag": info.etag,
            "size": info.size,
            "metadata": info.metadata,
            "headers": info.headers,
            "version": info.version,
        }

    async def delete(self, bucket: str, key: str) -> None:
        await self._cache.delete(bucket, key)
        await self._mount.settled()

    async def keys(self, bucket: str) -> list[str]:
        page = await self._cache.list_objects(bucket, ListRequest())
        return [info.key for info in page.objects]

    async def create_bucket(self, bucket: str) -> None:
        await self._cache.create_bucket(bucket)

    async def requests(self) -> dict[str, int]:
        counts = dict(self._backend.counts)
        self._backend.counts.clear()
        return counts

    async def fail(self, error: str) -> None:
        """Have every backend request fail with this domain error, until called with ""."""
        self._backend.fault = error

    async def hold(self, only: list[str] | None = None) -> None:
        """Have every backend request wait until `let_go`, or `only` these operations."""
        self._backend.held_operations = _OPERATIONS if only is None else tuple(only)
        self._backend.held = trio.Event()
        self._backend.__dict__.pop("waiting", None)

    async def waiting(self) -> None:
        """Returns once a request waits."""
        await self._backend.waiting.wait()

    async def let_go(self) -> None:
        held, self._backend.held = self._backend.held, None
        if held is not None:
            held.set()

    async def statistics(self) -> dict[str, float]:
        return self._mount.statistics()
