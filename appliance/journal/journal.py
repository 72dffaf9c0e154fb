"""The journal of this node: an append-only list of events and the index that follows from them, in one SQLite file.

    journal = Journal.open(data / "appliance.db", world)        # blocks
    async with journal.running():                               # or: await nursery.start(journal.run)
        (event,) = await journal.append(Change(...))            # on the disk
        journal.append_soon(Change(...))                        # on the disk with the next commit
    journal.close()

Writing is `writer.py` (group commit), the file is `store.py`, what events mean is `fold.py` and `apply.py`. Deliberately absent:
a cache of entries in memory (the object cache has its own) and updates of rows without an event, access counts excepted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from appliance.journal.entry import Entry
from appliance.journal.store import Retention, Store
from appliance.journal.verify import problems
from appliance.journal.writer import GroupCommit
from appliance.model.errors import ApplianceError
from appliance.model.events import Change, Event, Kind
from appliance.world import World

_LOG = logging.getLogger(__name__)


class Journal:
    """Use from the event loop's thread. Reads are synchronous: they take microseconds (docs/decisions/0003-journal.md)."""

    def __init__(
        self, store: Store, world: World, on_event: Callable[[Event], None] | None
    ) -> None:
        self._store = store
        self._world = world
        self._writer = GroupCommit(store, world, on_event)
        self._closed = False
        self.clean_stop = store.clean_stop  # was the previous stop orderly? True for a new file

    @classmethod
    def open(
        cls,
        path: Path,
        world: World,
        *,
        on_event: Callable[[Event], None] | None = None,
        retention: Retention | None = None,
    ) -> Journal:
        """Blocking. Creates or migrates the file and locks it for this process. Raises JournalError or StorageFullError.

        `on_event` is called in the event loop with each event once it is durable, in order; it must not block.
        """
        store = Store.open(path, lambda: world.token_bytes(16).hex(), retention=retention)
        return cls(store, world, on_event)

    def close(self, *, mark_clean: bool = True) -> None:
        """Blocking, idempotent. The writer must have ended. Marks a clean stop, unless something queued cannot be committed or
        the caller, who only looked in after a crash, says not to: what the crash left is still to be verified.
        """
        if self._closed:
            return
        if self._writer.running:
            raise RuntimeError("close the journal after its writer has ended")
        self._closed = self._writer.ended = True
        drafts, notes = self._writer.leftover()
        clean = False
        try:
            if drafts or notes:
                self._store.commit(drafts, notes, self._world.now_ns())
            clean = mark_clean
        except ApplianceError as error:
            _LOG.warning("%s changes could not be recorded at the end: %s", len(drafts), error)
        finally:
            self._store.close(clean=clean)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The group-commit writer: `await nursery.start(journal.run)`. Cancel it to stop; what is queued is committed first."""
        await self._writer.run(task_status=task_status)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Journal]:
        """`run` in a nursery of its own; at the end of the block what is queued is committed."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._writer.run)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """From now on call `listener` as `on_event`: in the event loop, with each event once it is durable, in order, before the `append`
        that brought it returns; also if whoever called that has been cancelled. It must not block.
        """
        self._writer.listeners.append(listener)

    # --- writing ---------------------------------------------------------------------------

    async def append(self, *changes: Change) -> tuple[Event, ...]:
        """The events of these changes: durable (synced) when this returns, all in one transaction, with consecutive seqs.

        Cancelled while it waits, all of it is recorded or nothing. Raises JournalError (bad change, failing disk, not running) or
        StorageFullError: nothing was recorded, and later calls work once there is space.
        """
        return await self._writer.append(changes)

    def append_soon(self, *changes: Change) -> None:
        """Join these changes to the next group commit, in order with `append`: they survive from then on, and `entry` sees them from
        then on. A commit that fails is tried again with the next one. Raises SlowDownError where 64 MiB wait already.
        """
        self._writer.append_soon(changes)

    async def flush(self) -> None:
        """Everything queued before is durable. Raises as `append`."""
        await self._writer.append(())

    def save_access(self, frequencies: Mapping[str, int]) -> None:
        """Remember how often data files (by id) were used; joined to the next commits; not an event, may be lost. 0 forgets a file."""
        self._writer.save_access(frequencies)

    def save_key_uses(self, uses: Mapping[str, int]) -> None:
        """Remember when access keys were last used, in seconds since the epoch; as `save_access`. 0 forgets a key."""
        self._writer.save_key_uses(uses)

    # --- reading -----------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """This node's id: 128 random bits in hexadecimal, made with the file."""
        return self._store.origin

    @property
    def last_seq(self) -> int:
        """Number of the newest durable event of this node; 0 if there is none."""
        return self._store.last_seq

    @property
    def floor(self) -> int:
        """Events of this node up to this seq are kept only where the index rests on them."""
        return self._store.floor

    def entry(self, bucket: str, key: str) -> Entry | None:
        """Point lookup in what has been committed. What `append_soon` has queued, or an `append` still waits for, is not seen."""
        return self._store.entry(bucket, key)

    def entries(self) -> Iterator[Entry]:
        """All entries, oldest fill first, streaming. An entry that is filled again meanwhile may come twice, the newer last."""
        return self._store.entries()

    def open_intents(self) -> list[Event]:
        """Intents that have neither commit nor abort, oldest first."""
        return self._store.open_intents()

    def pins(self) -> list[tuple[str, str]]:
        """(bucket, key or prefix) of every pin."""
        return self._store.pins()

    def setting(self, name: str) -> Any | None:
        """The value of a setting; None if it has none (or if that is its value)."""
        return self._store.settings(name).get(name)

    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return self._store.settings()

    def bucket_settings(self) -> Iterator[tuple[str, str, bytes]]:
        """(bucket, name, value) of every setting of a bucket."""
        return self._store.bucket_settings()

    def values(self, kind: Kind) -> dict[str, Any]:
        """Name -> record of every account (`Kind.ACCOUNT`) or key (`Kind.ACCESS_KEY`)."""
        return self._store.values(kind)

    def key_uses(self) -> dict[str, int]:
        """Access key -> when it was last used, as saved, in seconds since the epoch."""
        return self._store.key_uses()

    def events(self, after_seq: int = 0, limit: int = 1000) -> list[Event]:
        """This node's events with `seq` > `after_seq`, in order. Up to `floor` only those that the index rests on are left."""
        return self._store.events(after_seq, limit)

    def verify(self, *, thorough: bool = True) -> list[str]:
        """Blocking, for seconds on a large journal; may run in a thread while appends go on. Problems as sentences."""
        return self._store.with_snapshot(
            lambda connection: problems(connection, self._store.path, thorough=thorough)
        )

    def statistics(self) -> dict[str, float]:
        """Counts since opening, and sizes now."""
        database_bytes, wal_bytes = self._store.size_bytes()
        return {
            **self._writer.statistics(),
            "last_seq": self.last_seq,
            "floor": self.floor,
            "database_bytes": database_bytes,
            "wal_bytes": wal_bytes,
        }
