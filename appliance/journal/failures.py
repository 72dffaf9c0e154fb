"""SQLite's errors as domain errors: what happened, to which file, what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.model.errors import ApplianceError, JournalError, JournalFullError

# Primary result codes (the low byte of an extended one): https://sqlite.org/rescode.html
_SENTENCES = {
    sqlite3.SQLITE_CORRUPT: "The journal {path} is damaged ({error}). Move it away and restart: the cache begins empty, and"
    " `appliance journal verify` on the old file says what it held.",
    sqlite3.SQLITE_NOTADB: "{path} is not a journal, or its beginning is damaged ({error}). Move it away and restart:"
    " the cache begins empty.",
    sqlite3.SQLITE_CANTOPEN: "The journal {path} cannot be opened ({error}): check that the directory exists and belongs"
    " to the user that runs the appliance.",
    sqlite3.SQLITE_READONLY: "The journal {path} cannot be written ({error}): check the permissions of the file and its"
    " directory, and that the filesystem is not mounted read-only.",
    sqlite3.SQLITE_BUSY: "The journal {path} is locked by another program ({error}): end that program.",
    sqlite3.SQLITE_IOERR: "The disk under the journal {path} fails ({error}): see the kernel's log.",
}
# Without the path: this one may reach clients.
_FULL = "The appliance's own disk is full, so its journal cannot be written: free some space."


def translate(error: sqlite3.Error, path: Path) -> ApplianceError:
    """JournalFullError or JournalError."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    # Growing the WAL's shared memory fails so on a full filesystem.
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}:
        return JournalFullError(_FULL)
    sentence = _SENTENCES.get(code & 0xFF, "The journal {path} cannot be used ({error}).")
    return JournalError(sentence.format(path=path, error=f"{name}: {error}"))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise sqlite3.Error of the block as domain errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
