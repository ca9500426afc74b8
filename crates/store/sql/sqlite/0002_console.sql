-- What the console shows: recent events of each project, and which session saw which alert.

CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    project  TEXT NOT NULL,
    event    TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_project ON events (project, position);

CREATE TABLE alert_views (
    project      TEXT NOT NULL,
    session_hash BLOB NOT NULL,
    alert_id     TEXT NOT NULL REFERENCES alerts (id),
    PRIMARY KEY (session_hash, alert_id)
) STRICT;
