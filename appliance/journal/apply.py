"""The rules of `fold.py` in SQL, and compaction. Runs inside a transaction that the caller owns.

A row's supporting event must stay while the row does; when the row goes, its event may lie below the floor, where only supporting events
are kept: then it goes too (`_retire`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from appliance.journal.details import decode
from appliance.model.events import Event, Kind

_INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Placed(NamedTuple):
    """An event with what only this file knows: its position, its origin's id here, its key as bytes."""

    event: Event
    position: int
    origin_id: int
    key: bytes


def apply(connection: sqlite3.Connection, placed: Placed, floor: int) -> None:
    """Store the event and change the tables as `fold` says."""
    event = placed.event
    connection.execute(
        _INSERT,
        (
            placed.position,
            placed.origin_id,
            event.seq,
            event.hlc,
            event.kind.value,
            event.bucket,
            placed.key,
            event.version,
            event.detail,
        ),
    )
    for position in RULES[event.kind](connection, placed):
        _retire(connection, position, floor)


def compact(connection: sqlite3.Connection, floor: int, new_floor: int) -> None:
    """Remove the events in (floor, new_floor] that support no row, and remember the new floor."""
    connection.execute(_COMPACT, (floor, new_floor))
    connection.execute("UPDATE node SET floor = ?", (new_floor,))


_COMPACT = """
DELETE FROM events AS v WHERE position > ? AND position <= ?
AND NOT EXISTS (SELECT 1 FROM entries e
                WHERE e.bucket = v.bucket AND e.key = v.key AND e.position = v.position)
AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.origin = v.origin AND i.seq = v.seq)
AND NOT EXISTS (SELECT 1 FROM pins p
                WHERE p.bucket = v.bucket AND p.key = v.key AND p.position = v.position)
AND NOT EXISTS (SELECT 1 FROM settings s WHERE s.name = v.key AND s.position = v.position)
AND NOT EXISTS (SELECT 1 FROM bucket_settings b
                WHERE b.bucket = v.bucket AND b.name = v.key AND b.position = v.position)
AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.id = v.key AND a.position = v.position)
AND NOT EXISTS (SELECT 1 FROM access_keys k
                WHERE k.access_key = v.key AND k.position = v.position)
"""


def _retire(connection: sqlite3.Connection, position: int, floor: int) -> None:
    if position <= floor:
        connection.execute("DELETE FROM events WHERE position = ?", (position,))


# --- one rule a kind: change the tables, return positions of events that lost their row ---

Positions = list[int]


def _changed(connection: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> Positions:
    return [position for (position,) in connection.execute(sql, values).fetchall()]


def _intent(connection: sqlite3.Connection, placed: Placed) -> Positions:
    values = (placed.origin_id, placed.event.seq, placed.position)
    connection.execute("INSERT INTO intents VALUES (?, ?, ?)", values)
    return []


def _abort(connection: sqlite3.Connection, placed: Placed) -> Positions:
    return _changed(
        connection,
        "DELETE FROM intents WHERE origin = ? AND seq = ? RETURNING position",
        (placed.origin_id, decode(placed.event).intent),
    )


def _commit(connection: sqlite3.Connection, placed: Placed) -> Positions:
    return _abort(connection, placed) + _changed(
        connection,
        "DELETE FROM entries WHERE bucket = ? AND key = ? AND version <> ? RETURNING position",
        (placed.event.bucket, placed.key, placed.event.version),
    )


class _Size(msgspec.Struct):
    size: int


class _Fill(msgspec.Struct):
    """The part of `FillDetail` that has columns: decoding the rest is not needed here."""

    file: str
    complete: bool
    info: _Size


_fill_columns = msgspec.msgpack.Decoder(_Fill).decode


def _fill(connection: sqlite3.Connection, placed: Placed) -> Positions:
    event = placed.event
    columns = _fill_columns(event.detail)
    name = (event.bucket, placed.key)
    replaced = _changed(
        connection, "SELECT position FROM entries WHERE bucket = ? AND key = ?", name
    )
    connection.execute(
        "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *name,
            placed.position,
            event.version,
            columns.file,
            columns.info.size,
            columns.complete,
        ),
    )
    return replaced


def _drop(connection: sqlite3.Connection, placed: Placed) -> Positions:
    event, file = placed.event, decode(placed.event).file
    return _changed(
        connection,
        "DELETE FROM entries WHERE bucket = ? AND key = ? AND ? IN ('', version)"
        " AND ? IN ('', file) RETURNING position",
        (event.bucket, placed.key, event.version, file),
    )


def _unpin(connection: sqlite3.Connection, placed: Placed) -> Positions:
    return _changed(
        connection,
        "DELETE FROM pins WHERE bucket = ? AND key = ? RETURNING position",
        (placed.event.bucket, placed.key),
    )


def _pin(connection: sqlite3.Connection, placed: Placed) -> Positions:
    replaced = _unpin(connection, placed)
    values = (placed.event.bucket, placed.key, placed.position)
    connection.execute("INSERT INTO pins VALUES (?, ?, ?)", values)
    return replaced


def _put(connection: sqlite3.Connection, placed: Placed, delete: str, insert: str) -> Positions:
    """The newest event of a name with a value."""
    replaced = _changed(connection, delete, (placed.key,))
    if decode(placed.event).value is not msgspec.UNSET:
        connection.execute(insert, (placed.key, placed.position))
    return replaced


def _setting(connection: sqlite3.Connection, placed: Placed) -> Positions:
    delete = "DELETE FROM settings WHERE name = ? RETURNING position"
    return _put(connection, placed, delete, "INSERT INTO settings VALUES (?, ?)")


def _account(connection: sqlite3.Connection, placed: Placed) -> Positions:
    delete = "DELETE FROM accounts WHERE id = ? RETURNING position"
    return _put(connection, placed, delete, "INSERT INTO accounts VALUES (?, ?)")


def _access_key(connection: sqlite3.Connection, placed: Placed) -> Positions:
    delete = "DELETE FROM access_keys WHERE access_key = ? RETURNING position"
    return _put(connection, placed, delete, "INSERT INTO access_keys VALUES (?, ?)")


def _bucket(connection: sqlite3.Connection, placed: Placed) -> Positions:
    name = (placed.event.bucket, placed.key)
    if decode(placed.event).value is msgspec.UNSET:
        return _changed(
            connection,
            "DELETE FROM bucket_settings WHERE bucket = ? AND ? IN (x'', name) RETURNING position",
            name,
        )
    replaced = _changed(
        connection,
        "DELETE FROM bucket_settings WHERE bucket = ? AND name = ? RETURNING position",
        name,
    )
    connection.execute("INSERT INTO bucket_settings VALUES (?, ?, ?)", (*name, placed.position))
    return replaced


RULES: dict[Kind, Callable[[sqlite3.Connection, Placed], Positions]] = {
    Kind.INTENT: _intent,
    Kind.COMMIT: _commit,
    Kind.ABORT: _abort,
    Kind.FILL: _fill,
    Kind.DROP: _drop,
    Kind.PIN: _pin,
    Kind.UNPIN: _unpin,
    Kind.SETTING: _setting,
    Kind.BUCKET: _bucket,
    Kind.ACCOUNT: _account,
    Kind.ACCESS_KEY: _access_key,
}
