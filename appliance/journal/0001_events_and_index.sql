-- Schema 1. Comments inside the statements are kept by SQLite: `.schema` in its shell shows this specification.
--
-- Tables are the fold of the events (`fold.py` says how, `apply.py` does it here, `verify.py` compares the two). Every row of `entries`,
-- `intents`, `pins` and `settings` names the event that made it, its *supporting* event, by `position`; nothing of that event is
-- repeated but what lookups need. Compaction removes old events that support no row, so the fold of the remaining ones is still exact.

CREATE TABLE node (
    -- Exactly one row: facts about this file.
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    -- Events at positions up to here exist only if they support a row; above it none is missing. 0: never compacted.
    floor   INTEGER NOT NULL,
    -- 1: the last process closed the journal in order. 0 from opening to closing.
    clean   INTEGER NOT NULL CHECK (clean IN (0, 1))
) STRICT;

CREATE TABLE origins (
    -- Nodes whose events are here. id 1 is this node.
    id      INTEGER PRIMARY KEY,
    -- 128 random bits in hexadecimal, chosen once.
    name    TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE events (
    -- Order in which this node applied them, from 1. The newest event is never compacted, so max(position) + 1 is the next.
    position    INTEGER PRIMARY KEY,
    origin      INTEGER NOT NULL REFERENCES origins (id),
    -- The origin's own number: from 1, growing by 1 with each event.
    seq         INTEGER NOT NULL,
    -- `appliance.model.hlc`: greater than that of the origin's previous event.
    hlc         INTEGER NOT NULL,
    -- `appliance.model.events.Kind`.
    kind        TEXT NOT NULL,
    bucket      TEXT NOT NULL,
    -- UTF-8, or any bytes that a filesystem calls a file: BLOB, so that comparison is S3's order. Settings: the name.
    key         BLOB NOT NULL,
    -- "" where the kind has none, and for the commit of a delete.
    version     TEXT NOT NULL,
    -- msgpack map (`details.py`). In a fill, `info.key` is empty: it is this row's key.
    detail      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_origin ON events (origin, seq);

CREATE TABLE entries (
    -- What is cached: one row a name. Supporting event: the newest fill.
    bucket      TEXT NOT NULL,
    key         BLOB NOT NULL,
    position    INTEGER NOT NULL,
    -- Denormalised from the event, for the rules of commit and drop and for people's queries.
    version     TEXT NOT NULL,
    file        TEXT NOT NULL,
    size        INTEGER NOT NULL,
    complete    INTEGER NOT NULL CHECK (complete IN (0, 1)),
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE intents (
    -- Writes whose outcome is not known yet. Supporting event: the intent.
    origin      INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (origin, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
    -- Supporting event: the newest pin. `key` is a key, a prefix ending in "/", or empty for the whole bucket.
    bucket      TEXT NOT NULL,
    key         BLOB NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    -- Supporting event: the newest setting of that name; the value is in its detail.
    name        BLOB PRIMARY KEY,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access (
    -- Not part of the fold, and harmless to lose: how often a data file was used, as eviction counts it. No row: 0.
    file        TEXT PRIMARY KEY,
    frequency   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO node VALUES (1, 0, 1);
