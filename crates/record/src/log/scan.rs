//! What the files of a log say, read by the recorder at opening and by a verifier without keys.

use super::disk::{Disk, read_whole};
use super::frame::Record;
use super::ledger::{Ledger, Settlement};
use super::state::HighWater;
use super::wal::{self, Place, Tail};
use crate::error::RecordError;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Completed, Frontier, Hash, leaf_hash};
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note, NoteKey};

/// The signed note.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
/// Who signs.
pub(crate) const VKEY_FILE: &str = "vkey";

/// The small files beside the write-ahead log.
pub(crate) struct Facts {
    pub(crate) vkey: Option<NoteKey>,
    pub(crate) high_water: Option<HighWater>,
    pub(crate) checkpoint: Option<(String, Note, Checkpoint)>,
}

/// Reads the small files; each is absent or whole.
pub(crate) fn read_facts(disk: &dyn Disk) -> Result<Facts, RecordError> {
    let text = |name: &'static str| -> Result<Option<String>, RecordError> {
        let bytes = read_whole(disk, name, NOTE_BYTES_MAX as u64)?;
        bytes
            .map(|b| String::from_utf8(b).map_err(|_| RecordError::corrupt(name, 0, "not text")))
            .transpose()
    };
    let vkey = match text(VKEY_FILE)? {
        None => None,
        Some(text) => {
            let line = text.strip_suffix('\n').unwrap_or("");
            let damaged = |_| RecordError::corrupt(VKEY_FILE, 0, "not a verifier key");
            Some(line.parse().map_err(damaged)?)
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
        vkey,
        high_water: HighWater::read(disk)?,
        checkpoint,
    })
}

/// What a scan found.
pub(crate) struct Scanned {
    pub(crate) tail: Tail,
    pub(crate) frontier: Frontier,
    pub(crate) ledger: Ledger,
    pub(crate) signed_root: Option<Hash>,
    pub(crate) noted_root: Option<Hash>,
}

/// What a scan tells while it goes.
pub(crate) trait Visitor {
    /// A leaf's frame begins here.
    fn frame(&mut self, first_leaf: u64, place: Place);
    /// A record; `lost` is what a gap leaves unaccounted for.
    fn record(&mut self, record: &Record<'_>, lost: u64) -> Result<(), &'static str>;
    /// A hash of the tree, in stored order.
    fn hash(&mut self, hash: Hash) -> Result<(), RecordError>;
}

/// Reads the whole log and checks it against the high-water mark and the checkpoint.
pub(crate) fn scan_with(
    disk: &dyn Disk,
    facts: &Facts,
    visitor: &mut dyn Visitor,
) -> Result<Scanned, RecordError> {
    let mut frontier = Frontier::new();
    let mut ledger = Ledger::default();
    let signed = facts.high_water.as_ref().map(|h| h.checkpoint.size);
    let noted = facts.checkpoint.as_ref().map(|(_, _, c)| c.size);
    let root_at = |size: Option<u64>, frontier: &Frontier, root: &mut Option<Hash>| {
        if size == Some(frontier.size()) {
            *root = Some(frontier.root());
        }
    };
    let (mut signed_root, mut noted_root) = (None, None);
    root_at(signed, &frontier, &mut signed_root);
    root_at(noted, &frontier, &mut noted_root);
    let tail = wal::scan(disk, &mut |place, first, records| {
        let name = wal::segment_name(place.segment);
        let damaged = |reason| RecordError::corrupt(name.as_str(), place.offset, reason);
        if records.iter().any(|r| r.leaf().is_some()) {
            visitor.frame(first, place);
        }
        for record in records {
            let lost = account(record, &mut ledger).map_err(damaged)?;
            visitor.record(record, lost).map_err(damaged)?;
            let Some(leaf) = record.leaf() else { continue };
            let mut failed = None;
            frontier.append(leaf_hash(leaf), &mut |c: Completed| {
                if let Err(error) = visitor.hash(c.hash) {
                    failed = Some(error);
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            root_at(signed, &frontier, &mut signed_root);
            root_at(noted, &frontier, &mut noted_root);
        }
        Ok(())
    })?;
    Ok(Scanned {
        tail,
        frontier,
        ledger,
        signed_root,
        noted_root,
    })
}

fn account(record: &Record<'_>, ledger: &mut Ledger) -> Result<u64, &'static str> {
    match record {
        Record::Settled { sequence, .. } => match ledger.settle(*sequence) {
            Some(Settlement::Filled) => Ok(0),
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
        Record::Leaf(_) | Record::Segment { .. } => Ok(0),
    }
}

impl Scanned {
    /// Refuses a log that reads back as less, or as something else, than was signed.
    pub(crate) fn check(&self, facts: &Facts) -> Result<(), RecordError> {
        let fork = |why: String| Err(RecordError::ForkRisk(why));
        let size = self.frontier.size();
        let Some(high) = &facts.high_water else {
            return if facts.checkpoint.is_some() || size > 0 {
                fork("the high-water mark is missing".to_owned())
            } else {
                Ok(())
            };
        };
        if size < high.checkpoint.size || self.tail.groups < high.groups {
            return fork(format!(
                "{size} leaves in {} groups read back, {} in {} were signed",
                self.tail.groups, high.checkpoint.size, high.groups
            ));
        }
        if self.signed_root != Some(high.checkpoint.root) {
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
        if self.noted_root != Some(checkpoint.root) {
            return fork(format!(
                "another root at the published size {}",
                checkpoint.size
            ));
        }
        Ok(())
    }
}
