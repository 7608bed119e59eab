-- Times are milliseconds since 1970, UTC. COLLATE "C": pages are ordered by bytes, whatever the database's locale.
CREATE TABLE profiles (
    owner      TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    preference TEXT             NOT NULL, -- NAME=WEIGHT,... which keeps every bit of a weight
    merge      TEXT             NOT NULL, -- JSON
    etag       TEXT             NOT NULL, -- new with every change
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL,
    PRIMARY KEY (owner, user_id)
);

-- Changes that a client may send again, by its Idempotency-Key.
CREATE TABLE changes (
    owner       TEXT COLLATE "C" NOT NULL,
    client_key  TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT             NOT NULL, -- of what was asked for
    outcome     TEXT             NOT NULL, -- created, updated or deleted
    profile     TEXT,                      -- JSON of the row it led to
    created_at  BIGINT           NOT NULL,
    PRIMARY KEY (owner, client_key)
);
CREATE INDEX changes_of_user ON changes (owner, user_id);
CREATE INDEX changes_by_age ON changes (created_at);

CREATE TABLE keys (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner           TEXT             NOT NULL,
    name            TEXT             NOT NULL,
    secret_sha256   TEXT             NOT NULL,
    scopes          TEXT             NOT NULL,
    rate_per_minute BIGINT,                    -- NULL takes the configured one
    concurrency     BIGINT,
    created_at      BIGINT           NOT NULL,
    expires_at      BIGINT,
    revoked_at      BIGINT
);

-- How often the keys changed: servers look at this one row.
CREATE TABLE keys_revision (
    id    BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    value BIGINT NOT NULL
);
INSERT INTO keys_revision (id, value) VALUES (1, 0);
