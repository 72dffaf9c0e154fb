"""Group commit: callers queue changes, one task writes them, everything queued in one transaction and one sync.

    append A -+                      +- A, B, C wake: durable
    append B -+-> queue -> [one transaction in a thread] ...
    append C -+      ^- D, E queue up meanwhile and go next

Interleavings that matter:

- A caller cancelled while it waits leaves its changes in the queue: they are committed, or not, as a whole, without it.
- `run` cancelled: it can only be between transactions; it commits what is queued, then ends. Later appends are refused.
- A commit that fails: its `append` calls raise and are forgotten. What came by `append_soon` has nobody to tell, so it stays at the
  front of the queue and is tried again with whatever comes next. Order among what is committed is always that of the calls.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import trio

from appliance.journal.details import Draft, draft
from appliance.journal.store import Notes, Store
from appliance.model.errors import ApplianceError, JournalError, SlowDownError
from appliance.model.events import Change, Event
from appliance.world import Lane, World

_LOG = logging.getLogger(__name__)

# One transaction takes whole calls until it has this many changes (about 50 ms of work).
BATCH_CHANGES = 4096
# Notes (access counts, last uses) that ride along with one transaction: as many of each.
BATCH_NOTES = 4096
# What `append_soon` may have waiting; beyond it refuses.
SOON_BYTES_MAX = 64 * 1024**2
CALL_CHANGES_MAX = 65_536
# What nobody waits for is gathered this long: a commit costs 0.3 ms of CPU, more than the cache miss that asks for it.
LINGER_S = 0.05


class _Call:
    """What one `append`, `append_soon` or `flush` queued. `done` is None for `append_soon`."""

    __slots__ = ("done", "drafts", "events", "failure")

    def __init__(self, drafts: tuple[Draft, ...], done: trio.Event | None) -> None:
        self.drafts = drafts
        self.done = done
        self.events: tuple[Event, ...] = ()
        self.failure: ApplianceError | None = None

    @property
    def size_bytes(self) -> int:
        return sum(item.size_bytes for item in self.drafts)


class GroupCommit:
    """The queue and the task that empties it."""

    def __init__(
        self, store: Store, world: World, on_event: Callable[[Event], None] | None
    ) -> None:
        self._store = store
        self._world = world
        self.listeners = [on_event] if on_event is not None else []
        self._calls: deque[_Call] = deque()
        self._notes = Notes()
        self._wake = trio.Event()
        self._urgent = trio.Event()  # somebody waits
        self._soon_bytes = 0
        self.running = False
        self.ended = False
        self._counts = dict.fromkeys(
            (
                "events_total",
                "commits_total",
                "failed_commits_total",
                "refused_calls_total",
                "largest_batch",
            ),
            0,
        )

    # --- callers -----------------------------------------------------------------------

    async def append(self, changes: Sequence[Change]) -> tuple[Event, ...]:
        """See `Journal.append`."""
        call = _Call(_drafts(changes), trio.Event())
        if not self.running:
            raise JournalError("The journal's writer is not running: nothing was recorded.")
        self._queue(call)
        assert call.done is not None  # noqa: S101  # given above
        await call.done.wait()
        if call.failure is not None:
            # A fresh one: the same may be raised in many tasks.
            raise type(call.failure)(str(call.failure)) from call.failure
        return call.events

    def append_soon(self, changes: Sequence[Change]) -> None:
        """See `Journal.append_soon`."""
        call = _Call(_drafts(changes), None)
        if self.ended:
            raise JournalError("The journal is closed: nothing was recorded.")
        if self._soon_bytes + call.size_bytes > SOON_BYTES_MAX:
            self._counts["refused_calls_total"] += 1
            raise SlowDownError("The journal cannot keep up: the disk is full or too slow.")
        self._soon_bytes += call.size_bytes
        self._queue(call)

    def save_access(self, frequencies: Mapping[str, int]) -> None:
        """See `Journal.save_access`."""
        self._notes.access.update(frequencies)
        self._wake.set()

    def save_key_uses(self, uses: Mapping[str, int]) -> None:
        """See `Journal.save_key_uses`."""
        self._notes.key_uses.update(uses)
        self._wake.set()

    def _queue(self, call: _Call) -> None:
        self._calls.append(call)
        self._wake.set()
        if call.done is not None or len(self._calls) >= BATCH_CHANGES:
            self._urgent.set()

    # --- the task ------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Commit until cancelled. Raises only on a programming error."""
        if self.running or self.ended:
            raise JournalError("The journal's writer runs already, or has ended.")
        self.running = True
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                with trio.move_on_after(LINGER_S):
                    await self._urgent.wait()
                # Shielded: a transaction that was begun is seen through, with its callers.
                with trio.CancelScope(shield=True):
                    await self._commit_batch()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                while self._pending() and await self._commit_batch():
                    pass
            raise
        finally:
            self.running, self.ended = False, True
            self._fail(
                self._calls, JournalError("The journal was closed before this was recorded.")
            )

    def leftover(self) -> tuple[list[Draft], Notes]:
        """What could not be committed before the task ended."""
        drafts = [item for call in self._calls for item in call.drafts]
        return drafts, self._notes

    def _pending(self) -> bool:
        return bool(self._calls or self._notes)

    async def _commit_batch(self) -> bool:
        """One transaction; False if it failed."""
        self._wake, self._urgent = trio.Event(), trio.Event()
        calls, notes = self._take()
        if self._pending():
            self._wake.set()
            self._urgent.set()
        drafts = [item for call in calls for item in call.drafts]
        try:
            events = (
                await self._world.run_blocking(
                    Lane.JOURNAL, self._store.commit, drafts, notes, self._world.now_ns()
                )
                if drafts or notes
                else []
            )
        except ApplianceError as error:
            self._put_back(calls, notes, error)
            return False
        except BaseException:
            self._put_back(calls, notes, JournalError("The journal's writer failed."))
            raise
        self._finish(calls, events)
        return True

    def _take(self) -> tuple[list[_Call], Notes]:
        calls: list[_Call] = []
        changes = 0
        while self._calls and changes < BATCH_CHANGES:
            calls.append(self._calls.popleft())
            changes += len(calls[-1].drafts)
        return calls, Notes(_taken(self._notes.access), _taken(self._notes.key_uses))

    def _finish(self, calls: Sequence[_Call], events: Sequence[Event]) -> None:
        self._counts["commits_total"] += 1
        self._counts["events_total"] += len(events)
        self._counts["largest_batch"] = max(self._counts["largest_batch"], len(events))
        self._announce(events)
        start = 0
        for call in calls:
            end = start + len(call.drafts)
            call.events = tuple(events[start:end])
            start = end
            if call.done is None:
                self._soon_bytes -= call.size_bytes
            else:
                call.done.set()

    def _announce(self, events: Sequence[Event]) -> None:
        for event in events if self.listeners else ():
            for listener in self.listeners:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001  # the event is durable whatever a listener does
                    _LOG.exception("a listener failed on event %s of the journal", event.seq)

    def _put_back(self, calls: Sequence[_Call], notes: Notes, error: ApplianceError) -> None:
        self._counts["failed_commits_total"] += 1
        _LOG.warning("a commit to %s failed: %s", self._store.path, error)
        self._fail(calls, error)
        self._calls.extendleft(call for call in reversed(calls) if call.done is None)
        self._notes = Notes(
            {**notes.access, **self._notes.access}, {**notes.key_uses, **self._notes.key_uses}
        )

    def _fail(self, calls: Sequence[_Call] | deque[_Call], error: ApplianceError) -> None:
        for call in calls:
            if call.done is not None:
                call.failure = error
                call.done.set()

    def statistics(self) -> dict[str, float]:
        return {
            **self._counts,
            "queued_calls": len(self._calls),
            "soon_bytes": self._soon_bytes,
            "queued_access": len(self._notes),
        }


def _taken(notes: dict[str, int]) -> dict[str, int]:
    """Remove at most `BATCH_NOTES`."""
    return {name: notes.pop(name) for name in list(notes)[:BATCH_NOTES]}


def _drafts(changes: Sequence[Change]) -> tuple[Draft, ...]:
    if len(changes) > CALL_CHANGES_MAX:
        raise JournalError(f"More than {CALL_CHANGES_MAX} changes in one call to the journal.")
    return tuple(map(draft, changes))
