-- Work that is done later: each row is held by one worker at a time, for as long as its lease.
-- next_ms is when the row may be claimed: its moment while it waits, the lease's end while it is held.

CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    project      TEXT NOT NULL REFERENCES projects (id),
    kind         TEXT NOT NULL,
    payload      TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'held', 'done', 'dead')),
    next_ms      INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    attempts_max INTEGER NOT NULL CHECK (attempts_max > 0),
    token        INTEGER NOT NULL DEFAULT 0,
    worker       TEXT,
    last_error   TEXT,
    created_ms   INTEGER NOT NULL,
    finished_ms  INTEGER,
    CHECK ((state IN ('done', 'dead')) = (finished_ms IS NOT NULL))
) STRICT;
CREATE INDEX jobs_due ON jobs (kind, state, next_ms);
CREATE INDEX jobs_by_project ON jobs (project, state);

-- A message of the outbox is held the same way.
ALTER TABLE messages ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
