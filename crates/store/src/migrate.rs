//! Brings a database to the schema of this program: numbered steps, forward only, each with its
//! checksum noted beside its number. All missing steps are one transaction that no other starter
//! can be in, so that of several that start at once one does the work and the others find it done.

use crate::error::StoreError;
use crate::transaction::{Engine, Tx};
use ringfence_core::digest::hex;
use ringfence_crypto::hash::sha256;
use rusqlite::Connection;
use std::path::Path;

/// Marks the file as ours in its header ("rngf"), so that a wrong path is refused before it is
/// written to.
const APPLICATION_ID: i64 = 0x726e_6766;

/// One step in the language of each engine.
struct Step {
    sqlite: &'static str,
    #[cfg(feature = "scale")]
    postgres: &'static str,
}

impl Step {
    fn script(&self, engine: Engine<'_>) -> &'static str {
        match engine {
            Engine::Sqlite(_) => self.sqlite,
            #[cfg(feature = "scale")]
            Engine::Postgres(_) => self.postgres,
        }
    }
}

macro_rules! step {
    ($name:literal) => {
        Step {
            sqlite: include_str!(concat!("../sql/sqlite/", $name)),
            #[cfg(feature = "scale")]
            postgres: include_str!(concat!("../sql/postgres/", $name)),
        }
    };
}

/// Every step, oldest first. A released step never changes; a change is a new step.
const STEPS: &[Step] = &[
    step!("0001_state.sql"),
    step!("0002_console.sql"),
    step!("0003_jobs.sql"),
];

/// The schema version that this program writes.
pub const SCHEMA_VERSION: u32 = 3;
const _: () = assert!(STEPS.len() == SCHEMA_VERSION as usize);

/// Checks what is there and applies the missing steps up to `wanted`, inside a transaction that
/// excludes other starters. The ledger `schema_versions` exists.
pub(crate) fn bring_up(tx: &Tx<'_>, wanted: u32) -> Result<(), StoreError> {
    let held = tx.all(
        "SELECT version, checksum FROM schema_versions ORDER BY version",
        (),
        |row| {
            let broken = |cause| StoreError::Row {
                table: "schema_versions",
                cause,
            };
            let version: i64 = row.cell("version").map_err(broken)?;
            let checksum: Option<String> = row.cell("checksum").map_err(broken)?;
            Ok((u32::try_from(version).unwrap_or(u32::MAX), checksum))
        },
    )?;
    if let Some((found, _)) = held.iter().find(|(version, _)| *version > SCHEMA_VERSION) {
        return Err(StoreError::Newer {
            found: *found,
            known: SCHEMA_VERSION,
        });
    }
    for (step, version) in STEPS.iter().zip(1..=wanted) {
        let script = step.script(tx.engine());
        let checksum = hex(&sha256(script.as_bytes()));
        match held.iter().find(|(held, _)| *held == version) {
            Some((_, Some(noted))) if *noted == checksum => {}
            Some((_, Some(_))) => return Err(StoreError::Changed { version }),
            // Taken by a program that noted no checksums yet.
            Some((_, None)) => {
                tx.execute(
                    "UPDATE schema_versions SET checksum = ?2 WHERE version = ?1",
                    (i64::from(version), checksum),
                )?;
            }
            None => {
                tx.script(script)?;
                tx.execute(
                    "INSERT INTO schema_versions (version, checksum) VALUES (?1, ?2)",
                    (i64::from(version), checksum),
                )?;
            }
        }
    }
    Ok(())
}

/// Checks whose file it is and brings it up to date.
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    migrate_to(connection, path, SCHEMA_VERSION)
}

fn migrate_to(connection: &Connection, path: &Path, wanted: u32) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = ledger(connection, path)
        .and_then(|()| bring_up(&Tx::new(Engine::Sqlite(connection)), wanted))
        .and_then(|()| Ok(connection.execute_batch("COMMIT")?));
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    done
}

/// Makes the ledger in an empty file; refuses a file of another program.
fn ledger(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application != APPLICATION_ID {
        if tables > 0 || application != 0 {
            return Err(StoreError::NotOurs {
                path: path.to_owned(),
            });
        }
        connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID};
             CREATE TABLE schema_versions (version INTEGER PRIMARY KEY, checksum TEXT) STRICT;"
        ))?;
    }
    let columns = "SELECT count(*) FROM pragma_table_info('schema_versions')
                   WHERE name = 'checksum'";
    if number(columns)? == 0 {
        connection.execute_batch("ALTER TABLE schema_versions ADD COLUMN checksum TEXT")?;
    }
    Ok(())
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
    fn a_ledger_without_checksums_gets_them_at_the_next_start() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        migrate_to(&connection, &path, 2).unwrap();
        connection
            .execute_batch("ALTER TABLE schema_versions DROP COLUMN checksum")
            .unwrap();
        migrate(&connection, &path).unwrap();
        let noted: u32 = connection
            .query_row("SELECT count(checksum) FROM schema_versions", [], |r| {
                r.get(0)
            })
            .unwrap();
        assert_eq!(noted, SCHEMA_VERSION);
    }

    #[test]
    fn a_newer_schema_is_refused_untouched() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        migrate(&connection, &path).unwrap();
        connection
            .execute(
                "INSERT INTO schema_versions VALUES (?1, 'ff')",
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
    fn a_step_that_is_not_the_one_of_this_program_is_refused() {
        let (_dir, path) = file();
        let connection = Connection::open(&path).unwrap();
        migrate(&connection, &path).unwrap();
        connection
            .execute_batch("UPDATE schema_versions SET checksum = 'ff' WHERE version = 2")
            .unwrap();
        assert_eq!(
            migrate(&connection, &path),
            Err(StoreError::Changed { version: 2 })
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
        migrate_to(&connection, &path, 1).unwrap();
        // Step 2 makes `events`, then fails on a name that is taken.
        connection
            .execute_batch("CREATE TABLE alert_views (x TEXT) STRICT")
            .unwrap();
        assert!(migrate(&connection, &path).is_err());
        assert!(connection.is_autocommit());
        assert!(connection.prepare("SELECT * FROM events").is_err());
        connection.execute_batch("DROP TABLE alert_views").unwrap();
        migrate(&connection, &path).unwrap();
        assert!(connection.prepare("SELECT * FROM events").is_ok());
    }
}
