-- Schema 3: accounts and their access keys. Records, secrets sealed, are in the events' details (`appliance.auth.accounts.records`).

CREATE TABLE accounts (
    -- Supporting event: the newest of kind 'account' for this canonical id.
    id          BLOB PRIMARY KEY,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_keys (
    -- Supporting event: the newest of kind 'access_key' for this key. Its account may be gone: then it is nobody's.
    access_key  BLOB PRIMARY KEY,
    position    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key_uses (
    -- Not part of the fold, and harmless to lose: when a key last signed a request, in seconds since the epoch. No row: never.
    access_key  TEXT PRIMARY KEY,
    used_s      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
