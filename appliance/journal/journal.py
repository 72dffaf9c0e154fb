"""The journal of this node: an append-only list of events and the index that follows from them, in one SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from appliance.journal.entry import Entry
from appliance.model.events import Change, Event
from appliance.world import World


class Journal:
    """See the module. Signatures are fixed; bodies follow."""

    origin: str
    clean_stop: bool
    last_seq: int

    @classmethod
    def open(
        cls, path: Path, world: World, *, on_event: Callable[[Event], None] | None = None
    ) -> Journal:
        """Blocking. Creates or migrates the file. Raises JournalError with a sentence that says what to do."""
        raise NotImplementedError

    def close(self) -> None:
        """Blocking. Marks a clean stop. The writer must have ended."""
        raise NotImplementedError

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The group-commit writer: `await nursery.start(journal.run)`. Cancel it to stop; what is queued is committed first."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Journal]:
        """`run` in a nursery of its own, flushed at the end of the block."""
        raise NotImplementedError
        yield self

    async def append(self, *changes: Change) -> tuple[Event, ...]:
        """Durable when it returns; all of it in one transaction, with consecutive seqs. Raises StorageFullError, JournalError."""
        raise NotImplementedError

    def append_soon(self, *changes: Change) -> None:
        """Joined to the next group commit, in order with `append`. Raises SlowDownError where too much is queued."""
        raise NotImplementedError

    async def flush(self) -> None:
        """Everything queued is durable. Raises as `append`."""
        raise NotImplementedError

    def entry(self, bucket: str, key: str) -> Entry | None:
        """Point lookup in what is committed (`append_soon` that is still queued is not seen)."""
        raise NotImplementedError

    def entries(self) -> Iterator[Entry]:
        """All entries, oldest fill first."""
        raise NotImplementedError

    def open_intents(self) -> list[Event]:
        """Intents that have neither commit nor abort."""
        raise NotImplementedError

    def pins(self) -> list[tuple[str, str]]:
        """(bucket, key or prefix) of every pin."""
        raise NotImplementedError

    def setting(self, name: str) -> Any | None:
        """The value of a setting, None if it has none."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """All settings."""
        raise NotImplementedError

    def events(self, after_seq: int = 0, limit: int = 1000) -> list[Event]:
        """This node's events with `seq` > `after_seq`, in order."""
        raise NotImplementedError

    def save_access(self, frequencies: Mapping[str, int]) -> None:
        """Remember access counts by data file id; joined to the next group commit; not an event. 0 forgets."""
        raise NotImplementedError

    def verify(self, *, thorough: bool = True) -> list[str]:
        """Blocking. Problems found, as sentences; empty if there is none."""
        raise NotImplementedError

    def statistics(self) -> dict[str, float]:
        raise NotImplementedError
