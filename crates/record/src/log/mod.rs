//! The log itself: appending, reading, proving, signing.
//!
//! Synchronous and single-owner; disk and clock are handed in. The files, all in one directory:
//!
//! | name | what it is |
//! |---|---|
//! | `checkpoint`, `tile/…` | C2SP tlog-tiles: what the world may see, as any web server serves it |
//! | `vkey` | who signs, a verifier key a line |
//! | `wal/N.rfw` | frames of records, the truth until its tiles are durable |
//! | `state` | the high-water mark: what was signed, what is durable |
//! | `reserve` | space held back for a disk that fills up |
//!
//! INVARIANT: [`Log::commit`] returns after fdatasync; what it did not return for may be lost.

mod cosigned;
pub mod disk;
mod frame;
pub mod ledger;
mod open;
mod read;
mod retire;
mod scan;
mod signer;
mod space;
mod stage;
mod state;
mod tree;
mod wal;

pub use frame::FRAME_BYTES_MAX;
pub use open::Recovery;
pub use retire::Retirement;
pub use signer::LogKeys;
pub use space::{LOW_BYTES, RESERVE_BYTES, Space};
pub use wal::{SEGMENT_BYTES, SEGMENTS_MAX};

pub(crate) use frame::Record as FrameRecord;
pub(crate) use ledger::Ledger;
pub(crate) use scan::{CHECKPOINT_FILE, Facts, VKEY_FILE, account, check_signed, read_facts};
pub(crate) use space::RESERVE_FILE;
pub(crate) use state::STATE_FILE;
pub(crate) use wal::{WAL_FOLDER, scan as scan_frames, segment_name, segment_ordinal};

use crate::error::RecordError;
use crate::receipt::{Group, SignedGroup};
use disk::{Disk, DiskFile};
use frame::Record;
use ledger::{Gap, GapReason};
use ringfence_core::digest::Digest;
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{Clock, Receipt};
use ringfence_crypto::checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};
use signer::Signer;
use stage::{Pending, Staged};
use state::HighWater;
use std::sync::Arc;
use tree::Tree;

/// LIMIT: operations of one commit group.
pub const GROUP_OPERATIONS_MAX: usize = 1024;
/// LIMIT: leaves of one read.
pub const READ_LEAVES_MAX: u32 = 1024;
/// LIMIT: octets of leaves of one read; the rest is for the next.
pub const READ_BYTES_MAX: usize = 512 * 1024;
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

/// A leaf that stands in the log; its receipt is made when it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    group: Arc<SignedGroup>,
    at: usize,
}

impl Appended {
    /// The leaf's index.
    pub fn index(&self) -> u64 {
        self.group.group.first() + self.at as u64
    }

    /// What its writer may keep.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            index: self.index(),
            leaf_hash: Digest(self.group.group.leaves()[self.at]),
            promise: self.group.receipt(self.at as u64).to_string(),
        }
    }
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A leaf was appended.
    Appended(Appended),
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
    /// Who signs, as C2SP verifier keys.
    pub vkeys: Vec<String>,
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
    /// How much space is left for it.
    pub space: Space,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment beyond this size is closed.
    pub segment_bytes: u64,
    /// Space held back for a disk that fills up.
    pub reserve_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: RESERVE_BYTES,
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
    signer: Signer,
    writer: Writer,
    tree: Tree,
    ledger: Ledger,
    groups: u64,
    /// Segments that are still needed, with the index of the first leaf of each.
    segments: Vec<(u64, u64)>,
    mark: HighWater,
    signed: Option<Signed>,
    /// The last checkpoint that witnesses cosigned: the best one for proofs that it covers.
    cosigned: Option<Signed>,
    space: Space,
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
        let group = if staged.body.is_empty() {
            None
        } else {
            self.write(staged)?
        };
        Ok(pending
            .into_iter()
            .map(|p| match (p, &group) {
                (Pending::Leaf(at), Some(group)) => Ok(Done::Appended(Appended {
                    group: Arc::clone(group),
                    at,
                })),
                (Pending::Leaf(_), None) => Err(RecordError::Poisoned),
                (Pending::Done(done), _) => Ok(done),
                (Pending::Refused(error), _) => Err(error),
            })
            .collect())
    }

    /// Appends one leaf.
    pub fn append(&mut self, leaf: Leaf) -> Result<Appended, RecordError> {
        match self.commit(vec![Operation::Append(leaf)])?.pop() {
            Some(Ok(Done::Appended(appended))) => Ok(appended),
            Some(Err(error)) => Err(error),
            _ => Err(RecordError::Poisoned),
        }
    }

    /// Writes a group, then takes its leaves into the tree; `None` when it has none.
    fn write(&mut self, staged: Staged) -> Result<Option<Arc<SignedGroup>>, RecordError> {
        match self.write_body(&staged.body) {
            // Requests are refused from here on; what must be recorded takes the reserve.
            Err(RecordError::DiskFull) if self.release_reserve() => {
                self.write_body(&staged.body)?;
            }
            written => written?,
        }
        self.ledger = staged.ledger;
        if staged.leaves.is_empty() {
            return Ok(None);
        }
        let first = self.tree.size();
        let leaves = staged.leaves.iter().map(|l| self.tree.push(l)).collect();
        // The commit stands whether or not this succeeds: full tiles wait, and can be written again.
        drop(self.tree.write_waiting(&*self.disk));
        let group = Group::new(self.signer.origin(), first, leaves);
        let note = self.signer.group(&group)?;
        Ok(Some(Arc::new(SignedGroup { group, note })))
    }

    /// Writes one frame, in a new segment when the present one is long enough.
    fn write_body(&mut self, body: &[u8]) -> Result<(), RecordError> {
        if self.writer.offset >= self.options.segment_bytes {
            self.rotate()?;
        }
        self.write_frame(body)
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
        let name = segment_name(self.writer.segment);
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
        let name = segment_name(self.writer.segment);
        self.clean_tail(&name)?;
        let ordinal = self.writer.segment + 1;
        if ordinal >= SEGMENTS_MAX {
            return Err(RecordError::TooMany {
                what: "segments",
                limit: SEGMENTS_MAX,
            });
        }
        let next = segment_name(ordinal);
        let file = self
            .disk
            .open(&next, true)
            .map_err(|e| RecordError::io("create", &next, e))?;
        self.disk
            .sync_names(WAL_FOLDER)
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
        let (ordinal, first_leaf) = (self.writer.segment, self.tree.size());
        Record::Segment {
            ordinal,
            first_leaf,
            ledger: &self.ledger.snapshot(),
        }
        .write(&mut body);
        self.write_frame(&body)?;
        self.segments.push((ordinal, first_leaf));
        Ok(())
    }

    /// Signs the present size and root, unless that was done, and publishes the note.
    pub fn checkpoint(&mut self) -> Result<String, RecordError> {
        if self.poisoned {
            return Err(RecordError::Poisoned);
        }
        let size = self.tree.size();
        if let Some(signed) = &self.signed
            && signed.size == size
            && signed.groups == self.groups
        {
            return Ok(signed.note.clone());
        }
        self.tree.publish(&*self.disk)?;
        let checkpoint = Checkpoint::new(self.signer.origin(), size, self.tree.root());
        // The order that can never sign two roots for one size: first the mark, then the note.
        let mark = HighWater {
            checkpoint,
            groups: self.groups,
            ..self.mark
        };
        mark.write(&*self.disk)?;
        let note = self.signer.checkpoint(&mark.checkpoint)?;
        self.mark = mark;
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
            origin: self.signer.origin().to_owned(),
            vkeys: self
                .signer
                .vkeys()
                .iter()
                .map(ToString::to_string)
                .collect(),
            size: self.tree.size(),
            root: Digest(self.tree.root()),
            checkpoint: signed.map(|s| s.note.clone()).unwrap_or_default(),
            checkpoint_size: signed.map_or(0, |s| s.size),
            unaccounted: self.ledger.unaccounted(),
            open_numbers: self.ledger.open_numbers(),
            space: self.space,
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
