//! Opening a log: reading it back, refusing what must not go on, repairing what may.

use super::disk::{self, Disk};
use super::ledger::GapReason;
use super::scan::{self, Facts, VKEY_FILE};
use super::signer::{LogKeys, Signer};
use super::space::Space;
use super::state::HighWater;
use super::wal::{self, Tail, WAL_FOLDER};
use super::{Log, LogOptions, Operation, Signed, Writer};
use crate::error::RecordError;
use ringfence_core::ports::Clock;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::empty_root;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Leaves of the log.
    pub leaves: u64,
    /// Leaves that were read back from the write-ahead log; the others were durable in tiles.
    pub replayed: u64,
    /// Octets of an unfinished write that were cut; nobody had been told that it happened.
    pub torn_bytes: u64,
    /// Files of the tree that had to be written again.
    pub mended: u64,
    /// Sequence numbers that this opening counted as unaccounted for.
    pub unaccounted: u64,
}

impl Log {
    /// Opens a log, or begins one in an empty directory. Closes sequence blocks that a crash left
    /// open, with a leaf each, and publishes a checkpoint.
    pub fn open(
        disk: Arc<dyn Disk>,
        keys: LogKeys,
        clock: Arc<dyn Clock>,
        options: LogOptions,
    ) -> Result<(Self, Recovery), RecordError> {
        let signer = Signer::new(keys)?;
        let facts = scan::read_facts(&*disk)?;
        check_keys(&*disk, &signer, &facts)?;
        let replayed = scan::replay(&*disk, &facts)?;
        replayed.check(&*disk, &facts)?;
        let mut recovery = Recovery {
            leaves: replayed.tree.size(),
            replayed: replayed.from_wal,
            torn_bytes: replayed.tail.torn_bytes,
            mended: replayed.mended,
            unaccounted: 0,
        };
        wal::remove(&*disk, 0..facts.first_segment())?;
        let writer = writer_after(&*disk, &replayed.tail)?;
        let signed = match (&facts.high_water, &facts.checkpoint) {
            (Some(high), Some((text, _, c))) if high.checkpoint == *c => Some(Signed {
                size: c.size,
                groups: high.groups,
                note: text.clone(),
            }),
            _ => None,
        };
        let mark = facts.high_water.unwrap_or_else(|| HighWater {
            checkpoint: Checkpoint::new(signer.origin(), 0, empty_root()),
            groups: 0,
            durable: 0,
            segment: 0,
        });
        let mut log = Self {
            disk,
            clock,
            options,
            signer,
            writer,
            tree: replayed.tree,
            ledger: replayed.ledger,
            groups: replayed.tail.groups,
            segments: replayed.tail.segments,
            mark,
            signed,
            cosigned: None,
            space: Space::Ample,
            poisoned: false,
        };
        if replayed.tail.segment.is_none() {
            log.write_header()?;
        }
        log.look_at_space();
        // What the last checkpoint needs may have been in memory only when the power went.
        log.tree.publish(&*log.disk)?;
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

/// Refuses a log of other keys; a new one is told whose it is.
fn check_keys(disk: &dyn Disk, signer: &Signer, facts: &Facts) -> Result<(), RecordError> {
    match &facts.vkeys {
        Some(known) if known != signer.vkeys() => return Err(RecordError::KeyMismatch),
        Some(_) => {}
        None if facts.high_water.is_some() || facts.checkpoint.is_some() => {
            return Err(RecordError::ForkRisk(
                "the verifier keys are missing".to_owned(),
            ));
        }
        None => {
            let lines: Vec<String> = signer.vkeys().iter().map(|k| format!("{k}\n")).collect();
            disk::replace(disk, VKEY_FILE, lines.concat().as_bytes())?;
        }
    }
    match &facts.checkpoint {
        Some((_, note, _)) => Ok(note.verify(signer.vkeys())?),
        None => Ok(()),
    }
}

/// Cuts what was being written and takes up the end of the last segment, or begins the first.
fn writer_after(disk: &dyn Disk, tail: &Tail) -> Result<Writer, RecordError> {
    let fail = |e| RecordError::io("repair", WAL_FOLDER, e);
    if let Some(ordinal) = tail.torn_segment {
        disk.remove(&wal::segment_name(ordinal)).map_err(fail)?;
        disk.sync_names(WAL_FOLDER).map_err(fail)?;
    }
    let segment = tail.segment.unwrap_or(0);
    let name = wal::segment_name(segment);
    let file = disk
        .open(&name, true)
        .map_err(|e| RecordError::io("open", &name, e))?;
    if tail.segment.is_none() {
        disk.sync_names(WAL_FOLDER).map_err(fail)?;
        disk.sync_names("").map_err(fail)?;
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
