//! One thread reads and cuts, several look, the calling one writes in order.
//!
//! A checkpoint says how far the input was taken and how much was written; whoever keeps it can
//! go on from there. It is offered after whole pieces only.

use super::pieces::{Piece, Pieces};
use super::report::{Counts, Report};
use super::scan::Plan;
use super::{Format, RECORD_BYTES_MAX, csv, json};
use ringfence_core::error::{ErrorCode, Explain};
use ringfence_crypto::hash::Sha256;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The input.
    #[error("the dataset cannot be read: {0}")]
    Read(std::io::Error),
    /// The output.
    #[error("the copy cannot be written: {0}")]
    Write(std::io::Error),
    /// The head of a table.
    #[error("the first record of the table is not UTF-8")]
    Header,
    /// A thread ended without an answer.
    #[error("a scanning thread ended before its work")]
    Thread,
    /// Whoever keeps the checkpoint could not.
    #[error("the cursor cannot be kept: {0}")]
    Checkpoint(std::io::Error),
}

impl Explain for DatasetError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Read(_) => ErrorCode("dataset/read"),
            Self::Write(_) => ErrorCode("dataset/write"),
            Self::Header => ErrorCode("dataset/header"),
            Self::Thread => ErrorCode("dataset/thread"),
            Self::Checkpoint(_) => ErrorCode("dataset/checkpoint"),
        }
    }

    fn help(&self) -> Option<String> {
        Some(
            match self {
                Self::Read(_) => "look at the input file or pipe, then run the command again",
                Self::Write(_) => "look at the free space, then run the command again: it goes on where it stopped",
                Self::Header => "convert the table to UTF-8 first",
                Self::Thread => "run the command again, and report it with the record it stopped at",
                Self::Checkpoint(_) => "look at the folder of the copy, then run the command again",
            }
            .to_owned(),
        )
    }
}

/// How far a run has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Octets of the input that are done.
    pub bytes_in: u64,
    /// Octets written.
    pub bytes_out: u64,
    /// SHA-256 of the octets done, in hex.
    pub input: String,
    /// SHA-256 of the octets written, in hex.
    pub output: String,
    /// Names of the columns of a table.
    columns: Vec<String>,
    counts: Counts,
}

/// What a person is shown, and a keeper of checkpoints is given.
pub struct Progress<'run> {
    /// How far it is; writing out what it says and then keeping it makes a run resumable.
    pub checkpoint: &'run Checkpoint,
}

/// The hashes of both sides. For a run that goes on, the caller feeds what was done before.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    /// Of the input.
    pub input: Sha256,
    /// Of the output.
    pub output: Sha256,
}

/// A piece after it was looked at.
struct Done {
    number: u64,
    read: Vec<u8>,
    written: Vec<u8>,
    counts: Counts,
}

/// What is to be done, and from where on.
#[derive(Clone)]
pub struct Job<'p> {
    /// What is looked for.
    pub plan: &'p Plan,
    /// How the dataset is written.
    pub format: Format,
    /// Threads that look, from 1 to 64.
    pub threads: usize,
    /// Where an earlier run stopped, or the beginning.
    pub from: Checkpoint,
    /// The hashes of what the earlier run did.
    pub hashes: Hashes,
}

impl<'p> Job<'p> {
    /// A job from the beginning.
    pub fn new(plan: &'p Plan, format: Format, threads: usize) -> Self {
        Self {
            plan,
            format,
            threads,
            from: Checkpoint::default(),
            hashes: Hashes::default(),
        }
    }
}

/// Puts a dataset through a plan.
///
/// `keep` is called after each piece was handed to `output`, in order.
pub fn run<W: Write>(
    job: Job<'_>,
    input: impl Read + Send,
    output: &mut W,
    keep: &mut dyn FnMut(&mut W, Progress<'_>) -> std::io::Result<()>,
) -> Result<Report, DatasetError> {
    let Job {
        plan,
        format,
        threads,
        from,
        mut hashes,
    } = job;
    let mut pieces = Pieces::new(input, format);
    let mut state = from;
    if let Format::Csv(delimiter) = format
        && state.bytes_in == 0
    {
        let header = pieces.header().map_err(DatasetError::Read)?;
        let text = std::str::from_utf8(&header).map_err(|_| DatasetError::Header)?;
        state.columns = csv::names(text, delimiter);
        write(output, &mut state, &mut hashes, &header, &header)?;
    }
    let threads = threads.clamp(1, 64);
    let columns = state.columns.clone();
    std::thread::scope(|scope| {
        // LIMIT: pieces that are read, looked at or waiting to be written at once.
        let (to_work, work) = sync_channel::<Piece>(threads);
        let (to_write, done) = sync_channel::<Done>(threads);
        let work = Arc::new(Mutex::new(work));
        let columns = columns.as_slice();
        let reader = scope.spawn(move || read(&mut pieces, &to_work));
        for _ in 0..threads {
            let (work, to_write) = (Arc::clone(&work), to_write.clone());
            scope.spawn(move || look(plan, format, columns, &work, &to_write));
        }
        // The last of the threads closes the channels: a reader never waits for nobody.
        drop((work, to_write));
        let outcome = gather(&done, output, &mut state, &mut hashes, keep);
        // Threads that wait for a full channel end with it.
        drop(done);
        let read = reader.join().map_err(|_| DatasetError::Thread)?;
        // INVARIANT: what was read was written, or the run fails: no piece is lost silently.
        if outcome? == read? {
            Ok(())
        } else {
            Err(DatasetError::Thread)
        }
    })?;
    let mut report = std::mem::take(&mut state.counts).report(&plan.identifying);
    report.bytes_in = state.bytes_in;
    report.bytes_out = state.bytes_out;
    report.input = state.input;
    report.output = state.output;
    Ok(report)
}

fn read<R: Read>(pieces: &mut Pieces<R>, to_work: &SyncSender<Piece>) -> Result<u64, DatasetError> {
    let mut sent = 0;
    while let Some(piece) = pieces.next().map_err(DatasetError::Read)? {
        if to_work.send(piece).is_err() {
            break;
        }
        sent += 1;
    }
    Ok(sent)
}

fn look(
    plan: &Plan,
    format: Format,
    columns: &[String],
    work: &Mutex<Receiver<Piece>>,
    to_write: &SyncSender<Done>,
) {
    loop {
        let next = match work.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(piece) = next else { return };
        if to_write.send(one(plan, format, columns, piece)).is_err() {
            return;
        }
    }
}

fn one(plan: &Plan, format: Format, columns: &[String], piece: Piece) -> Done {
    let mut counts = Counts::default();
    let mut written = Vec::with_capacity(piece.bytes.len() + 1024);
    if piece.too_long {
        counts.records += 1;
        counts.refuse(1, "longer than the limit");
    }
    if format == Format::Text
        && let Ok(text) = std::str::from_utf8(&piece.bytes)
    {
        // A name or a key may run over lines: a piece of plain text is one text.
        counts.records += text.lines().count() as u64;
        match plan.value("", text, &mut counts) {
            Some(changed) => written.extend_from_slice(changed.as_bytes()),
            None => written.extend_from_slice(text.as_bytes()),
        }
    } else {
        records(
            plan,
            format,
            columns,
            &piece.bytes,
            &mut counts,
            &mut written,
        );
    }
    Done {
        number: piece.number,
        read: piece.bytes,
        written,
        counts,
    }
}

fn records(
    plan: &Plan,
    format: Format,
    columns: &[String],
    bytes: &[u8],
    counts: &mut Counts,
    written: &mut Vec<u8>,
) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = match format {
            // Octets that are no text have no quotes that could be trusted.
            Format::Csv(_) => {
                std::str::from_utf8(rest).map_or_else(|_| line_end(rest), csv::record_end)
            }
            Format::Jsonl | Format::Text => line_end(rest),
        };
        let (record, after) = rest.split_at(end);
        rest = after;
        counts.records += 1;
        let body = record.strip_suffix(b"\n").unwrap_or(record);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let number = counts.records;
        let mark = written.len();
        let outcome = match std::str::from_utf8(body) {
            Err(_) => Err("no UTF-8"),
            Ok(_) if body.len() > RECORD_BYTES_MAX => Err("longer than the limit"),
            Ok(text) if text.trim().is_empty() => {
                written.extend_from_slice(body);
                Ok(())
            }
            Ok(text) => match format {
                Format::Jsonl => json::line(plan, text, counts, written),
                Format::Csv(delimiter) => {
                    csv::record(plan, columns, delimiter, text, counts, written);
                    Ok(())
                }
                Format::Text => {
                    match plan.value("", text, counts) {
                        Some(changed) => written.extend_from_slice(changed.as_bytes()),
                        None => written.extend_from_slice(body),
                    }
                    Ok(())
                }
            },
        };
        match outcome {
            Ok(()) => written.extend_from_slice(record.get(body.len()..).unwrap_or_default()),
            Err(reason) => {
                written.truncate(mark);
                counts.refuse(number, reason);
            }
        }
    }
}

fn line_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|b| *b == b'\n')
        .map_or(bytes.len(), |at| at + 1)
}

/// Writes what comes in, in the order of the pieces.
fn gather<W: Write>(
    done: &Receiver<Done>,
    output: &mut W,
    state: &mut Checkpoint,
    hashes: &mut Hashes,
    keep: &mut dyn FnMut(&mut W, Progress<'_>) -> std::io::Result<()>,
) -> Result<u64, DatasetError> {
    // LIMIT: no more than the pieces in flight wait here.
    let mut waiting: BTreeMap<u64, Done> = BTreeMap::new();
    let mut next = 0;
    while let Ok(piece) = done.recv() {
        waiting.insert(piece.number, piece);
        while let Some(piece) = waiting.remove(&next) {
            next += 1;
            state.counts.add(piece.counts);
            write(output, state, hashes, &piece.read, &piece.written)?;
            keep(output, Progress { checkpoint: state }).map_err(DatasetError::Checkpoint)?;
        }
    }
    output.flush().map_err(DatasetError::Write)?;
    Ok(next)
}

fn write(
    output: &mut impl Write,
    state: &mut Checkpoint,
    hashes: &mut Hashes,
    read: &[u8],
    written: &[u8],
) -> Result<(), DatasetError> {
    use ringfence_core::digest::hex;
    output.write_all(written).map_err(DatasetError::Write)?;
    hashes.input.update(read);
    hashes.output.update(written);
    state.bytes_in += read.len() as u64;
    state.bytes_out += written.len() as u64;
    state.input = hex(&hashes.input.clone().finish());
    state.output = hex(&hashes.output.clone().finish());
    Ok(())
}
