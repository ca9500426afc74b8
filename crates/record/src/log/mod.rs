//! The log itself: appending, reading, proving, signing.
//!
//! Synchronous and single-owner; disk and clock are handed in. The files, all in one directory:
//! `wal-N.rfw` (frames of records, the truth), `hashes.rfh` (the tree, derived), `state` (the
//! high-water mark), `checkpoint` (the signed note) and `vkey` (who signs). This is format v0.
//!
//! INVARIANT: [`Log::commit`] returns after fdatasync; what it did not return for may be lost.

pub mod disk;
mod frame;
mod hashes;
pub mod ledger;
mod open;
mod read;
mod scan;
mod stage;
mod state;
mod wal;

pub use frame::FRAME_BYTES_MAX;
pub use open::Recovery;
pub use wal::{SEGMENT_BYTES, SEGMENTS_MAX};

pub(crate) use frame::Record as FrameRecord;
pub(crate) use hashes::HASHES_FILE;
use ledger::Ledger;
pub(crate) use scan::{CHECKPOINT_FILE, Facts, VKEY_FILE, Visitor, read_facts, scan_with};
pub(crate) use wal::{Place, segment_ordinal};

use crate::error::RecordError;
use disk::{Disk, DiskFile};
use frame::Record;
use hashes::Hashes;
use ledger::{Gap, GapReason};
use ringfence_core::digest::Digest;
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{Clock, Receipt};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Frontier, leaf_hash};
use ringfence_crypto::note::{self, NoteKey};
use ringfence_crypto::sign::SigningKey;
use serde::{Deserialize, Serialize};
use stage::{Pending, Staged};
use state::HighWater;
use std::sync::Arc;

/// LIMIT: operations of one commit group.
pub const GROUP_OPERATIONS_MAX: usize = 1024;
/// LIMIT: leaves of one read.
pub const READ_LEAVES_MAX: u32 = 1024;
/// LIMIT: octets of leaves of one read; the rest is for the next.
pub const READ_BYTES_MAX: usize = 512 * 1024;
/// One place is remembered for at least so many leaves.
const PLACE_LEAVES: u64 = 256;

/// What can be asked of one commit group.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Append a leaf.
    Append(Leaf),
    /// Fill a sequence number.
    Settle {
        /// The number.
        sequence: u64,
        /// The leaf; its detail `sequence` is set to the number.
        leaf: Leaf,
    },
    /// Reserve [`ledger::BLOCK_NUMBERS`] numbers.
    Reserve,
    /// Close what is open in a run of numbers.
    Close(Gap),
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A leaf was appended.
    Appended(Receipt),
    /// Numbers are reserved.
    Reserved {
        /// The first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// Nothing had to be done: it was done before.
    Nothing,
}

/// The log in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// Which log.
    pub origin: String,
    /// Who signs, as a C2SP verifier key.
    pub vkey: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// The last checkpoint, a signed note.
    pub checkpoint: String,
    /// How many leaves it covers.
    pub checkpoint_size: u64,
    /// Sequence numbers that no leaf tells about.
    pub unaccounted: u64,
    /// Sequence numbers reserved and not yet filled.
    pub open_numbers: u64,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment beyond this size is closed.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// The open end of the write-ahead log.
struct Writer {
    file: Box<dyn DiskFile>,
    segment: u64,
    offset: u64,
    /// Octets of a failed write may stand beyond `offset`.
    dirty: bool,
}

/// An open log.
pub struct Log {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: LogOptions,
    key: SigningKey,
    name: NoteKey,
    writer: Writer,
    hashes: Hashes,
    frontier: Frontier,
    ledger: Ledger,
    groups: u64,
    /// (first leaf, place of its frame), ascending.
    places: Vec<(u64, Place)>,
    signed: Option<Signed>,
    poisoned: bool,
}

#[derive(Clone)]
struct Signed {
    size: u64,
    groups: u64,
    note: String,
}

impl Log {
    /// Carries out at most [`GROUP_OPERATIONS_MAX`] operations with one fdatasync. An operation
    /// that is refused by itself does not keep the others from being done; if the group cannot be
    /// written, none was done.
    pub fn commit(
        &mut self,
        operations: Vec<Operation>,
    ) -> Result<Vec<Result<Done, RecordError>>, RecordError> {
        if operations.len() > GROUP_OPERATIONS_MAX {
            let limit = GROUP_OPERATIONS_MAX as u64;
            return Err(RecordError::TooMany {
                what: "operations of one commit",
                limit,
            });
        }
        if self.poisoned {
            return Err(RecordError::Poisoned);
        }
        let mut staged = Staged {
            body: Vec::new(),
            leaves: Vec::new(),
            ledger: self.ledger.clone(),
        };
        let pending: Vec<Pending> = operations
            .into_iter()
            .map(|o| self.stage(o, &mut staged))
            .collect();
        let receipts = if staged.body.is_empty() {
            Vec::new()
        } else {
            self.write(staged)?
        };
        Ok(pending
            .into_iter()
            .map(|p| match p {
                Pending::Leaf(at) => receipts
                    .get(at)
                    .cloned()
                    .map(Done::Appended)
                    .ok_or(RecordError::Poisoned),
                Pending::Done(done) => Ok(done),
                Pending::Refused(error) => Err(error),
            })
            .collect())
    }

    /// Appends one leaf.
    pub fn append(&mut self, leaf: Leaf) -> Result<Receipt, RecordError> {
        match self.commit(vec![Operation::Append(leaf)])?.pop() {
            Some(Ok(Done::Appended(receipt))) => Ok(receipt),
            Some(Err(error)) => Err(error),
            _ => Err(RecordError::Poisoned),
        }
    }

    fn write(&mut self, staged: Staged) -> Result<Vec<Receipt>, RecordError> {
        if self.writer.offset >= self.options.segment_bytes {
            self.rotate()?;
        }
        let place = Place {
            segment: self.writer.segment,
            offset: self.writer.offset,
        };
        self.write_frame(&staged.body)?;
        self.ledger = staged.ledger;
        let first = self.frontier.size();
        if !staged.leaves.is_empty() {
            remember(&mut self.places, first, place);
        }
        let mut receipts = Vec::with_capacity(staged.leaves.len());
        for leaf in &staged.leaves {
            let hash = leaf_hash(leaf);
            receipts.push(Receipt {
                index: self.frontier.size(),
                leaf_hash: Digest(hash),
            });
            let hashes = &mut self.hashes;
            self.frontier
                .append(hash, &mut |completed| hashes.push(completed.hash));
        }
        // The commit stands whether or not this succeeds: the hashes wait and can be derived again.
        drop(self.hashes.write_waiting());
        Ok(receipts)
    }

    /// Writes one frame at the end and forces it to disk.
    fn write_frame(&mut self, body: &[u8]) -> Result<(), RecordError> {
        if body.len() > FRAME_BYTES_MAX {
            let limit = FRAME_BYTES_MAX as u64;
            return Err(RecordError::TooMany {
                what: "octets of one commit",
                limit,
            });
        }
        let name = wal::segment_name(self.writer.segment);
        self.clean_tail(&name)?;
        let frame = frame::encode(self.groups, body);
        self.writer.dirty = true;
        if let Err(error) = self.writer.file.write_at(&frame, self.writer.offset) {
            // Left as it is if this fails too: the next write tries again before it writes.
            drop(self.clean_tail(&name));
            return Err(RecordError::io("write", name, error));
        }
        if self.writer.file.sync().is_err() {
            // The kernel may have dropped the pages it could not write: only reading the file
            // again, after a new start, tells what is there.
            self.poisoned = true;
            return Err(RecordError::Poisoned);
        }
        self.writer.dirty = false;
        self.writer.offset += frame.len() as u64;
        self.groups += 1;
        Ok(())
    }

    fn clean_tail(&mut self, name: &str) -> Result<(), RecordError> {
        if self.writer.dirty {
            let fail = |e| RecordError::io("cut", name, e);
            self.writer
                .file
                .truncate(self.writer.offset)
                .map_err(fail)?;
            self.writer.file.sync().map_err(fail)?;
            self.writer.dirty = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), RecordError> {
        let name = wal::segment_name(self.writer.segment);
        self.clean_tail(&name)?;
        let ordinal = self.writer.segment + 1;
        if ordinal >= SEGMENTS_MAX {
            return Err(RecordError::TooMany {
                what: "segments",
                limit: SEGMENTS_MAX,
            });
        }
        let next = wal::segment_name(ordinal);
        let file = self
            .disk
            .open(&next, true)
            .map_err(|e| RecordError::io("create", &next, e))?;
        self.disk
            .sync_names()
            .map_err(|e| RecordError::io("create", &next, e))?;
        let before = std::mem::replace(
            &mut self.writer,
            Writer {
                file,
                segment: ordinal,
                offset: 0,
                dirty: true,
            },
        );
        if let Err(error) = self.write_header() {
            // The half-made segment is taken up again by the next write, or removed at opening.
            self.writer = before;
            return Err(error);
        }
        Ok(())
    }

    fn write_header(&mut self) -> Result<(), RecordError> {
        let mut body = Vec::new();
        let first_leaf = self.frontier.size();
        Record::Segment {
            ordinal: self.writer.segment,
            first_leaf,
        }
        .write(&mut body);
        self.write_frame(&body)
    }

    /// Signs the present size and root, unless that was done, and publishes the note.
    pub fn checkpoint(&mut self) -> Result<String, RecordError> {
        if self.poisoned {
            return Err(RecordError::Poisoned);
        }
        let size = self.frontier.size();
        if let Some(signed) = &self.signed
            && signed.size == size
            && signed.groups == self.groups
        {
            return Ok(signed.note.clone());
        }
        self.hashes.sync()?;
        let checkpoint = Checkpoint::new(self.name.name(), size, self.frontier.root());
        let note = note::sign(&checkpoint.text(), self.name.name(), &[&self.key])?;
        // The order that can never sign two roots for one size: first the mark, then the note.
        HighWater {
            checkpoint,
            groups: self.groups,
        }
        .write(&*self.disk)?;
        disk::replace(&*self.disk, CHECKPOINT_FILE, note.as_bytes())?;
        self.signed = Some(Signed {
            size,
            groups: self.groups,
            note: note.clone(),
        });
        Ok(note)
    }

    /// The log in numbers.
    pub fn state(&self) -> LogState {
        let signed = self.signed.as_ref();
        LogState {
            origin: self.name.name().to_owned(),
            vkey: self.name.to_string(),
            size: self.frontier.size(),
            root: Digest(self.frontier.root()),
            checkpoint: signed.map(|s| s.note.clone()).unwrap_or_default(),
            checkpoint_size: signed.map_or(0, |s| s.size),
            unaccounted: self.ledger.unaccounted(),
            open_numbers: self.ledger.open_numbers(),
        }
    }

    /// Sequence blocks that are open, as gaps that would close them.
    pub(crate) fn open_blocks(&self, reason: GapReason) -> Vec<Gap> {
        self.ledger.open_blocks(reason)
    }

    /// Whether the log must be opened again before it can go on.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

/// Remembers where a leaf's frame stands, unless a place shortly before is remembered.
fn remember(places: &mut Vec<(u64, Place)>, first: u64, place: Place) {
    if places
        .last()
        .is_none_or(|(last, _)| first - last >= PLACE_LEAVES)
    {
        places.push((first, place));
    }
}
