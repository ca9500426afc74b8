-- What must survive: projects, their admissions and keys, cases, waivers, the outbox, sessions.
-- Every row carries its project. Moments are milliseconds since 1970 in UTC.

CREATE TABLE projects (
    id              TEXT PRIMARY KEY,
    owner           TEXT NOT NULL,
    dir             TEXT NOT NULL,
    stage           TEXT NOT NULL,
    admitted_digest TEXT,
    created_ms      INTEGER NOT NULL
) STRICT;

CREATE TABLE admissions (
    id       INTEGER PRIMARY KEY,
    project  TEXT NOT NULL REFERENCES projects (id),
    time_ms  INTEGER NOT NULL,
    digest   TEXT NOT NULL,
    decision TEXT NOT NULL,
    verdict  TEXT NOT NULL,
    report   TEXT NOT NULL
) STRICT;
CREATE INDEX admissions_by_project ON admissions (project, id);

CREATE TABLE api_keys (
    id                  TEXT PRIMARY KEY,
    project             TEXT NOT NULL REFERENCES projects (id),
    mac                 BLOB NOT NULL CHECK (length(mac) = 32),
    name                TEXT NOT NULL,
    requests_per_minute INTEGER NOT NULL,
    created_ms          INTEGER NOT NULL,
    expires_ms          INTEGER,
    revoked_ms          INTEGER,
    last_used_ms        INTEGER
) STRICT;
CREATE INDEX api_keys_by_project ON api_keys (project, created_ms);

-- The history of a case is the case: rows are only ever added.
CREATE TABLE case_events (
    project     TEXT NOT NULL REFERENCES projects (id),
    case_id     TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL,
    fingerprint TEXT,
    body        TEXT NOT NULL,
    PRIMARY KEY (project, case_id, sequence),
    CHECK ((sequence = 1) = (fingerprint IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX case_ids ON case_events (case_id, sequence);
CREATE INDEX cases_by_fingerprint ON case_events (project, fingerprint) WHERE fingerprint IS NOT NULL;
CREATE TRIGGER case_events_keep BEFORE UPDATE ON case_events
BEGIN SELECT RAISE(ABORT, 'case events are append-only'); END;
CREATE TRIGGER case_events_stay BEFORE DELETE ON case_events
BEGIN SELECT RAISE(ABORT, 'case events are append-only'); END;

-- How often the same thing was seen again: a fact beside the history, so that a storm costs one
-- row instead of one for each sighting.
CREATE TABLE case_sightings (
    project TEXT NOT NULL REFERENCES projects (id),
    case_id TEXT NOT NULL,
    count   INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (project, case_id)
) STRICT;

-- A case as it stands: its first event with the state its last event left it in.
CREATE VIEW cases AS
SELECT first.project, first.case_id, first.fingerprint, first.time_ms AS opened_ms, first.body,
       last.state, last.time_ms AS changed_ms, last.sequence AS events, last.body AS last_body,
       coalesce(seen.count, 1) AS sightings, coalesce(seen.last_ms, first.time_ms) AS seen_ms
FROM case_events AS first
JOIN case_events AS last ON last.project = first.project AND last.case_id = first.case_id
 AND last.sequence = (SELECT max(sequence) FROM case_events AS any
                      WHERE any.project = first.project AND any.case_id = first.case_id)
LEFT JOIN case_sightings AS seen ON seen.project = first.project AND seen.case_id = first.case_id
WHERE first.sequence = 1;

CREATE TABLE waivers (
    id          TEXT PRIMARY KEY,
    project     TEXT NOT NULL REFERENCES projects (id),
    rule        TEXT NOT NULL,
    fingerprint TEXT,
    until_ms    INTEGER NOT NULL,
    reason      TEXT NOT NULL CHECK (trim(reason) <> ''),
    owner       TEXT NOT NULL CHECK (trim(owner) <> ''),
    created_ms  INTEGER NOT NULL,
    CHECK (until_ms > created_ms)
) STRICT;
CREATE INDEX waivers_by_project ON waivers (project, until_ms);

CREATE TABLE alerts (
    id          TEXT PRIMARY KEY,
    project     TEXT NOT NULL REFERENCES projects (id),
    fingerprint TEXT NOT NULL,
    case_id     TEXT,
    tier        TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    repeats     INTEGER NOT NULL DEFAULT 0,
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_project ON alerts (project, created_ms);
CREATE INDEX alerts_by_fingerprint ON alerts (project, fingerprint, created_ms);

-- The outbox: what has to leave, written in the transaction that made it necessary.
CREATE TABLE messages (
    idempotency_key TEXT PRIMARY KEY,
    project         TEXT NOT NULL REFERENCES projects (id),
    channel         TEXT NOT NULL,
    tier            TEXT NOT NULL,
    due_ms          INTEGER NOT NULL,
    next_ms         INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    state           TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    last_error      TEXT,
    finished_ms     INTEGER
) STRICT;
CREATE INDEX messages_due ON messages (state, next_ms);
CREATE TABLE message_alerts (
    idempotency_key TEXT NOT NULL REFERENCES messages (idempotency_key),
    alert_id        TEXT NOT NULL REFERENCES alerts (id),
    PRIMARY KEY (idempotency_key, alert_id)
) STRICT;

CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    project    TEXT NOT NULL,
    user       TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    project TEXT NOT NULL,
    name    TEXT NOT NULL,
    value   BLOB NOT NULL,
    PRIMARY KEY (project, name)
) STRICT;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
