//! How sessions come about: a stream that somebody else connected, the login, and patience with a
//! server that is just starting.

use super::session::{Session, broken, explain};
use super::wait::wait;
use crate::error::StoreError;
use ringfence_core::ports::BoxFuture;
use ringfence_core::secret::Secret;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

/// LIMIT: how long one connection may take until it is logged in.
pub const CONNECT_MS_MAX: u64 = 5_000;
/// LIMIT: attempts to connect, for a server that is just starting.
pub const CONNECT_ATTEMPTS_MAX: u32 = 20;
/// How long to wait between two of them.
const CONNECT_PAUSE_MS: u64 = 250;

/// A connected stream in both directions; TLS, if any, is already inside.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the server. This crate opens no socket: who wires it decides where the server is and
/// how the way there is protected.
pub trait Connector: Send + Sync {
    /// A fresh stream, with nothing of the protocol spoken yet. Run on a tokio runtime.
    fn connect(&self) -> BoxFuture<'_, std::io::Result<Box<dyn Stream>>>;
}

/// Who logs in, and to which database.
#[derive(Debug)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password, where the server asks for one.
    pub password: Option<Secret<String>>,
    /// The database.
    pub database: String,
}

/// Where the server is and who logs in.
pub struct PostgresOptions {
    /// The way there.
    pub connector: Arc<dyn Connector>,
    /// The login.
    pub login: Login,
    /// How often to try to connect, at most [`CONNECT_ATTEMPTS_MAX`].
    pub attempts: u32,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// Makes sessions. Its runtime drives their connections and ends with it.
pub(super) struct Link {
    options: PostgresOptions,
    /// `None` only while dropping.
    runtime: Option<Runtime>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Not by waiting: the last owner may be on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Link {
    pub(super) fn new(options: PostgresOptions) -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-postgres")
            .enable_all()
            .build()
            .map_err(|e| StoreError::Failed {
                cause: e.to_string(),
            })?;
        Ok(Self {
            options,
            runtime: Some(runtime),
        })
    }

    /// A fresh session. A server that cannot be reached is tried again, a login that is refused is
    /// not.
    pub(super) fn session(&self) -> Result<Session, StoreError> {
        let runtime = self.runtime.as_ref().ok_or(StoreError::Stopped)?;
        let attempts = self.options.attempts.clamp(1, CONNECT_ATTEMPTS_MAX);
        let mut last = StoreError::Stopped;
        for attempt in 0..attempts {
            if attempt > 0 {
                let pause = Duration::from_millis(CONNECT_PAUSE_MS);
                let paused = runtime.spawn(async move { tokio::time::sleep(pause).await });
                drop(wait(paused, CONNECT_MS_MAX));
            }
            match self.once(runtime) {
                Ok(session) => return Ok(session),
                Err((error, Again::Yes)) => last = error,
                Err((error, Again::No)) => return Err(error),
            }
        }
        Err(last)
    }

    fn once(&self, runtime: &Runtime) -> Result<Session, (StoreError, Again)> {
        let connector = Arc::clone(&self.options.connector);
        let config = self.config();
        let late = || {
            let cause = format!("no connection within {CONNECT_MS_MAX} ms");
            (StoreError::Unreachable { cause }, Again::Yes)
        };
        let login = runtime.spawn(async move {
            let stream = connector.connect().await.map_err(|e| {
                let cause = e.to_string();
                (StoreError::Unreachable { cause }, Again::Yes)
            })?;
            config
                .connect_raw(stream, NoTls)
                .await
                .map_err(|e| (refused(&e), Again::after(&e)))
        });
        let stop = login.abort_handle();
        let Some(joined) = wait(login, CONNECT_MS_MAX) else {
            stop.abort();
            return Err(late());
        };
        let (client, connection): (Client, _) = joined.map_err(|_| late())??;
        // It ends when the client is dropped or the stream breaks; the client then says why.
        runtime.spawn(async move { drop(connection.await) });
        Session::new(client).map_err(|e| (e, Again::Yes))
    }

    fn config(&self) -> Config {
        let login = &self.options.login;
        let mut config = Config::new();
        config
            .user(&login.user)
            .dbname(&login.database)
            .application_name("ringfence")
            .ssl_mode(SslMode::Disable);
        if let Some(password) = &login.password {
            config.password(password.danger_expose());
        }
        config
    }
}

/// Why a login failed. What the driver refuses by itself, such as a server that asks for a password
/// where there is none, is for the operator to mend and no defect of ours.
fn refused(error: &tokio_postgres::Error) -> StoreError {
    match explain(error) {
        StoreError::Failed { cause } => StoreError::Unreachable { cause },
        other => other,
    }
}

/// Whether another attempt can help.
#[derive(Clone, Copy)]
enum Again {
    Yes,
    No,
}

impl Again {
    /// A server that starts or ends (57P03, 57P01, 57P02) or has no connection left (53300) may
    /// soon answer otherwise; any other word of the server is final.
    fn after(error: &tokio_postgres::Error) -> Self {
        match error.code().map(tokio_postgres::error::SqlState::code) {
            None if broken(error) => Self::Yes,
            Some("57P01" | "57P02" | "57P03" | "53300") => Self::Yes,
            _ => Self::No,
        }
    }
}
