"""The journal as the cache uses it: durable appends, reads, restarts, limits, refusals at start."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.journal import Journal
from appliance.journal.details import KEY_BYTES_MAX, draft
from appliance.journal.store import Retention
from appliance.model.errors import JournalError, SlowDownError
from appliance.model.events import Change, Event, Kind
from appliance.model.hlc import unix_ms
from appliance.model.names import key_text
from appliance.world import RealWorld
from tests.support.journal import (
    abort,
    commit,
    drop,
    fill,
    intent,
    no_setting,
    object_info,
    pin,
    record,
    setting,
    unpin,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "appliance.db"


@pytest.fixture
def opened(path):
    """Opens the journal of this test as often as wanted; what is still open at the end is closed."""
    journals = []

    def open_journal(**options) -> Journal:
        journals.append(Journal.open(path, RealWorld(), **options))
        return journals[-1]

    yield open_journal
    for journal in journals:
        journal.close()


async def test_append_returns_numbered_stamped_events(opened):
    async with opened().running() as journal:
        before_ms = RealWorld().now_ns() // 1_000_000
        (first,) = await journal.append(intent("k"))
        second, third = await journal.append(commit("k", of=first.seq), fill("k"))
        assert [first.seq, second.seq, third.seq] == [1, 2, 3]
        assert {event.origin for event in (first, second, third)} == {journal.origin}
        assert before_ms <= unix_ms(first.hlc)
        assert first.hlc < second.hlc < third.hlc
        assert journal.last_seq == 3
        assert journal.events() == [first, second, third]
        assert journal.events(after_seq=1, limit=1) == [second]


async def test_entry_is_what_the_newest_fill_said(opened):
    async with opened().running() as journal:
        await journal.append(fill("a/b\udcff", "v2", file="f2", size=9, complete=False))
        entry = journal.entry("b", "a/b\udcff")
        assert entry is not None
        assert (entry.bucket, entry.key, entry.version) == ("b", "a/b\udcff", "v2")
        assert (entry.file, entry.size, entry.complete, entry.seq) == ("f2", 9, False, 1)
        assert entry.info == object_info("a/b\udcff", "v2", 9)
        assert journal.entry("b", "other") is None
        await journal.append(drop("a/b\udcff"))
        assert journal.entry("b", "a/b\udcff") is None


async def test_entries_stream_in_order_of_fill(opened, monkeypatch):
    monkeypatch.setattr("appliance.journal.store.PAGE_ROWS", 7)
    async with opened().running() as journal:
        await journal.append(*(fill(f"k{number:03}", file=f"f{number}") for number in range(100)))
        await journal.append(fill("k000", file="again"))
        files = [entry.file for entry in journal.entries()]
        assert files == [f"f{number}" for number in range(1, 100)] + ["again"]


async def test_append_soon_is_durable_with_the_next_append_and_in_order(opened):
    async with opened().running() as journal:
        journal.append_soon(fill("k", file="f1"))
        assert journal.entry("b", "k") is None  # queued only
        (event,) = await journal.append(drop("k"))
        assert event.seq == 2
        journal.append_soon(fill("k", file="f2"))
        await journal.flush()
        entry = journal.entry("b", "k")
        assert entry is not None
        assert entry.file == "f2"


async def test_append_soon_before_the_writer_runs_and_after_it_ended(opened):
    journal = opened()
    journal.append_soon(pin("early"))
    async with journal.running():
        pass
    assert journal.pins() == [("b", "early")]
    with pytest.raises(JournalError, match="closed"):
        journal.append_soon(pin("late"))
    with pytest.raises(JournalError, match="not running"):
        await journal.append(pin("late"))


async def test_append_soon_refuses_when_too_much_waits(opened, monkeypatch):
    monkeypatch.setattr("appliance.journal.writer.SOON_BYTES_MAX", 10_000)
    async with opened().running() as journal:
        with pytest.raises(SlowDownError):  # noqa: PT012  # which of them does not matter
            for _ in range(100):
                journal.append_soon(pin("k" * 100))
        accepted = journal.statistics()["queued_calls"]
        await journal.flush()
        assert journal.last_seq == accepted
        journal.append_soon(pin())  # there is room again


async def test_reads_of_intents_pins_and_settings(opened):
    async with opened().running() as journal:
        first, second, _ = await journal.append(intent("x"), intent("y"), intent("z"))
        await journal.append(commit("y", of=second.seq))
        await journal.append(pin("p/"), pin(""), unpin("p/"))
        await journal.append(setting("s", {"deep": [1, None]}), setting("t", 1), no_setting("t"))
        assert [event.key for event in journal.open_intents()] == ["x", "z"]
        assert journal.open_intents()[0] == first
        assert journal.pins() == [("b", "")]
        assert journal.setting("s") == {"deep": [1, None]}
        assert journal.setting("t") is None
        assert journal.settings() == {"s": {"deep": [1, None]}}
        await journal.append(abort("x", of=first.seq))
        assert [event.key for event in journal.open_intents()] == ["z"]


async def test_everything_is_there_after_a_restart(opened):
    journal = opened()
    assert journal.clean_stop  # a new file needs no distrust
    async with journal.running():
        await journal.append(fill(), pin(), intent(), setting("s", 1))
        before = (journal.origin, journal.last_seq, journal.events(), list(journal.entries()))
    journal.close()
    journal.close()  # idempotent
    again = opened()
    assert again.clean_stop
    assert (again.origin, again.last_seq, again.events(), list(again.entries())) == before
    async with again.running():
        (event,) = await again.append(pin("next"))
    assert event.seq == 5
    assert event.hlc > before[2][-1].hlc


async def test_a_stop_without_close_is_not_clean(opened):
    journal = opened()
    async with journal.running():
        await journal.append(pin())
    journal._store.close(clean=False)
    journal._closed = True
    again = opened()
    assert not again.clean_stop
    assert again.pins() == [("b", "k")]


async def test_access_counts_survive_and_follow_their_file(opened):
    journal = opened()
    async with journal.running():
        await journal.append(fill("k1", file="f1"), fill("k2", file="f2"), fill("k3", file="f3"))
        journal.save_access({"f1": 3, "f2": 1, "unknown": 2})
        journal.save_access({"f2": 0})
        await journal.flush()
        assert journal.last_seq == 3  # not an event
        assert {e.file: e.frequency for e in journal.entries()} == {"f1": 3, "f2": 0, "f3": 0}
        await journal.append(fill("k1", file="f4"))
        assert journal.entry("b", "k1").frequency == 0
        assert journal.verify() == []
    journal.close()
    opened().close()
    with sqlite3.connect(journal._store.path) as connection:
        assert connection.execute("SELECT * FROM access").fetchall() == []
    connection.close()


async def test_listeners_hear_durable_events_in_order(opened, caplog):
    heard = []

    def listen(event: Event) -> None:
        heard.append((event.seq, journal.last_seq))
        if event.seq == 2:
            raise ValueError("a bug of the listener")

    journal = opened(on_event=listen)
    async with journal.running():
        await journal.append(pin("a"), pin("b"), pin("c"))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert "a bug of the listener" in caplog.text


async def test_compaction_bounds_the_file_and_keeps_what_the_index_rests_on(opened):
    journal = opened(retention=Retention(keep=50, step=10))
    async with journal.running():
        await journal.append(fill("kept"), pin("kept"), setting("s", 1), intent("kept"))
        for number in range(40):
            await journal.append(*(fill("churn", file=f"f{number}-{i}") for i in range(10)))
        assert journal.last_seq == 404
        assert 404 - 50 - 10 <= journal.floor <= 404 - 50
        left = journal.events(limit=10_000)
        assert [event.seq for event in left[:4]] == [1, 2, 3, 4]
        assert [event.seq for event in left[4:]] == list(range(journal.floor + 1, 405))
        assert journal.verify() == []
        await journal.append(drop("kept"), unpin("kept"), no_setting("s"), commit("kept", of=4))
        assert journal.events(limit=1)[0].seq == journal.floor + 1  # nothing rests on them now
        assert journal.verify() == []


async def test_statistics_are_numbers(opened):
    async with opened().running() as journal:
        await journal.append(pin())
        statistics = journal.statistics()
        assert statistics["events_total"] == statistics["commits_total"] == 1
        assert statistics["database_bytes"] > 0
        assert statistics["wal_bytes"] > 0
        assert all(isinstance(value, int | float) for value in statistics.values())


async def test_every_connection_syncs_each_commit_of_the_write_ahead_log(opened):
    # A killed process shows no missing sync, only a power failure would: so the setting itself is held.
    journal = opened()
    for connection in (journal._store._writer, journal._store._reader):
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


# --- limits on every input -----------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        Change(kind=Kind.FILL, bucket="b", key="k", detail={"file": "f", "complete": True}),
        Change(kind=Kind.FILL, bucket="b", key="k", detail={"info": object_info()}),
        msgspec.structs.replace(fill(), version="another"),
        fill(size=2**63),
        fill(size=-1),
        commit(of=-1),
        commit(of=2**63),
        Change(kind=Kind.COMMIT, bucket="b", key="k", detail={"intent": "7"}),
        Change(kind=Kind.DROP, bucket="b", key="k", detail={"reason": 7}),
        Change(kind=Kind.INTENT, bucket="b", key="k", detail={"op": "\udcff"}),
        Change(kind=Kind.SETTING, bucket="", key="s", detail={"value": object()}),
        Change(kind=Kind.SETTING, bucket="", key="s", detail={"value": 2**70}),
        Change(kind=Kind.PIN, bucket="b\udcff", key="k"),
        Change(kind=Kind.PIN, bucket="b", key="\ud800"),
        pin("k" * (KEY_BYTES_MAX + 1)),
        pin(bucket="b" * 2000),
        setting("s", "x" * 9_000_000),
    ],
)
async def test_a_bad_change_is_refused_and_nothing_of_its_call_recorded(opened, change):
    async with opened().running() as journal:
        with pytest.raises(JournalError, match="cannot record"):
            await journal.append(pin("good"), change)
        with pytest.raises(JournalError, match="cannot record"):
            journal.append_soon(change)
        await journal.flush()
        assert journal.last_seq == 0


async def test_more_changes_than_a_call_may_have_are_refused(opened):
    async with opened().running() as journal:
        with pytest.raises(JournalError, match="65536"):
            await journal.append(*[pin()] * 65_537)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=KEY_BYTES_MAX))
def test_every_key_round_trips(raw):
    assert draft(pin(key_text(raw))).key == raw


# --- refused at start -------------------------------------------------------------------------


def test_a_second_journal_on_the_same_file_is_refused(opened, path):
    opened()
    with pytest.raises(JournalError, match=r"in use by another appliance \(process \d+\)"):
        opened()


def test_another_process_is_refused_and_the_lock_dies_with_its_holder(opened, path):
    code = f"""
from pathlib import Path
from appliance.journal import Journal
from appliance.world import RealWorld
journal = Journal.open(Path({str(path)!r}), RealWorld())
print("open", flush=True)
input()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(JournalError, match=rf"process {holder.pid}\b"):
            opened()
        holder.kill()
    assert opened().clean_stop is False


def test_an_unusable_place_is_refused(opened, path, tmp_path):
    (tmp_path / "data").write_text("a file, not a directory")
    with pytest.raises(JournalError, match="cannot be opened"):
        opened()


def test_a_directory_in_place_of_the_file_is_refused(opened, path):
    path.mkdir(parents=True)
    with pytest.raises(JournalError, match="cannot be opened"):
        opened()


def test_garbage_is_refused_and_the_lock_released(opened, path):
    path.parent.mkdir()
    path.write_bytes(b"not SQLite at all" * 1000)
    for _ in range(2):  # the second time it would be "in use" if the first had leaked the lock
        with pytest.raises(JournalError, match="not a journal"):
            opened()


def test_another_programs_database_is_refused_untouched(opened, path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="another program"):
        opened()
    assert path.read_bytes() == before


async def test_a_damaged_file_is_a_sentence(opened, path):
    journal = opened()
    async with journal.running():
        await journal.append(*(fill(f"k{number}") for number in range(500)))
    journal.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 40_000)
    with pytest.raises(JournalError, match="damaged"):
        list(opened().entries())


async def test_an_entry_whose_bytes_rotted_is_a_miss_and_is_logged(opened, path, caplog):
    journal = opened()
    async with journal.running():
        await journal.append(fill("good"), fill("rotten"))
        journal._store._writer.execute("UPDATE events SET detail = x'c1' WHERE position = 2")
        assert journal.entry("b", "rotten") is None
        assert [entry.key for entry in journal.entries()] == ["good"]
        assert "appliance journal verify" in caplog.text
        assert journal.verify()
        await journal.append(fill("rotten"))  # mends it
        assert journal.entry("b", "rotten") is not None


async def test_close_while_the_writer_runs_is_a_bug(opened):
    journal = opened()
    async with journal.running():
        with pytest.raises(RuntimeError):
            journal.close()
        with trio.fail_after(5):
            await journal.append(pin())  # still works
    assert journal.last_seq == 1


async def test_last_uses_of_keys_survive_and_are_forgotten_on_demand(opened):
    journal = opened()
    async with journal.running():
        journal.save_key_uses({"AK1": 100, "AK2": 200})
        journal.save_key_uses({"AK1": 101})
    journal.close()
    again = opened()
    assert again.key_uses() == {"AK1": 101, "AK2": 200}
    assert again.last_seq == 0  # no event
    async with again.running():
        again.save_key_uses({"AK2": 0})
    assert again.key_uses() == {"AK1": 101}


async def test_who_only_looks_in_after_a_crash_does_not_make_the_stop_clean(opened):
    journal = opened()
    journal._store.close(clean=False)
    journal._closed = True
    visitor = opened()
    async with visitor.running():
        await visitor.append(record(Kind.ACCOUNT, "a", {"n": 1}))
    visitor.close(mark_clean=visitor.clean_stop)
    again = opened()
    assert not again.clean_stop
    assert again.values(Kind.ACCOUNT) == {"a": {"n": 1}}
