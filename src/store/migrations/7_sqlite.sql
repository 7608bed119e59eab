-- The roll-out that is running and how the last one ended, so that a restart takes it up: one row.
CREATE TABLE rollout (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    running TEXT, -- JSON; NULL when none is
    last    TEXT  -- JSON; NULL before the first one ended
) STRICT;
INSERT INTO rollout (id) VALUES (1);
