"""The journal's file: opening it, one transaction at a time, and reading. All of it blocks; `writer.py` keeps that off the event loop.

Two connections. The writer's commits with `synchronous=FULL`: when `commit` returns, the WAL is on the disk. The reader's sees every
transaction that has committed before a statement starts, and no statement of it stays open, so checkpoints are never held up.

Crash points: before COMMIT's last frame is in the WAL, nothing of the transaction exists; after, all of it does. If the *sync* of the WAL
fails, the commit is reported as failed and hidden, but a crash before the next commit may bring it back whole: an error means "not known
to have happened", for the whole call, never "half".
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.journal.apply import Placed, apply, compact
from appliance.journal.details import Draft, decode, make_entry
from appliance.journal.entry import Entry
from appliance.journal.failures import translate, translated
from appliance.journal.migrations import MIGRATIONS, Migration, migrate
from appliance.model.errors import JournalError
from appliance.model.events import Event, Kind
from appliance.model.hlc import tick
from appliance.model.names import key_bytes, key_text

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

LOCK_SUFFIX = ".lock"
BUSY_TIMEOUT_S = 5.0
PAGE_ROWS = 1000
# Each connection's page cache; SQLite counts negative values in KiB.
_CACHE_KIB = 32 * 1024
# A WAL that grew in a burst is cut back to this after the next checkpoint.
_WAL_BYTES = 64 * 1024**2

_EVENT_COLUMNS = "o.name, v.seq, v.hlc, v.kind, v.bucket, v.key, v.version, v.detail"
EVENTS = f"SELECT {_EVENT_COLUMNS} FROM events v JOIN origins o ON o.id = v.origin"  # noqa: S608
_ENTRY = """
SELECT e.version, v.seq, v.detail, coalesce(a.frequency, 0) FROM entries e
JOIN events v ON v.position = e.position LEFT JOIN access a ON a.file = e.file
WHERE e.bucket = ? AND e.key = ?
"""
# CROSS JOIN keeps this order of loops: events in order of position, so that start-up reads the big table sequentially.
_ENTRIES = """
SELECT v.position, e.bucket, e.key, e.version, v.seq, v.detail, coalesce(a.frequency, 0)
FROM events v CROSS JOIN entries e ON e.bucket = v.bucket AND e.key = v.key
LEFT JOIN access a ON a.file = e.file
WHERE v.kind = 'fill' AND v.position > ? AND e.position = v.position ORDER BY v.position LIMIT ?
"""


# Settings-like tables: one value a name.
_NAMED = {
    Kind.ACCOUNT: f"{EVENTS} JOIN accounts t USING (position)",
    Kind.ACCESS_KEY: f"{EVENTS} JOIN access_keys t USING (position)",
}

# Counts of files that no entry uses any more.
_FORGET_ACCESS = "DELETE FROM access WHERE file NOT IN (SELECT file FROM entries)"


class Notes(msgspec.Struct):
    """What is remembered without an event, and may be lost: data file -> accesses, access key -> last use. 0 forgets."""

    access: dict[str, int] = msgspec.field(default_factory=dict)
    key_uses: dict[str, int] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.access or self.key_uses)

    def __len__(self) -> int:
        return len(self.access) + len(self.key_uses)


class Retention(msgspec.Struct, frozen=True):
    """The newest `keep` events are kept, older ones only while a row rests on them. A transaction removes events once `step` are due,
    at most 8 steps at a time, so that compaction never delays a commit by more than some milliseconds.
    """

    keep: int = 100_000
    step: int = 1024

    def new_floor(self, floor: int, last: int) -> int:
        """Position up to which to compact now; `floor` if it is not time yet."""
        due = last - max(self.keep, 1)
        return floor if due - floor < self.step else min(due, floor + 8 * self.step)


class Store:
    """One open journal file, locked for this process. Methods raise StorageFullError or JournalError."""

    def __init__(
        self, path: Path, lock: int, writer: sqlite3.Connection, retention: Retention
    ) -> None:
        self.path = path
        self.retention = retention
        self._lock = lock
        self._writer = writer
        self._reader = connect(path)
        self.floor: int
        self.last_position: int
        self.last_seq: int
        self.last_hlc: int
        self.origin: str
        (self.floor, clean) = self._row("SELECT floor, clean FROM node")
        self.clean_stop = bool(clean)
        (self.origin,) = self._row("SELECT name FROM origins WHERE id = 1")
        (self.last_position,) = self._row("SELECT coalesce(max(position), 0) FROM events")
        own = "SELECT coalesce(max(seq), 0), coalesce(max(hlc), 0) FROM events WHERE origin = 1"
        (self.last_seq, self.last_hlc) = self._row(own)

    @classmethod
    def open(
        cls,
        path: Path,
        new_origin: Callable[[], str],
        *,
        migrations: Sequence[Migration] = MIGRATIONS,
        retention: Retention | None = None,
    ) -> Store:
        """Create or migrate the file, and mark it as in use. Raises JournalError with what to do."""
        lock = _acquire(path)
        try:
            with translated(path):
                return cls._open_locked(path, lock, new_origin, migrations, retention)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _open_locked(
        cls,
        path: Path,
        lock: int,
        new_origin: Callable[[], str],
        migrations: Sequence[Migration],
        retention: Retention | None,
    ) -> Store:
        _make_private(path)
        writer = connect(path)
        try:
            migrate(writer, path, migrations)
            _use_wal(writer, path)
            writer.execute("INSERT OR IGNORE INTO origins VALUES (1, ?)", (new_origin(),))
            store = cls(path, lock, writer, retention or Retention())
            writer.execute("UPDATE node SET clean = 0")
            writer.execute(_FORGET_ACCESS)
            _sync_directory(path.parent)
        except BaseException:
            writer.close()
            raise
        return store

    def close(self, *, clean: bool) -> None:
        """Close, and say whether the next opening may rely on an orderly stop."""
        try:
            if clean:
                self._writer.execute("UPDATE node SET clean = 1")
        except sqlite3.Error as error:
            # The next opening takes this for a crash: slower, as safe.
            _LOG.warning("the clean stop was not recorded: %s", translate(error, self.path))
        finally:
            self._reader.close()
            self._writer.close()  # checkpoints and removes the WAL
            os.close(self._lock)

    # --- writing ---------------------------------------------------------------------

    def commit(self, drafts: Sequence[Draft], notes: Notes, now_ns: int) -> list[Event]:
        """All of it in one transaction, on the disk when this returns. On an error nothing has changed."""
        events = self._number(drafts, now_ns)
        last_position = self.last_position + len(drafts)
        floor = self.retention.new_floor(self.floor, last_position)
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for offset, (event, draft) in enumerate(zip(events, drafts, strict=True), 1):
                placed = Placed(event, self.last_position + offset, 1, draft.key)
                apply(self._writer, placed, self.floor)
            if floor != self.floor:
                compact(self._writer, self.floor, floor)
            self._save(notes)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise translate(error, self.path) from error
        except BaseException:
            self._rollback()
            raise
        self.floor, self.last_position = floor, last_position
        if events:
            self.last_seq, self.last_hlc = events[-1].seq, events[-1].hlc
        return events

    def _number(self, drafts: Sequence[Draft], now_ns: int) -> list[Event]:
        hlc = self.last_hlc
        events = []
        for seq, (kind, bucket, key, version, detail) in enumerate(drafts, self.last_seq + 1):
            hlc = tick(hlc, now_ns)
            events.append(
                Event(
                    origin=self.origin,
                    seq=seq,
                    hlc=hlc,
                    kind=kind,
                    bucket=bucket,
                    key=key_text(key),
                    version=version,
                    detail=detail,
                )
            )
        return events

    def _save(self, notes: Notes) -> None:
        write = self._writer.executemany
        gone, kept = _split(notes.access)
        write("DELETE FROM access WHERE file = ?", gone)
        write("INSERT OR REPLACE INTO access VALUES (?, ?)", kept)
        gone, kept = _split(notes.key_uses)
        write("DELETE FROM key_uses WHERE access_key = ?", gone)
        write("INSERT OR REPLACE INTO key_uses VALUES (?, ?)", kept)

    def _rollback(self) -> None:
        # SQLite has rolled back by itself after some errors (a full disk among them).
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    # --- reading -----------------------------------------------------------------------

    def entry(self, bucket: str, key: str) -> Entry | None:
        rows = self._rows(_ENTRY, (bucket, key_bytes(key)))
        if not rows:
            return None
        return self._readable(bucket, key, *rows[0])

    def entries(self) -> Iterator[Entry]:
        """Oldest fill first, in pages: no transaction stays open between them."""
        position = 0
        while rows := self._rows(_ENTRIES, (position, PAGE_ROWS)):
            for position, bucket, key, *columns in rows:  # noqa: B007
                entry = self._readable(bucket, key_text(key), *columns)
                if entry is not None:
                    yield entry

    def _readable(self, bucket: str, key: str, *columns: Any) -> Entry | None:
        """The entry; None, and a word in the log, if its bytes rotted: to the cache that is a miss, and a miss is always safe."""
        try:
            return make_entry(bucket, key, *columns)
        except msgspec.MsgspecError as error:
            _LOG.error(
                "an entry of %s is damaged (%s): run `appliance journal verify`", self.path, error
            )
            return None

    def open_intents(self) -> list[Event]:
        return self._events(f"{EVENTS} JOIN intents i USING (position) ORDER BY position")

    def settings(self, name: str | None = None) -> dict[str, Any]:
        """All settings, or the one of this name if there is one."""
        sql = f"{EVENTS} JOIN settings s USING (position)"
        where, values = ("", ()) if name is None else (" WHERE s.name = ?", (key_bytes(name),))
        events = self._events(sql + where, values)
        return {event.key: decode(event).value for event in events}

    def values(self, kind: Kind) -> dict[str, Any]:
        """Name -> value of all of a kind in `_NAMED`."""
        return {event.key: decode(event).value for event in self._events(_NAMED[kind])}

    def key_uses(self) -> dict[str, int]:
        return dict(self._rows("SELECT access_key, used_s FROM key_uses"))

    def bucket_settings(self) -> Iterator[tuple[str, str, bytes]]:
        """(bucket, name, value) of all."""
        for event in self._events(f"{EVENTS} JOIN bucket_settings b USING (position)"):
            yield event.bucket, event.key, decode(event).value

    def pins(self) -> list[tuple[str, str]]:
        rows = self._rows("SELECT bucket, key FROM pins ORDER BY bucket, key")
        return [(bucket, key_text(key)) for bucket, key in rows]

    def events(self, after_seq: int, limit: int) -> list[Event]:
        where = "WHERE v.origin = 1 AND v.seq > ? ORDER BY v.seq LIMIT ?"
        return self._events(f"{EVENTS} {where}", (after_seq, limit))

    def size_bytes(self) -> tuple[int, int]:
        """Of the database and its WAL."""
        wal = self.path.with_name(self.path.name + "-wal")
        return self.path.stat().st_size, wal.stat().st_size if wal.exists() else 0

    def with_snapshot(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """`read` with a connection of its own."""
        with translated(self.path), contextlib.closing(connect(self.path)) as connection:
            return read(connection)

    def _events(self, sql: str, values: Sequence[object] = ()) -> list[Event]:
        return list(events_of(self._rows(sql, values)))

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        # fetchall: a statement that is not stepped to its end would hold an old snapshot.
        with translated(self.path):
            return self._reader.execute(sql, values).fetchall()

    def _row(self, sql: str) -> Any:
        return self._reader.execute(sql).fetchone()


def _split(notes: Mapping[str, int]) -> tuple[list[tuple[str]], list[tuple[str, int]]]:
    """(what to forget, what to write), as SQLite takes them."""
    gone = [(name,) for name, number in notes.items() if number <= 0]
    return gone, [(name, number) for name, number in notes.items() if number > 0]


def events_of(rows: Iterable[Any]) -> Iterator[Event]:
    """Events from rows of `_EVENT_COLUMNS`."""
    for origin, seq, hlc, kind, bucket, key, version, detail in rows:
        yield Event(
            origin=origin,
            seq=seq,
            hlc=hlc,
            kind=Kind(kind),
            bucket=bucket,
            key=key_text(key),
            version=version,
            detail=detail,
        )


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the settings that all of this module relies on."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}").fetchall()
    return connection


def _make_private(path: Path) -> None:
    """The journal names every key: nobody else may read it. SQLite gives its other files the mode of this one."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # SQLite cannot open it either, and is asked next: its answer has its sentence
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(
            f"The filesystem under {path} cannot keep an SQLite write-ahead log: put the data directory on a local disk."
        )


def _acquire(path: Path) -> int:
    """Lock the journal for this process: the descriptor that holds the lock. The kernel drops it when the process ends, however it ends."""
    name = path.with_name(path.name + LOCK_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be opened ({error.strerror}): check that its directory exists, can be written,"
            " and belongs to the user that runs the appliance."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise JournalError(
            f"The journal {path} is in use by another appliance (process {owner}): one process per data directory."
            " Stop it, or use another data directory."
        ) from None
    # Only for the sentence above; a full disk must not keep the appliance from starting.
    with contextlib.suppress(OSError):
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
