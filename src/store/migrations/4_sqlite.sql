-- Preference pairs that feedback left, where [learning] pairs_days keeps them.
CREATE TABLE pairs (
    owner      TEXT    NOT NULL,
    id         TEXT    NOT NULL, -- UUIDv7: ordered by time
    user_id    TEXT    NOT NULL,
    prompt     TEXT    NOT NULL, -- JSON: [[role, content], ...]
    chosen     TEXT    NOT NULL,
    rejected   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE INDEX pairs_of_user ON pairs (owner, user_id, id);
CREATE INDEX pairs_by_age ON pairs (created_at);
