-- Rows that hold what choices told are over a quarter of a page. In a table WITHOUT ROWID such a row leaves its page for
-- one of its own, and whole rows stand in the inner pages of the tree: seven of them on the way to one of a million.
-- A plain table packs the rows; the way to them is an index of names alone.
CREATE TABLE plain (
    owner      TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    preference TEXT    NOT NULL, -- NAME=WEIGHT,... which keeps every bit of a weight
    merge      TEXT    NOT NULL, -- JSON
    etag       TEXT    NOT NULL, -- new with every change
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    learned    TEXT,             -- JSON of what choices told; NULL has none
    PRIMARY KEY (owner, user_id)
) STRICT;
INSERT INTO plain
    SELECT owner, user_id, preference, merge, etag, created_at, updated_at, learned FROM profiles
    ORDER BY owner, user_id;
DROP TABLE profiles;
ALTER TABLE plain RENAME TO profiles;

-- The same of the rows that remembered changes led to.
CREATE TABLE plain (
    owner       TEXT    NOT NULL,
    client_key  TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL, -- of what was asked for
    outcome     TEXT    NOT NULL, -- created, updated or deleted
    profile     TEXT,             -- JSON of the row it led to
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, client_key)
) STRICT;
INSERT INTO plain
    SELECT owner, client_key, user_id, fingerprint, outcome, profile, created_at FROM changes
    ORDER BY owner, client_key;
DROP TABLE changes;
ALTER TABLE plain RENAME TO changes;
CREATE INDEX changes_of_user ON changes (owner, user_id);
CREATE INDEX changes_by_age ON changes (created_at);
