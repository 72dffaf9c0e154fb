"""Filling data files: fetches run in the cache's nursery, bytes become readable as they land, whole blocks stay.

a reader asks       -> `want` plans spans (`plan.fetch`) and starts a task for each: at most FETCHES_MAX an entry, READS_MAX a node
bytes arrive        -> written in pieces of 256 KiB to 1 MiB, then `Fetch.landed` moves and all waiters wake
all readers leave   -> fetches that are not nearly done are cancelled; their whole blocks stay
the source fails    -> whoever waits for that range gets the error; what landed stays
the disk fails      -> the entry is `lost_disk`: its readers go on past the cache
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

import trio

from appliance.cache.entry import Entry, Fetch
from appliance.cache.index import Index
from appliance.cache.landing import Landing
from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap
from appliance.cache.plan.fetch import FETCH_BLOCKS, Span, blocks_of, plan_fetches
from appliance.cache.sources import Source, chunks_of, read_from
from appliance.cache.store import Store
from appliance.model.errors import (
    ApplianceError,
    BackendError,
    BackendUnavailableError,
    NoSuchKeyError,
    VersionChangedError,
)
from appliance.model.ranges import RangeSpec
from appliance.plugin import ObjectStream
from appliance.world import Lane, World

logger = logging.getLogger(__name__)

AsyncStep: TypeAlias = Callable[[], Awaitable[None]]

FETCHES_MAX = 4
READS_MAX = 48
# A long stream asks for so many read-ahead windows at once.
STREAM_WINDOWS = 16
# One stream slower than this may be helped by others: distance or its sender's limit bounds it, not the machine. On loopback a stream gives
# 400 MB/s and more, and each further request only costs: `rclone serve s3` hashes the whole object for each.
SLOW_BYTES_PER_S = 80e6
_SPLIT_BYTES = 8 << 20
_FLUSH_BYTES = 256 * 1024
_NEARLY_DONE_BYTES = BLOCK_BYTES


class Wish(NamedTuple):
    """Of a sequential reader, in bytes: it is at `offset`, wants all before `end` (of the object at most), and what is missing before
    `soon` at once; `ahead` is its window.
    """

    offset: int
    end: int
    soon: int
    ahead: int


class DiskLostError(Exception):
    """The cache's own disk failed or is full. Stays inside the cache."""


class Fetcher:
    """Runs the fetches of all entries. `nursery` is set while the cache runs."""

    def __init__(
        self,
        world: World,
        store: Store,
        index: Index,
        sources: Sequence[Source],
        *,
        read_ahead_bytes: int,
    ) -> None:
        self.nursery: trio.Nursery | None = None
        self.limiter = trio.CapacityLimiter(READS_MAX)
        self.world = world
        self.store = store
        self.index = index
        self.sources = sources
        self.read_ahead_bytes = read_ahead_bytes
        self.fetched_bytes = 0
        self.fetches_started = 0
        self.fetches_failed = 0
        self.fetches_cancelled = 0
        self.disk_failures = 0

    # --- planning --------------------------------------------------------------------

    def want(self, entry: Entry, offset: int, length: int, ahead: int) -> None:
        """[offset, offset + length) is needed, and `ahead` bytes more will be: start what is missing. Blocks nothing."""
        blocks = entry.blocks
        if entry.complete or entry.lost_disk or blocks is None:
            return
        end = min(offset + length + ahead, entry.info.size)
        for fetch in entry.fetches:
            span = fetch.span
            if span.first * BLOCK_BYTES < end and span.last * BLOCK_BYTES >= offset:
                fetch.wanted_end = max(fetch.wanted_end, min(end, fetch.end))
        if ahead and not entry.parallel:
            self._stream_on(entry, blocks, Wish(offset, end, offset + length + ahead // 2, ahead))
        if not ahead or entry.parallel:
            self._fetch_pieces(entry, blocks, offset, end)

    def _stream_on(self, entry: Entry, blocks: BlockMap, wish: Wish) -> None:
        """Sequential: one long stream, which goes on as long as it is wanted; where it is slow, several requests from then on."""
        now_s = self.world.boot_s()
        for fetch in entry.fetches:
            if fetch.end - fetch.landed > 2 * _SPLIT_BYTES and fetch.helped_by_others(
                now_s, slow_bytes_per_s=SLOW_BYTES_PER_S, piece_bytes=_SPLIT_BYTES
            ):
                entry.parallel = True
                fetch.cap(-(-(fetch.landed + _SPLIT_BYTES) // BLOCK_BYTES) * BLOCK_BYTES)
                return
        flying = [fetch.span for fetch in entry.fetches]
        needed = blocks_of(wish.offset, wish.end - wish.offset)
        if not plan_fetches(needed, blocks, flying, limit=1):
            return
        reach = max(FETCH_BLOCKS, STREAM_WINDOWS * wish.ahead // BLOCK_BYTES)
        [span] = plan_fetches(
            Span(needed.first, min(needed.first + reach, blocks.count)),
            blocks,
            flying,
            limit=1,
            piece=reach,
        )
        # Half a window of hysteresis: a slow reader makes few requests, too.
        if span.first * BLOCK_BYTES < wish.soon:
            fetch = Fetch(span, entry.info.size, asked_s=now_s, lazy=True)
            fetch.wanted_end = min(wish.end, fetch.end)
            self.start(entry, fetch)

    def _fetch_pieces(self, entry: Entry, blocks: BlockMap, offset: int, end: int) -> None:
        """Exactly what is missing, in requests side by side."""
        limit = FETCHES_MAX - len(entry.fetches)
        flying = [fetch.span for fetch in entry.fetches]
        if limit <= 0:
            # The byte that is waited for is never held up by what other readers have coming.
            first = offset // BLOCK_BYTES
            if blocks.has(first) or any(span.first <= first < span.last for span in flying):
                return
            limit = 1
        for span in plan_fetches(blocks_of(offset, end - offset), blocks, flying, limit=limit):
            self.start(entry, Fetch(span, entry.info.size, asked_s=self.world.boot_s()))

    def start(self, entry: Entry, fetch: Fetch) -> None:
        for other in entry.fetches:
            other.cap(fetch.start)
        entry.fetches.append(fetch)
        entry.tasks += 1
        if self.nursery is None:
            raise RuntimeError("ObjectCache.run is not running")
        self.nursery.start_soon(self._run, entry, fetch)

    def cancel_unwanted(self, entry: Entry) -> None:
        """The last reader left."""
        for fetch in tuple(entry.fetches):
            if fetch.end - fetch.landed > _NEARLY_DONE_BYTES or entry.doomed:
                entry.fetches.remove(fetch)
                fetch.scope.cancel()
                self.fetches_cancelled += 1

    # --- running ---------------------------------------------------------------------

    async def _run(self, entry: Entry, fetch: Fetch) -> None:
        async def read() -> None:
            wanted = RangeSpec(fetch.start, fetch.end - 1)
            async with (
                self.limiter,
                read_from(
                    self.sources, entry.route, entry.name, wanted, version=entry.info.version
                ) as stream,
            ):
                await self.land(entry, fetch, stream)

        try:
            with fetch.scope:
                await self.guard(entry, fetch, read)
        finally:
            self.ended(entry, fetch)

    async def guard(self, entry: Entry, fetch: Fetch, read: AsyncStep) -> None:
        """Run `read`; what goes wrong is noted in `fetch.error` for those who wait, and in `entry`."""
        self.fetches_started += 1
        try:
            await read()
            return
        except DiskLostError as error:
            self.lost_disk(entry, error)
        except (VersionChangedError, NoSuchKeyError) as error:
            self.index.doom(entry, "changed behind the cache")
            fetch.error = VersionChangedError(str(error), bucket=entry.name[0], key=entry.name[1])
        except ApplianceError as error:
            fetch.error = error
        except trio.Cancelled:
            # Nobody waits for an unwanted fetch, so this is the end of the cache: whoever waits must not ask again.
            fetch.error = BackendUnavailableError("The appliance is stopping.")
            raise
        except Exception as error:  # noqa: BLE001  # a bug in a backend must not end the cache's nursery
            self.note_bug(entry, error)
            fetch.error = BackendError(bucket=entry.name[0], key=entry.name[1])
        self.fetches_failed += 1

    def note_bug(self, entry: Entry, error: Exception) -> None:
        """Something that no backend may raise was raised: log it with its traceback."""
        logger.error("The backend %s broke its contract", entry.route.backend.name, exc_info=error)

    def ended(self, entry: Entry, fetch: Fetch) -> None:
        """A fetch is over, one way or another. Its task calls this as its last act."""
        if fetch in entry.fetches:
            entry.fetches.remove(fetch)
        entry.tasks -= 1
        entry.wakers.unpark_all()
        entry.went_idle()

    async def land(self, entry: Entry, fetch: Fetch, stream: ObjectStream) -> None:
        """Write what comes, block by block; stops early where nobody wants the rest of a lazy fetch."""
        if not await self._drain(entry, fetch, stream):
            async with chunks_of(stream) as chunks:
                await self._land_chunks(entry, fetch, chunks, stream.range.end)
        if fetch.landed < fetch.end:
            bucket, key = entry.name
            raise BackendUnavailableError(
                f"The backend {entry.route.backend.name} sent {fetch.landed - fetch.start} bytes "
                f"of {fetch.end - fetch.start}.",
                bucket=bucket,
                key=key,
            )

    async def _drain(self, entry: Entry, fetch: Fetch, stream: ObjectStream) -> bool:
        """Have the backend's thread write; False if this stream cannot."""

        def landed(count: int, ended: list[tuple[int, int]], crc: int) -> None:
            self.fetched_bytes += count
            if fetch.began_s is None:
                fetch.began_s = self.world.boot_s()
            self._landed(entry, fetch, count, ended, crc)

        landing = Landing(self.store, entry, fetch, landed)
        before = -1
        # A stream that brings nothing more has ended too early: the caller says so.
        while fetch.wants_after(fetch.landed) and fetch.landed > before:
            before = fetch.landed
            if not await stream.drain(landing.write):
                return False
            if landing.error is not None:
                raise DiskLostError(str(landing.error)) from landing.error
            await self._complete(entry)
            if entry.lost_disk:
                raise DiskLostError
        self._cut(fetch)
        return True

    async def _land_chunks(
        self, entry: Entry, fetch: Fetch, chunks: AsyncIterator[bytes], stream_end: int
    ) -> None:
        crc = 0
        pending = bytearray()
        async for chunk in chunks:
            self.fetched_bytes += len(chunk)
            if fetch.began_s is None:
                fetch.began_s = self.world.boot_s()
            position = fetch.landed + len(pending)
            piece = memoryview(chunk)[: max(0, fetch.end - position)]
            if not pending and len(piece) >= _FLUSH_BYTES:
                crc = await self._write(entry, fetch, piece, crc)
            else:
                pending += piece
                if len(pending) < _FLUSH_BYTES and position + len(piece) < fetch.end:
                    continue
                data, pending = pending, bytearray()
                crc = await self._write(entry, fetch, data, crc)
            # A stream that ends here is read to its end: it may verify what it sent, and its connection can be used again.
            if fetch.end <= fetch.landed < stream_end or self._cut(fetch):
                return

    async def _write(
        self, entry: Entry, fetch: Fetch, data: memoryview | bytearray, crc: int
    ) -> int:
        """Write `data` at `fetch.landed`, whose block has `crc` so far; returns the CRC of the block begun last."""
        blocks = entry.blocks
        if not data:
            return crc
        if blocks is None or entry.lost_disk:
            raise DiskLostError
        try:
            ended, crc = await self.world.run_blocking(
                Lane.DISK, self.store.write, entry.fd, fetch.landed, data, crc
            )
        except OSError as error:
            raise DiskLostError(str(error)) from error
        self._landed(entry, fetch, len(data), ended, crc)
        await self._complete(entry)
        return crc

    def _landed(
        self, entry: Entry, fetch: Fetch, count: int, ended: list[tuple[int, int]], crc: int
    ) -> None:
        """`count` bytes are in the file, with which blocks `ended`; `crc` is that of the begun one."""
        blocks = entry.blocks
        if blocks is None:
            return
        fetch.landed += count
        before = blocks.present_bytes
        for index, block_crc in ended:
            blocks.add(index, block_crc)
        if fetch.landed == entry.info.size and fetch.landed % BLOCK_BYTES:
            blocks.add(blocks.count - 1, crc)
        self.index.grew(entry, blocks.present_bytes - before)
        entry.wakers.unpark_all()

    async def _complete(self, entry: Entry) -> None:
        """If all blocks are here, say so on disk, then in the journal."""
        blocks = entry.blocks
        if blocks is None or not blocks.complete or entry.complete:
            return
        entry.complete = True
        if entry.doomed:
            return
        try:
            await self.world.run_blocking(Lane.DISK, self.store.save_blocks, entry.file, blocks)
        except OSError as error:
            raise DiskLostError(str(error)) from error
        self.index.record_fill(entry)

    def _cut(self, fetch: Fetch) -> bool:
        """End a lazy fetch at the last whole block if that is all that was wanted."""
        if fetch.landed >= fetch.end or fetch.wants_after(fetch.landed):
            return False
        fetch.end = fetch.landed = fetch.landed - fetch.landed % BLOCK_BYTES
        return True

    def lost_disk(self, entry: Entry, error: Exception) -> None:
        """The disk would not take the entry's bytes."""
        self.disk_failures += 1
        logger.warning(
            "Cannot write to the cache directory (%s); reading %s/%s past the cache",
            error,
            *entry.name,
        )
        entry.lost_disk = not entry.complete
        self.index.doom(entry, "disk")
        self.index.pressed(entry.info.size)

    def cannot_read(self, entry: Entry, error: Exception) -> None:
        """A cached file would not give its bytes back."""
        self.disk_failures += 1
        logger.warning("Cannot read a cached file (%s); fetching %s/%s anew", error, *entry.name)
        self.index.doom(entry, "disk")

    async def settle(self, entry: Entry) -> None:
        """Nobody reads a partial entry any more: save its block map, so that a restart finds what is here."""
        blocks = entry.blocks
        try:
            if blocks is None or not blocks.filled or entry.complete or entry.doomed:
                return
            entry.saved_blocks = blocks.filled
            await self.world.run_blocking(Lane.DISK, self.store.save_blocks, entry.file, blocks)
            self.index.record_fill(entry)
        except OSError as error:
            self.lost_disk(entry, error)
        finally:
            entry.tasks -= 1
            entry.went_idle()

    def statistics(self) -> dict[str, float]:
        return {
            "fetches_in_flight": self.limiter.borrowed_tokens,
            "fetches_started_total": self.fetches_started,
            "fetches_failed_total": self.fetches_failed,
            "fetches_cancelled_total": self.fetches_cancelled,
            "fetched_bytes_total": self.fetched_bytes,
            "disk_failures_total": self.disk_failures,
        }
