//! The driver of a client: owns the connection and what is under way on it.

use super::{CALLS_MAX, NUMBERS_LOW, OFFERS_MAX, Shared};
use crate::error::RecordError;
use crate::protocol::{self, Answer, Ask, Numbered};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// The first and the longest pause between attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long settlements that the recorder could not write wait before they are sent again.
const RETRY: Duration = Duration::from_millis(250);
/// How long the end may take, to give back numbers.
const FAREWELL: Duration = Duration::from_secs(2);
/// Octets of requests gathered for one write.
const REQUEST_BYTES: usize = 256 * 1024;
/// LIMIT: answers read and not yet handed on: all that can be under way.
const ANSWERS_MAX: usize = CALLS_MAX + OFFERS_MAX + 64;

/// A request that waits for its answer.
pub(crate) struct Call {
    pub(crate) ask: Ask,
    pub(crate) back: oneshot::Sender<Answer>,
}

/// A settlement, sent until the recorder confirms it.
pub(crate) struct Fill {
    pub(crate) ask: Ask,
    /// Held until the recorder confirms: what bounds the slots not yet durable.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What comes in from the client's side.
struct Inbox {
    calls: mpsc::Receiver<Call>,
    fills: mpsc::Receiver<Fill>,
    calls_open: bool,
    fills_open: bool,
}

#[derive(PartialEq, Eq)]
enum End {
    /// The connection is gone.
    Lost,
    /// Nobody needs it any more.
    Finished,
}

pub(crate) struct Driver {
    path: PathBuf,
    shared: Arc<Shared>,
    next_id: u64,
    calls: BTreeMap<u64, oneshot::Sender<Answer>>,
    fills: BTreeMap<u64, Fill>,
    /// Settlements that the recorder could not write, for instance on a full disk.
    retry: Vec<u64>,
    reserving: Option<u64>,
    releasing: Vec<u64>,
}

impl Driver {
    pub(crate) fn new(path: PathBuf, shared: Arc<Shared>) -> Self {
        Self {
            path,
            shared,
            next_id: 0,
            calls: BTreeMap::new(),
            fills: BTreeMap::new(),
            retry: Vec::new(),
            reserving: None,
            releasing: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self, calls: mpsc::Receiver<Call>, fills: mpsc::Receiver<Fill>) {
        let mut inbox = Inbox {
            calls,
            fills,
            calls_open: true,
            fills_open: true,
        };
        let mut backoff = BACKOFF_MIN;
        loop {
            if let Ok(stream) = UnixStream::connect(&self.path).await {
                if self.session(stream, &mut inbox).await == End::Finished {
                    return;
                }
                backoff = BACKOFF_MIN;
            }
            self.forget();
            if inbox.calls.is_closed() && inbox.fills.is_closed() {
                // What is unconfirmed stays open, and the recorder counts it.
                return;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// After a connection is lost: the callers hear of it, settlements wait for the next one, and
    /// the numbers in hand are not used, since the recorder has closed their block.
    fn forget(&mut self) {
        self.calls.clear();
        self.retry.clear();
        self.reserving = None;
        self.shared.ready.send_replace(false);
        self.shared.pool().runs.clear();
    }

    async fn session(&mut self, stream: UnixStream, inbox: &mut Inbox) -> End {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let (read, mut answers) = mpsc::channel(ANSWERS_MAX);
        let reading = async {
            while let Ok(Some(answer)) = protocol::read::<Numbered<Answer>>(&mut reader).await {
                if read.send(answer).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = reading => End::Lost,
            end = self.exchange(&mut writer, &mut answers, inbox) => end.unwrap_or(End::Lost),
        }
    }

    async fn exchange(
        &mut self,
        writer: &mut OwnedWriteHalf,
        answers: &mut mpsc::Receiver<Numbered<Answer>>,
        inbox: &mut Inbox,
    ) -> Result<End, RecordError> {
        let shared = Arc::clone(&self.shared);
        let mut closing = shared.closing.subscribe();
        let mut closed = false;
        let mut out = Vec::new();
        for (id, fill) in &self.fills {
            say(*id, &fill.ask, &mut out)?;
        }
        self.refill(&mut out)?;
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if !out.is_empty() {
                writer
                    .write_all(&out)
                    .await
                    .map_err(|_| RecordError::Unreachable)?;
                out.clear();
            }
            if !inbox.calls_open && !inbox.fills_open && self.fills.is_empty() {
                self.farewell(writer, answers).await?;
                return Ok(End::Finished);
            }
            tokio::select! {
                Some(answer) = answers.recv() => {
                    self.take(answer);
                    while let Ok(answer) = answers.try_recv() {
                        self.take(answer);
                    }
                }
                call = inbox.calls.recv(), if inbox.calls_open => match call {
                    Some(call) => self.ask(call, &mut out),
                    None => inbox.calls_open = false,
                },
                fill = inbox.fills.recv(), if inbox.fills_open => match fill {
                    Some(fill) => self.fill(fill, &mut out)?,
                    None => inbox.fills_open = false,
                },
                _ = closing.wait_for(|closing| *closing), if !closed => {
                    // What was handed over before is still taken; then both are at their end.
                    inbox.calls.close();
                    inbox.fills.close();
                    closed = true;
                }
                () = shared.low.notified(), if !closed => self.refill(&mut out)?,
                _ = retry.tick(), if !self.retry.is_empty() => self.send_again(&mut out)?,
            }
            while out.len() < REQUEST_BYTES
                && let Ok(fill) = inbox.fills.try_recv()
            {
                self.fill(fill, &mut out)?;
            }
            while out.len() < REQUEST_BYTES
                && let Ok(call) = inbox.calls.try_recv()
            {
                self.ask(call, &mut out);
            }
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn ask(&mut self, call: Call, out: &mut Vec<u8>) {
        if call.back.is_closed() {
            // Its caller gave up while there was no connection.
            return;
        }
        let id = self.id();
        match say(id, &call.ask, out) {
            Ok(()) => drop(self.calls.insert(id, call.back)),
            Err(error) => {
                let error = crate::error::explain(error);
                drop(call.back.send(Answer::Refused { error }));
            }
        }
    }

    fn fill(&mut self, mut fill: Fill, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let id = self.id();
        if say(id, &fill.ask, out).is_err() {
            // A leaf that fits no message fits no log; its number is counted.
            if let Ask::Settle { sequence, .. } = fill.ask {
                fill.ask = Ask::Drop { sequence };
            }
            say(id, &fill.ask, out)?;
        }
        self.fills.insert(id, fill);
        Ok(())
    }

    fn refill(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.reserving.is_some() || self.shared.pool().left() >= NUMBERS_LOW {
            return Ok(());
        }
        let id = self.id();
        self.reserving = Some(id);
        say(id, &Ask::Reserve {}, out)
    }

    fn send_again(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        for id in std::mem::take(&mut self.retry) {
            if let Some(fill) = self.fills.get(&id) {
                say(id, &fill.ask, out)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, Numbered { id, body }: Numbered<Answer>) {
        if self.reserving == Some(id) {
            self.reserving = None;
            if let Answer::Block { first, count } = body {
                let mut pool = self.shared.pool();
                pool.runs.push_back((first, first + u64::from(count)));
                let enough = pool.left() >= NUMBERS_LOW;
                drop(pool);
                self.shared.ready.send_replace(true);
                if !enough {
                    self.shared.low.notify_one();
                }
            }
        } else if self.fills.contains_key(&id) {
            match &body {
                Answer::Refused { error } if !is_final(&error.code) => self.retry.push(id),
                _ => drop(self.fills.remove(&id)),
            }
        } else if let Some(back) = self.calls.remove(&id) {
            // The caller may have given up.
            drop(back.send(body));
        } else {
            self.releasing.retain(|r| *r != id);
        }
    }

    /// Gives back the numbers in hand, so that an orderly end leaves none unaccounted for.
    async fn farewell(
        &mut self,
        writer: &mut OwnedWriteHalf,
        answers: &mut mpsc::Receiver<Numbered<Answer>>,
    ) -> Result<(), RecordError> {
        let exchange = async {
            while self.reserving.is_some() {
                let Some(answer) = answers.recv().await else {
                    return Ok(());
                };
                self.take(answer);
            }
            let runs = std::mem::take(&mut self.shared.pool().runs);
            let mut out = Vec::new();
            for (first, end) in runs {
                let id = self.id();
                let count = u32::try_from(end - first).unwrap_or(u32::MAX);
                say(id, &Ask::Release { first, count }, &mut out)?;
                self.releasing.push(id);
            }
            writer
                .write_all(&out)
                .await
                .map_err(|_| RecordError::Unreachable)?;
            while !self.releasing.is_empty() {
                let Some(answer) = answers.recv().await else {
                    return Ok(());
                };
                self.take(answer);
            }
            Ok(())
        };
        tokio::time::timeout(FAREWELL, exchange)
            .await
            .unwrap_or(Ok(()))
    }
}

/// Whether sending a settlement again could never help. The recorder has counted its number then.
fn is_final(code: &str) -> bool {
    matches!(code, "record/leaf-refused" | "record/sequence-unknown")
}

/// Writes one numbered request behind what is written already; what is refused leaves no octet.
fn say(id: u64, ask: &Ask, out: &mut Vec<u8>) -> Result<(), RecordError> {
    protocol::write(&Numbered { id, body: ask }, out)
}
