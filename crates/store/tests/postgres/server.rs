//! The engine under test: a private `PostgreSQL` server, one database for each state.

use ringfence_core::ports::BoxFuture;
use ringfence_core::secret::Secret;
use ringfence_store::postgres::{Connector, Login, PostgresOptions, Stream};
use ringfence_store::{Store, StoreError};
use ringfence_testkit::postgres::{PASSWORD, Private, USER};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How a child process is told where the state is.
pub(crate) const PLACE: &str = "RINGFENCE_STORE_TEST_POSTGRES";

/// The server that the tests of this process share while one of them needs it.
static SHARED: Mutex<Weak<Private>> = Mutex::new(Weak::new());

thread_local! {
    /// Keeps it between two places of one test.
    static HELD: RefCell<Option<Arc<Private>>> = const { RefCell::new(None) };
}

fn shared() -> Arc<Private> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let server = shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Private::start().unwrap());
        *shared = Arc::downgrade(&server);
        server
    });
    HELD.set(Some(Arc::clone(&server)));
    server
}

/// A place that holds one state.
pub(crate) struct Place {
    pub(crate) server: Arc<Private>,
    pub(crate) database: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let server = shared();
        let database = server.database().unwrap();
        Self { server, database }
    }

    /// Opens the state, as often as one likes.
    pub(crate) fn open(&self) -> Store {
        open_at(&self.directions())
    }

    pub(crate) fn try_open(&self) -> Result<Store, StoreError> {
        Store::open_postgres(options(&self.directions()))
    }

    /// What a child process needs to open the same.
    pub(crate) fn directions(&self) -> String {
        format!("{} {}", self.server.socket().display(), self.database)
    }

    /// Runs SQL beside the store; an error if the engine refuses it.
    pub(crate) fn raw(&self, sql: &str) -> Result<(), String> {
        let sql = format!("SET search_path = ringfence; {sql}");
        self.server.sql(&self.database, &sql).map(drop)
    }
}

/// Opens the state that `directions` lead to.
pub(crate) fn open_at(directions: &str) -> Store {
    Store::open_postgres(options(directions)).unwrap()
}

pub(crate) fn options(directions: &str) -> PostgresOptions {
    let (socket, database) = directions.split_once(' ').unwrap();
    PostgresOptions {
        connector: Arc::new(UnixSocket(socket.into())),
        login: login(database, PASSWORD),
        attempts: 3,
    }
}

pub(crate) fn login(database: &str, password: &str) -> Login {
    Login {
        user: USER.to_owned(),
        password: Some(Secret::new(password.to_owned())),
        database: database.to_owned(),
    }
}

pub(crate) struct UnixSocket(pub(crate) PathBuf);

impl Connector for UnixSocket {
    fn connect(&self) -> BoxFuture<'_, std::io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let stream = tokio::net::UnixStream::connect(&self.0).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// Takes the protection of the history of cases away.
pub(crate) const UNPROTECT_HISTORY: &str = "DROP TRIGGER case_events_keep ON case_events";
