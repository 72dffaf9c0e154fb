"""The journal for people: `appliance journal tail|show|verify`. Reads only, blocks, and works while an appliance runs on the file.

Values of settings may be secrets: they are shown only where the caller says so (`reveal`).
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from appliance.journal import verify
from appliance.journal.failures import translated
from appliance.journal.migrations import MIGRATIONS, check
from appliance.journal.store import BUSY_TIMEOUT_S, EVENTS, PAGE_ROWS, events_of
from appliance.model.errors import JournalError
from appliance.model.events import Event, Kind
from appliance.model.hlc import unix_ms
from appliance.model.names import key_bytes

HIDDEN = "(hidden)"
_MAY_BE_SECRET = frozenset({Kind.SETTING, Kind.ACCESS_KEY})


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection. Raises JournalError where there is no journal, or one that this version does not know."""
    if not path.is_file():
        raise JournalError(f"There is no journal at {path}: name the appliance's data directory.")
    with translated(path), contextlib.closing(_connect(path)) as connection:
        schema = check(connection, path)
        if schema == 0:
            raise JournalError(f"The journal {path} is empty: no appliance has used it yet.")
        if schema < MIGRATIONS[-1].number:
            raise JournalError(
                f"The journal {path} was last used by an older version (schema {schema}): start this one on it once."
            )
        yield connection


def _connect(path: Path) -> sqlite3.Connection:
    """Reading a write-ahead log takes a shared-memory file beside it. Where that cannot be made (read-only directory) and there is no log,
    nobody writes, and the file can be read as it stands.
    """
    try:
        return _readable(path, "mode=ro")
    except sqlite3.Error as error:
        log = path.with_name(path.name + "-wal")
        if error.sqlite_errorcode != sqlite3.SQLITE_CANTOPEN or log.exists():
            raise
    return _readable(path, "mode=ro&immutable=1")


def _readable(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Connecting opens nothing yet.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def verify_file(path: Path, *, thorough: bool = True) -> list[str]:
    """Problems as sentences, as `Journal.verify`. Raises JournalError where the file cannot even be opened."""
    with opened(path) as connection:
        return verify.problems(connection, path, thorough=thorough)


def newest(path: Path, count: int) -> list[Event]:
    """The last `count` events, oldest first."""
    with opened(path) as connection:
        sql = f"{EVENTS} ORDER BY v.position DESC LIMIT ?"
        return list(events_of(connection.execute(sql, (count,)).fetchall()))[::-1]


def follow(path: Path, count: int, wait: Callable[[], object]) -> Iterator[Event]:
    """The last `count` events, then each new one as it is committed, for ever. `wait` is called while there is nothing new:
    it should take a fraction of a second, and may raise to end.
    """
    with opened(path) as connection:
        (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
        position = max(last - count, 0)
        while True:
            # Changes whenever another connection commits; cheap, so that waiting costs nearly nothing.
            (data_version,) = connection.execute("PRAGMA data_version").fetchone()
            while rows := _page(connection, position):
                position = rows[-1][0]
                yield from events_of(row[1:] for row in rows)
            while connection.execute("PRAGMA data_version").fetchone() == (data_version,):
                wait()


def _page(connection: sqlite3.Connection, position: int) -> list[Any]:
    sql = EVENTS.replace("SELECT ", "SELECT v.position, ", 1)
    sql += " WHERE v.position > ? ORDER BY v.position LIMIT ?"
    return connection.execute(sql, (position, PAGE_ROWS)).fetchall()


def history(path: Path, bucket: str, key: str) -> list[Event]:
    """Every event about this name that is still there, oldest first. Reads all events."""
    with opened(path) as connection:
        sql = f"{EVENTS} WHERE v.bucket = ? AND v.key = ? ORDER BY v.position"
        return list(events_of(connection.execute(sql, (bucket, key_bytes(key))).fetchall()))


_SUMMARY = """
SELECT (SELECT name FROM origins WHERE id = 1) AS origin,
       (SELECT coalesce(max(seq), 0) FROM events WHERE origin = 1) AS last_seq,
       floor, clean AS clean_stop,
       (SELECT count(*) FROM events) AS events,
       (SELECT count(*) FROM entries) AS entries,
       (SELECT count(*) FROM entries WHERE complete) AS complete_entries,
       (SELECT coalesce(sum(size), 0) FROM entries WHERE complete) AS complete_bytes,
       (SELECT count(*) FROM intents) AS open_intents,
       (SELECT count(*) FROM pins) AS pins,
       (SELECT count(*) FROM settings) AS settings,
       (SELECT count(*) FROM bucket_settings) AS bucket_settings
FROM node
"""


def summary(path: Path) -> dict[str, str | int]:
    """What the file holds, by name. `clean_stop` is 0 while an appliance runs on it."""
    with opened(path) as connection:
        cursor = connection.execute(_SUMMARY)
        names = [column[0] for column in cursor.description]
        (row,) = cursor.fetchall()
        return {**dict(zip(names, row, strict=True)), "schema": check(connection, path)}


# --- one event as a line -------------------------------------------------------------------


def as_text(event: Event, *, reveal: bool = False) -> str:
    """For a terminal: control characters and bytes that are not UTF-8 are escaped."""
    name = f"{event.bucket}/{event.key}" if event.bucket else event.key
    detail = " ".join(f"{name}={_plain(value)}" for name, value in _detail(event, reveal).items())
    fields = (_time(event), f"{event.seq:>8}", f"{event.kind:<7}", name, event.version, detail)
    return _printable("  ".join(field for field in fields if field))


def as_json(event: Event, *, reveal: bool = False) -> str:
    """One line of JSON. Bytes of a key that are not UTF-8 are lone surrogates (\\udcXX); binary values are base64."""
    fields = {
        "origin": event.origin,
        "seq": event.seq,
        "hlc": event.hlc,
        "time": _time(event),
        "kind": event.kind.value,
        "bucket": event.bucket,
        "key": event.key,
        "version": event.version,
        "detail": _detail(event, reveal),
    }
    return json.dumps(fields, default=_json_default)


def _detail(event: Event, reveal: bool) -> dict[str, Any]:
    try:
        detail = msgspec.msgpack.decode(event.detail, type=dict[str, Any]) if event.detail else {}
    except msgspec.MsgspecError as error:
        return {"unreadable": str(error)}
    if event.kind in _MAY_BE_SECRET and "value" in detail and not reveal:
        detail["value"] = HIDDEN
    return detail


def _time(event: Event) -> str:
    seconds, milliseconds = divmod(unix_ms(event.hlc), 1000)
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=_json_default)


def _json_default(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
