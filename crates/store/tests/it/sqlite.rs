//! The engine under test: a file in a scratch folder.

use ringfence_store::{Store, StoreError, StoreOptions};
use std::path::PathBuf;

/// How a child process is told where the state is.
pub(crate) const PLACE: &str = "RINGFENCE_STORE_TEST_DIR";

/// A place that holds one state.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    /// Opens the state, as often as one likes.
    pub(crate) fn open(&self) -> Store {
        open_at(self.path().to_str().unwrap())
    }

    pub(crate) fn try_open(&self) -> Result<Store, StoreError> {
        Store::open(&self.path(), StoreOptions::default())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("db.sqlite")
    }

    /// What a child process needs to open the same.
    pub(crate) fn directions(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// Runs SQL beside the store; an error if the engine refuses it.
    pub(crate) fn raw(&self, sql: &str) -> Result<(), String> {
        let raw = rusqlite::Connection::open(self.path()).unwrap();
        raw.execute_batch(sql).map_err(|e| e.to_string())
    }
}

/// Opens the state that `directions` lead to.
pub(crate) fn open_at(directions: &str) -> Store {
    Store::open(directions.as_ref(), StoreOptions::default()).unwrap()
}

/// Takes the protection of the history of cases away.
pub(crate) const UNPROTECT_HISTORY: &str = "DROP TRIGGER case_events_stay";
