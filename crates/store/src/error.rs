//! What can go wrong with the state database, in words for its operator.

use ringfence_core::error::{ErrorCode, Explain};
use std::path::PathBuf;

/// Why the state could not be read or written. Clone, because one failed commit answers every
/// write that was part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened or created.
    #[error("the state database cannot be opened")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The schema is newer than this program.
    #[error("the state database has schema version {found}, this program knows {known}")]
    Newer {
        /// The version in the file.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// A step of the schema is not the one that this program would have taken.
    #[error("step {version} of the state database's schema is not the one of this program")]
    Changed {
        /// Which step.
        version: u32,
    },
    /// It is a database, but not ours.
    #[error("this is not a ringfence state database")]
    NotOurs {
        /// Which file, or which schema of a server.
        path: PathBuf,
    },
    /// No space is left; nothing of the write was kept.
    #[error("the disk is full: the change was not saved")]
    Full,
    /// The file is damaged.
    #[error("the state database is damaged")]
    Corrupt {
        /// What the engine found.
        cause: String,
    },
    /// Another process holds the database.
    #[error("the state database is locked by another process")]
    Busy,
    /// A row that the schema forbids, for example a waiver without an end.
    #[error("the change breaks a rule of the state database")]
    Constraint {
        /// Which rule.
        cause: String,
    },
    /// A stored document is not what was written.
    #[error("a row of {table} cannot be read")]
    Row {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A limit on what one aggregate may hold.
    #[error("{what}: at most {limit}")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The named row does not exist in this project.
    #[error("{what} {id:?} does not exist in this project")]
    Missing {
        /// What kind of row.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A worker that no longer holds its lease: another one was given the work.
    #[error("{what} {id:?} is no longer held by this worker")]
    Stale {
        /// What kind of work.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The database server cannot be reached; nothing of the write was kept.
    #[error("the database server cannot be reached")]
    Unreachable {
        /// What the connection or the server said.
        cause: String,
    },
    /// The connection broke during the commit, and the server did not come back to say how it
    /// ended.
    #[error("whether the change was saved is not known")]
    Unsure {
        /// What the connection or the server said.
        cause: String,
    },
    /// The database server is set up in a way that would lose what was answered.
    #[error("the database server cannot hold the state")]
    Unsuitable {
        /// Which setting.
        cause: String,
    },
    /// The writer ended, or the job did not come back.
    #[error("the state database has no writer any more")]
    Stopped,
    /// Anything else the engine reports.
    #[error("the state database failed")]
    Failed {
        /// What the engine said.
        cause: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let cause = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Full,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Corrupt { cause },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy,
            Some(Code::ConstraintViolation) => Self::Constraint { cause },
            _ => Self::Failed { cause },
        }
    }
}

impl Explain for StoreError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Open { .. } => "record/store-open",
            Self::Newer { .. } => "record/store-newer",
            Self::Changed { .. } => "record/store-changed",
            Self::NotOurs { .. } => "record/store-not-ours",
            Self::Full => "record/store-full",
            Self::Corrupt { .. } => "record/store-corrupt",
            Self::Busy => "record/store-busy",
            Self::Constraint { .. } => "record/store-constraint",
            Self::Row { .. } => "record/store-row",
            Self::Limit { .. } => "record/store-limit",
            Self::Missing { .. } => "record/store-missing",
            Self::Stale { .. } => "record/store-stale",
            Self::Unreachable { .. } => "record/store-unreachable",
            Self::Unsure { .. } => "record/store-unsure",
            Self::Unsuitable { .. } => "record/store-unsuitable",
            Self::Stopped => "record/store-stopped",
            Self::Failed { .. } => "record/store-failed",
        })
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Open { path, .. } | Self::NotOurs { path } => Some(path.display().to_string()),
            _ => None,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Open { cause, .. }
            | Self::Corrupt { cause }
            | Self::Constraint { cause }
            | Self::Row { cause, .. }
            | Self::Unreachable { cause }
            | Self::Unsure { cause }
            | Self::Unsuitable { cause }
            | Self::Failed { cause } => Some(cause.clone()),
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Open { .. } => "check that the state directory exists and belongs to this user",
            Self::Newer { .. } => {
                "run the newer ringfence that wrote it, or point --state at another directory"
            }
            Self::Changed { .. } => "run the ringfence that wrote it, or restore a backup of it",
            Self::NotOurs { .. } => {
                "point --state at an empty directory, or [store] url at an empty database"
            }
            Self::Full => "free space on the file system that holds the state, then try again",
            Self::Corrupt { .. } => {
                "stop ringfence, move the database aside (with SQLite also its -wal file) and \
                 restore it from a backup; the log is kept apart and is not affected"
            }
            Self::Busy => "end the other program that holds the state database, then try again",
            Self::Stale { .. } => "let go of the work: whoever holds the lease now does it",
            Self::Unreachable { .. } => {
                "check that PostgreSQL runs and that [store] url and its password are right"
            }
            Self::Unsure { .. } => "look whether the change is there before making it again",
            Self::Unsuitable { .. } => "set the server up as docs/configuration.md says at [store]",
            Self::Missing { .. } => "list what there is, and check the project",
            Self::Stopped => "restart ringfence; its log says why the writer ended",
            Self::Limit { .. } => "close or remove what is no longer needed",
            Self::Constraint { .. } | Self::Row { .. } | Self::Failed { .. } => {
                "this is a defect of ringfence: report it with the cause above"
            }
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> StoreError {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
    }

    #[test]
    fn a_full_disk_and_a_damaged_file_have_their_own_words() {
        assert_eq!(failure(rusqlite::ffi::SQLITE_FULL), StoreError::Full);
        assert_eq!(
            failure(rusqlite::ffi::SQLITE_NOTADB).code().0,
            "record/store-corrupt"
        );
        assert_eq!(
            failure(rusqlite::ffi::SQLITE_CORRUPT).code().0,
            "record/store-corrupt"
        );
        assert_eq!(failure(rusqlite::ffi::SQLITE_BUSY), StoreError::Busy);
        assert_eq!(
            failure(rusqlite::ffi::SQLITE_INTERNAL).code().0,
            "record/store-failed"
        );
    }

    #[test]
    fn every_error_names_a_next_step() {
        let errors = [
            StoreError::Open {
                path: "x".into(),
                cause: "y".into(),
            },
            StoreError::Newer { found: 9, known: 2 },
            StoreError::Full,
            StoreError::Busy,
            StoreError::Stopped,
            StoreError::Missing {
                what: "case",
                id: "C-1".into(),
            },
        ];
        for error in errors {
            assert!(error.code().0.starts_with("record/store-"), "{error}");
            assert!(error.help().is_some_and(|h| !h.is_empty()), "{error}");
        }
    }
}
