-- Work that is done later: each row is held by one worker at a time, for as long as its lease.
-- next_ms is when the row may be claimed: its moment while it waits, the lease's end while it is held.

CREATE TABLE jobs (
    id           TEXT COLLATE "C" PRIMARY KEY,
    project      TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    kind         TEXT COLLATE "C" NOT NULL,
    payload      TEXT NOT NULL,
    state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'held', 'done', 'dead')),
    next_ms      BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    attempts_max BIGINT NOT NULL CHECK (attempts_max > 0),
    token        BIGINT NOT NULL DEFAULT 0,
    worker       TEXT,
    last_error   TEXT,
    created_ms   BIGINT NOT NULL,
    finished_ms  BIGINT,
    CHECK ((state IN ('done', 'dead')) = (finished_ms IS NOT NULL))
);
CREATE INDEX jobs_due ON jobs (kind, state, next_ms);
CREATE INDEX jobs_by_project ON jobs (project, state);

-- A message of the outbox is held the same way.
ALTER TABLE messages ADD COLUMN token BIGINT NOT NULL DEFAULT 0;

-- The last group of writes that each writer committed: the one way to learn what became of a
-- commit whose answer was lost.
CREATE TABLE writers (
    id           TEXT COLLATE "C" PRIMARY KEY,
    group_number BIGINT NOT NULL,
    marked_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
