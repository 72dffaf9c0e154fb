"""Group commit: what is batched, what cancellation and failing commits leave behind. The thread is replaced by a gate that the test opens."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from appliance.journal import Journal
from appliance.model.errors import JournalError, JournalFullError, StorageFullError
from appliance.world import Lane, RealWorld
from tests.support.journal import fill, intent, pin


class GatedWorld(RealWorld):
    """Blocking calls run inline, each once `gate` is open; `calls` counts those that came to it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.gate.set()
        self.calls = 0

    def close_gate(self) -> None:
        self.gate = trio.Event()

    async def run_blocking(self, lane, function, *args, **kwargs):
        assert lane is Lane.JOURNAL
        self.calls += 1
        await self.gate.wait()
        return function(*args, **kwargs)


class Bench:
    """A running journal, its world, and appends under way in the background."""

    def __init__(self, journal: Journal, world: GatedWorld, nursery: trio.Nursery) -> None:
        self.journal = journal
        self.world = world
        self.nursery = nursery
        self.seqs: dict[str, int] = {}
        self.errors: dict[str, Exception] = {}

    async def start(self, name: str, scope: trio.CancelScope | None = None) -> None:
        """Begin an append of a pin; when this returns it is queued."""

        async def one() -> None:
            with scope or trio.CancelScope():
                try:
                    (event,) = await self.journal.append(pin(name))
                    self.seqs[name] = event.seq
                except (JournalError, StorageFullError) as error:
                    self.errors[name] = error

        self.nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()

    def pins(self) -> list[str]:
        return [key for _, key in self.journal.pins()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "appliance.db"


@asynccontextmanager
async def bench(path):
    world = GatedWorld()
    journal = Journal.open(path, world)
    try:
        async with journal.running(), trio.open_nursery() as nursery:
            yield Bench(journal, world, nursery)
    finally:
        journal.close()


async def test_appends_that_come_during_a_commit_share_the_next_one(path):
    async with bench(path) as b:
        b.world.close_gate()
        for name in "abcde":
            await b.start(name)
        assert b.world.calls == 1
        assert b.journal.last_seq == 0
        b.world.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert b.world.calls == 2
        assert b.seqs == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
        assert b.journal.statistics()["largest_batch"] == 4


async def test_a_batch_is_bounded_and_takes_whole_calls(path, monkeypatch):
    monkeypatch.setattr("appliance.journal.writer.BATCH_CHANGES", 3)
    async with bench(path) as b:
        for name in "abcdef":
            b.journal.append_soon(pin(name), pin(name + "2"))
        await b.journal.flush()
        assert b.journal.statistics()["commits_total"] == 4  # 2 calls each, then the flush alone
        assert b.journal.statistics()["largest_batch"] == 4


async def test_a_cancelled_append_is_recorded_whole_or_not_at_all(path):
    async with bench(path) as b:
        b.world.close_gate()
        await b.start("first")
        scope = trio.CancelScope()
        await b.start("cancelled", scope)
        await b.start("last")
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        b.world.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert b.seqs == {"first": 1, "last": 3}
        assert b.pins() == ["cancelled", "first", "last"]


async def test_an_append_cancelled_before_it_is_queued_records_nothing(path):
    async with bench(path) as b:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.checkpoint()
            await b.journal.append(pin("never"))
        await b.journal.flush()
        assert b.pins() == []


async def test_stopping_commits_what_is_queued(path):
    world = GatedWorld()
    journal = Journal.open(path, world)
    async with journal.running():
        world.close_gate()
        for name in "abc":
            journal.append_soon(pin(name))
            await trio.testing.wait_all_tasks_blocked()
        world.gate.set()
    assert [key for _, key in journal.pins()] == ["a", "b", "c"]
    journal.close()
    assert not journal._writer.leftover()[0]


async def test_stopping_in_the_middle_of_a_commit_sees_it_through(path):
    async with bench(path) as b:
        b.world.close_gate()
        await b.start("a")
        b.nursery.start_soon(_open_gate_when_idle, b.world)
    assert b.seqs == {"a": 1}


async def _open_gate_when_idle(world: GatedWorld) -> None:
    await trio.testing.wait_all_tasks_blocked()
    world.gate.set()


class _Failing:
    """A connection whose COMMIT fails as told."""

    def __init__(self, real: sqlite3.Connection, error: Exception) -> None:
        self.real = real
        self.error = error

    def execute(self, sql, values=()):
        if sql == "COMMIT":
            raise self.error
        return self.real.execute(sql, values)

    def __getattr__(self, name):
        return getattr(self.real, name)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as told")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "TOLD"
    return error


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, JournalFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, JournalError),
        (sqlite3.SQLITE_BUSY, JournalError),
    ],
)
async def test_a_failed_commit_fails_its_appends_and_keeps_what_nobody_waits_for(
    path, code, expected, caplog
):
    async with bench(path) as b:
        await b.start("before")
        store, real = b.journal._store, b.journal._store._writer
        store._writer = _Failing(real, sqlite_error(code))
        b.world.close_gate()
        await b.start("lost1")
        b.journal.append_soon(fill("kept"))
        b.journal.save_access({"f1": 2})
        await b.start("lost2")
        b.world.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert {name: type(error) for name, error in b.errors.items()} == {
            "lost1": expected,
            "lost2": expected,
        }
        assert b.errors["lost1"] is not b.errors["lost2"]
        assert b.journal.last_seq == 1
        assert b.journal.entry("b", "kept") is None
        assert b.journal.statistics()["failed_commits_total"] == 2

        store._writer = real
        await b.start("after")
        assert b.seqs == {"before": 1, "after": 3}
        assert b.journal.entry("b", "kept").frequency == 2
        assert b.pins() == ["after", "before"]
        assert b.journal.verify() == []


async def test_what_cannot_be_committed_at_the_end_makes_the_stop_unclean(path, caplog):
    journal = Journal.open(path, GatedWorld())
    real = journal._store._writer
    journal._store._writer = _Failing(real, sqlite_error(sqlite3.SQLITE_FULL))
    async with journal.running():
        journal.append_soon(pin("lost"))
    journal.close()
    assert "could not be recorded at the end" in caplog.text
    again = Journal.open(path, GatedWorld())
    assert not again.clean_stop
    assert again.pins() == []
    again.close()


async def test_what_failed_while_running_is_tried_once_more_at_the_end(path):
    journal = Journal.open(path, GatedWorld())
    real = journal._store._writer
    async with journal.running():
        journal._store._writer = _Failing(real, sqlite_error(sqlite3.SQLITE_FULL))
        journal.append_soon(pin("late"))
        await trio.testing.wait_all_tasks_blocked()
    journal._store._writer = real
    journal.close()
    again = Journal.open(path, GatedWorld())
    assert again.clean_stop
    assert again.pins() == [("b", "late")]
    again.close()


async def test_a_programming_error_stops_the_writer_and_tells_its_callers(path):
    journal = Journal.open(path, GatedWorld())
    real = journal._store._writer
    errors = []

    async def append() -> None:
        try:
            await journal.append(pin())
        except JournalError as error:
            errors.append(error)

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012  # raised by leaving the block
        async with journal.running():
            journal._store._writer = _Failing(real, ZeroDivisionError("a bug"))
            await append()
            await trio.sleep_forever()
    assert raised.group_contains(ZeroDivisionError)
    assert len(errors) == 1
    journal._store._writer = real
    journal.close()


async def test_a_full_database_file_is_storage_full_and_later_appends_work(path, caplog):
    async with bench(path) as b:
        store = b.journal._store
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone()
        done = 0
        with pytest.raises(StorageFullError):  # noqa: PT012  # which of them fails is SQLite's affair
            for _ in range(1000):
                await b.journal.append(*(intent(f"{done}-{n}" + "x" * 500) for n in range(10)))
                done += 1
        assert b.journal.last_seq == done * 10
        assert b.journal.verify() == []
        store._writer.execute("PRAGMA max_page_count = 1000000").fetchone()
        (event,) = await b.journal.append(pin("after"))
        assert event.seq == done * 10 + 1


async def test_a_write_error_of_the_kernel_is_a_sentence_and_later_appends_work(path, caplog):
    # The file size limit makes write(2) of the WAL fail with EFBIG: a real I/O error without a broken disk.
    async with bench(path) as b:
        await b.journal.append(pin("before"))
        wal = path.with_name(path.name + "-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 1000, hard))
        try:
            with pytest.raises(JournalError, match="disk under the journal"):
                await b.journal.append(pin("lost"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert b.journal.last_seq == 1
        await b.journal.append(pin("after"))
        assert b.pins() == ["after", "before"]
        assert b.journal.verify() == []
