"""The journal for people: reading beside a running appliance, lines of text and JSON, following."""

from __future__ import annotations

import json

import pytest

from appliance.journal import Journal
from appliance.journal.details import draft
from appliance.journal.inspect import (
    as_json,
    as_text,
    follow,
    history,
    newest,
    summary,
    verify_file,
)
from appliance.journal.migrations import MIGRATIONS
from appliance.journal.store import Notes, Store
from appliance.model.errors import JournalError
from appliance.model.events import Event, Kind
from appliance.world import RealWorld
from tests.support.journal import drop, fill, intent, pin, setting


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a b?c" / "appliance.db"  # characters that mean something in a URI


@pytest.fixture
def store(path):
    """A journal in use, with six events; not closed while the test reads."""
    store = Store.open(path, lambda: "o")
    changes = [
        fill("k"),
        pin("p/"),
        intent("k"),
        fill("k2", complete=False),
        drop("k"),
        setting("s", "secret"),
    ]
    store.commit([draft(change) for change in changes], Notes(), 10**18)
    yield store
    store.close(clean=True)


async def test_all_of_it_beside_a_running_journal(path):
    journal = Journal.open(path, RealWorld())
    async with journal.running():
        events = await journal.append(fill("k"), pin("k"))
        assert newest(path, 5) == list(events)
        assert verify_file(path) == []
        assert summary(path)["clean_stop"] == 0
        await journal.append(pin("more"))  # the reader left nothing locked
    journal.close()
    assert summary(path)["clean_stop"] == 1
    assert newest(path, 1)[0].key == "more"


def test_newest_are_the_last_oldest_first(path, store):
    assert [event.seq for event in newest(path, 2)] == [5, 6]
    assert [event.seq for event in newest(path, 100)] == [1, 2, 3, 4, 5, 6]


def test_history_of_a_name(path, store):
    assert [event.kind for event in history(path, "b", "k")] == [Kind.FILL, Kind.INTENT, Kind.DROP]
    assert history(path, "b", "nothing") == []


def test_summary(path, store):
    assert summary(path) == {
        "origin": "o",
        "last_seq": 6,
        "floor": 0,
        "clean_stop": 0,
        "events": 6,
        "entries": 1,
        "complete_entries": 0,
        "complete_bytes": 0,
        "open_intents": 1,
        "pins": 1,
        "settings": 1,
        "bucket_settings": 0,
        "schema": len(MIGRATIONS),
    }


def test_follow_gives_the_last_then_each_new_one(path, store):
    def wait() -> None:
        if store.last_seq == 10:
            raise KeyboardInterrupt
        store.commit([draft(pin("new")), draft(pin("new"))], Notes(), 0)

    heard = []
    with pytest.raises(KeyboardInterrupt):
        heard.extend(event.seq for event in follow(path, 1, wait))
    assert heard == [6, 7, 8, 9, 10]


EVENT = Event(
    origin="o",
    seq=7,
    hlc=1_700_000_000_123 << 16,
    kind=Kind.DROP,
    bucket="b",
    key="dir/\udcff\n\x1b[31m",
    version="v",
    detail=draft(drop()).detail,
)


def test_text_escapes_what_a_terminal_would_act_on():
    assert as_text(EVENT) == (
        r"2023-11-14T22:13:20.123Z         7  drop     b/dir/\udcff\n\x1b[31m  v  reason=test"
    )


def test_json_is_one_line_that_holds_everything():
    line = as_json(EVENT)
    assert "\n" not in line
    assert json.loads(line) == {
        "origin": "o",
        "seq": 7,
        "hlc": EVENT.hlc,
        "time": "2023-11-14T22:13:20.123Z",
        "kind": "drop",
        "bucket": "b",
        "key": "dir/\udcff\n\x1b[31m",
        "version": "v",
        "detail": {"reason": "test"},
    }


def test_values_of_settings_are_shown_only_on_demand(path, store):
    (event,) = newest(path, 1)
    assert "secret" not in as_text(event) + as_json(event)
    assert "secret" in as_text(event, reveal=True)
    assert "secret" in as_json(event, reveal=True)


def test_an_unreadable_detail_is_said(path, store):
    event = Event(origin="o", seq=1, hlc=0, kind=Kind.PIN, bucket="b", key="k", detail=b"\xc1")
    assert "unreadable" in as_text(event)


def test_no_journal_is_a_sentence(tmp_path):
    with pytest.raises(JournalError, match="no journal at"):
        summary(tmp_path / "none.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(JournalError, match="is empty"):
        summary(tmp_path / "empty.db")
    (tmp_path / "garbage.db").write_bytes(b"x" * 5000)
    with pytest.raises(JournalError, match="not a journal"):
        verify_file(tmp_path / "garbage.db")
