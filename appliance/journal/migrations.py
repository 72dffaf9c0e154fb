"""Schema steps, from an empty file to today's. `PRAGMA user_version` holds the number of the last step taken.

A step is a script that runs with its number in one transaction: a crash leaves the old schema or the new one. Steps that were released
are never edited. A file from a newer version is left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from appliance.model.errors import JournalError

# Marks the file as ours for file(1) and for a human: "CaJ1".
APPLICATION_ID = 0x43614A31


class Migration(msgspec.Struct, frozen=True):
    """Brings schema `number - 1` to `number`."""

    number: int
    script: str


def _script(name: str) -> str:
    return resources.files("appliance.journal").joinpath(name).read_text("utf-8")


MIGRATIONS = (
    Migration(1, _script("0001_events_and_index.sql")),
    Migration(2, _script("0002_bucket_settings.sql")),
    Migration(3, _script("0003_accounts.sql")),
)


def pending(version: int, migrations: Sequence[Migration], path: Path) -> Sequence[Migration]:
    """The steps a file of schema `version` lacks. Raises JournalError if it is newer than all of them."""
    newest = migrations[-1].number
    if version > newest:
        raise JournalError(
            f"The journal {path} was written by a newer version (schema {version}, this version knows up to {newest}):"
            " upgrade the appliance, or use another data directory."
        )
    return [step for step in migrations if step.number > version]


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Take the steps that the file lacks. Raises JournalError where it is newer or not ours, sqlite3.Error where a step fails."""
    version = check(connection, path, migrations)
    for step in pending(version, migrations, path):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{step.script}\n;PRAGMA user_version = {step.number};"
                f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def check(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> int:
    """The file's schema number (0: empty). Raises JournalError where the file is another program's or newer."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application not in {0, APPLICATION_ID} or (tables and not version):
        raise JournalError(
            f"{path} is an SQLite file of another program, not a journal: move it away, or use another data directory."
        )
    pending(version, migrations, path)
    return int(version)
