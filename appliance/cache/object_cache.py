"""`ObjectCache`: the facade that all front ends use. It finds the route, and leaves the work to the parts that it owns:

    opening.py    what cannot be had at once          writing.py    changes of visible names
    fetching.py   filling data files                  coherence.py  what may be believed
    index.py      which versions are here             care.py       eviction, scrub, cleaning up

Its own is only what happens on each hit (`open_nowait`): a dict lookup, a check of trust, a reader on an open descriptor."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import msgspec
import trio

from appliance.cache.api import Invalidation, Reader
from appliance.cache.care import Care, ScrubReport
from appliance.cache.coherence import Coherence, LocalCoherence
from appliance.cache.copying import ReaderBody, arguments_of_copy
from appliance.cache.entry import Entry
from appliance.cache.fetching import Fetcher
from appliance.cache.forward import Forward
from appliance.cache.index import Index
from appliance.cache.limits import Limits
from appliance.cache.opening import Opener
from appliance.cache.plan.s3fifo import Name
from appliance.cache.routes import Routes
from appliance.cache.sources import BackendSource, Source
from appliance.cache.store import Store
from appliance.cache.versions import SEPARATOR, is_version_name, unversioned_outcomes
from appliance.cache.writing import Writer
from appliance.journal import Journal
from appliance.model.errors import InvalidArgumentError, VersionChangedError
from appliance.model.events import Change, Kind
from appliance.model.objects import (
    DELETED,
    NO_CONDITIONS,
    NULL_VERSION,
    CompletedPart,
    Conditions,
    Deleted,
    DeleteOutcome,
    DeleteTarget,
    ObjectInfo,
    PartInfo,
    PutOptions,
    Versioning,
)
from appliance.model.ranges import ByteRange
from appliance.plugin import Body
from appliance.world import World

# How long a write that is done waits at most for those who must know. A kernel that is told late still asks anew soon after.
TOLD_TIMEOUT_S = 5.0


class ObjectCache(Forward):
    """See `appliance.cache.api.Cache`. `run` must be running while it is used; the journal's own `run` too."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        store: Store,
        routes: Routes,
        *,
        capacity_bytes: int = 0,
        limits: Limits | None = None,
        coherence: Coherence | None = None,
        sources: Sequence[Source] = (),
    ) -> None:
        """`capacity_bytes` is short for `Limits(capacity_bytes=...)`. `sources` are asked before the backend. Cached files are
        verified on first use if the journal's last stop was not clean.
        """
        super().__init__(routes)
        limits = limits or Limits(capacity_bytes=capacity_bytes)
        self._world = world
        self._journal = journal
        self._listeners: dict[object, Callable[[Invalidation], None]] = {}
        self._waits: dict[object, Callable[[str, str], Awaitable[None]]] = {}
        self._coherence = coherence or LocalCoherence(world, journal)
        marks = limits.watermarks(store.space()[1])
        self._index = index = Index(journal, marks, open_files_max=limits.open_files_max)
        sources = [*sources, BackendSource()]
        self._fetcher = Fetcher(
            world, store, index, sources, read_ahead_bytes=limits.read_ahead_bytes
        )
        self._opener = opener = Opener(
            self._fetcher,
            self._coherence,
            on_foreign_change=lambda name, info: self._tell(name, "backend", info),
        )
        self._writer = Writer(world, store, index, self._coherence, opener, self._tell)
        self._care = Care(
            world, journal, store, index, opener, self._coherence, self._versions, limits
        )
        self._nowait_hits = 0
        self._connect()

    def _connect(self) -> None:
        """What parts call back that were made before whom they call."""
        self._writer.told = self._told
        self._index.on_unread = self._fetcher.cancel_unwanted
        self._index.on_settle = self._settle

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make files and journal agree, then own all background tasks until cancelled: `await nursery.start(cache.run)`."""
        await self._care.restore()
        try:
            async with trio.open_nursery() as nursery:
                self._fetcher.nursery = nursery
                nursery.start_soon(self._care.remove_files)
                nursery.start_soon(self._care.evict)
                nursery.start_soon(self._care.save_access_now_and_then)
                nursery.start_soon(self._care.settle_now_and_then)
                nursery.start_soon(self._care.scrub_for_ever)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._fetcher.nursery = None
            self._care.save_access()
            self._index.close()
            self._care.remove_last_files()

    # --- reading ---------------------------------------------------------------

    def open_nowait(self, bucket: str, key: str) -> Reader | None:
        entry = self._index.get((bucket, key))
        if entry is None or entry.fd < 0 or not self._opener.trusts(entry):
            return None
        self._nowait_hits += 1
        entry.use()
        return self._opener.reader(entry, "local" if entry.local else "hit")

    async def open(self, bucket: str, key: str, *, version_id: str = "") -> Reader:
        if version_id:
            return await self._open_id(bucket, key, version_id)
        reader = self.open_nowait(bucket, key)
        if reader is not None:
            await trio.lowlevel.checkpoint()
            return reader
        return await self._opener.open((bucket, key), self._routes.find(bucket))

    async def _open_id(self, bucket: str, key: str, version_id: str) -> Reader:
        name = self._versions.version(bucket, key, version_id)
        reader = self.open_nowait(*name)
        if reader is None and is_version_name(name):
            reader = self.open_nowait(bucket, key)  # the current version may be the one
            if reader is not None and reader.info.version_id != version_id:
                reader.close()
                reader = None
        if reader is not None:
            await trio.lowlevel.checkpoint()
            return reader
        return await self._opener.open(name, self._versions.find(name))

    def head_nowait(self, bucket: str, key: str) -> ObjectInfo | None:
        entry = self._index.get((bucket, key))
        if entry is None or not self._opener.trusts(entry):
            return None
        self._nowait_hits += 1
        return entry.info

    async def head(self, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        name = self._versions.version(bucket, key, version_id)
        info = self.head_nowait(*name)
        if info is None and is_version_name(name):
            current = self.head_nowait(bucket, key)
            info = current if current and current.version_id == version_id else None
        if info is not None:
            await trio.lowlevel.checkpoint()
            return info
        return await self._opener.head(name, self._versions.find(name))

    def holds_below(self, bucket: str, prefix: str) -> bool:
        serves = self._routes.find(bucket).policy.on_outage == "serve"
        return serves and self._index.holds_below(bucket, prefix)

    # --- writing ---------------------------------------------------------------

    async def put_versioning(self, bucket: str, state: Versioning) -> None:
        await super().put_versioning(bucket, state)
        self._index.drop_bucket(bucket)  # what is there has a version id now

    async def delete_bucket(self, bucket: str) -> None:
        await self._routes.find(bucket).backend.delete_bucket(bucket)
        self._index.drop_bucket(bucket)

    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        options: PutOptions,
        conditions: Conditions = NO_CONDITIONS,
        *,
        origin: str = "s3",
    ) -> ObjectInfo:
        route = self._routes.find(bucket)
        return await self._writer.put(route, (bucket, key), body, options, conditions, origin)

    async def delete(
        self,
        bucket: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        *,
        version_id: str = "",
        origin: str = "s3",
    ) -> Deleted:
        backend = self._routes.find(bucket).backend
        asked = self._asked(bucket, key, version_id)
        async with self._changing(bucket, key, version_id, "delete", origin) as done:
            deleted = await backend.delete(bucket, key, conditions, **asked)
            done(None)
        return deleted or DELETED

    async def delete_many(
        self, bucket: str, keys: Sequence[str], *, origin: str = "s3"
    ) -> Sequence[DeleteOutcome]:
        targets = [DeleteTarget(key=key) for key in keys]
        return await self.delete_versions(bucket, targets, origin=origin)

    async def delete_versions(
        self, bucket: str, targets: Sequence[DeleteTarget], *, origin: str = "s3"
    ) -> Sequence[DeleteOutcome]:
        route = self._routes.find(bucket)
        if route.backend.capabilities.versioning:
            return await self._writer.delete_many(route, bucket, targets, self._names, origin)
        known = [target for target in targets if target.version_id in {"", NULL_VERSION}]
        plain = [DeleteTarget(key=target.key) for target in known]
        outcomes = await self._writer.delete_many(route, bucket, plain, self._names, origin)
        return unversioned_outcomes(targets, outcomes)

    def _names(self, bucket: str, key: str, version_id: str) -> list[Name]:
        current = self._index.get((bucket, key))
        info = current.info if current is not None else None
        return self._versions.changed(bucket, key, version_id, info)

    @contextlib.asynccontextmanager
    async def _changing(
        self, bucket: str, key: str, version_id: str, op: str, origin: str
    ) -> AsyncIterator[Callable[[ObjectInfo | None], None]]:
        """Around one change of a version, or of the current one. The block calls what it gets with the object's new state."""
        async with contextlib.AsyncExitStack() as stack:
            writes = [
                await stack.enter_async_context(
                    self._writer.write(self._versions.find(name), name, op, origin)
                )
                for name in self._names(bucket, key, version_id)
            ]

            def done(info: ObjectInfo | None) -> None:
                # What became of the current one, when a version was changed by its id, only the backend knows.
                for write in writes:
                    write.done(info if write.ticket.name == writes[0].ticket.name else None)

            yield done

    async def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version: str = "",
        source_version_id: str = "",
        options: PutOptions | None = None,
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        acl: bytes = b"",
        origin: str = "s3",
    ) -> ObjectInfo:
        route = self._routes.find(bucket)
        source = self._versions.version(source_bucket, source_key, source_version_id)
        if self._routes.find(source_bucket).backend is not route.backend:
            with contextlib.closing(await self._open_version(source, source_version)) as reader:
                put = options or await self._options_of(
                    source_bucket, source_key, source_version_id, reader.info
                )
                put = msgspec.structs.replace(put, owner=owner, acl=acl)
                body = ReaderBody(self._world, reader, 0, reader.info.size, put.checksums)
                return await self.put(bucket, key, body, put, conditions, origin=origin)
        asked = arguments_of_copy(route.backend, source, source_version_id, owner, acl)
        with self._distrusting(source, source_version):
            async with self._writer.write(route, (bucket, key), "copy", origin) as write:
                info = await route.backend.copy(
                    source_bucket,
                    source_key,
                    bucket,
                    key,
                    source_version=source_version,
                    options=options,
                    conditions=conditions,
                    **asked,
                )
                write.done(info)
        return info

    async def put_tags(
        self, bucket: str, key: str, tags: dict[str, str], *, version_id: str = ""
    ) -> ObjectInfo:
        backend = self._routes.find(bucket).backend
        asked = self._asked(bucket, key, version_id)
        async with self._changing(bucket, key, version_id, "tags", "s3") as done:
            info = await backend.put_tags(bucket, key, tags, **asked)
            done(info)
        return info

    async def put_acl(
        self, bucket: str, key: str, acl: bytes, *, version_id: str = ""
    ) -> ObjectInfo:
        backend = self._routes.find(bucket).backend
        asked = self._asked(bucket, key, version_id)
        async with self._changing(bucket, key, version_id, "acl", "s3") as done:
            info = await backend.put_acl(bucket, key, acl, **asked)
            done(info)
        return info

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        range: ByteRange | None = None,  # noqa: A002  # the field's own word
        source_version: str = "",
        source_version_id: str = "",
    ) -> PartInfo:
        backend = self._routes.find(bucket).backend
        source = self._versions.version(source_bucket, source_key, source_version_id)
        if self._routes.find(source_bucket).backend is backend:
            asked = {"source_version_id": source_version_id} if is_version_name(source) else {}
            with self._distrusting(source, source_version):
                return await backend.copy_part(
                    source_bucket,
                    source_key,
                    bucket,
                    key,
                    upload_id,
                    number,
                    range=range,
                    source_version=source_version,
                    **asked,
                )
        with contextlib.closing(await self._open_version(source, source_version)) as reader:
            wanted = range or ByteRange(0, reader.info.size)
            if wanted.end > reader.info.size:
                raise InvalidArgumentError(
                    f"The range ends at byte {wanted.end} of {reader.info.size} in the source.",
                    bucket=source_bucket,
                    key=source_key,
                )
            body = ReaderBody(self._world, reader, wanted.offset, wanted.length)
            return await backend.put_part(bucket, key, upload_id, number, body)

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions = NO_CONDITIONS,
        *,
        origin: str = "s3",
    ) -> ObjectInfo:
        route = self._routes.find(bucket)
        async with self._writer.write(route, (bucket, key), "complete", origin) as write:
            info = await route.backend.complete_upload(bucket, key, upload_id, parts, conditions)
            write.done(info)
        return info

    # --- coherence -------------------------------------------------------------------

    def subscribe(
        self,
        listener: Callable[[Invalidation], None],
        told: Callable[[str, str], Awaitable[None]] | None = None,
    ) -> Callable[[], None]:
        token = object()
        self._listeners[token] = listener
        if told is not None:
            self._waits[token] = told

        def unsubscribe() -> None:
            self._listeners.pop(token, None)
            self._waits.pop(token, None)

        return unsubscribe

    def trust_seconds(self, bucket: str, key: str = "") -> float:
        """0 while a write there is in progress or of unknown outcome: what is read meanwhile may be the state before it."""
        if any(name[0] == bucket and is_at(name[1], key) for name in self._coherence.suspects):
            return 0.0
        lease_s = self._coherence.trusted_until_s - self._world.boot_s()
        return max(0.0, min(self._routes.find(bucket).freshness_s, lease_s))

    # --- care ------------------------------------------------------------------------

    async def pin(self, bucket: str, key: str) -> None:
        self._routes.find(bucket)
        await self._journal.append(Change(kind=Kind.PIN, bucket=bucket, key=key))
        self._index.pins.add(bucket, key)

    async def unpin(self, bucket: str, key: str) -> None:
        await self._journal.append(Change(kind=Kind.UNPIN, bucket=bucket, key=key))
        self._index.pins.discard(bucket, key)
        self._index.pressed()

    async def scrub(self, *, bytes_per_s: float = math.inf) -> ScrubReport:
        """Verify every cached file, and drop the damaged ones."""
        return await self._care.scrub(bytes_per_s=bytes_per_s)

    async def settle(self) -> None:
        """Ask the backend, now, about writes whose outcome could not be known."""
        await self._care.settle()

    def statistics(self) -> dict[str, float]:
        statistics: dict[str, float] = {}
        for part in (self._index, self._fetcher, self._opener, self._writer, self._care):
            statistics |= part.statistics()
        if isinstance(self._coherence, LocalCoherence):
            statistics |= self._coherence.statistics()
        statistics["hits_total"] += self._nowait_hits
        return statistics

    # --- inside ------------------------------------------------------------------------

    @contextlib.contextmanager
    def _distrusting(self, name: Name, version: str) -> Iterator[None]:
        """Where the backend says that `name` no longer is `version`, our entry of that version is not believed any more."""
        try:
            yield
        except VersionChangedError:
            entry = self._index.get(name)
            if entry is not None and entry.info.version == version:
                self._index.drop(name, "changed behind the cache")
            raise

    async def _open_version(self, name: Name, version: str) -> Reader:
        reader = self.open_nowait(*name)
        if reader is None:
            reader = await self._opener.open(name, self._versions.find(name))
        if version and reader.info.version != version:
            reader.close()
            raise VersionChangedError(bucket=name[0], key=name[1].partition(SEPARATOR)[0])
        return reader

    def _settle(self, entry: Entry) -> None:
        """A partial entry is idle: save what is known about it."""
        nursery = self._fetcher.nursery
        if nursery is not None:
            entry.tasks += 1
            nursery.start_soon(self._fetcher.settle, entry)

    def _tell(self, name: Name, origin: str, info: ObjectInfo | None) -> None:
        if is_version_name(name):
            return
        pending = name in self._coherence.suspects
        change = Invalidation(name[0], name[1], origin, info, pending)
        for listener in tuple(self._listeners.values()):
            listener(change)

    async def _told(self, names: Sequence[Name], origin: str) -> None:
        """Before a write is acknowledged: see `subscribe`."""
        if origin != "s3" or not self._waits:
            return
        with trio.move_on_after(TOLD_TIMEOUT_S):
            for told in tuple(self._waits.values()):
                for name in names:
                    await told(*name)


def is_at(key: str, place: str) -> bool:
    """Whether a write of `key` may change what is found at `place`, a file or a directory ("": the bucket), or below."""
    place = place.removesuffix("/")
    return not place or key.removesuffix("/") == place or key.startswith(place + "/")
