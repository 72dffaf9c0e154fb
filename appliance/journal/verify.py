"""Is this file what it says? Problems as sentences; none for a sound journal. Reads one snapshot, also while the appliance runs.

Quick: SQLite's own quick check, events without gaps, rows that rest on their event. Thorough, in addition: SQLite's full integrity
check, every detail decodes, and the fold of all events is what the tables hold (in memory: about 1 KiB an entry).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from appliance.journal.details import entry_of
from appliance.journal.entry import Entry
from appliance.journal.failures import translate
from appliance.journal.fold import RULES, State
from appliance.journal.store import EVENTS, events_of
from appliance.model.events import Event
from appliance.model.names import key_text

PROBLEMS_MAX = 100
# What decoding a row raises if somebody or something changed its bytes.
UNREADABLE = (ValueError, msgspec.MsgspecError)


def problems(connection: sqlite3.Connection, path: Path, *, thorough: bool) -> list[str]:
    """What is wrong, at most PROBLEMS_MAX sentences."""
    found: list[str] = []
    try:
        connection.execute("BEGIN")
        for problem in _checks(connection, thorough=thorough):
            found.append(problem)
            if len(found) == PROBLEMS_MAX:
                found.append("There may be more problems.")
                break
    except sqlite3.Error as error:
        found.append(str(translate(error, path)))
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return found


def _checks(connection: sqlite3.Connection, *, thorough: bool) -> Iterator[str]:
    pragma = "integrity_check" if thorough else "quick_check"
    for (line,) in connection.execute(f"PRAGMA {pragma}({PROBLEMS_MAX})").fetchall():
        if line != "ok":
            yield f"SQLite: {line}."
    yield from _gaps(connection)
    for table, condition in _SUPPORTS.items():
        yield from _unsupported(connection, table, condition)
    yield from _kept_for_nothing(connection)
    if thorough:
        yield from _fold_differs(connection)


_GAPS = """
SELECT o.name, min(v.seq), max(v.seq), count(*), max(v.position) - min(v.position) + 1
FROM events v JOIN origins o ON o.id = v.origin WHERE v.position > (SELECT floor FROM node) GROUP BY v.origin
"""


def _gaps(connection: sqlite3.Connection) -> Iterator[str]:
    for origin, first, last, count, _ in connection.execute(_GAPS).fetchall():
        if last - first + 1 != count:
            missing = last - first + 1 - count
            yield f"Events of {origin} from {first} to {last}: {missing} missing."
    (floor, first, last, count) = connection.execute(
        "SELECT floor, min(position), max(position), count(position)"
        " FROM node LEFT JOIN events ON position > floor"
    ).fetchone()
    if floor and not count:
        yield f"The events after the floor {floor} are missing."
    elif count and (first != floor + 1 or last - floor != count):
        yield f"Positions {floor + 1} to {last}: {last - floor - count} events missing."


# What a row must have in common with the event it names.
_SUPPORTS = {
    "entries": "v.kind = 'fill' AND v.bucket = r.bucket AND v.key = r.key AND v.version = r.version",
    "intents": "v.kind = 'intent' AND v.origin = r.origin AND v.seq = r.seq",
    "pins": "v.kind = 'pin' AND v.bucket = r.bucket AND v.key = r.key",
    "settings": "v.kind = 'setting' AND v.key = r.name",
    "bucket_settings": "v.kind = 'bucket' AND v.bucket = r.bucket AND v.key = r.name",
    "accounts": "v.kind = 'account' AND v.key = r.id",
    "access_keys": "v.kind = 'access_key' AND v.key = r.access_key",
}


def _unsupported(connection: sqlite3.Connection, table: str, condition: str) -> Iterator[str]:
    sql = (
        f"SELECT r.position FROM {table} r LEFT JOIN events v"  # noqa: S608  # names from this file
        f" ON v.position = r.position AND {condition} WHERE v.position IS NULL"
    )
    for (position,) in connection.execute(sql):
        yield f"A row of {table} rests on event {position}, which is missing or says something else."


def _kept_for_nothing(connection: sqlite3.Connection) -> Iterator[str]:
    rows = " UNION ALL ".join(f"SELECT position FROM {table}" for table in _SUPPORTS)  # noqa: S608
    sql = (
        "SELECT position FROM events WHERE position <= (SELECT floor FROM node)"  # noqa: S608
        f" AND position NOT IN ({rows})"
    )
    for (position,) in connection.execute(sql):
        yield f"Event {position} is below the floor and no row rests on it."


def _fold_differs(connection: sqlite3.Connection) -> Iterator[str]:
    expected = State()
    last_hlc: dict[str, int] = {}
    for row in connection.execute(f"{EVENTS} ORDER BY v.position"):
        try:
            (event,) = events_of([row])
            RULES[event.kind](expected, event)
        except UNREADABLE as error:
            yield f"Event {row[1]} of {row[0]} cannot be read: {error}."
            continue
        if event.hlc <= last_hlc.get(event.origin, 0):
            yield f"Event {event.seq} of {event.origin} has a time stamp before its predecessor's."
        last_hlc[event.origin] = event.hlc
    yield from _difference(expected, connection)


def _difference(expected: State, connection: sqlite3.Connection) -> Iterator[str]:
    """Takes from `expected` what the tables hold: one state in memory, not two."""
    for table, key, actual in rows(connection):
        wanted = getattr(expected, table).pop(key, None)
        if wanted is None:
            yield f"{table}: {key!r} does not follow from the events."
        elif wanted != actual:
            yield f"{table}: {key!r} is not what the events say: {actual!r}."
    for table in State.__struct_fields__:
        for key in getattr(expected, table):
            yield f"{table}: {key!r} follows from the events but is missing."


def tables(connection: sqlite3.Connection) -> State:
    """What the tables hold, as `fold` would have made it."""
    state = State()
    for table, key, value in rows(connection):
        getattr(state, table)[key] = value
    return state


def rows(connection: sqlite3.Connection) -> Iterator[tuple[str, Any, Entry | Event]]:
    """(field of State, key there, value) of every row; rows whose event is missing or unreadable are left out."""
    sql = f"{EVENTS} JOIN {{}} r ON r.position = v.position".format
    columns = "SELECT r.bucket, r.key, r.version, r.file, r.size, r.complete, "
    for row in connection.execute(sql("entries").replace("SELECT ", columns, 1)):
        bucket, key, version, file, size, complete, *event_row = row
        with contextlib.suppress(*UNREADABLE):
            (event,) = events_of([event_row])
            entry = msgspec.structs.replace(
                entry_of(event), version=version, file=file, size=size, complete=bool(complete)
            )
            yield "entries", (bucket, key_text(key)), entry
    for event in _supporting(connection, sql("intents")):
        yield "intents", (event.origin, event.seq), event
    for event in _supporting(connection, sql("pins")):
        yield "pins", (event.bucket, event.key), event
    for event in _supporting(connection, sql("settings")):
        yield "settings", event.key, event
    for event in _supporting(connection, sql("bucket_settings")):
        yield "bucket_settings", (event.bucket, event.key), event
    for table in ("accounts", "access_keys"):
        for event in _supporting(connection, sql(table)):
            yield table, event.key, event


def _supporting(connection: sqlite3.Connection, sql: str) -> Iterator[Event]:
    for row in connection.execute(sql):
        with contextlib.suppress(*UNREADABLE):
            yield from events_of([row])
