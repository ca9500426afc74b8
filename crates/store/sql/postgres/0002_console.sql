-- What the console shows: recent events of each project, and which session saw which alert.

CREATE TABLE events (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project  TEXT COLLATE "C" NOT NULL,
    event    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX events_by_project ON events (project, position);

CREATE TABLE alert_views (
    project      TEXT COLLATE "C" NOT NULL,
    session_hash BYTEA NOT NULL,
    alert_id     TEXT COLLATE "C" NOT NULL REFERENCES alerts (id),
    PRIMARY KEY (session_hash, alert_id)
);
