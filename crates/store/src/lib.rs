//! The state: what the server must remember between two starts, in `SQLite` or `PostgreSQL`.
//!
//! By default one `SQLite` file in WAL mode with `synchronous = FULL`; with the feature `scale`
//! also a `PostgreSQL` server. Either way one thread writes: it takes jobs from a bounded channel and
//! commits those that wait together in one transaction, so that a write that was answered is on
//! disk, and a burst costs one fsync and not a hundred. Readers have their own connections and see
//! a consistent snapshot. Several servers on one `PostgreSQL` take turns in writing.
//!
//! Each aggregate is one file of free functions over [`View`] (reading) and [`Tx`] (writing). SQL
//! stands nowhere else, once for both engines; only the schema is written twice (`sql/`).
//! INVARIANT: a function that takes a project never returns a row of another; the few that look
//! across projects (a key that authenticates, the outbox, workers) say so by their name.
//!
//! What must happen later or elsewhere is a row too: [`jobs`] for work of our own, [`outbox`] for
//! what leaves the house. Both are claimed with a lease and a fencing token ([`lease`]).
//!
//! It is not the log: what must be provable is a leaf. All calls block; async callers move them
//! to the blocking pool.
#![forbid(unsafe_code)]

pub mod admissions;
pub mod alerts;
pub mod cases;
pub mod counters;
pub mod error;
pub mod events;
pub mod jobs;
pub mod keys;
pub mod lease;
mod migrate;
pub mod outbox;
mod pool;
#[cfg(feature = "scale")]
pub mod postgres;
pub mod projects;
mod row;
pub mod sessions;
pub mod settings;
mod sqlite;
mod transaction;
mod value;
pub mod waivers;
mod writer;

pub use error::StoreError;
pub use migrate::SCHEMA_VERSION;
pub use sqlite::{SqliteStore, StoreOptions};
pub use transaction::{Tx, View};

use std::path::Path;

/// The engine that holds the state. Cheap to clone; all clones share one writer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Store {
    /// One file on this machine.
    Sqlite(SqliteStore),
    /// A `PostgreSQL` server.
    #[cfg(feature = "scale")]
    Postgres(postgres::PostgresStore),
}

impl Store {
    /// Opens or creates the database file and brings its schema to [`SCHEMA_VERSION`].
    ///
    /// Refuses a file of a newer version, of another program, or one that fails `SQLite`'s check.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        SqliteStore::open(path, options).map(Self::Sqlite)
    }

    /// Connects to a `PostgreSQL` server and brings its schema to [`SCHEMA_VERSION`].
    ///
    /// Refuses a server that would lose what it acknowledged, a newer schema, and a schema
    /// `ringfence` of another program.
    #[cfg(feature = "scale")]
    pub fn open_postgres(options: postgres::PostgresOptions) -> Result<Self, StoreError> {
        postgres::PostgresStore::open(options).map(Self::Postgres)
    }

    /// Runs `work` in a write transaction and returns after it is on disk. If `work` returns an
    /// error or panics, nothing of it is kept.
    pub fn write<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match self {
            Self::Sqlite(store) => store.write(work),
            #[cfg(feature = "scale")]
            Self::Postgres(store) => store.write(work),
        }
    }

    /// Runs `work` over one consistent snapshot.
    pub fn read<T, E>(&self, work: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        match self {
            Self::Sqlite(store) => store.read(work),
            #[cfg(feature = "scale")]
            Self::Postgres(store) => store.read(work),
        }
    }
}
