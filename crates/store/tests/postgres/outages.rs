//! What only a server can do to us: refuse, end, be killed, be set up badly, and break a connection
//! at the one moment where nobody knows whether the commit happened.

use crate::engine::{find, put};
use crate::under_test::{Place, UnixSocket, login, options};
use ringfence_core::error::Explain as _;
use ringfence_core::ports::BoxFuture;
use ringfence_store::postgres::{Connector, PostgresOptions, Stream};
use ringfence_store::{Store, StoreError};
use ringfence_testkit::postgres::{PASSWORD, Private};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

#[test]
fn a_wrong_password_is_refused_and_shown_nowhere() {
    let place = Place::new();
    let mut wrong = options(&place.directions());
    wrong.login = login(&place.database, "hunter2-secret");
    let shown = format!("{wrong:?}");
    let error = Store::open_postgres(wrong).unwrap_err();
    assert_eq!(error.code().0, "record/store-unreachable");
    let said = format!("{shown} {error} {error:?} {:?}", error.why());
    assert!(!said.contains("hunter2"), "{said}");
    assert!(said.contains("28P01"), "{said}");
    let mut none = options(&place.directions());
    none.login.password = None;
    let error = Store::open_postgres(none).unwrap_err();
    assert_eq!(error.code().0, "record/store-unreachable");
    assert!(error.why().is_some_and(|w| w.contains("password missing")));
    drop(place.open());
}

#[test]
fn a_schema_of_another_program_is_refused() {
    let place = Place::new();
    place
        .server
        .sql(
            &place.database,
            "CREATE SCHEMA ringfence; CREATE TABLE ringfence.bookmarks (url TEXT)",
        )
        .unwrap();
    let refused = place.try_open().map(drop);
    assert!(matches!(refused, Err(StoreError::NotOurs { .. })));
}

#[test]
fn a_server_that_may_forget_is_refused() {
    let mut server = Private::start().unwrap();
    let database = server.database().unwrap();
    let directions = format!("{} {database}", server.socket().display());
    for setting in ["fsync", "full_page_writes"] {
        let set = |value: &str| format!("ALTER SYSTEM SET {setting} = {value}");
        server.sql("postgres", &set("off")).unwrap();
        server.kill().unwrap();
        server.restart().unwrap();
        let refused = Store::open_postgres(options(&directions)).map(drop);
        assert!(
            matches!(&refused, Err(StoreError::Unsuitable { cause }) if cause.contains(setting)),
            "{refused:?}"
        );
        server.sql("postgres", &set("on")).unwrap();
        server.kill().unwrap();
        server.restart().unwrap();
    }
    let off = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    server.sql("postgres", &off).unwrap();
    // This one is the session's own to say.
    let store = Store::open_postgres(options(&directions)).unwrap();
    put(&store, "kept".to_owned(), vec![1]).unwrap();
}

#[test]
fn nothing_that_was_answered_is_lost_when_the_server_is_killed() {
    let mut server = Private::start().unwrap();
    let database = server.database().unwrap();
    let directions = format!("{} {database}", server.socket().display());
    let mut patient = options(&directions);
    patient.attempts = 20;
    let store = Store::open_postgres(patient).unwrap();
    for round in 0..3_u32 {
        let (answered, answers) = mpsc::channel();
        let kept: Vec<String> = std::thread::scope(|scope| {
            for writer in 0..4_u32 {
                let (store, answered) = (store.clone(), answered.clone());
                scope.spawn(move || {
                    for n in 0_u32.. {
                        let name = format!("{round}-{writer}-{n}");
                        match put(&store, name.clone(), vec![1]) {
                            Ok(()) => answered.send(name).unwrap(),
                            // Told that it was not kept, or that nobody knows: not acknowledged.
                            Err(_) => return,
                        }
                    }
                });
            }
            drop(answered);
            let mut kept: Vec<String> = answers.iter().take(200).collect();
            server.kill().unwrap();
            server.restart().unwrap();
            // Those that got in again after the restart go on: end them by another kill.
            kept.extend(answers.try_iter());
            server.kill().unwrap();
            server.restart().unwrap();
            end_by_kills(&mut server, &answers, &mut kept);
            kept
        });
        assert!(kept.len() >= 200);
        for name in &kept {
            assert_eq!(find(&store, name), Some(vec![1]), "{name} was answered");
        }
    }
    put(&store, "alive".to_owned(), vec![1]).unwrap();
}

/// Kills the server until every writer was told of a failure.
fn end_by_kills(server: &mut Private, answers: &mpsc::Receiver<String>, kept: &mut Vec<String>) {
    loop {
        match answers.recv() {
            Ok(name) => kept.push(name),
            Err(mpsc::RecvError) => return,
        }
        kept.extend(answers.try_iter());
        server.kill().unwrap();
        server.restart().unwrap();
    }
}

#[test]
fn sessions_that_the_server_ended_are_replaced() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a".to_owned(), vec![1]).unwrap();
    assert_eq!(find(&store, "a"), Some(vec![1]));
    let all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
               WHERE application_name = 'ringfence' AND datname = current_database()";
    assert!(
        place
            .server
            .sql(&place.database, all)
            .unwrap()
            .contains('t')
    );
    assert_eq!(find(&store, "a"), Some(vec![1]));
    put(&store, "b".to_owned(), vec![2]).unwrap();
}

/// When a connection breaks.
const NEVER: u8 = 0;
/// Before the server hears of the commit.
const BEFORE: u8 = 1;
/// After it heard of it and before its answer.
const AFTER: u8 = 2;

/// Connections of which one breaks around its next `COMMIT`.
#[derive(Default)]
struct Fragile {
    socket: PathBuf,
    breaks: Arc<AtomicU8>,
    /// Nobody gets through any more once one broke.
    cut_off: bool,
    broke: Arc<AtomicBool>,
}

impl Connector for Fragile {
    fn connect(&self) -> BoxFuture<'_, std::io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            if self.cut_off && self.broke.load(Ordering::SeqCst) {
                return Err(Error::from(ErrorKind::ConnectionRefused));
            }
            let stream = UnixStream::connect(&self.socket).await?;
            Ok(Box::new(Thread {
                stream,
                breaks: Arc::clone(&self.breaks),
                broke: Arc::clone(&self.broke),
                mute: false,
            }) as Box<dyn Stream>)
        })
    }
}

struct Thread {
    stream: UnixStream,
    breaks: Arc<AtomicU8>,
    broke: Arc<AtomicBool>,
    mute: bool,
}

impl AsyncRead for Thread {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.mute {
            return Poll::Ready(Err(Error::from(ErrorKind::ConnectionReset)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Thread {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let commit = octets.windows(7).any(|w| w == b"COMMIT\0");
        let breaks = self.breaks.load(Ordering::SeqCst);
        if commit && breaks != NEVER {
            self.breaks.store(NEVER, Ordering::SeqCst);
            self.broke.store(true, Ordering::SeqCst);
            self.mute = true;
            if breaks == BEFORE {
                return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
            }
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        if self.mute {
            cx.waker().wake_by_ref();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A write around whose commit the connection breaks, and what is there afterwards.
fn broken(place: &Place, breaks: u8, cut_off: bool) -> (Result<(), StoreError>, bool) {
    let fragile = Fragile {
        socket: place.server.socket(),
        cut_off,
        ..Fragile::default()
    };
    let switch = Arc::clone(&fragile.breaks);
    let options = PostgresOptions {
        connector: Arc::new(fragile),
        login: login(&place.database, PASSWORD),
        attempts: 2,
    };
    let store = Store::open_postgres(options).unwrap();
    switch.store(breaks, Ordering::SeqCst);
    let answer = put(&store, "x".to_owned(), vec![1]);
    assert_eq!(switch.load(Ordering::SeqCst), NEVER, "it did break");
    if !cut_off {
        put(&store, "next".to_owned(), vec![2]).unwrap();
    }
    (answer, find(&place.open(), "x").is_some())
}

#[test]
fn a_commit_whose_answer_was_lost_is_answered_as_it_was() {
    let (answer, there) = broken(&Place::new(), AFTER, false);
    assert_eq!((answer, there), (Ok(()), true));
    let (answer, there) = broken(&Place::new(), BEFORE, false);
    assert!(
        matches!(answer, Err(StoreError::Unreachable { .. })),
        "{answer:?}"
    );
    assert!(!there);
}

#[test]
fn a_commit_that_nobody_can_ask_about_is_said_to_be_unsure() {
    let (answer, there) = broken(&Place::new(), AFTER, true);
    assert!(
        matches!(answer, Err(StoreError::Unsure { .. })),
        "{answer:?}"
    );
    assert!(
        there,
        "here it happened; an error would have been wrong too"
    );
    let (answer, there) = broken(&Place::new(), BEFORE, true);
    assert!(
        matches!(answer, Err(StoreError::Unsure { .. })),
        "{answer:?}"
    );
    assert!(!there);
}

#[test]
fn a_socket_without_a_server_is_said_clearly() {
    let options = PostgresOptions {
        connector: Arc::new(UnixSocket("/nonexistent/.s.PGSQL.5432".into())),
        login: login("none", PASSWORD),
        attempts: 2,
    };
    let error = Store::open_postgres(options).unwrap_err();
    assert_eq!(error.code().0, "record/store-unreachable");
    assert!(error.help().is_some_and(|h| h.contains("[store] url")));
}
