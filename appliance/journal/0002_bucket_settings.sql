-- Schema 2: what accounts have set on buckets (owner, policy, ACL, CORS ...).

CREATE TABLE bucket_settings (
    -- Supporting event: the newest of kind 'bucket' for bucket and name; the value is in its detail.
    bucket      TEXT NOT NULL,
    name        BLOB NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (bucket, name)
) STRICT, WITHOUT ROWID;
