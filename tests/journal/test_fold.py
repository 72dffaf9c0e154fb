"""What events mean: the pure fold, rule by rule, and the SQL tables as its equal under any sequence of events, compaction and restarts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.journal.details import decode, draft
from appliance.journal.fold import RULES, State, fold
from appliance.journal.store import Notes, Retention, Store
from appliance.journal.verify import problems, tables
from appliance.model.events import Change, Event, Kind
from appliance.model.names import key_text
from tests.support.journal import (
    CHANGES,
    abort,
    bucket_setting,
    commit,
    drop,
    fill,
    intent,
    no_bucket_setting,
    no_record,
    no_setting,
    pin,
    record,
    setting,
    unpin,
)


def numbered(*changes: Change) -> list[Event]:
    events = []
    for seq, change in enumerate(changes, 1):
        kind, bucket, key, version, detail = draft(change)
        event = Event(
            origin="o",
            seq=seq,
            hlc=seq,
            kind=kind,
            bucket=bucket,
            key=key_text(key),
            version=version,
            detail=detail,
        )
        events.append(event)
    return events


def state_after(*changes: Change) -> State:
    return fold(State(), numbered(*changes))


def test_every_kind_has_a_rule():
    assert set(RULES) == set(Kind)


@pytest.mark.parametrize(
    ("kind", "table"), [(Kind.ACCOUNT, "accounts"), (Kind.ACCESS_KEY, "access_keys")]
)
def test_the_newest_record_of_a_name_wins_until_it_is_removed(kind, table):
    state = state_after(record(kind, "a", {"n": 1}), record(kind, "a", {"n": 2}))
    assert decode(getattr(state, table)["a"]).value == {"n": 2}
    assert not getattr(fold(state, numbered(no_record(kind, "a"))), table)


def test_fold_leaves_its_argument_alone():
    before = state_after(fill(), pin())
    copy = before.copy()
    after = fold(before, numbered(drop(), unpin()))
    assert before == copy
    assert after == State()


def test_a_fill_makes_an_entry_with_the_events_key_in_its_info():
    entry = state_after(fill("a\udcff", "v7", file="f", size=3)).entries["b", "a\udcff"]
    assert (entry.version, entry.file, entry.size, entry.seq) == ("v7", "f", 3, 1)
    assert entry.info.key == "a\udcff"


def test_a_fill_replaces_an_earlier_fill():
    state = state_after(fill(complete=False), fill(complete=True))
    assert [(entry.complete, entry.seq) for entry in state.entries.values()] == [(True, 2)]


@pytest.mark.parametrize(("version", "kept"), [("v1", True), ("v2", False), ("", False)])
def test_a_commit_drops_the_entry_unless_it_is_of_that_version(version, kept):
    state = state_after(fill(version="v1"), commit(version=version))
    assert bool(state.entries) is kept


def test_commit_and_abort_close_their_intent_and_no_other():
    assert list(state_after(intent(), intent(), commit(of=1)).intents) == [("o", 2)]
    assert list(state_after(intent(), intent(), abort(of=2)).intents) == [("o", 1)]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (drop(), False),
        (drop(version="v1"), False),
        (drop(version="v0"), True),
        (drop(file="f1"), False),
        (drop(file="f0"), True),
        (drop(version="v1", file="f0"), True),
        (drop("other"), True),
    ],
)
def test_a_drop_spares_an_entry_of_another_version_or_file(change, kept):
    assert bool(state_after(fill(), change).entries) is kept


def test_pins_and_settings_come_and_go():
    state = state_after(pin("p/"), pin(""), unpin("p/"), setting("s", 1), setting("s", None))
    assert list(state.pins) == [("b", "")]
    assert state.settings["s"].seq == 5
    assert not state_after(setting("s", 1), no_setting("s")).settings


_FILES = itertools.count()


class SmallStore:
    """A store of one example, closed and opened again where the example says so."""

    def __init__(self, directory: Path, retention: Retention) -> None:
        self.path = directory / f"{next(_FILES)}.db"
        self.retention = retention
        self.store = self._open()

    def _open(self) -> Store:
        return Store.open(self.path, lambda: "o", retention=self.retention)

    def restart(self) -> None:
        self.store.close(clean=False)
        self.store = self._open()

    def check(self, history: list[Event]) -> None:
        """Tables = fold of everything that ever happened = fold of what compaction left."""
        expected = fold(State(), history)
        assert self.store.with_snapshot(tables) == expected
        left = self.store.events(0, 10**6)
        assert fold(State(), left) == expected
        assert self.store.with_snapshot(lambda c: problems(c, self.path, thorough=True)) == []
        above_floor = [event for event in history if event.seq > self.store.floor]
        assert [event for event in left if event.seq > self.store.floor] == above_floor
        assert {entry.seq: entry for entry in self.store.entries()} == {
            entry.seq: entry for entry in expected.entries.values()
        }


# Real files: how long it takes says nothing.
def test_settings_of_a_bucket_are_replaced_deleted_and_dropped_together():
    both = (bucket_setting("s", b"1"), bucket_setting("t", b"2"), bucket_setting("s", b"3"))
    state = state_after(*both, bucket_setting("s", b"4", bucket="c"))
    seqs = {name: event.seq for name, event in state.bucket_settings.items()}
    assert seqs == {("b", "t"): 2, ("b", "s"): 3, ("c", "s"): 4}
    assert set(state_after(*both, no_bucket_setting("s")).bucket_settings) == {("b", "t")}
    other = bucket_setting("s", b"4", bucket="c")
    assert set(state_after(*both, other, no_bucket_setting("")).bucket_settings) == {("c", "s")}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    calls=st.lists(st.lists(CHANGES, min_size=1, max_size=6), max_size=12),
    keep=st.sampled_from([1, 5, 1000]),
    restarts=st.sets(st.integers(0, 11)),
)
def test_tables_equal_the_fold_of_events(tmp_path_factory, calls, keep, restarts):
    directory = tmp_path_factory.getbasetemp()
    small = SmallStore(directory, Retention(keep=keep, step=2))
    history: list[Event] = []
    try:
        for number, changes in enumerate(calls):
            history += small.store.commit([draft(change) for change in changes], Notes(), number)
            if number in restarts:
                small.restart()
        small.check(history)
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
        assert sorted({event.hlc for event in history}) == [event.hlc for event in history]
    finally:
        small.store.close(clean=True)
        small.path.unlink()
