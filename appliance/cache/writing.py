"""Changes of visible names: an intent before, a commit or abort after, and nobody who comes later sees what was before.

    intent durable -> name suspect, front ends told -> backend -> commit durable, with the new version's file -> front ends told -> answer

What may go wrong between, and what is then known:

    refused, or the body broke off       nothing happened: abort; what was cached stays
    timeout, cancelled, backend gone     unknown: the intent stays open and the name suspect, until the backend can be asked (coherence.py)
    the journal is full at the intent    the cached copy is removed first, then the write goes on: nothing is left that could become stale
    the journal is full at the commit    the backend has the write, so it is acknowledged; the name stays suspect
    two writes of one name overlap       the backend orders them; neither leaves a cached version behind
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from appliance.cache.coherence import Coherence, Ticket
from appliance.cache.entry import Entry
from appliance.cache.index import Index
from appliance.cache.opening import Opener
from appliance.cache.plan.s3fifo import Name
from appliance.cache.routes import Route
from appliance.cache.store import Store
from appliance.cache.tee import FileSink, Tee
from appliance.model.errors import (
    ApplianceError,
    BackendError,
    BackendUnavailableError,
    SlowDownError,
)
from appliance.model.events import Change
from appliance.model.objects import (
    Conditions,
    DeleteOutcome,
    DeleteTarget,
    ObjectInfo,
    PutOptions,
)
from appliance.plugin import Body
from appliance.world import Lane, World

logger = logging.getLogger(__name__)

# After these nobody knows whether the backend did what it was asked. Every other domain error is a refusal: "unchanged if it raises".
_UNKNOWN = (BackendUnavailableError, BackendError)

Tell = Callable[[Name, str, ObjectInfo | None], None]


class Write:
    """One write in progress: what came of it, and the file that goes with it."""

    __slots__ = ("file", "info", "made", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.made = False
        self.info: ObjectInfo | None = None
        self.file: FileSink | None = None

    def done(self, info: ObjectInfo | None, file: FileSink | None = None) -> None:
        """The backend has acknowledged; `info` is None for a delete."""
        self.made = True
        self.info = info
        self.file = file


class Writer:
    """Writes through to the backend. `tell(name, origin, info)` tells the front ends."""

    def __init__(
        self,
        world: World,
        store: Store,
        index: Index,
        coherence: Coherence,
        opener: Opener,
        tell: Tell,
    ) -> None:
        self._world = world
        self._store = store
        self._index = index
        self._coherence = coherence
        self._opener = opener
        self._tell = tell
        # Returns when the front ends' own clients know, too.
        self.told: Callable[[Sequence[Name], str], Awaitable[None]] = nobody_to_tell
        self.writes = self.writes_aborted = self.writes_unknown = self.written_bytes = 0

    @asynccontextmanager
    async def write(
        self,
        route: Route,
        name: Name,
        op: str,
        origin: str,
        *,
        unpublished: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[Write]:
        """Around one mutation. The block calls `Write.done`; `unpublished` says whether the backend cannot have published anything yet."""
        [ticket] = await self._begin([name], op, origin)
        write = Write(ticket)
        try:
            yield write
        except BaseException as error:
            if write.made:  # the backend has it; only what came after broke off
                await self._commit(route, [write], origin)
            else:
                await self._failed(ticket, error, origin, known=unpublished())
            raise
        await self._commit(route, [write], origin)
        await self.told([name], origin)

    async def put(
        self,
        route: Route,
        name: Name,
        body: Body,
        options: PutOptions,
        conditions: Conditions,
        origin: str,
    ) -> ObjectInfo:
        """See `Backend.put`."""
        began_s = self._world.boot_s()
        sink = self._sink(route, body)
        tee = Tee(body, sink)
        try:
            async with self.write(
                route, name, "put", origin, unpublished=lambda: not tee.ended
            ) as write:
                info = await route.backend.put(*name, tee, options, conditions)
                write.done(info)
                if sink is not None and sink.size == info.size and await sink.finish():
                    write.done(info, sink)
            self.written_bytes += info.size
            entry = self._index.get(name)
            if entry is not None and entry.info.version == info.version:
                self._opener.checked(entry, began_s)
            return info
        finally:
            if sink is not None:
                sink.discard()  # only what was not handed over

    async def delete_many(
        self,
        route: Route,
        bucket: str,
        targets: Sequence[DeleteTarget],
        names_of: Callable[[str, str, str], Sequence[Name]],
        origin: str,
    ) -> Sequence[DeleteOutcome]:
        """All intents in one transaction, then one request, then an outcome for each target.

        `names_of(bucket, key, version_id)`: the names that deleting a target may change.
        """
        touched = [names_of(bucket, target.key, target.version_id) for target in targets]
        names = list(dict.fromkeys(name for group in touched for name in group))
        tickets = await self._begin(names, "delete", origin)
        try:
            if any(target.version_id for target in targets):
                outcomes = await route.backend.delete_versions(bucket, targets)
            else:
                keys = [target.key for target in targets]
                outcomes = await route.backend.delete_many(bucket, keys)
        except BaseException as error:
            for ticket in tickets:
                await self._failed(ticket, error, origin, known=False)
            raise
        failures = _failures(touched, outcomes)
        gone = []
        for ticket in tickets:
            failure = failures.get(ticket.name, BackendError())
            if failure is None:
                gone.append(Write(ticket))
                gone[-1].done(None)
            else:
                await self._failed(ticket, failure, origin, known=False)
        if gone:
            await self._commit(route, gone, origin)
            await self.told([write.ticket.name for write in gone], origin)
        return outcomes

    # --- before ------------------------------------------------------------------------

    async def _begin(self, names: Sequence[Name], op: str, origin: str) -> list[Ticket]:
        tickets = await self._coherence.begin(names, op)
        try:
            for ticket in tickets:
                await self._began(ticket, origin)
        except BaseException:
            await self._coherence.abort(*tickets)
            raise
        return tickets

    async def _began(self, ticket: Ticket, origin: str) -> None:
        """The name is suspect from here on."""
        self._opener.overtaken(ticket.name)
        self._tell(ticket.name, origin, None)
        if not ticket.journalled:
            await self._remove_cached(ticket)

    async def _remove_cached(self, ticket: Ticket) -> None:
        """No intent will tell after a crash that this name is suspect, so nothing of it may be on the disk."""
        entry = self._index.get(ticket.name)
        file = entry.file if entry is not None else self._index.file_of(ticket.name)
        self._index.drop(ticket.name, "unjournalled write")
        if not file:
            return
        try:
            await self._world.run_blocking(Lane.DISK, self._store.remove, file)
        except OSError as error:
            raise SlowDownError(
                "Neither the journal nor the cache directory can be written."
            ) from error

    def _sink(self, route: Route, body: Body) -> FileSink | None:
        """Where to keep a copy; None where the backend's own file is the copy, or it cannot fit."""
        limit_bytes = self._index.fifo.capacity_bytes // 2
        if route.backend.capabilities.local_files or (body.size or 0) > limit_bytes:
            return None
        return FileSink(self._world, self._store, limit_bytes=limit_bytes, bury=self._index.bury)

    # --- after -------------------------------------------------------------------------

    async def _commit(self, route: Route, writes: Sequence[Write], origin: str) -> None:
        """Record the outcomes, then make the index and the front ends agree with them."""
        outcomes = [(write.ticket, write.info.version if write.info else "") for write in writes]
        entries = [self._new_entry(route, write) for write in writes]
        files = [self._cached_file(write.ticket.name) for write in writes]
        committed = await self._coherence.commit(outcomes, *self._changes(writes, entries, files))
        for write, entry, file in zip(writes, entries, files, strict=True):
            name = write.ticket.name
            self._opener.overtaken(name)
            if committed:
                self._index.superseded(name, file)
            else:
                self._index.drop(name, "written")
            if entry is not None:
                keep = committed and not write.ticket.overlapped
                self._install(entry, write, keep=keep)
            self.writes += 1
            self._tell(name, origin, write.info)

    def _changes(
        self, writes: Sequence[Write], entries: Sequence[Entry | None], files: Sequence[str]
    ) -> list[Change]:
        """What goes with the commits: the new file, or, as a commit drops only *another* version, that the old file is gone."""
        changes = []
        for write, entry, file in zip(writes, entries, files, strict=True):
            if entry is not None:
                changes.append(self._index.fill_change(entry))
            elif file:
                changes.append(self._index.drop_change(write.ticket.name, "written", file))
        return changes

    def _cached_file(self, name: Name) -> str:
        """The file that a commit of `name` makes useless."""
        entry = self._index.get(name)
        return entry.file if entry is not None and entry.file else self._index.file_of(name)

    def _new_entry(self, route: Route, write: Write) -> Entry | None:
        """An entry for the file that was written along, unless it is not known to be the newest."""
        sink = write.file
        if sink is None or write.info is None or write.ticket.overlapped:
            return None
        entry = self._index.new(write.ticket.name, route, write.info)
        entry.file = sink.file
        entry.blocks = sink.blocks
        entry.complete = True
        return entry

    def _install(self, entry: Entry, write: Write, *, keep: bool) -> None:
        if write.file is not None:
            entry.fd = write.file.hand_over()
        entry.journalled = True
        if not keep:
            self._index.doom(entry, "overlapped")
            return
        entry.saved_blocks = entry.blocks.filled if entry.blocks is not None else 0
        self._index.install(entry)
        self._index.has_file(entry)
        self._index.opened(entry)

    async def _failed(
        self, ticket: Ticket, error: BaseException, origin: str, *, known: bool
    ) -> None:
        """Abort if nothing can have happened, else leave the name suspect."""
        refused = isinstance(error, ApplianceError) and not isinstance(error, _UNKNOWN)
        self._opener.overtaken(ticket.name)
        if known or refused:
            self.writes_aborted += 1
            await self._coherence.abort(ticket)
        else:
            self.writes_unknown += 1
            logger.warning("It is not known whether a write of %s/%s happened", *ticket.name)
            self._coherence.leave_open(ticket)
        self._tell(ticket.name, origin, None)

    def statistics(self) -> dict[str, float]:
        return {
            "writes_total": self.writes,
            "writes_aborted_total": self.writes_aborted,
            "writes_unknown_total": self.writes_unknown,
            "written_bytes_total": self.written_bytes,
        }


def _failures(
    touched: Sequence[Sequence[Name]], outcomes: Sequence[DeleteOutcome]
) -> dict[Name, Exception | None]:
    """What kept each name as it was; None where anything was deleted, unless it is not even known what."""
    failures: dict[Name, Exception | None] = {}
    for names, outcome in zip(touched, outcomes, strict=True):
        for name in names:
            known = failures.get(name, outcome.error)
            if not isinstance(known, _UNKNOWN):
                unknown = isinstance(outcome.error, _UNKNOWN)
                known = outcome.error if unknown or outcome.error is None else known
            failures[name] = known
    return failures


async def nobody_to_tell(_names: Sequence[Name], _origin: str) -> None:
    """No front end waits for anybody."""
