//! The `PostgreSQL` engine, for those who outgrow one machine.
//!
//! Writes are serial, as with `SQLite`: a group of jobs is one transaction under one advisory lock
//! of the database, which it holds until it ends. Several servers therefore take turns, nothing
//! can deadlock, nothing has to be run again, and a job sees all that was committed before it.
//! Readers run beside it on snapshots (`REPEATABLE READ`).
//!
//! INVARIANT: a write is answered as kept only when it is. If the connection breaks between
//! `COMMIT` and its answer, the writer connects again, waits for the lock, and looks for the mark
//! that the group left in the table `writers`; only if the server stays away is the answer
//! [`StoreError::Unsure`].

mod link;
mod pen;
mod session;
mod wait;

pub use link::{CONNECT_ATTEMPTS_MAX, CONNECT_MS_MAX, Connector, Login, PostgresOptions, Stream};
pub(crate) use session::Session;

use crate::error::StoreError;
use crate::migrate;
use crate::pool::Pool;
use crate::transaction::{Engine, Tx, View};
use crate::writer::Queue;
use link::Link;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The oldest release whose behaviour the suite is run against.
const SERVER_VERSION_MIN: u64 = 150_000;

/// Begins a transaction in which no other server writes ("rngf" as a number).
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
     SELECT pg_advisory_xact_lock(1919838054)";
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// State in a `PostgreSQL` database. Clones share it; the last one to go ends the writer.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

/// Dropped in this order: the writer first, then idle sessions, then what drives them.
struct Inner {
    queue: Queue,
    readers: Pool<Session>,
    link: Arc<Link>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    pub(crate) fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let link = Arc::new(Link::new(options)?);
        let session = link.session()?;
        suitable(&session)?;
        let id = prepare(&session)?;
        let pen = pen::Pen::new(Arc::clone(&link), session, id);
        let queue = Queue::start(pen).map_err(|e| StoreError::Failed {
            cause: e.to_string(),
        })?;
        let inner = Inner {
            queue,
            readers: Pool::default(),
            link,
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
        let mut lent = inner.readers.lend(|| inner.link.session())?;
        if let Err(error) = lent.connection()?.begin(BEGIN_READ) {
            // The server may have ended it while it lay idle. Nothing was asked yet, so a fresh
            // one may.
            if !matches!(error, StoreError::Unreachable { .. }) {
                return Err(error.into());
            }
            drop(lent);
            lent = inner.readers.lend(|| inner.link.session())?;
            lent.connection()?.begin(BEGIN_READ)?;
        }
        let session = lent.connection()?;
        let result = work(&View::new(Engine::Postgres(session)));
        session.end("ROLLBACK")?;
        result
    }
}

/// Refuses a server that may forget what it acknowledged, or whose texts are not ours.
fn suitable(session: &Session) -> Result<(), StoreError> {
    let rows = session.query(
        "SELECT current_setting('fsync') AS fsync,
                current_setting('full_page_writes') AS pages,
                current_setting('server_encoding') AS encoding,
                current_setting('server_version_num') AS version",
        &[],
    )?;
    let row = rows.first().ok_or(StoreError::Stopped)?;
    let setting = |name: &str| row.get::<_, String>(name);
    let refuse = |cause: &str| {
        Err(StoreError::Unsuitable {
            cause: cause.to_owned(),
        })
    };
    if setting("fsync") != "on" {
        return refuse("fsync is off: a crash of the machine would lose what was saved");
    }
    if setting("pages") != "on" {
        return refuse("full_page_writes is off: a crash of the machine could damage pages");
    }
    if setting("encoding") != "UTF8" {
        return refuse("the database is not encoded in UTF8");
    }
    if setting("version").parse::<u64>().unwrap_or_default() < SERVER_VERSION_MIN {
        return refuse("the server is older than PostgreSQL 15");
    }
    Ok(())
}

/// Brings the schema up to date and registers this writer; its id.
fn prepare(session: &Session) -> Result<String, StoreError> {
    session.begin(BEGIN_WRITE)?;
    let tx = Tx::new(Engine::Postgres(session));
    let prepared = ledger(&tx)
        .and_then(|()| migrate::bring_up(&tx, migrate::SCHEMA_VERSION))
        .and_then(|()| pen::register(&tx));
    match prepared {
        Ok(id) => {
            session.end("COMMIT")?;
            Ok(id)
        }
        Err(error) => {
            session.end("ROLLBACK")?;
            Err(error)
        }
    }
}

/// Makes the schema and the ledger; refuses a schema of this name that is not ours.
fn ledger(tx: &Tx<'_>) -> Result<(), StoreError> {
    let schemas = tx.number(
        "SELECT count(*) AS n FROM pg_catalog.pg_namespace WHERE nspname = 'ringfence'",
        (),
    )?;
    if schemas == 0 {
        tx.script("CREATE SCHEMA ringfence; REVOKE ALL ON SCHEMA ringfence FROM PUBLIC")?;
    }
    let ours = "SELECT count(*) AS n FROM pg_catalog.pg_tables
         WHERE schemaname = 'ringfence' AND tablename = 'schema_versions'";
    if tx.number(ours, ())? == 1 {
        return Ok(());
    }
    let others = "SELECT count(*) AS n FROM pg_catalog.pg_class
         JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
         WHERE nspname = 'ringfence'";
    if tx.number(others, ())? > 0 {
        return Err(StoreError::NotOurs {
            path: PathBuf::from("schema ringfence of the database"),
        });
    }
    tx.script("CREATE TABLE schema_versions (version BIGINT PRIMARY KEY, checksum TEXT)")
}
