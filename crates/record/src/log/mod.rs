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
mod scan;
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
use crate::proof::Proof;
use disk::{Disk, DiskFile};
use frame::Record;
use hashes::Hashes;
use ledger::{BLOCK_NUMBERS, BLOCKS_OPEN_MAX, Gap, GapReason, Settlement};
use ringfence_core::digest::Digest;
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Detail, Leaf, LeafAction, LeafError, Outcome};
use ringfence_core::ports::{Clock, Receipt};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Frontier, inclusion_proof, leaf_hash, verify_inclusion};
use ringfence_crypto::note::{self, NoteKey};
use ringfence_crypto::sign::SigningKey;
use serde::{Deserialize, Serialize};
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
    /// Reserve [`BLOCK_NUMBERS`] numbers.
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

/// A group on its way to disk.
struct Staged {
    body: Vec<u8>,
    leaves: Vec<Vec<u8>>,
    ledger: Ledger,
}

impl Staged {
    fn push(&mut self, record: &Record<'_>) {
        record.write(&mut self.body);
        if let Some(leaf) = record.leaf() {
            self.leaves.push(leaf.to_vec());
        }
    }
}

/// What an operation will have done when its group is on disk.
enum Pending {
    Leaf(usize),
    Done(Done),
    Refused(RecordError),
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

    fn stage(&self, operation: Operation, staged: &mut Staged) -> Pending {
        match operation {
            Operation::Append(leaf) => match leaf.canonical() {
                Ok(bytes) => {
                    staged.push(&Record::Leaf(&bytes));
                    Pending::Leaf(staged.leaves.len() - 1)
                }
                Err(error) => Pending::Refused(error.into()),
            },
            Operation::Settle { sequence, leaf } => self.stage_settle(sequence, leaf, staged),
            Operation::Reserve => {
                if !staged.ledger.may_reserve() {
                    let limit = BLOCKS_OPEN_MAX as u64;
                    return Pending::Refused(RecordError::TooMany {
                        what: "open blocks",
                        limit,
                    });
                }
                let (first, count) = (staged.ledger.next(), BLOCK_NUMBERS);
                staged.ledger.reserve(first, count);
                staged.push(&Record::Block { first, count });
                Pending::Done(Done::Reserved { first, count })
            }
            Operation::Close(gap) => self.stage_gap(gap, staged),
        }
    }

    fn stage_settle(&self, sequence: u64, leaf: Leaf, staged: &mut Staged) -> Pending {
        let bytes = match numbered(leaf, sequence) {
            Ok(bytes) => bytes,
            Err(error) => {
                // The number must not stay open for ever because its leaf was bad.
                let gap = Gap {
                    first: sequence,
                    count: 1,
                    reason: GapReason::Refused,
                };
                self.stage_gap(gap, staged);
                return Pending::Refused(error.into());
            }
        };
        match staged.ledger.settle(sequence) {
            None => Pending::Refused(RecordError::SequenceUnknown(sequence)),
            Some(Settlement::Repeated) => Pending::Done(Done::Nothing),
            Some(Settlement::Filled) => {
                staged.push(&Record::Settled {
                    sequence,
                    leaf: &bytes,
                });
                Pending::Leaf(staged.leaves.len() - 1)
            }
        }
    }

    fn stage_gap(&self, gap: Gap, staged: &mut Staged) -> Pending {
        if gap.count == 0 || gap.count > BLOCK_NUMBERS {
            let limit = u64::from(BLOCK_NUMBERS);
            return Pending::Refused(RecordError::TooMany {
                what: "numbers closed at once",
                limit,
            });
        }
        let mut ledger = staged.ledger.clone();
        let Some(lost) = ledger.close(gap) else {
            return Pending::Done(Done::Nothing);
        };
        let leaf = gap_leaf(gap, lost, &*self.clock);
        match leaf.canonical() {
            Ok(bytes) => {
                staged.ledger = ledger;
                staged.push(&Record::Gap { gap, leaf: &bytes });
                Pending::Leaf(staged.leaves.len() - 1)
            }
            Err(error) => Pending::Refused(error.into()),
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
        let note = note::sign(&checkpoint.text(), self.name.name(), &self.key)?;
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

    /// Leaves from an index on: at most `count`, at most [`READ_BYTES_MAX`] octets of them, and at
    /// least one if there is one.
    pub fn read(&self, from: u64, count: u32) -> Result<Vec<(u64, Leaf)>, RecordError> {
        if count > READ_LEAVES_MAX {
            let limit = u64::from(READ_LEAVES_MAX);
            return Err(RecordError::TooMany {
                what: "leaves of one read",
                limit,
            });
        }
        let end = self
            .frontier
            .size()
            .min(from.saturating_add(u64::from(count)));
        let mut leaves = Vec::new();
        let mut total = 0;
        let known = self.places.partition_point(|(first, _)| *first <= from);
        let Some(&(mut index, mut place)) = known.checked_sub(1).and_then(|i| self.places.get(i))
        else {
            return Ok(leaves);
        };
        while index < end {
            let name = wal::segment_name(place.segment);
            let file = self
                .disk
                .open(&name, false)
                .map_err(|e| RecordError::io("open", &name, e))?;
            while let Some((body, next)) = wal::read_frame(&*file, &name, place.offset)? {
                let damaged = |r| RecordError::corrupt(name.as_str(), place.offset, r);
                let records = frame::records(&body).ok_or_else(|| damaged("malformed record"))?;
                for bytes in records.iter().filter_map(Record::leaf) {
                    if index >= end || index > from && total + bytes.len() > READ_BYTES_MAX {
                        return Ok(leaves);
                    }
                    if index >= from {
                        leaves.push((index, Leaf::parse(bytes)?));
                        total += bytes.len();
                    }
                    index += 1;
                }
                place.offset = next;
                if index >= end {
                    break;
                }
            }
            place = Place {
                segment: place.segment + 1,
                offset: 0,
            };
        }
        Ok(leaves)
    }

    /// A proof that leaf `index` is in the log, under a checkpoint that covers it.
    pub fn prove(&mut self, index: u64) -> Result<Proof, RecordError> {
        if index >= self.frontier.size() {
            return Err(RecordError::NoLeaf(index));
        }
        if self.signed.as_ref().is_none_or(|s| s.size <= index) {
            self.checkpoint()?;
        }
        let Some(signed) = &self.signed else {
            return Err(RecordError::Poisoned);
        };
        let hashes = &self.hashes;
        let read = &mut |level, number| hashes.read(level, number);
        let path = inclusion_proof(index, signed.size, read)?;
        let leaf = hashes.read(0, index)?;
        let checkpoint = Checkpoint::parse(note::Note::parse(&signed.note)?.text())?;
        verify_inclusion(&leaf, index, signed.size, &path, &checkpoint.root)?;
        Ok(Proof {
            index,
            hashes: path,
            checkpoint: signed.note.clone(),
        })
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

/// The octets of a leaf that fills a sequence number.
fn numbered(leaf: Leaf, sequence: u64) -> Result<Vec<u8>, LeafError> {
    let number = i64::try_from(sequence).unwrap_or(i64::MAX);
    leaf.with("sequence", Detail::Integer(number)).canonical()
}

/// The leaf that closes a run of numbers.
fn gap_leaf(gap: Gap, unaccounted: u64, clock: &dyn Clock) -> Leaf {
    let last = gap.first + u64::from(gap.count) - 1;
    let outcome = if unaccounted == 0 {
        Outcome::Ok
    } else {
        Outcome::Failed
    };
    let number = |n: u64| Detail::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    Leaf::new(
        clock.now(),
        ProjectId::host(),
        "service",
        LeafAction::LogGap,
        format!("sequence:{}-{last}", gap.first),
    )
    .outcome(outcome)
    .with("first", number(gap.first))
    .with("count", gap.count)
    .with("unaccounted", number(unaccounted))
    .with("reason", gap.reason.as_str())
}
