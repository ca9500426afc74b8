//! The server's side of the recorder: asynchronous, pipelined, reconnecting.
//!
//! [`RecorderClient::connect`] returns the client and its driver, a future that the server awaits
//! beside its other work; the client does nothing until the driver runs. Slots come from blocks of
//! numbers that the recorder reserved durably in advance, so that [`RecorderClient::offer`] touches
//! no socket; a settlement that was not confirmed is sent again after a reconnection, which the
//! recorder recognises.

mod drive;
mod payload;

use crate::error::{RecordError, explain};
use crate::log::LogState;
use crate::proof::Proof;
use crate::protocol::{Answer, Ask, Hidden, Purpose};
use drive::{Call, Driver, Fill};
use ringfence_core::error::Explained;
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{BoxFuture, LeafSink, LeafSlot, Receipt};
use ringfence_core::secret::Secret;
use ringfence_crypto::merkle::Hash;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// LIMIT: slots offered and not yet durable.
pub const OFFERS_MAX: usize = 1024;
/// LIMIT: requests under way at once.
pub const CALLS_MAX: usize = 1024;
/// How long a request may take, with waiting for a connection.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Below so many numbers in hand another block is fetched.
pub(crate) const NUMBERS_LOW: u64 = 1024;

/// Numbers in hand: half-open runs.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) runs: VecDeque<(u64, u64)>,
}

impl Pool {
    pub(crate) fn left(&self) -> u64 {
        self.runs.iter().map(|(next, end)| end - next).sum()
    }

    fn take(&mut self) -> Option<u64> {
        let (next, end) = self.runs.front_mut()?;
        let number = *next;
        *next += 1;
        if next == end {
            self.runs.pop_front();
        }
        Some(number)
    }
}

pub(crate) struct Shared {
    pool: Mutex<Pool>,
    pub(crate) low: Notify,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) closing: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A door to the recorder. Clones share it; the driver ends when all clones and slots are gone.
#[derive(Clone)]
pub struct RecorderClient {
    shared: Arc<Shared>,
    offers: Arc<Semaphore>,
    calls_open: Arc<Semaphore>,
    calls: mpsc::Sender<Call>,
    fills: mpsc::Sender<Fill>,
    timeout: Duration,
}

impl RecorderClient {
    /// A client of the recorder at a socket, and the driver that must be awaited for it to work.
    pub fn connect(socket_path: impl Into<PathBuf>) -> (Self, BoxFuture<'static, ()>) {
        Self::connect_with(socket_path, CALL_TIMEOUT)
    }

    /// The same with another time limit for requests.
    pub fn connect_with(
        socket_path: impl Into<PathBuf>,
        timeout: Duration,
    ) -> (Self, BoxFuture<'static, ()>) {
        let shared = Arc::new(Shared {
            pool: Mutex::default(),
            low: Notify::new(),
            ready: watch::Sender::new(false),
            closing: watch::Sender::new(false),
        });
        // One more than can be under way, so that a sender that holds a permit always finds room.
        let (calls, asked) = mpsc::channel(CALLS_MAX + 1);
        let (fills, filled) = mpsc::channel(OFFERS_MAX + 1);
        let driver = Driver::new(socket_path.into(), Arc::clone(&shared));
        let client = Self {
            shared,
            offers: Arc::new(Semaphore::new(OFFERS_MAX)),
            calls_open: Arc::new(Semaphore::new(CALLS_MAX)),
            calls,
            fills,
            timeout,
        };
        (client, Box::pin(driver.run(asked, filled)))
    }

    /// Resolves when slots can be offered.
    pub async fn ready(&self) -> Result<(), RecordError> {
        let mut ready = self.shared.ready.subscribe();
        match tokio::time::timeout(self.timeout, ready.wait_for(|r| *r)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(RecordError::Unreachable),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> RecordError {
        RecordError::Timeout(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX))
    }

    async fn call(&self, ask: Ask) -> Result<Answer, RecordError> {
        let _permit = self
            .calls_open
            .try_acquire()
            .map_err(|_| RecordError::TooMany {
                what: "requests to the recorder under way",
                limit: CALLS_MAX as u64,
            })?;
        let (back, answer) = oneshot::channel();
        let exchange = async {
            let call = Call { ask, back };
            self.calls
                .send(call)
                .await
                .map_err(|_| RecordError::Unreachable)?;
            answer.await.map_err(|_| RecordError::Unreachable)
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Err(_) => Err(self.too_late()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Answer::Refused { error })) => Err(RecordError::Remote(error)),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    /// Appends a leaf; resolves after fdatasync. On [`RecordError::Unreachable`] and
    /// [`RecordError::Timeout`] it is unknown whether the leaf was appended.
    pub async fn append(&self, leaf: Leaf) -> Result<Receipt, RecordError> {
        match self
            .call(Ask::Append {
                leaf: Box::new(leaf),
            })
            .await?
        {
            Answer::Receipt { receipt } => Ok(receipt),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Takes a slot. Refuses when [`OFFERS_MAX`] are not yet durable, or no number is in hand.
    pub fn offer(&self) -> Result<Slot, RecordError> {
        let full = RecordError::TooMany {
            what: "open slots",
            limit: OFFERS_MAX as u64,
        };
        let permit = Arc::clone(&self.offers)
            .try_acquire_owned()
            .map_err(|_| full)?;
        let (sequence, left) = {
            let mut pool = self.shared.pool();
            (pool.take(), pool.left())
        };
        if left < NUMBERS_LOW {
            self.shared.low.notify_one();
        }
        let sequence = sequence.ok_or(RecordError::Unreachable)?;
        Ok(Slot {
            sequence,
            fills: self.fills.clone(),
            permit: Some(permit),
        })
    }

    /// Seals a value for a purpose.
    pub async fn seal(&self, purpose: Purpose, value: &[u8]) -> Result<Vec<u8>, RecordError> {
        let value = Hidden(Secret::new(value.to_vec()));
        match self.call(Ask::Seal { purpose, value }).await? {
            Answer::Bytes { bytes } => Ok(bytes.0.danger_expose().clone()),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Ends the conversation in order, however many clones there are: what was handed over is made
    /// durable, unused numbers are given back, then the driver ends. Later requests are refused.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Opens a value that was sealed for this purpose.
    pub async fn unseal(
        &self,
        purpose: Purpose,
        sealed: &[u8],
    ) -> Result<Secret<Vec<u8>>, RecordError> {
        let sealed = Hidden(Secret::new(sealed.to_vec()));
        match self.call(Ask::Unseal { purpose, sealed }).await? {
            Answer::Bytes { bytes } => Ok(bytes.0),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// The log in numbers.
    pub async fn state(&self) -> Result<LogState, RecordError> {
        match self.call(Ask::State {}).await? {
            Answer::State { state } => Ok(state),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Leaves from an index on; fewer than `count` at the end of the log or when they are long.
    pub async fn read(&self, from: u64, count: u32) -> Result<Vec<(u64, Leaf)>, RecordError> {
        match self.call(Ask::Read { from, count }).await? {
            Answer::Leaves { leaves } => Ok(leaves),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// A proof that a leaf is in the log.
    pub async fn prove(&self, index: u64) -> Result<Proof, RecordError> {
        match self.call(Ask::Prove { index }).await? {
            Answer::Proof { proof } => Ok(proof),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Signs and publishes the present size and root.
    pub async fn checkpoint(&self) -> Result<String, RecordError> {
        match self.call(Ask::Checkpoint {}).await? {
            Answer::Checkpoint { note } => Ok(note),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }
}

impl RecorderClient {
    /// A checkpoint of the present size, and the proofs that it extends trees of these sizes: what
    /// witnesses are asked with.
    pub async fn extend(&self, olds: Vec<u64>) -> Result<(String, Vec<Vec<Hash>>), RecordError> {
        match self.call(Ask::Extend { olds }).await? {
            Answer::Extension { note, proofs } => {
                let proofs = proofs
                    .into_iter()
                    .map(|p| p.into_iter().map(|d| d.0).collect());
                Ok((note, proofs.collect()))
            }
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Hands over cosignature lines for the checkpoint of this text, with the witnesses' keys.
    /// Whether they were published: a checkpoint that has been followed by another is left alone.
    pub async fn cosign(
        &self,
        text: String,
        lines: String,
        vkeys: Vec<String>,
    ) -> Result<bool, RecordError> {
        match self.call(Ask::Cosign { text, lines, vkeys }).await? {
            Answer::Published { yes } => Ok(yes),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }
}

impl LeafSink for RecorderClient {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async move { Self::append(self, leaf).await.map_err(explain) })
    }

    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        let slot = Self::offer(self).map_err(explain)?;
        Ok(Box::new(slot))
    }
}

/// A place in the log, taken before the work. Dropped unfilled it is counted as unaccounted for.
pub struct Slot {
    sequence: u64,
    fills: mpsc::Sender<Fill>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// The durable number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Hands the leaf over, without waiting.
    pub fn settle(mut self, leaf: Leaf) {
        let sequence = self.sequence;
        self.send(Ask::Settle {
            sequence,
            leaf: Box::new(leaf),
        });
    }

    fn send(&mut self, ask: Ask) {
        if let Some(permit) = self.permit.take() {
            // There is room for every permit. Without a driver the number stays open, and the
            // recorder counts it when this connection is gone.
            drop(self.fills.try_send(Fill {
                ask,
                _permit: permit,
            }));
        }
    }
}

impl LeafSlot for Slot {
    fn sequence(&self) -> u64 {
        self.sequence
    }
    fn settle(self: Box<Self>, leaf: Leaf) {
        Self::settle(*self, leaf);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let sequence = self.sequence;
        self.send(Ask::Drop { sequence });
    }
}
