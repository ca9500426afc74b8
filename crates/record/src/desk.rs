//! The thread that owns the log in the recorder role.
//!
//! It takes whatever has arrived, carries it out as one commit group, and answers. What was
//! reserved by a connection that went away is closed with a leaf.

use crate::error::{RecordError, explain};
use crate::log::ledger::{Gap, GapReason};
use crate::log::{Done, GROUP_OPERATIONS_MAX, Operation, Retirement};
use crate::protocol::{Answer, Ask, Hidden, Numbered};
use crate::recorder::Recorder;
use ringfence_core::digest::{Digest, hex};
use ringfence_core::secret::Secret;
use std::collections::BTreeMap;
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What the socket side hands over.
pub(crate) enum Job {
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

/// Where an answer goes.
pub(crate) struct Back {
    pub(crate) answers: mpsc::Sender<(Numbered<Answer>, OwnedSemaphorePermit)>,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The thread that owns the log.
pub(crate) struct Desk {
    recorder: Recorder,
    /// First numbers of the blocks that a connection reserved.
    owned: BTreeMap<u64, Vec<u64>>,
    /// Tiles being forced to disk beside the commits.
    retiring: Option<(Retirement, JoinHandle<Result<(), RecordError>>)>,
}

/// Whom to answer about an operation.
struct Origin {
    connection: u64,
    id: u64,
    back: Back,
    /// Whether it will read where the leaf went.
    wants_receipt: bool,
}

impl Desk {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            owned: BTreeMap::new(),
            retiring: None,
        }
    }

    /// Carries out jobs until nobody can send any, then closes the log.
    pub(crate) fn work(mut self, mut queue: mpsc::Receiver<Job>) -> Result<(), RecordError> {
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
        if let Some((_, forcing)) = self.retiring.take() {
            // It only reads and forces; what it did is done again after the next opening.
            drop(forcing.join());
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
                        wants_receipt: matches!(ask, Ask::Append { .. }),
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
            self.recorder.look_at_space();
            // A full disk shows at the next append too; the log goes on when there is space.
            drop(self.recorder.checkpoint());
            self.retire();
        }
    }

    /// Lets segments of the write-ahead log go whose tiles were forced to disk, and begins with the
    /// next. What fails is tried again: until then the segments stay.
    fn retire(&mut self) {
        if let Some((done, forcing)) = self.retiring.take_if(|(_, f)| f.is_finished())
            && let Ok(Ok(())) = forcing.join()
        {
            drop(self.recorder.retired(done));
        }
        if self.retiring.is_none()
            && let Some((retirement, disk)) = self.recorder.retirement()
        {
            let work = move || retirement.force(&*disk);
            let thread = std::thread::Builder::new().name("retire".to_owned());
            self.retiring = thread.spawn(work).ok().map(|t| (retirement, t));
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
                        let receipt = origin.wants_receipt;
                        reply(
                            origin,
                            result.map(|d| done(d, receipt)).unwrap_or_else(refused),
                        );
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
                    bytes: Hidden(Secret::new(sealed)),
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
            Ask::Extend { olds } => {
                let (note, proofs) = self.recorder.extend(&olds)?;
                let proofs = proofs
                    .into_iter()
                    .map(|p| p.into_iter().map(Digest).collect());
                Answer::Extension {
                    note,
                    proofs: proofs.collect(),
                }
            }
            Ask::Cosign { text, lines, vkeys } => Answer::Published {
                yes: self.recorder.cosign(&text, &lines, &vkeys)?,
            },
            Ask::Keep { subject, content } => {
                let kept = self
                    .recorder
                    .keep(name(&subject)?, content.0.danger_expose())?;
                Answer::Kept {
                    digest: kept.digest,
                    subject: Digest(kept.subject.0),
                }
            }
            Ask::Kept { digest } => Answer::Bytes {
                bytes: Hidden(self.recorder.kept(&digest)?),
            },
            Ask::Erase {
                subject,
                project,
                actor,
            } => {
                let erasure = self.recorder.erase(name(&subject)?, &project, &actor)?;
                Answer::Erased {
                    subject: Digest(erasure.subject.0),
                    id: hex(&erasure.id),
                    left: erasure.left,
                }
            }
            Ask::Append { .. }
            | Ask::Settle { .. }
            | Ask::Drop { .. }
            | Ask::Reserve {}
            | Ask::Release { .. } => return Err(RecordError::Protocol("not a question")),
        })
    }
}

/// A subject's name, as it was sent.
fn name(subject: &Hidden) -> Result<&str, RecordError> {
    std::str::from_utf8(subject.0.danger_expose())
        .map_err(|_| RecordError::Protocol("a subject's name is not text"))
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

fn done(done: Done, wants_receipt: bool) -> Answer {
    match done {
        Done::Appended(appended) if wants_receipt => Answer::Receipt {
            receipt: appended.receipt(),
        },
        // A settlement goes out while its request is answered; nobody waits for where it went.
        Done::Appended(_) => Answer::Nothing {},
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
