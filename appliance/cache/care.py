"""What keeps the store healthy, in the background: removing files, eviction, saved access bits, open questions, scrub."""

from __future__ import annotations

import logging

import msgspec
import trio

from appliance.cache.coherence import Coherence
from appliance.cache.index import Index
from appliance.cache.limits import Limits
from appliance.cache.opening import Opener
from appliance.cache.plan.s3fifo import Name
from appliance.cache.store import Store
from appliance.cache.versions import VersionRoutes
from appliance.journal import Journal
from appliance.model.errors import ApplianceError
from appliance.world import Lane, World

logger = logging.getLogger(__name__)

ACCESS_SAVE_S = 300.0
SETTLE_CHECK_S = 30.0
# A scrub begins so long after the one before.
SCRUB_PAUSE_S = 24 * 3600.0
_TRASH_BATCH = 64
_LAST_FILES_MAX = 1000
_EVICT_BATCH = 256


class ScrubReport(msgspec.Struct, frozen=True):
    """What a scrub found: objects looked at, and those whose bytes were wrong and are dropped."""

    objects: int
    dropped: int


class Care:
    """The background tasks of one cache."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        store: Store,
        index: Index,
        opener: Opener,
        coherence: Coherence,
        routes: VersionRoutes,
        limits: Limits,
    ) -> None:
        self._world = world
        self._journal = journal
        self._store = store
        self._index = index
        self._opener = opener
        self._coherence = coherence
        self._routes = routes
        self._limits = limits
        self.orphans_removed = 0
        self.scrubbed_objects = 0
        self.scrub_dropped = 0

    # --- at start and end ----------------------------------------------------------------

    async def restore(self) -> None:
        """Make queues and files agree with the journal."""
        present = await self._world.run_blocking(Lane.DISK, self._store.present)
        known: set[str] = set()
        missing: list[Name] = []
        for row in self._journal.entries():
            known.add(row.file)
            if row.file in present:
                size = row.size if row.complete else 0
                self._index.fifo.insert((row.bucket, row.key), size, row.frequency)
            else:
                missing.append((row.bucket, row.key))
        for name in missing:
            self._index.drop_row(name, "missing")
        self.orphans_removed = await self._world.run_blocking(
            Lane.DISK, self._store.remove_orphans, known
        )
        if not self._journal.clean_stop:
            self._index.unverified |= known & present
        self._index.pressed()

    def save_access(self) -> None:
        """Remember how often each object was used."""
        try:
            self._journal.save_access(self._index.frequencies())
        except ApplianceError as error:
            logger.warning("Access counts are not saved: %s", error)

    # --- loops -------------------------------------------------------------------------------

    async def remove_files(self) -> None:
        """Unlink what was dropped."""
        async for first in self._index.trash_out:
            files = [first]
            while len(files) < _TRASH_BATCH:
                try:
                    files.append(self._index.trash_out.receive_nowait())
                except trio.WouldBlock:
                    break
            try:
                await self._world.run_blocking(Lane.DISK, self._remove_all, files)
                await self._journal.flush()
            except (ApplianceError, OSError) as error:
                logger.warning("Cannot clean up the cache directory: %s", error)
            except trio.Cancelled:
                for file in files:
                    self._index.trash_in.send_nowait(file)  # for `remove_last_files`
                raise
            for file in files:
                self._index.gone(file)

    def remove_last_files(self) -> None:
        """At the end: what is still to be unlinked, within reason; the rest are orphans of the next start."""
        for _ in range(_LAST_FILES_MAX):
            try:
                self._store.remove(self._index.trash_out.receive_nowait())
            except (trio.WouldBlock, OSError):
                return

    async def evict(self) -> None:
        """Whenever the index says that space may be short, look, and evict down to the low watermark."""
        while True:
            await self._index.pressure.wait()
            self._index.pressure = trio.Event()
            try:
                free_bytes, _ = await self._world.run_blocking(Lane.DISK, self._store.space)
            except OSError as error:
                logger.warning("Cannot look at the cache directory: %s", error)
                continue
            goal = self._index.marks.to_evict(self._index.fifo.used_bytes, free_bytes)
            short, self._index.short_bytes = self._index.short_bytes, 0
            await self._evict(max(goal, min(short, self._index.fifo.used_bytes)))

    async def save_access_now_and_then(self) -> None:
        while True:
            await trio.sleep(ACCESS_SAVE_S)
            self.save_access()

    async def settle_now_and_then(self) -> None:
        """Ask the backend about writes whose outcome nobody knew."""
        while True:
            await trio.sleep(SETTLE_CHECK_S)
            await self.settle()

    async def settle(self) -> None:
        """One round of the above."""
        for name in self._coherence.settled(self._world.boot_s()):
            try:
                await self._opener.ask(name, self._routes.find(name))
            except ApplianceError as error:
                logger.info("Asked about %s/%s: %s", *name, error)

    # --- scrub ---------------------------------------------------------------------------------

    async def scrub_for_ever(self) -> None:
        """Once a day, at the configured rate."""
        while self._limits.scrub_bytes_per_s > 0:
            await trio.sleep(SCRUB_PAUSE_S)
            await self.scrub(bytes_per_s=self._limits.scrub_bytes_per_s)

    async def scrub(self, *, bytes_per_s: float) -> ScrubReport:
        """Read every cached file and drop those whose bytes are not what was written."""
        objects = dropped = 0
        for row in list(self._journal.entries()):
            try:
                intact = await self._world.run_blocking(
                    Lane.DISK, self._store.scrub, row.file, row.size
                )
            except OSError as error:
                logger.warning("Cannot read a cached file: %s", error)
                intact = False
            objects += 1
            if not intact and self._index.file_of((row.bucket, row.key)) == row.file:
                dropped += 1
                logger.warning("Dropping the damaged cached copy of %s/%s", row.bucket, row.key)
                self._index.drop((row.bucket, row.key), "corrupt")
            await trio.sleep(row.size / bytes_per_s)
        self.scrubbed_objects += objects
        self.scrub_dropped += dropped
        return ScrubReport(objects, dropped)

    def statistics(self) -> dict[str, float]:
        return {
            "orphans_removed_total": self.orphans_removed,
            "scrubbed_objects_total": self.scrubbed_objects,
            "scrub_dropped_total": self.scrub_dropped,
        }

    async def _evict(self, goal_bytes: int) -> None:
        freed = count = 0
        while freed < goal_bytes:
            size = self._index.evict()
            if size is None:
                logger.warning("The cache is full of objects that are pinned or in use")
                return
            freed += size
            count += 1
            if count % _EVICT_BATCH == 0:
                await trio.lowlevel.checkpoint()

    def _remove_all(self, files: list[str]) -> None:
        for file in files:
            self._store.remove(file)
