-- What must survive: projects, their admissions and keys, cases, waivers, the outbox, sessions.
-- Every row carries its project. Texts are ordered by their octets, as in SQLite.
-- Moments are milliseconds since 1970 in UTC.

CREATE TABLE projects (
    id              TEXT COLLATE "C" PRIMARY KEY,
    owner           TEXT COLLATE "C" NOT NULL,
    dir             TEXT COLLATE "C" NOT NULL,
    stage           TEXT COLLATE "C" NOT NULL,
    admitted_digest TEXT COLLATE "C",
    created_ms      BIGINT NOT NULL
);

CREATE TABLE admissions (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project  TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    time_ms  BIGINT NOT NULL,
    digest   TEXT COLLATE "C" NOT NULL,
    decision TEXT COLLATE "C" NOT NULL,
    verdict  TEXT COLLATE "C" NOT NULL,
    report   TEXT COLLATE "C" NOT NULL
);
CREATE INDEX admissions_by_project ON admissions (project, id);

CREATE TABLE api_keys (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    project             TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    mac                 BYTEA NOT NULL CHECK (length(mac) = 32),
    name                TEXT COLLATE "C" NOT NULL,
    requests_per_minute BIGINT NOT NULL,
    created_ms          BIGINT NOT NULL,
    expires_ms          BIGINT,
    revoked_ms          BIGINT,
    last_used_ms        BIGINT
);
CREATE INDEX api_keys_by_project ON api_keys (project, created_ms);

-- The history of a case is the case: rows are only ever added.
CREATE TABLE case_events (
    project     TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    case_id     TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    time_ms     BIGINT NOT NULL,
    actor       TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C",
    body        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, case_id, sequence),
    CHECK ((sequence = 1) = (fingerprint IS NOT NULL))
);
CREATE UNIQUE INDEX case_ids ON case_events (case_id, sequence);
CREATE INDEX cases_by_fingerprint ON case_events (project, fingerprint) WHERE fingerprint IS NOT NULL;
CREATE FUNCTION case_events_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'case events are append-only'; END $$;
CREATE TRIGGER case_events_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON case_events
FOR EACH STATEMENT EXECUTE FUNCTION case_events_refuse();

-- How often the same thing was seen again: a fact beside the history, so that a storm costs one
-- row instead of one for each sighting.
CREATE TABLE case_sightings (
    project TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    case_id TEXT COLLATE "C" NOT NULL,
    count   BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (project, case_id)
);

-- A case as it stands: its first event with the state its last event left it in.
CREATE VIEW cases AS
SELECT first.project, first.case_id, first.fingerprint, first.time_ms AS opened_ms, first.body,
       last.state, last.time_ms AS changed_ms, last.sequence AS events, last.body AS last_body,
       coalesce(seen.count, 1) AS sightings, coalesce(seen.last_ms, first.time_ms) AS seen_ms
FROM case_events AS first
JOIN case_events AS last ON last.project = first.project AND last.case_id = first.case_id
 AND last.sequence = (SELECT max(sequence) FROM case_events AS every
                      WHERE every.project = first.project AND every.case_id = first.case_id)
LEFT JOIN case_sightings AS seen ON seen.project = first.project AND seen.case_id = first.case_id
WHERE first.sequence = 1;

CREATE TABLE waivers (
    id          TEXT COLLATE "C" PRIMARY KEY,
    project     TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    rule        TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C",
    until_ms    BIGINT NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL CHECK (trim(reason) <> ''),
    owner       TEXT COLLATE "C" NOT NULL CHECK (trim(owner) <> ''),
    created_ms  BIGINT NOT NULL,
    CHECK (until_ms > created_ms)
);
CREATE INDEX waivers_by_project ON waivers (project, until_ms);

CREATE TABLE alerts (
    id          TEXT COLLATE "C" PRIMARY KEY,
    project     TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    fingerprint TEXT COLLATE "C" NOT NULL,
    case_id     TEXT COLLATE "C",
    tier        TEXT COLLATE "C" NOT NULL,
    created_ms  BIGINT NOT NULL,
    repeats     BIGINT NOT NULL DEFAULT 0,
    body        TEXT COLLATE "C" NOT NULL
);
CREATE INDEX alerts_by_project ON alerts (project, created_ms);
CREATE INDEX alerts_by_fingerprint ON alerts (project, fingerprint, created_ms);

-- The outbox: what has to leave, written in the transaction that made it necessary.
CREATE TABLE messages (
    idempotency_key TEXT COLLATE "C" PRIMARY KEY,
    project         TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    channel         TEXT COLLATE "C" NOT NULL,
    tier            TEXT COLLATE "C" NOT NULL,
    due_ms          BIGINT NOT NULL,
    next_ms         BIGINT NOT NULL,
    attempts        BIGINT NOT NULL DEFAULT 0,
    state           TEXT COLLATE "C" NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'dead')),
    last_error      TEXT COLLATE "C",
    finished_ms     BIGINT
);
CREATE INDEX messages_due ON messages (state, next_ms);
CREATE TABLE message_alerts (
    idempotency_key TEXT COLLATE "C" NOT NULL REFERENCES messages (idempotency_key),
    alert_id        TEXT COLLATE "C" NOT NULL REFERENCES alerts (id),
    PRIMARY KEY (idempotency_key, alert_id)
);

CREATE TABLE sessions (
    token_hash BYTEA PRIMARY KEY CHECK (length(token_hash) = 32),
    project    TEXT COLLATE "C" NOT NULL,
    "user"     TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE settings (
    project TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    value   BYTEA NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE counters (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);
