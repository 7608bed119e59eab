-- What checks held, for a person to decide.
CREATE TABLE reviews (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- rises with time
    owner       TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C",          -- whose profile was used; NULL when none
    request     TEXT             NOT NULL,
    side        TEXT             NOT NULL, -- input or output
    checks      TEXT             NOT NULL, -- names, separated by commas
    fingerprint TEXT COLLATE "C",          -- of a held prompt, so that it is known when it comes again
    prompt      TEXT             NOT NULL, -- JSON
    answer      TEXT            ,          -- JSON string; NULL when the prompt was held
    status      TEXT             NOT NULL, -- pending, approved or rejected
    created_at  BIGINT                  NOT NULL,
    decided_at  BIGINT                 ,
    decided_by  TEXT                       -- id of a key; NULL also for whoever needs none
);
CREATE UNIQUE INDEX reviews_of_prompt ON reviews (owner, fingerprint);
CREATE INDEX reviews_of_user ON reviews (owner, user_id);
CREATE INDEX reviews_by_status ON reviews (owner, status, id);
CREATE INDEX reviews_by_age ON reviews (created_at);
