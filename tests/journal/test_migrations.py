"""Schema steps: taken once, whole or not at all, and never backwards."""

from __future__ import annotations

import sqlite3

import pytest

from appliance.journal.details import draft
from appliance.journal.migrations import MIGRATIONS, Migration
from appliance.journal.store import Notes, Store, connect
from appliance.journal.verify import problems
from appliance.model.errors import JournalError
from tests.support.journal import fill, pin

# What a later version may bring.
NEXT = Migration(
    len(MIGRATIONS) + 1,
    "CREATE TABLE future (key BLOB); INSERT INTO future SELECT key FROM entries;",
)
BROKEN = Migration(NEXT.number, "CREATE TABLE future (key BLOB); INSERT INTO missing VALUES (1);")


@pytest.fixture
def path(tmp_path):
    """A journal of today's schema with an entry and a pin."""
    path = tmp_path / "appliance.db"
    store = Store.open(path, lambda: "o")
    store.commit([draft(fill("k")), draft(pin())], Notes(), 0)
    store.close(clean=True)
    return path


def version_and_tables(path) -> tuple[int, set[str]]:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    connection.close()
    return version, names


def test_steps_are_numbered_from_one_without_gaps():
    assert [step.number for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_an_old_file_is_brought_up_with_its_contents(path):
    store = Store.open(path, lambda: "unused", migrations=[*MIGRATIONS, NEXT])
    assert store.origin == "o"
    assert [entry.key for entry in store.entries()] == ["k"]
    assert store.pins() == [("b", "k")]
    store.close(clean=True)
    version, names = version_and_tables(path)
    assert version == NEXT.number
    assert "future" in names
    connection = connect(path)
    assert connection.execute("SELECT * FROM future").fetchall() == [(b"k",)]
    connection.close()


@pytest.mark.parametrize("steps", range(1, len(MIGRATIONS)))
def test_journals_of_every_former_schema_open_with_their_events(tmp_path, steps):
    path = tmp_path / "appliance.db"
    old = Store.open(path, lambda: "o", migrations=MIGRATIONS[:steps])
    with sqlite3.connect(path) as connection:
        for table, row in [("entries", ("b", b"k", 1, "v1", "f1", 5, 1)), ("pins", ("b", b"k", 2))]:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608  # from above
        for number, change in enumerate((fill("k"), pin()), 1):
            item = draft(change)
            row = (number, 1, number, number, item.kind, item.bucket, item.key, item.version)
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, item.detail)
            )
    connection.close()
    old.close(clean=True)
    assert version_and_tables(path)[0] == steps
    store = Store.open(path, lambda: "unused")
    assert [entry.key for entry in store.entries()] == ["k"]
    assert store.pins() == [("b", "k")]
    assert store.with_snapshot(lambda snapshot: problems(snapshot, path, thorough=True)) == []
    store.close(clean=True)


def test_steps_are_taken_once(path):
    for _ in range(2):
        Store.open(path, lambda: "o", migrations=[*MIGRATIONS, NEXT]).close(clean=True)
    connection = connect(path)
    assert connection.execute("SELECT count(*) FROM future").fetchone() == (1,)
    connection.close()


def test_a_newer_file_is_refused_politely_and_left_alone(path):
    Store.open(path, lambda: "o", migrations=[*MIGRATIONS, NEXT]).close(clean=True)
    before = path.read_bytes()
    with pytest.raises(
        JournalError,
        match=rf"newer version \(schema {NEXT.number}, this version knows up to {NEXT.number - 1}\): upgrade",
    ):
        Store.open(path, lambda: "o")
    assert path.read_bytes() == before


def test_a_step_that_fails_leaves_the_old_schema(path):
    before = version_and_tables(path)
    with pytest.raises(JournalError):
        Store.open(path, lambda: "o", migrations=[*MIGRATIONS, BROKEN])
    assert version_and_tables(path) == before
    store = Store.open(path, lambda: "o")
    assert store.pins() == [("b", "k")]
    store.close(clean=True)


def test_an_empty_file_is_a_new_journal(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    store = Store.open(path, lambda: "o")
    assert store.clean_stop
    store.close(clean=True)
    assert version_and_tables(path)[0] == len(MIGRATIONS)
