//! The recorder process: one socket, one thread that owns the log, nothing else.
//!
//! The socket side is a single-threaded runtime that only moves messages. One thread owns the
//! [`Recorder`] and carries out whatever has arrived as one commit group: while one group is being
//! forced to disk, the next gathers by itself.
//!
//! INVARIANT: who connects is checked by the kernel's word (`SO_PEERCRED`), not by a message.

use crate::desk::{Back, Desk, Job};
use crate::error::{RecordError, explain};
use crate::protocol::{self, Answer, Numbered};
use crate::recorder::Recorder;
use ringfence_core::ports::{Clock, Entropy};
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// LIMIT: connections at once.
pub const CONNECTIONS_MAX: usize = 32;
/// LIMIT: requests of one connection under way at once; more wait in its socket.
pub const IN_FLIGHT_MAX: usize = 8192;
/// LIMIT: requests waiting for the log; more wait in their connections.
pub const JOBS_MAX: usize = 4096;
/// How often a changed log gets a new checkpoint.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Octets of answers gathered for one write.
const ANSWER_BYTES: usize = 256 * 1024;

/// What the recorder role is started with.
pub struct RecorderOptions {
    /// Where to listen.
    pub socket_path: PathBuf,
    /// The directory of log and keys.
    pub dir: PathBuf,
    /// Who may connect.
    pub allowed_uids: Vec<u32>,
    /// The time of gap leaves.
    pub clock: Arc<dyn Clock>,
    /// Where keys and nonces come from.
    pub entropy: Arc<dyn Entropy>,
}

/// Runs the recorder until SIGTERM, then signs a last checkpoint. SIGINT is left to the
/// supervisor: Ctrl-C reaches every process of the terminal, and the server still has leaves to
/// write then.
pub fn run(options: RecorderOptions) -> Result<(), RecordError> {
    run_with(options, None)
}

/// The same on a listening socket that outlives this process: a supervisor keeps it, so that a
/// client that connects while the recorder is started again waits instead of failing.
pub fn run_on(listener: OwnedFd, options: RecorderOptions) -> Result<(), RecordError> {
    run_with(options, Some(listener))
}

fn run_with(options: RecorderOptions, listener: Option<OwnedFd>) -> Result<(), RecordError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| RecordError::io("start", "runtime", e))?;
    runtime.block_on(async {
        let fail = |e| RecordError::io("watch", "signals", e);
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        let _interrupt_is_ignored = signal(SignalKind::interrupt()).map_err(fail)?;
        let listener = listener.map(adopt).transpose()?;
        serve_on(listener, options, async move {
            terminate.recv().await;
        })
        .await
    })
}

/// Serves until `stop` resolves or the log cannot go on.
pub async fn serve(
    options: RecorderOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), RecordError> {
    serve_on(None, options, stop).await
}

async fn serve_on(
    listener: Option<UnixListener>,
    options: RecorderOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), RecordError> {
    let recorder = Recorder::open(&options.dir, options.clock, options.entropy)?;
    // A socket that was handed in belongs to who keeps it, and so does its name.
    let own_socket = listener.is_none();
    let listener = match listener {
        Some(listener) => listener,
        None => listen(&options.socket_path, &options.allowed_uids)?,
    };
    let (jobs, queue) = mpsc::channel(JOBS_MAX);
    let desk = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || Desk::new(recorder).work(queue))
        .map_err(|e| RecordError::io("start", "log thread", e))?;
    accept(&listener, &options.allowed_uids, &jobs, stop).await;
    drop(jobs);
    // The thread ends when the last sender is gone, after what it was given.
    let ended = tokio::task::spawn_blocking(move || desk.join())
        .await
        .map_err(|_| RecordError::Poisoned)?
        .map_err(|_| RecordError::Poisoned)?;
    if own_socket {
        drop(fs::remove_file(&options.socket_path));
    }
    ended
}

fn adopt(socket: OwnedFd) -> Result<UnixListener, RecordError> {
    let fail = |e| RecordError::io("adopt", "socket", e);
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true).map_err(fail)?;
    UnixListener::from_std(listener).map_err(fail)
}

fn listen(path: &Path, allowed: &[u32]) -> Result<UnixListener, RecordError> {
    let fail = |e| RecordError::io("listen on", path.display().to_string(), e);
    // A socket file outlives its process; the lock on the directory says that nobody serves it.
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        fs::remove_file(path).map_err(fail)?;
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    let own = fs::symlink_metadata(path).map_err(fail)?.uid();
    // Another user's server must be able to connect; who it is, the kernel says at each accept.
    let mode = if allowed.iter().all(|uid| *uid == own) {
        0o600
    } else {
        0o666
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail)?;
    Ok(listener)
}

async fn accept(
    listener: &UnixListener,
    allowed: &[u32],
    jobs: &mpsc::Sender<Job>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let mut connections = JoinSet::new();
    let mut number = 0;
    let mut tick = tokio::time::interval(CHECKPOINT_INTERVAL);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = jobs.closed() => break,
            _ = tick.tick() => {
                // A full queue has its own reasons to be slow; the next tick comes.
                drop(jobs.try_send(Job::Tick));
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let known = stream.peer_cred().is_ok_and(|c| allowed.contains(&c.uid()));
                if known && connections.len() < CONNECTIONS_MAX {
                    number += 1;
                    connections.spawn(converse(stream, number, jobs.clone()));
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn converse(stream: UnixStream, connection: u64, jobs: mpsc::Sender<Job>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let (answers, mut ready) = mpsc::channel(IN_FLIGHT_MAX);
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let reading = async {
        while let Ok(Some(Numbered { id, body })) = protocol::read(&mut reader).await {
            let Ok(permit) = Arc::clone(&slots).acquire_owned().await else {
                break;
            };
            let back = Back {
                answers: answers.clone(),
                permit,
            };
            if jobs
                .send(Job::Asked {
                    connection,
                    id,
                    ask: body,
                    back,
                })
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let writing = async {
        let mut out = Vec::new();
        while let Some((answer, _permit)) = ready.recv().await {
            put(&answer, &mut out);
            while out.len() < ANSWER_BYTES
                && let Ok((answer, _permit)) = ready.try_recv()
            {
                put(&answer, &mut out);
            }
            if writer.write_all(&out).await.is_err() {
                break;
            }
            out.clear();
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    // Without a desk there is nobody left to tell.
    drop(jobs.send(Job::Gone { connection }).await);
}

fn put(answer: &Numbered<Answer>, out: &mut Vec<u8>) {
    if let Err(error) = protocol::write(answer, out) {
        let body = Answer::Refused {
            error: explain(error),
        };
        // A refusal is short; were even it too long, the caller's timeout tells.
        drop(protocol::write(
            &Numbered {
                id: answer.id,
                body,
            },
            out,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RecorderClient;
    use ringfence_core::time::Timestamp;
    use ringfence_crypto::random::SystemEntropy;

    struct StillClock;

    impl Clock for StillClock {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn monotonic_ns(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_socket_that_was_handed_in_outlives_the_recorder_and_serves_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recorder.sock");
        let kept = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let uid = fs::metadata(&path).unwrap().uid();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for blocks in 0..2 {
            let options = RecorderOptions {
                socket_path: path.clone(),
                dir: dir.path().join("record"),
                allowed_uids: vec![uid],
                clock: Arc::new(StillClock),
                entropy: Arc::new(SystemEntropy),
            };
            let socket = OwnedFd::from(kept.try_clone().unwrap());
            runtime.block_on(async {
                let (client, driver) = RecorderClient::connect(&path);
                let test = async move {
                    client.ready().await.unwrap();
                    // Each orderly end gave its block back with one leaf.
                    assert_eq!(client.state().await.unwrap().size, blocks);
                };
                let listener = adopt(socket).unwrap();
                let asked = async {
                    tokio::join!(test, driver);
                };
                serve_on(Some(listener), options, asked).await.unwrap();
            });
            assert!(path.exists());
        }
    }
}
