//! The `SQLite` engine: how the file is opened, and how work gets to the writer and the readers.

use crate::error::StoreError;
use crate::migrate;
use crate::pool::{Pool, Reusable};
use crate::transaction::{Engine, Tx, View};
use crate::writer::{Pen, Queue};
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How the file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long to wait for another process that holds the file.
    pub busy_timeout_ms: u32,
    /// LIMIT: pages of 4 KiB the file may have; none means what the disk holds.
    pub pages_max: Option<u32>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            busy_timeout_ms: 5_000,
            pages_max: None,
        }
    }
}

/// State in one `SQLite` file. Clones share it; the last one to go ends the writer.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    options: StoreOptions,
    readers: Pool<Connection>,
    queue: Queue,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    pub(crate) fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open {
            path: path.to_owned(),
            cause,
        };
        // Created before SQLite sees it, so that no moment exists in which others can read it;
        // the -wal and -shm files inherit its mode.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| failed(e.to_string()))?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, options)?;
        check(&connection)?;
        migrate::migrate(&connection, path)?;
        let inner = Inner {
            path: path.to_owned(),
            options,
            readers: Pool::default(),
            queue: Queue::start(Nib(connection)).map_err(|e| failed(e.to_string()))?,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(crate) fn write<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.inner.queue.write(work)
    }

    pub(crate) fn read<T, E>(&self, work: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        let inner = &self.inner;
        let lent = inner
            .readers
            .lend(|| connect(&inner.path, OpenFlags::SQLITE_OPEN_READ_ONLY, inner.options))?;
        let connection = lent.connection()?;
        let run = |sql: &str| connection.execute_batch(sql).map_err(StoreError::from);
        run("BEGIN DEFERRED")?;
        let result = work(&View::new(Engine::Sqlite(connection)));
        run("ROLLBACK")?;
        result
    }
}

impl Reusable for Connection {
    fn reusable(&self) -> bool {
        self.is_autocommit()
    }
}

/// The connection that writes.
struct Nib(Connection);

impl Pen for Nib {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN IMMEDIATE")
    }

    fn engine(&self) -> Result<Engine<'_>, StoreError> {
        Ok(Engine::Sqlite(&self.0))
    }

    fn run(&self, sql: &'static str) -> Result<(), StoreError> {
        Ok(self.0.execute_batch(sql)?)
    }

    /// `SQLite` ends the whole transaction by itself on a full disk or an I/O error: then no job
    /// of this group may be told that it was kept.
    fn check(&self) -> Result<(), StoreError> {
        if self.0.is_autocommit() {
            let cause = "a full disk or an I/O error ended the transaction".to_owned();
            return Err(StoreError::Failed { cause });
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")
    }

    fn abandon(&mut self) {
        if !self.0.is_autocommit() {
            // Every job is told that nothing was kept; if this fails too, the next BEGIN says so.
            drop(self.0.execute_batch("ROLLBACK"));
        }
    }
}

fn connect(
    path: &Path,
    access: OpenFlags,
    options: StoreOptions,
) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| StoreError::Open {
        path: path.to_owned(),
        cause: e.to_string(),
    })?;
    connection.busy_timeout(Duration::from_millis(options.busy_timeout_ms.into()))?;
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA synchronous = FULL; \
         PRAGMA temp_store = MEMORY;",
    )?;
    if access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        if let Some(pages) = options.pages_max {
            connection.pragma_update(None, "max_page_count", pages)?;
        }
    }
    Ok(connection)
}

/// Damage is found at the start, not in the middle of an incident.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    if answer == "ok" {
        Ok(())
    } else {
        Err(StoreError::Corrupt { cause: answer })
    }
}
