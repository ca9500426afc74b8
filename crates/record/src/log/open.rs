//! Opening a log: reading it back, refusing what must not go on, repairing what may.

use super::disk::{self, Disk};
use super::frame::Record;
use super::hashes::Hashes;
use super::ledger::GapReason;
use super::scan::{self, Scanned, VKEY_FILE, Visitor};
use super::wal::{self, Place};
use super::{Log, LogOptions, Operation, Signed, Writer, remember};
use crate::error::RecordError;
use ringfence_core::digest::hex;
use ringfence_core::ports::Clock;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::merkle::Hash;
use ringfence_crypto::note::NoteKey;
use ringfence_crypto::sign::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Leaves read back.
    pub leaves: u64,
    /// Octets of an unfinished write that were cut; nobody had been told that it happened.
    pub torn_bytes: u64,
    /// Hashes that had to be derived again.
    pub hashes_rebuilt: u64,
    /// Sequence numbers that this opening counted as unaccounted for.
    pub unaccounted: u64,
}

struct Rebuild {
    hashes: Hashes,
    places: Vec<(u64, Place)>,
}

impl Visitor for Rebuild {
    fn frame(&mut self, first_leaf: u64, place: Place) {
        remember(&mut self.places, first_leaf, place);
    }
    fn record(&mut self, _: &Record<'_>, _: u64) -> Result<(), &'static str> {
        Ok(())
    }
    fn hash(&mut self, hash: Hash) -> Result<(), RecordError> {
        self.hashes.push(hash);
        self.hashes.compare_chunk(false)
    }
}

/// The name under which a key signs: no two logs share one.
fn origin_of(key: &VerifyingKey) -> String {
    let mut id = hex(&sha256(key.as_bytes()));
    id.truncate(16);
    format!("ringfence.invalid/log/{id}")
}

impl Log {
    /// Opens a log, or begins one in an empty directory. Closes sequence blocks that a crash left
    /// open, with a leaf each, and publishes a checkpoint.
    pub fn open(
        disk: Arc<dyn Disk>,
        key: SigningKey,
        clock: Arc<dyn Clock>,
        options: LogOptions,
    ) -> Result<(Self, Recovery), RecordError> {
        let name = NoteKey::new(origin_of(&key.verifying_key()), key.verifying_key())?;
        let facts = scan::read_facts(&*disk)?;
        match &facts.vkey {
            Some(known) if *known != name => return Err(RecordError::KeyMismatch),
            Some(_) => {}
            None if facts.high_water.is_some() || facts.checkpoint.is_some() => {
                return Err(RecordError::ForkRisk(
                    "the verifier key is missing".to_owned(),
                ));
            }
            None => disk::replace(&*disk, VKEY_FILE, format!("{name}\n").as_bytes())?,
        }
        if let Some((_, note, _)) = &facts.checkpoint {
            note.verify(std::slice::from_ref(&name))?;
        }
        let mut rebuild = Rebuild {
            hashes: Hashes::open(&*disk)?,
            places: Vec::new(),
        };
        let scanned = scan::scan_with(&*disk, &facts, &mut rebuild)?;
        scanned.check(&facts)?;
        let mut recovery = Recovery {
            leaves: scanned.frontier.size(),
            torn_bytes: scanned.tail.torn_bytes,
            hashes_rebuilt: rebuild.hashes.settle()?,
            unaccounted: 0,
        };
        let writer = writer_after(&*disk, &scanned)?;
        let signed = match (&facts.high_water, &facts.checkpoint) {
            (Some(high), Some((text, _, c))) if high.checkpoint == *c => Some(Signed {
                size: c.size,
                groups: high.groups,
                note: text.clone(),
            }),
            _ => None,
        };
        let mut log = Self {
            disk,
            clock,
            options,
            key,
            name,
            writer,
            hashes: rebuild.hashes,
            frontier: scanned.frontier,
            ledger: scanned.ledger,
            groups: scanned.tail.groups,
            places: rebuild.places,
            signed,
            poisoned: false,
        };
        if scanned.tail.segments == 0 {
            log.write_header()?;
        }
        recovery.unaccounted = log.close_open_blocks(GapReason::Crash)?;
        log.checkpoint()?;
        Ok((log, recovery))
    }

    /// Closes every open block with a leaf and says how many numbers are thereby unaccounted for.
    pub(crate) fn close_open_blocks(&mut self, reason: GapReason) -> Result<u64, RecordError> {
        let before = self.ledger.unaccounted();
        let gaps = self.open_blocks(reason);
        if !gaps.is_empty() {
            for result in self.commit(gaps.into_iter().map(Operation::Close).collect())? {
                result?;
            }
        }
        Ok(self.ledger.unaccounted() - before)
    }
}

/// Cuts what was being written and takes up the end of the last segment, or begins the first.
fn writer_after(disk: &dyn Disk, scanned: &Scanned) -> Result<Writer, RecordError> {
    let tail = &scanned.tail;
    let fail = |e| RecordError::io("repair", "log", e);
    if let Some(ordinal) = tail.torn_segment {
        disk.remove(&wal::segment_name(ordinal)).map_err(fail)?;
        disk.sync_names().map_err(fail)?;
    }
    let segment = tail.segments.saturating_sub(1);
    let name = wal::segment_name(segment);
    let file = disk
        .open(&name, true)
        .map_err(|e| RecordError::io("open", &name, e))?;
    if tail.segments == 0 {
        disk.sync_names().map_err(fail)?;
    }
    if file.length().map_err(fail)? > tail.offset {
        file.truncate(tail.offset).map_err(fail)?;
    }
    // What was read back may have been in memory only, if it is the process that died: from here
    // on it counts as durable, so it is made so.
    file.sync().map_err(fail)?;
    Ok(Writer {
        file,
        segment,
        offset: tail.offset,
        dirty: false,
    })
}
