//! What the files of a log say, read by the recorder at opening and by a verifier without keys.

use super::disk::{Disk, read_whole};
use super::frame::Record;
use super::ledger::{Ledger, Settlement};
use super::state::HighWater;
use super::tree::Tree;
use super::wal::{self, Tail};
use crate::error::RecordError;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Hash, root_of};
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note, NoteKey};

/// The signed note.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
/// Who signs, a verifier key a line.
pub(crate) const VKEY_FILE: &str = "vkey";

/// The small files beside the write-ahead log.
pub(crate) struct Facts {
    pub(crate) vkeys: Option<Vec<NoteKey>>,
    pub(crate) high_water: Option<HighWater>,
    pub(crate) checkpoint: Option<(String, Note, Checkpoint)>,
}

impl Facts {
    /// The first segment that is still needed.
    pub(crate) fn first_segment(&self) -> u64 {
        self.high_water.as_ref().map_or(0, |h| h.segment)
    }
}

/// Reads the small files; each is absent or whole.
pub(crate) fn read_facts(disk: &dyn Disk) -> Result<Facts, RecordError> {
    let text = |name: &'static str| -> Result<Option<String>, RecordError> {
        let bytes = read_whole(disk, name, NOTE_BYTES_MAX as u64)?;
        bytes
            .map(|b| String::from_utf8(b).map_err(|_| RecordError::corrupt(name, 0, "not text")))
            .transpose()
    };
    let vkeys = match text(VKEY_FILE)? {
        None => None,
        Some(text) => {
            let damaged = || RecordError::corrupt(VKEY_FILE, 0, "not verifier keys");
            let lines = text.strip_suffix('\n').ok_or_else(damaged)?;
            let keys = lines.split('\n').map(|l| l.parse().map_err(|_| damaged()));
            Some(keys.collect::<Result<_, _>>()?)
        }
    };
    let checkpoint = match text(CHECKPOINT_FILE)? {
        None => None,
        Some(text) => {
            let damaged = |_| RecordError::corrupt(CHECKPOINT_FILE, 0, "not a signed checkpoint");
            let note = Note::parse(&text).map_err(damaged)?;
            let checkpoint = Checkpoint::parse(note.text()).map_err(damaged)?;
            Some((text, note, checkpoint))
        }
    };
    Ok(Facts {
        vkeys,
        high_water: HighWater::read(disk)?,
        checkpoint,
    })
}

/// What a replay rebuilt.
pub(crate) struct Replayed {
    pub(crate) tail: Tail,
    pub(crate) tree: Tree,
    pub(crate) ledger: Ledger,
    /// Files of the tree that did not hold what they should, written again.
    pub(crate) mended: u64,
    /// Leaves that were read from the write-ahead log.
    pub(crate) from_wal: u64,
}

/// Takes up the tree where it is durable and replays the write-ahead log from there.
pub(crate) fn replay(disk: &dyn Disk, facts: &Facts) -> Result<Replayed, RecordError> {
    let durable = facts.high_water.as_ref().map_or(0, |h| h.durable);
    let mut tree = Tree::load(disk, durable)?;
    let mut ledger = Ledger::default();
    let (mut mended, mut from_wal) = (0, 0);
    let tail = wal::scan(disk, facts.first_segment(), &mut |place, records| {
        let name = wal::segment_name(place.segment);
        let damaged = |reason| RecordError::corrupt(name.as_str(), place.offset, reason);
        let mut index = place.first_leaf;
        for record in records {
            let first = place.segment == facts.first_segment();
            account(record, &mut ledger, first).map_err(damaged)?;
            let Some(leaf) = record.leaf() else { continue };
            if index >= durable {
                if index != tree.size() {
                    return Err(damaged("it begins behind the end of the tree"));
                }
                tree.push(leaf);
                from_wal += 1;
            }
            index += 1;
        }
        mended += tree.mend_waiting(disk)?;
        Ok(())
    })?;
    mended += tree.mend_edges(disk)?;
    Ok(Replayed {
        tail,
        tree,
        ledger,
        mended,
        from_wal,
    })
}

/// Applies a record to a ledger, and says how many numbers a gap leaves unaccounted for. Only the
/// head of the `first` segment that is still here may tell something new.
pub(crate) fn account(
    record: &Record<'_>,
    ledger: &mut Ledger,
    first: bool,
) -> Result<u64, &'static str> {
    match record {
        Record::Settled { sequence, .. } => match ledger.settle(*sequence) {
            Some(Settlement::Filled | Settlement::Late) => Ok(0),
            Some(Settlement::Repeated) => Err("a sequence number is filled twice"),
            None => Err("a sequence number was never reserved"),
        },
        Record::Block { first, count } => {
            if ledger.reserve(*first, *count) {
                Ok(0)
            } else {
                Err("a block is out of order")
            }
        }
        Record::Gap { gap, .. } => ledger.close(*gap).ok_or("a gap closes nothing"),
        Record::Segment {
            ledger: snapshot, ..
        } => {
            let known = Ledger::restore(snapshot).ok_or("its ledger is malformed")?;
            if first {
                *ledger = known;
            } else if *ledger != known {
                return Err("its ledger is another than the one before");
            }
            Ok(0)
        }
        Record::Leaf(_) => Ok(0),
    }
}

impl Replayed {
    /// Refuses a log that reads back as less, or as something else, than was signed.
    pub(crate) fn check(&self, disk: &dyn Disk, facts: &Facts) -> Result<(), RecordError> {
        let root = |size| {
            root_of(size, &mut |level, number| {
                self.tree.hash(disk, level, number)
            })
        };
        check_signed(self.tree.size(), self.tail.groups, facts, &root)
    }
}

/// Compares what was read back, `size` leaves in `groups` frames, with what was signed.
pub(crate) fn check_signed(
    size: u64,
    groups: u64,
    facts: &Facts,
    root_at: &dyn Fn(u64) -> Result<Hash, RecordError>,
) -> Result<(), RecordError> {
    let fork = |why: String| Err(RecordError::ForkRisk(why));
    let Some(high) = &facts.high_water else {
        return if facts.checkpoint.is_some() || size > 0 {
            fork("the high-water mark is missing".to_owned())
        } else {
            Ok(())
        };
    };
    if size < high.checkpoint.size || groups < high.groups {
        return fork(format!(
            "{size} leaves in {groups} groups read back, {} in {} were signed",
            high.checkpoint.size, high.groups
        ));
    }
    if root_at(high.checkpoint.size)? != high.checkpoint.root {
        return fork(format!(
            "another root at the signed size {}",
            high.checkpoint.size
        ));
    }
    let Some((_, _, checkpoint)) = &facts.checkpoint else {
        return Ok(());
    };
    if checkpoint.size > high.checkpoint.size || checkpoint.origin != high.checkpoint.origin {
        return fork("the checkpoint is ahead of the high-water mark".to_owned());
    }
    if root_at(checkpoint.size)? != checkpoint.root {
        return fork(format!(
            "another root at the published size {}",
            checkpoint.size
        ));
    }
    Ok(())
}
