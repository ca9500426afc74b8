//! The recorder process: one socket, one thread that owns the log, nothing else.
//!
//! The socket side is a single-threaded runtime that only moves messages. One thread owns the
//! [`Recorder`] and carries out whatever has arrived as one commit group: while one group is being
//! forced to disk, the next gathers by itself.
//!
//! INVARIANT: who connects is checked by the kernel's word (`SO_PEERCRED`), not by a message.

use crate::error::{RecordError, explain};
use crate::log::ledger::{Gap, GapReason};
use crate::log::{Done, GROUP_OPERATIONS_MAX, Operation};
use crate::protocol::{self, Answer, Ask, Hidden, Numbered};
use crate::recorder::Recorder;
use ringfence_core::ports::{Clock, Entropy};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| RecordError::io("start", "runtime", e))?;
    runtime.block_on(async {
        let fail = |e| RecordError::io("watch", "signals", e);
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        let _interrupt_is_ignored = signal(SignalKind::interrupt()).map_err(fail)?;
        serve(options, async move {
            terminate.recv().await;
        })
        .await
    })
}

enum Job {
    Asked {
        connection: u64,
        id: u64,
        ask: Ask,
        back: Back,
    },
    Gone {
        connection: u64,
    },
    Tick,
}

struct Back {
    answers: mpsc::Sender<(Numbered<Answer>, OwnedSemaphorePermit)>,
    permit: OwnedSemaphorePermit,
}

/// Serves until `stop` resolves or the log cannot go on.
pub async fn serve(
    options: RecorderOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), RecordError> {
    let recorder = Recorder::open(&options.dir, options.clock, options.entropy)?;
    let listener = listen(&options.socket_path, &options.allowed_uids)?;
    let (jobs, queue) = mpsc::channel(JOBS_MAX);
    let desk = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            Desk {
                recorder,
                owned: BTreeMap::new(),
            }
            .work(queue)
        })
        .map_err(|e| RecordError::io("start", "log thread", e))?;
    accept(&listener, &options.allowed_uids, &jobs, stop).await;
    drop(jobs);
    // The thread ends when the last sender is gone, after what it was given.
    let ended = tokio::task::spawn_blocking(move || desk.join())
        .await
        .map_err(|_| RecordError::Poisoned)?
        .map_err(|_| RecordError::Poisoned)?;
    drop(fs::remove_file(&options.socket_path));
    ended
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

/// The thread that owns the log.
struct Desk {
    recorder: Recorder,
    /// First numbers of the blocks that a connection reserved.
    owned: BTreeMap<u64, Vec<u64>>,
}

/// Whom to answer about an operation.
struct Origin {
    connection: u64,
    id: u64,
    back: Back,
}

impl Desk {
    fn work(mut self, mut queue: mpsc::Receiver<Job>) -> Result<(), RecordError> {
        while let Some(job) = queue.blocking_recv() {
            let mut batch = vec![job];
            while batch.len() < GROUP_OPERATIONS_MAX
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            self.handle(batch);
            if self.recorder.is_poisoned() {
                // A new process reads back what is really there.
                return Err(RecordError::Poisoned);
            }
        }
        self.recorder.close()
    }

    fn handle(&mut self, batch: Vec<Job>) {
        let mut operations = Vec::new();
        let mut origins = Vec::new();
        let mut later = Vec::new();
        let mut tick = false;
        for job in batch {
            match job {
                Job::Tick => tick = true,
                Job::Gone { connection } => {
                    let owned = self.owned.remove(&connection).unwrap_or_default();
                    for gap in self.recorder.open_blocks(GapReason::Gone) {
                        if owned.contains(&gap.first) {
                            operations.push(Operation::Close(gap));
                            origins.push(None);
                        }
                    }
                }
                Job::Asked {
                    connection,
                    id,
                    ask,
                    back,
                } => {
                    let origin = Origin {
                        connection,
                        id,
                        back,
                    };
                    match operation(ask) {
                        Ok(operation) => {
                            operations.push(operation);
                            origins.push(Some(origin));
                        }
                        Err(ask) => later.push((origin, ask)),
                    }
                }
            }
        }
        self.commit(operations, origins);
        for (origin, ask) in later {
            let answer = self.answer(ask).unwrap_or_else(refused);
            reply(origin, answer);
        }
        if tick {
            // A full disk shows at the next append too; the log goes on when there is space.
            drop(self.recorder.checkpoint());
        }
    }

    fn commit(&mut self, mut operations: Vec<Operation>, origins: Vec<Option<Origin>>) {
        let mut origins = origins.into_iter();
        while !operations.is_empty() {
            let rest = operations.split_off(operations.len().min(GROUP_OPERATIONS_MAX));
            let count = operations.len();
            match self.recorder.commit(operations) {
                Ok(results) => {
                    for (result, origin) in results.into_iter().zip(origins.by_ref()) {
                        let Some(origin) = origin else { continue };
                        if let Ok(Done::Reserved { first, .. }) = &result {
                            self.own(origin.connection, *first);
                        }
                        reply(origin, result.map(done).unwrap_or_else(refused));
                    }
                }
                Err(error) => {
                    let error = explain(error);
                    for origin in origins.by_ref().take(count).flatten() {
                        reply(
                            origin,
                            Answer::Refused {
                                error: error.clone(),
                            },
                        );
                    }
                }
            }
            operations = rest;
        }
    }

    fn own(&mut self, connection: u64, first: u64) {
        let open: Vec<u64> = self
            .recorder
            .open_blocks(GapReason::Gone)
            .iter()
            .map(|g| g.first)
            .collect();
        let owned = self.owned.entry(connection).or_default();
        owned.push(first);
        owned.retain(|first| open.contains(first));
    }

    fn answer(&mut self, ask: Ask) -> Result<Answer, RecordError> {
        Ok(match ask {
            Ask::Seal { purpose, value } => {
                let sealed = self.recorder.seal(purpose, value.0.danger_expose())?;
                Answer::Bytes {
                    bytes: Hidden(ringfence_core::secret::Secret::new(sealed)),
                }
            }
            Ask::Unseal { purpose, sealed } => {
                let value = self.recorder.unseal(purpose, sealed.0.danger_expose())?;
                Answer::Bytes {
                    bytes: Hidden(value),
                }
            }
            Ask::State {} => Answer::State {
                state: self.recorder.state(),
            },
            Ask::Read { from, count } => Answer::Leaves {
                leaves: self.recorder.read(from, count)?,
            },
            Ask::Prove { index } => Answer::Proof {
                proof: self.recorder.prove(index)?,
            },
            Ask::Checkpoint {} => Answer::Checkpoint {
                note: self.recorder.checkpoint()?,
            },
            Ask::Append { .. }
            | Ask::Settle { .. }
            | Ask::Drop { .. }
            | Ask::Reserve {}
            | Ask::Release { .. } => return Err(RecordError::Protocol("not a question")),
        })
    }
}

/// The operation that a request asks for; a request that is none comes back.
fn operation(ask: Ask) -> Result<Operation, Ask> {
    Ok(match ask {
        Ask::Append { leaf } => Operation::Append(*leaf),
        Ask::Settle { sequence, leaf } => Operation::Settle {
            sequence,
            leaf: *leaf,
        },
        Ask::Drop { sequence: first } => Operation::Close(Gap {
            first,
            count: 1,
            reason: GapReason::Dropped,
        }),
        Ask::Reserve {} => Operation::Reserve,
        Ask::Release { first, count } => Operation::Close(Gap {
            first,
            count,
            reason: GapReason::Unused,
        }),
        other => return Err(other),
    })
}

fn done(done: Done) -> Answer {
    match done {
        Done::Appended(receipt) => Answer::Receipt { receipt },
        Done::Reserved { first, count } => Answer::Block { first, count },
        Done::Nothing => Answer::Nothing {},
    }
}

fn refused(error: RecordError) -> Answer {
    Answer::Refused {
        error: explain(error),
    }
}

fn reply(origin: Origin, body: Answer) {
    // There is room for every permit; a connection that is gone needs no answer.
    drop(origin.back.answers.try_send((
        Numbered {
            id: origin.id,
            body,
        },
        origin.back.permit,
    )));
}
