//! Brings a database file to the schema of this program, one numbered step at a time, each in its
//! own transaction together with the note that it was taken.

use crate::error::StoreError;
use rusqlite::Connection;
use std::path::Path;

/// Marks the file as ours in its header ("rngf"), so that a wrong path is refused before it is
/// written to.
const APPLICATION_ID: i64 = 0x726e_6766;

/// Every step, oldest first. A released step never changes; a change is a new step.
const STEPS: &[&str] = &[
    include_str!("../sql/0001_state.sql"),
    include_str!("../sql/0002_console.sql"),
];

/// The schema version that this program writes.
pub const SCHEMA_VERSION: u32 = 2;
const _: () = assert!(STEPS.len() == SCHEMA_VERSION as usize);

/// Checks whose file it is and applies the missing steps.
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    migrate_to(connection, path, SCHEMA_VERSION)
}

fn migrate_to(connection: &Connection, path: &Path, wanted: u32) -> Result<(), StoreError> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application != APPLICATION_ID {
        if tables > 0 || application != 0 {
            return Err(StoreError::NotOurs {
                path: path.to_owned(),
            });
        }
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             PRAGMA application_id = {APPLICATION_ID};
             CREATE TABLE schema_versions (version INTEGER PRIMARY KEY) STRICT;
             COMMIT;"
        ))?;
    }
    let found: u32 = connection.query_row(
        "SELECT coalesce(max(version), 0) FROM schema_versions",
        [],
        |r| r.get(0),
    )?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer {
            found,
            known: SCHEMA_VERSION,
        });
    }
    for (step, version) in STEPS.iter().zip(1..=wanted) {
        if version > found {
            apply(connection, step, version)?;
        }
    }
    Ok(())
}

fn apply(connection: &Connection, step: &str, version: u32) -> Result<(), StoreError> {
    let applied = connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {step}; INSERT INTO schema_versions (version) VALUES ({version}); COMMIT;"
    ));
    if applied.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(applied?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.sqlite");
        (dir, path)
    }

    #[test]
    fn version_one_with_rows_comes_up_to_date_and_keeps_them() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        migrate_to(&connection, &path, 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO projects VALUES ('desk', 'ann', '/srv/desk', 'admitted', NULL, 5);
                 INSERT INTO settings VALUES ('host', 'pepper', x'0102');",
            )
            .unwrap();
        assert!(connection.prepare("SELECT * FROM events").is_err());
        migrate(&connection, &path).unwrap();
        assert!(connection.prepare("SELECT * FROM events").is_ok());
        let owner: String = connection
            .query_row("SELECT owner FROM projects", [], |r| r.get(0))
            .unwrap();
        assert_eq!(owner, "ann");
        migrate(&connection, &path).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused_untouched() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        migrate(&connection, &path).unwrap();
        connection
            .execute(
                "INSERT INTO schema_versions VALUES (?1)",
                [SCHEMA_VERSION + 1],
            )
            .unwrap();
        assert_eq!(
            migrate(&connection, &path),
            Err(StoreError::Newer {
                found: SCHEMA_VERSION + 1,
                known: SCHEMA_VERSION
            })
        );
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE bookmarks (url TEXT)")
            .unwrap();
        assert_eq!(
            migrate(&connection, &path),
            Err(StoreError::NotOurs { path: path.clone() })
        );
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        migrate(&connection, &path).unwrap();
        let broken = "CREATE TABLE half (x TEXT) STRICT; CREATE TABLE half (x TEXT) STRICT";
        assert!(apply(&connection, broken, 99).is_err());
        assert!(connection.is_autocommit());
        assert!(connection.prepare("SELECT * FROM half").is_err());
    }
}
