-- Times are milliseconds since 1970, UTC.
CREATE TABLE profiles (
    owner      TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    preference TEXT    NOT NULL, -- NAME=WEIGHT,... which keeps every bit of a weight
    merge      TEXT    NOT NULL, -- JSON
    etag       TEXT    NOT NULL, -- new with every change
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (owner, user_id)
) STRICT, WITHOUT ROWID;

-- Changes that a client may send again, by its Idempotency-Key.
CREATE TABLE changes (
    owner       TEXT    NOT NULL,
    client_key  TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL, -- of what was asked for
    outcome     TEXT    NOT NULL, -- created, updated or deleted
    profile     TEXT,             -- JSON of the row it led to
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, client_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX changes_of_user ON changes (owner, user_id);
CREATE INDEX changes_by_age ON changes (created_at);

CREATE TABLE keys (
    id              TEXT    NOT NULL PRIMARY KEY,
    owner           TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    secret_sha256   TEXT    NOT NULL,
    scopes          TEXT    NOT NULL,
    rate_per_minute INTEGER,          -- NULL takes the configured one
    concurrency     INTEGER,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    revoked_at      INTEGER
) STRICT, WITHOUT ROWID;

-- How often the keys changed: servers look at this one row.
CREATE TABLE keys_revision (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO keys_revision (id, value) VALUES (1, 0);
