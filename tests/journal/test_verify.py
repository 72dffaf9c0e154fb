"""`verify` finds what is wrong: each kind of damage, done by hand, has its sentence; a sound journal has none."""

from __future__ import annotations

import sqlite3

import pytest

from appliance.journal.details import draft
from appliance.journal.inspect import verify_file
from appliance.journal.store import Notes, Retention, Store
from appliance.journal.verify import PROBLEMS_MAX
from tests.support.journal import fill, intent, pin, setting


@pytest.fixture
def path(tmp_path):
    """Compacted up to event 90 of 100; rows rest on events on both sides."""
    path = tmp_path / "appliance.db"
    store = Store.open(path, lambda: "o", retention=Retention(keep=10, step=1))
    old = [fill("old", file="f1"), intent("old"), pin("old"), setting("old", 1)]
    churn = [fill("churn", file=f"f{number}") for number in range(92)]
    new = [fill("new"), intent("new"), pin("new"), setting("new", 2)]
    for change in [*old, *churn, *new]:
        store.commit([draft(change)], Notes(), 0)
    assert store.floor == 90
    store.close(clean=True)
    return path


def after(path, sql: str) -> tuple[list[str], list[str]]:
    """Problems found quickly and thoroughly after `sql`."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()
    return verify_file(path, thorough=False), verify_file(path)


def test_a_sound_journal_has_no_problems(path):
    assert verify_file(path) == []
    assert verify_file(path, thorough=False) == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DELETE FROM events WHERE position = 95", "1 missing"),
        ("DELETE FROM events WHERE position = 91", "1 events missing"),
        ("DELETE FROM events WHERE position > 90", "after the floor 90 are missing"),
        ("DELETE FROM events WHERE position = 1", "A row of entries rests on event 1"),
        ("DELETE FROM events WHERE position = 2", "A row of intents rests on event 2"),
        ("DELETE FROM events WHERE position = 3", "A row of pins rests on event 3"),
        ("DELETE FROM events WHERE position = 4", "A row of settings rests on event 4"),
        ("UPDATE events SET key = x'00' WHERE position = 1", "rests on event 1"),
        ("UPDATE entries SET version = 'v9' WHERE key = x'6f6c64'", "rests on event 1"),
        ("DELETE FROM entries WHERE key = x'6f6c64'", "Event 1 is below the floor"),
    ],
)
def test_gaps_and_rows_without_their_event_are_found_quickly(path, damage, sentence):
    for found in after(path, damage):
        assert any(sentence in problem for problem in found), found


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DELETE FROM entries WHERE key = x'6e6577'", "('b', 'new') follows from the events but"),
        ("DELETE FROM pins WHERE key = x'6e6577'", "('b', 'new') follows from the events but"),
        ("INSERT INTO pins VALUES ('b', x'6e6577', 99)", "('b', 'new')"),
        ("UPDATE entries SET size = 6 WHERE key = x'6e6577'", "is not what the events say"),
        ("UPDATE entries SET file = 'f9' WHERE key = x'6e6577'", "is not what the events say"),
        ("UPDATE events SET detail = x'c1' WHERE position = 93", "Event 93 of o cannot be read"),
        ("UPDATE events SET detail = x'c1' WHERE position = 97", "Event 97 of o cannot be read"),
        ("UPDATE events SET kind = 'magic' WHERE position = 99", "Event 99 of o cannot be read"),
        ("UPDATE events SET kind = 'magic' WHERE position = 93", "Event 93 of o cannot be read"),
        ("UPDATE events SET hlc = 1 WHERE position = 93", "before its predecessor's"),
    ],
)
def test_tables_that_differ_from_the_fold_are_found_thoroughly(path, damage, sentence):
    if damage.startswith("INSERT"):
        after(path, "DELETE FROM pins WHERE key = x'6e6577'")
        after(path, "UPDATE events SET kind = 'unpin' WHERE position = 99")
    found = after(path, damage)[1]
    assert any(sentence in problem for problem in found), found


def test_damaged_pages_are_found(path):
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)
    assert verify_file(path)


def test_problems_are_bounded(path):
    store = Store.open(path, lambda: "o")
    store.commit([draft(pin(f"k{number}")) for number in range(300)], Notes(), 0)
    store.close(clean=True)
    found = after(path, "DELETE FROM pins")[1]
    assert len(found) == PROBLEMS_MAX + 1
    assert found[-1] == "There may be more problems."
