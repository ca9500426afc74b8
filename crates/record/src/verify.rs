//! Checking a log offline: without its keys, its recorder or any database.
//!
//! Everything is computed anew from the leaves. What this cannot show is that the whole directory
//! is not an older copy or a rewritten one: that takes a checkpoint kept elsewhere, and the report
//! says so.

use crate::error::RecordError;
use crate::log::disk::{Disk, DiskFile, RealDisk, read_up_to};
use crate::log::{
    CHECKPOINT_FILE, Facts, FrameRecord, HASHES_FILE, Place, VKEY_FILE, Visitor, read_facts,
    scan_with, segment_ordinal,
};
use ringfence_core::digest::Digest;
use ringfence_core::leaf::{Detail, Leaf};
use ringfence_crypto::merkle::{Hash, stored_count};
use ringfence_crypto::note::NoteKey;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Every report of a log that nobody outside has signed says this.
pub const NO_WITNESS: &str = "no outside witness: not tamper-evident against root of this machine; \
    compare the root with a checkpoint kept elsewhere";
/// Said when the key was not given by who asks.
pub const NO_KEY: &str = "no verifier key given: the one beside the log was used, which whoever \
    rewrites the log can replace";

/// What a check found. It is a pass: what fails is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Which log.
    pub origin: String,
    /// Leaves read, each canonical.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Leaves under the signed checkpoint.
    pub checkpoint_size: u64,
    /// Root of the signed checkpoint.
    pub checkpoint_root: Digest,
    /// Sequence numbers that no leaf tells about.
    pub unaccounted: u64,
    /// Sequence numbers reserved and neither filled nor closed: a recorder runs, or crashed.
    pub open_numbers: u64,
    /// Octets of an unfinished write at the end.
    pub torn_bytes: u64,
    /// What a reader should know before trusting this.
    pub warnings: Vec<String>,
}

struct Check {
    file: Option<Box<dyn DiskFile>>,
    position: u64,
    /// Hashes that must be in the file: those under the checkpoint.
    required: u64,
    /// Hashes beyond them that are not those of the leaves: an unfinished write, derived again at
    /// the next opening.
    stale: u64,
}

impl Visitor for Check {
    fn frame(&mut self, _: u64, _: Place) {}

    fn record(&mut self, record: &FrameRecord<'_>, lost: u64) -> Result<(), &'static str> {
        let Some(bytes) = record.leaf() else {
            return Ok(());
        };
        let leaf = Leaf::parse(bytes).map_err(|_| "a leaf is not canonical")?;
        let says = |name: &str, value: u64| {
            i64::try_from(value).is_ok_and(|v| leaf.detail.get(name) == Some(&Detail::Integer(v)))
        };
        match record {
            FrameRecord::Settled { sequence, .. } if !says("sequence", *sequence) => {
                Err("a leaf names another sequence number than its record")
            }
            FrameRecord::Gap { gap, .. }
                if !(says("first", gap.first)
                    && says("count", gap.count.into())
                    && says("unaccounted", lost)) =>
            {
                Err("a gap leaf counts otherwise than its record")
            }
            _ => Ok(()),
        }
    }

    fn hash(&mut self, hash: Hash) -> Result<(), RecordError> {
        let offset = self.position * 32;
        self.position += 1;
        let mut stored = [0; 32];
        let read = match &self.file {
            Some(file) => read_up_to(&**file, &mut stored, offset)
                .map_err(|e| RecordError::io("read", HASHES_FILE, e))?,
            None => 0,
        };
        if stored == hash && read == stored.len() {
            return Ok(());
        }
        if self.position > self.required {
            self.stale += 1;
            return Ok(());
        }
        Err(RecordError::corrupt(
            HASHES_FILE,
            offset,
            "a hash is not that of the leaves",
        ))
    }
}

/// Checks the log under a record directory (`<dir>/log`). Every one of `vkeys` must have signed;
/// with none given the key that lies beside the log is taken, and the report warns.
pub fn verify_dir(directory: &Path, vkeys: &[NoteKey]) -> Result<VerifyReport, RecordError> {
    verify_disk(&RealDisk::read_only(directory.join("log")), vkeys)
}

/// Checks the log on a disk.
pub fn verify_disk(disk: &dyn Disk, vkeys: &[NoteKey]) -> Result<VerifyReport, RecordError> {
    let mut warnings = vec![NO_WITNESS.to_owned()];
    let facts = read_facts(disk)?;
    let missing = |what: &str| RecordError::ForkRisk(format!("the {what} is missing"));
    let (_, note, checkpoint) = facts
        .checkpoint
        .as_ref()
        .ok_or_else(|| missing(CHECKPOINT_FILE))?;
    let own = facts.vkey.clone().ok_or_else(|| missing(VKEY_FILE))?;
    if vkeys.is_empty() {
        warnings.push(NO_KEY.to_owned());
    }
    note.verify(if vkeys.is_empty() {
        std::slice::from_ref(&own)
    } else {
        vkeys
    })?;
    note.verify(std::slice::from_ref(&own))?;
    if checkpoint.origin != own.name() {
        return Err(RecordError::ForkRisk(
            "the checkpoint is of another log".to_owned(),
        ));
    }
    let file = match disk.open(HASHES_FILE, false) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(RecordError::io("open", HASHES_FILE, e)),
    };
    let mut check = Check {
        file,
        position: 0,
        required: stored_count(checkpoint.size),
        stale: 0,
    };
    let scanned = scan_with(disk, &facts, &mut check)?;
    scanned.check(&facts)?;
    warn_about_files(disk, &mut warnings)?;
    let (size, torn_bytes) = (scanned.frontier.size(), scanned.tail.torn_bytes);
    if torn_bytes > 0 {
        warnings.push(format!(
            "{torn_bytes} octets of an unfinished write at the end"
        ));
    }
    if check.stale > 0 {
        warnings.push(format!(
            "{} hashes beyond the checkpoint are not written yet",
            check.stale
        ));
    }
    if size > checkpoint.size {
        warnings.push(format!(
            "{} leaves are newer than the checkpoint",
            size - checkpoint.size
        ));
    }
    Ok(VerifyReport {
        origin: checkpoint.origin.clone(),
        size,
        root: Digest(scanned.frontier.root()),
        checkpoint_size: checkpoint.size,
        checkpoint_root: Digest(checkpoint.root),
        unaccounted: scanned.ledger.unaccounted(),
        open_numbers: scanned.ledger.open_numbers(),
        torn_bytes,
        warnings,
    })
}

fn warn_about_files(disk: &dyn Disk, warnings: &mut Vec<String>) -> Result<(), RecordError> {
    let names = disk
        .names()
        .map_err(|e| RecordError::io("list", "log", e))?;
    let known = [CHECKPOINT_FILE, VKEY_FILE, HASHES_FILE, "state"];
    let strange = |n: &&String| {
        let base = n.strip_suffix(".tmp").unwrap_or(n);
        segment_ordinal(n).is_none() && !known.contains(&base)
    };
    let count = names.iter().filter(strange).count();
    if count > 0 {
        warnings.push(format!(
            "{count} files in the log directory are not part of the log"
        ));
    }
    Ok(())
}

/// The verifier key that lies beside a log, to be noted elsewhere.
pub fn vkey_of(directory: &Path) -> Result<NoteKey, RecordError> {
    let facts: Facts = read_facts(&RealDisk::read_only(directory.join("log")))?;
    facts
        .vkey
        .ok_or_else(|| RecordError::ForkRisk("the verifier key is missing".to_owned()))
}
