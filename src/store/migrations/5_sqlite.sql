-- Answers of the last hour, so that feedback can name them on any replica, where [learning] answers is "store".
CREATE TABLE answers (
    owner      TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    user_id    TEXT,             -- NULL when the request named none
    prompt     TEXT    NOT NULL, -- JSON: [[role, content], ...]
    answer     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, request_id)
) STRICT;
CREATE INDEX answers_of_user ON answers (owner, user_id);
CREATE INDEX answers_by_age ON answers (created_at);
