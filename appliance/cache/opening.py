"""Opening an object that cannot be had at once: one task a name finds out, and everybody who wants it waits for that task.

    trusted entry         -> its file is opened (after an unclean stop also verified)
    untrusted entry       -> the backend is asked (`head`): same version, trusted again; another, dropped; gone, NoSuchKeyError
    backend down          -> on_outage = "serve": what is here, marked stale; "refuse": the error
    nothing here          -> one read gives facts and first bytes; an object of one block is whole before anyone gets it

Interleavings with writes. `overtaken` is called when a write begins and again when it is done: the flights of that name take no more
passengers, and install nothing in the index. So a fetch that saw the old version never outlives the write, and nobody who comes after the
write was acknowledged gets a flight that took off before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from appliance.cache.coherence import Coherence
from appliance.cache.direct import DirectReader
from appliance.cache.entry import Entry, Fetch
from appliance.cache.fetching import Fetcher
from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap
from appliance.cache.plan.fetch import Span
from appliance.cache.plan.s3fifo import Name
from appliance.cache.readers import FileReader, FillingReader
from appliance.cache.routes import Route
from appliance.cache.small import SmallObjects
from appliance.cache.sources import chunks_of, read_from
from appliance.model.errors import (
    ApplianceError,
    BackendError,
    BackendUnavailableError,
    CorruptDataError,
    DeleteMarkerError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchVersionError,
    VersionChangedError,
)
from appliance.model.objects import ObjectInfo
from appliance.plugin import ObjectStream
from appliance.world import Lane

logger = logging.getLogger(__name__)

# An object up to this size is fetched whole by the request that tells its size.
WHOLE_BYTES_MAX = 4 << 20
_ATTEMPTS = 4
# Known not to be there (the latter two: a version asked for by its id).
_GONE = (NoSuchKeyError, NoSuchBucketError, NoSuchVersionError, DeleteMarkerError)

AnyReader = FileReader | FillingReader | DirectReader


class Flight:
    """One task that opens one name, and those who wait for it."""

    __slots__ = (
        "asked",
        "entry",
        "error",
        "installable",
        "landed",
        "name",
        "route",
        "scope",
        "source",
        "stale",
        "waiting",
    )

    def __init__(self, name: Name, route: Route) -> None:
        self.name = name
        self.route = route
        self.asked = False  # what its answer says may be older than who joins now
        self.landed = trio.Event()
        self.scope = trio.CancelScope()
        self.waiting = 0
        self.installable = True
        self.entry: Entry | None = None
        self.error: Exception | None = None
        self.source = "hit"
        self.stale = False

    def land(self, entry: Entry, source: str) -> None:
        """Everybody who waits gets `entry`, as one reader each."""
        self.entry = entry
        self.source = source
        # Those who cause a miss, or come while it lasts, count as one use, the first: eviction looks at the others.
        entry.readers += self.waiting
        if source != "miss":
            entry.count_use()
        self.landed.set()

    def crash(self, error: Exception) -> None:
        self.error = error
        self.landed.set()


class Glance:
    """One `head` in flight. What it says is not believed if a write came between."""

    __slots__ = ("overtaken",)

    def __init__(self) -> None:
        self.overtaken = False


class Opener:
    """See the module. `on_foreign_change(name, info)` tells that the backend has another version than was thought."""

    def __init__(
        self,
        fetcher: Fetcher,
        coherence: Coherence,
        *,
        on_foreign_change: Callable[[Name, ObjectInfo | None], None],
    ) -> None:
        self._fetcher = fetcher
        self._world = fetcher.world
        self._store = fetcher.store
        self._index = fetcher.index
        self._coherence = coherence
        self._on_foreign_change = on_foreign_change
        self._small = SmallObjects(fetcher)
        self._flights: dict[Name, Flight] = {}
        self._glances: dict[Name, set[Glance]] = {}
        self.hits = self.misses = self.validations = self.stale_opens = self.dropped_files = 0

    # --- trust -------------------------------------------------------------------------

    def trusts(self, entry: Entry) -> bool:
        """Whether `entry` may be believed without asking. Called on each hit."""
        freshness_s = entry.freshness_s
        if freshness_s and entry.name not in self._coherence.suspects:
            now_s = self._world.boot_s()
            if now_s - entry.checked_s < freshness_s and now_s < self._coherence.trusted_until_s:
                return True
        bucket, key = entry.name
        return entry.route.backend.validate_nowait(bucket, key, entry.info.version) is True

    def overtaken(self, name: Name) -> None:
        """A write of `name` begins, or is done."""
        flight = self._flights.pop(name, None)
        if flight is not None:
            flight.installable = False
        for glance in self._glances.get(name, ()):
            glance.overtaken = True

    def checked(self, entry: Entry, asked_s: float) -> None:
        """The backend, asked at `asked_s`, has this version."""
        if entry.name not in self._coherence.suspects:
            entry.checked_s = max(entry.checked_s, asked_s)
        self._coherence.resolve(entry.name, entry.info.version, asked_s)

    # --- opening -----------------------------------------------------------------------

    def reader(self, entry: Entry, source: str, *, stale: bool = False) -> AnyReader:
        """A reader that takes over one use of `entry`."""
        if entry.fd < 0:
            entry.release()
            return DirectReader(self._fetcher, entry)
        if entry.complete:
            return FileReader(self._fetcher, entry, source, stale=stale)
        return FillingReader(self._fetcher, entry, source, stale=stale)

    async def open(self, name: Name, route: Route) -> AnyReader:
        """Wait for the flight of `name`, starting it where there is none."""
        while True:
            flight = self._flights.get(name) or self._take_off(name, route)
            # With freshness 0 a use is to be validated by a question asked after it began. Who comes late shares the bytes, not the answer.
            late = flight.asked and not route.freshness_s
            flight.waiting += 1
            try:
                await flight.landed.wait()
            except BaseException:
                self._leave(flight)
                raise
            if flight.entry is None:
                if late:
                    continue
                raise flight.error or BackendUnavailableError(bucket=name[0], key=name[1])
            if late and not flight.stale:
                flight.entry.release()
                continue
            return self.reader(flight.entry, flight.source, stale=flight.stale)

    def _take_off(self, name: Name, route: Route) -> Flight:
        if self._fetcher.nursery is None:
            raise RuntimeError("ObjectCache.run is not running")
        flight = self._flights[name] = Flight(name, route)
        self._fetcher.nursery.start_soon(self._fly, flight)
        return flight

    def _leave(self, flight: Flight) -> None:
        """Someone who waited was cancelled."""
        flight.waiting -= 1
        if flight.landed.is_set():
            if flight.entry is not None:
                flight.entry.release()
        elif flight.waiting == 0:
            self._taken_off(flight)
            flight.scope.cancel()

    def _taken_off(self, flight: Flight) -> None:
        """Nobody can join any more."""
        if self._flights.get(flight.name) is flight:
            del self._flights[flight.name]

    async def _fly(self, flight: Flight) -> None:
        flight.asked = True
        try:
            with flight.scope:
                await self._find(flight)
        except ApplianceError as error:
            flight.crash(error)
        except Exception:
            logger.exception("Opening %s/%s failed", *flight.name)
            flight.crash(BackendError(bucket=flight.name[0], key=flight.name[1]))
        finally:
            self._taken_off(flight)
            flight.landed.set()

    async def _find(self, flight: Flight) -> None:
        for _ in range(_ATTEMPTS):
            try:
                if await self._from_index(flight):
                    return
                if flight.route.backend.capabilities.local_files:
                    await self._from_local_file(flight)
                else:
                    await self._from_source(flight)
                return
            except VersionChangedError:
                # It changed between two requests of ours; the next look sees the new one.
                self._index.drop(flight.name, "changed")
        raise VersionChangedError(bucket=flight.name[0], key=flight.name[1])

    def _land(self, flight: Flight, entry: Entry, source: str) -> None:
        self._taken_off(flight)
        if source == "miss":
            self.misses += flight.waiting
        else:
            self.hits += flight.waiting
        flight.land(entry, source)

    # --- what is known -------------------------------------------------------------------

    async def _from_index(self, flight: Flight) -> bool:
        """Land with what the index has; False if that is nothing that can be used."""
        entry = self._index.lookup(flight.name, flight.route)
        if entry is None:
            return False
        entry.readers += 1  # keep it while we look
        try:
            if not self.trusts(entry):
                if entry.local:
                    self._index.doom(entry, "changed")
                    return False
                newer = await self._validate(flight, entry)
                if newer is not entry:
                    return False
            if not entry.doomed and await self._load(entry):
                self._land(flight, entry, "local" if entry.local else "hit")
                return True
            return False
        finally:
            entry.release()

    async def _validate(self, flight: Flight, entry: Entry) -> Entry | None:
        """`entry` if the backend still has this version. Raises what `head` raises, unless an outage is to be served."""
        try:
            info = await self.ask(flight.name, flight.route)
        except BackendUnavailableError:
            whole = entry.complete or entry.file
            if flight.route.policy.on_outage != "serve" or not whole:
                raise
            flight.stale = True
            self.stale_opens += 1
            logger.warning("Serving %s/%s unchecked: the backend is unavailable", *flight.name)
            return entry
        return entry if info.version == entry.info.version else None

    async def head(self, name: Name, route: Route) -> ObjectInfo:
        """The newest facts; those that are here, unchecked, while an outage is to be served."""
        try:
            return await self.ask(name, route)
        except BackendUnavailableError:
            entry = self._index.lookup(name, route)
            if entry is None or route.policy.on_outage != "serve":
                raise
            self.stale_opens += 1
            return entry.info

    async def ask(self, name: Name, route: Route) -> ObjectInfo:
        """`head`, and make the index agree with the answer."""
        asked_s = self._world.boot_s()
        self.validations += 1
        glance = Glance()
        glances = self._glances.setdefault(name, set())
        glances.add(glance)
        try:
            info = await route.backend.head(*name)
        except _GONE:
            if not glance.overtaken:
                self._foreign_change(name, None)
                self._coherence.resolve(name, "", asked_s)
            raise
        finally:
            glances.discard(glance)
            if not glances and self._glances.get(name) is glances:
                del self._glances[name]
        if not glance.overtaken:
            self._learn(name, route, info, asked_s)
        return info

    def _learn(self, name: Name, route: Route, info: ObjectInfo, asked_s: float) -> None:
        """The backend has `info`: trust the entry of that version, drop one of another, or remember the facts alone."""
        entry = self._index.lookup(name, route)
        if entry is not None and entry.info.version != info.version:
            self._foreign_change(name, info)
            entry = None
        if entry is None and name not in self._coherence.suspects:
            entry = self._index.new(name, route, info)
            self._index.install(entry)
        if entry is not None:
            self.checked(entry, asked_s)
        else:
            self._coherence.resolve(name, info.version, asked_s)

    def _foreign_change(self, name: Name, info: ObjectInfo | None) -> None:
        self._index.drop(name, "changed behind the cache")
        self._on_foreign_change(name, info)

    async def _load(self, entry: Entry) -> bool:
        """Have the entry's file open; False if it has none that is usable."""
        if entry.fd >= 0:
            return True
        if not entry.file:
            return False
        try:
            fd, blocks = await self._world.run_blocking(
                Lane.DISK,
                self._store.load,
                entry.file,
                entry.info.size,
                verify=entry.file in self._index.unverified,
            )
        except (OSError, CorruptDataError) as error:
            logger.warning("Dropping the cached copy of %s/%s: %s", *entry.name, error)
            self.dropped_files += 1
            self._index.doom(entry, "unusable")
            return False
        self._index.unverified.discard(entry.file)
        entry.fd = fd
        entry.blocks = blocks
        entry.complete = blocks.complete
        entry.saved_blocks = blocks.filled
        self._index.opened(entry)
        return True

    # --- misses --------------------------------------------------------------------------

    async def _from_local_file(self, flight: Flight) -> None:
        """The backend's own file is the cache; copying it here would win nothing."""
        asked_s = self._world.boot_s()
        file = await flight.route.backend.open_local(*flight.name)
        if file is None:
            info = await self.ask(flight.name, flight.route)
            entry = self._index.new(flight.name, flight.route, info)
            entry.doomed = True  # nothing to keep: its reader goes past the cache
        else:
            entry = self._index.new(flight.name, flight.route, file.info)
            entry.fd, file.fd = file.fd, -1
            entry.local = entry.complete = True
        entry.readers += 1
        if not entry.doomed:
            self._install(flight, entry, asked_s)
        self._land(flight, entry, "local")
        entry.release()

    async def _from_source(self, flight: Flight) -> None:
        """Read from the source; land as soon as bytes can be read."""
        asked_s = self._world.boot_s()
        async with (
            self._fetcher.limiter,
            read_from(self._fetcher.sources, flight.route, flight.name) as stream,
        ):
            entry = self._index.new(flight.name, flight.route, stream.info)
            entry.blocks = BlockMap(stream.info.size)
            entry.readers += 1  # ours
            try:
                fetch = await self._begin(flight, entry, stream, asked_s)
                self._land(flight, entry, "miss")
            finally:
                entry.release()
            if fetch is not None:
                await self._fill(entry, fetch, stream)

    async def _begin(
        self, flight: Flight, entry: Entry, stream: ObjectStream, asked_s: float
    ) -> Fetch | None:
        """Make the entry readable: whole if it is small, else with the fetch that `stream` is."""
        fetch = None
        if stream.info.size <= BLOCK_BYTES:
            await self._whole(entry, stream)
        elif await self._create(entry):
            lazy = stream.info.size > WHOLE_BYTES_MAX
            last = -(-stream.info.size // BLOCK_BYTES)
            fetch = Fetch(Span(0, last), stream.info.size, asked_s=asked_s, lazy=lazy)
            entry.fetches.append(fetch)
            entry.tasks += 1
        self._install(flight, entry, asked_s)
        return fetch

    def _install(self, flight: Flight, entry: Entry, asked_s: float) -> None:
        """Let others find `entry`, unless a write came between, or the disk did not take it."""
        name = flight.name
        if not flight.installable or name in self._coherence.suspects or entry.lost_disk:
            self._index.doom(entry, "overtaken")
            return
        self._index.install(entry)
        self._index.opened(entry)
        self.checked(entry, asked_s)
        if not entry.local:
            # A small object's file is on its way, and counts already.
            self._index.has_file(entry)
        if entry.file and entry.complete:
            self._index.record_fill(entry)

    async def _whole(self, entry: Entry, stream: ObjectStream) -> None:
        """An object of at most one block, gathered."""
        async with chunks_of(stream) as chunks:
            data = b"".join([chunk async for chunk in chunks])
        self._fetcher.fetched_bytes += len(data)
        if len(data) != entry.info.size:
            bucket, key = entry.name
            raise BackendUnavailableError("The object came incomplete.", bucket=bucket, key=key)
        await self._small.keep(entry, data)

    async def _create(self, entry: Entry) -> bool:
        """An empty data file for a large object; False if there can be none."""
        if entry.info.size > self._index.fifo.capacity_bytes:
            entry.lost_disk = True
            return False
        file = self._store.file_id(self._world.token_bytes(16))
        try:
            entry.fd = await self._world.run_blocking(Lane.DISK, self._store.create, file)
        except OSError as error:
            self._fetcher.lost_disk(entry, error)
            return False
        entry.file = file
        return True

    async def _fill(self, entry: Entry, fetch: Fetch, stream: ObjectStream) -> None:
        """The first fetch: the stream that is open anyway. A small object comes whole, a large one as far as it is wanted."""

        async def read() -> None:
            await self._fetcher.land(entry, fetch, stream)

        try:
            with fetch.scope:
                await self._fetcher.guard(entry, fetch, read)
        finally:
            self._fetcher.ended(entry, fetch)

    def statistics(self) -> dict[str, float]:
        return {
            "hits_total": self.hits,
            "misses_total": self.misses,
            "validations_total": self.validations,
            "stale_opens_total": self.stale_opens,
            "opens_in_flight": len(self._flights),
            "dropped_files_total": self.dropped_files,
            "write_behind_bytes": self._small.pending_bytes,
        }
