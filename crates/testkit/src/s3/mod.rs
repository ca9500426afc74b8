//! A double of an S3 store with Object Lock, on loopback.
//!
//! It keeps versions, retention in both modes, legal holds and the default retention of a bucket, by
//! a clock that the test moves. It refuses what AWS refuses: a wrong signature, a body that is not
//! what its checksum says, a locked PUT without checksum, a lock half given or in the past, a
//! COMPLIANCE retention that would become shorter. Sources: Amazon S3 API reference; Amazon S3 user
//! guide, "Locking objects with Object Lock".
//!
//! What it is not: a store. It has one bucket, keeps everything in memory, and does not know
//! multipart uploads, access lists, presigned addresses or chunked signatures; those are answered 501.

mod objects;
mod signature;
mod wire;

pub use objects::{LockRequest, Mode, Objects, Refusal, Retention, Version};

use crate::clock::SetClock;
use ringfence_net::body::{Body, boxed};
use ringfence_net::listen::{Listener, ServeLimits, serve};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Whom the double knows, and under which names it is reached.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The access key it knows.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The session token it demands, if any.
    pub session_token: Option<String>,
    /// The only region it signs for.
    pub region: String,
    /// The only bucket.
    pub bucket: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            access_key: "AKIDTESTKIT".to_owned(),
            secret_key: "a-secret-of-forty-characters-for-a-test.".to_owned(),
            session_token: None,
            region: "eu-test-1".to_owned(),
            bucket: "audit-logs".to_owned(),
        }
    }
}

/// What goes wrong on purpose. Counters fall by one for each request they spoil.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Connections that end before the request has any effect.
    pub lose_requests: u32,
    /// Connections that end after it, before the answer.
    pub lose_answers: u32,
    /// Answers 503 `SlowDown`, without effect.
    pub slow_downs: u32,
    /// Stores objects and forgets the lock, as stores that copy the interface without Object Lock do.
    pub ignore_locks: bool,
    /// Stores the lock with another date: so many seconds earlier.
    pub shorten_locks_s: i64,
}

/// One request as the double saw it, for counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method, key and query.
    pub line: String,
    /// The status of the answer; 0 where none was given.
    pub status: u16,
}

struct State {
    identity: Identity,
    objects: Mutex<Objects>,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<Seen>>,
    clock: Arc<SetClock>,
}

/// A running double.
pub struct S3Double {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl S3Double {
    /// Starts a double with one empty bucket whose Object Lock is on or off.
    pub async fn start(
        identity: Identity,
        object_lock: bool,
        clock: Arc<SetClock>,
    ) -> Result<Self, ringfence_net::NetError> {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener
            .local_address()
            .ok_or(ringfence_net::NetError::Broken)?;
        let state = Arc::new(State {
            identity,
            objects: Mutex::new(Objects::new(object_lock)),
            faults: Mutex::default(),
            seen: Mutex::default(),
            clock,
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let service = {
            let state = Arc::clone(&state);
            move |request: http::Request<Body>, _| {
                let state = Arc::clone(&state);
                async move { answer(&state, request).await }
            }
        };
        tasks.spawn(serve(
            listener,
            None,
            ServeLimits::default(),
            service,
            stopped,
        ));
        Ok(Self {
            address,
            state,
            stop,
            tasks,
        })
    }

    /// What is stored, to look at and to change behind the interface's back.
    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        held(&self.state.objects)
    }

    /// What goes wrong from now on.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        held(&self.state.faults)
    }

    /// Every request so far; forgets them.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *held(&self.state.seen))
    }

    /// Ends it and waits for its connections.
    pub async fn end(self) {
        self.stop.send_replace(true);
        self.tasks.join_all().await;
    }
}

/// What a request meets before the store.
enum Fate {
    Served,
    Lost,
    AnswerLost,
    Slowed,
}

fn fate(faults: &mut Faults) -> Fate {
    let mut spend = |left: fn(&mut Faults) -> &mut u32| {
        let left = left(faults);
        let some = *left > 0;
        *left = left.saturating_sub(1);
        some
    };
    if spend(|f| &mut f.lose_requests) {
        Fate::Lost
    } else if spend(|f| &mut f.slow_downs) {
        Fate::Slowed
    } else if spend(|f| &mut f.lose_answers) {
        Fate::AnswerLost
    } else {
        Fate::Served
    }
}

async fn answer(state: &State, request: http::Request<Body>) -> http::Response<Body> {
    let line = format!("{} {}", request.method(), request.uri());
    let fate = fate(&mut held(&state.faults));
    let response = match fate {
        Fate::Lost => broken(),
        Fate::Slowed => wire::error(503, "SlowDown"),
        Fate::Served => wire::handle(state, request).await,
        Fate::AnswerLost => {
            drop(wire::handle(state, request).await);
            broken()
        }
    };
    let status = match fate {
        Fate::Lost | Fate::AnswerLost => 0,
        Fate::Served | Fate::Slowed => response.status().as_u16(),
    };
    held(&state.seen).push(Seen { line, status });
    response
}

/// An answer whose body fails before its first octet: the connection ends without one.
fn broken() -> http::Response<Body> {
    let gone = futures_util::stream::once(async { Err(ringfence_net::NetError::Broken) });
    http::Response::new(boxed(http_body_util::StreamBody::new(gone)))
}
