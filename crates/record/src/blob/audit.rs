//! Whether every payload that the log speaks of is there, or was erased as the log says.
//!
//! It needs no key: an auditor runs it on copies.

use super::{BLOB_BYTES_MAX, Pseudonym, is_blob, names};
use crate::error::RecordError;
use crate::log::disk::{Disk, read_whole};
use ringfence_core::digest::Digest;
use ringfence_core::leaf::{Detail, Leaf};
use ringfence_crypto::hash::digest_of;
use std::collections::{BTreeMap, BTreeSet};

/// LIMIT: blobs that are named in one list of an audit; the counts are of all.
pub const NAMED_MAX: usize = 100;

/// What an audit saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Audit {
    /// Blobs that leaves name, there and undamaged.
    pub sound: u64,
    /// Blobs that leaves name and whose subject was erased; they are gone.
    pub erased: u64,
    /// Blobs of erased subjects whose files could not be removed.
    pub left: u64,
    /// Blobs that leaves name, not there, and no leaf says why.
    pub missing: u64,
    /// Blobs that are there with other content than their name says.
    pub damaged: u64,
    /// Files that no leaf names: a crash came between keeping and recording.
    pub unrecorded: u64,
    /// The first of those missing or damaged.
    pub named: Vec<Digest>,
}

impl Audit {
    /// Whether nothing is wrong. What was erased on record is as it should be.
    pub fn is_sound(&self) -> bool {
        self.missing == 0 && self.damaged == 0
    }
}

fn subject(leaf: &Leaf) -> Option<Pseudonym> {
    match leaf.detail.get("subject") {
        Some(Detail::Text(text)) => Pseudonym::parse(text),
        _ => None,
    }
}

/// What the leaves of a log say about payloads: which are named, and whose were erased. Leaves may
/// come in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    named: BTreeMap<Digest, Option<Pseudonym>>,
    erased: BTreeSet<Pseudonym>,
}

impl Mentions {
    /// Takes note of one leaf.
    pub fn leaf(&mut self, leaf: &Leaf) {
        if let Some(digest) = leaf.blob {
            self.named.insert(digest, subject(leaf));
        } else if leaf.detail.contains_key("erasure") {
            self.erased.extend(subject(leaf));
        }
    }

    /// Takes over what was noted elsewhere.
    pub fn add(&mut self, mut other: Self) {
        self.named.append(&mut other.named);
        self.erased.append(&mut other.erased);
    }

    /// Compares what was noted with the blobs in a folder.
    pub fn audit(&self, files: &dyn Disk) -> Result<Audit, RecordError> {
        let mut audit = Audit::default();
        for (digest, subject) in &self.named {
            let gone = subject.is_some_and(|s| self.erased.contains(&s));
            let (count, wrong) = match read_whole(files, &digest.hex(), BLOB_BYTES_MAX as u64) {
                Ok(Some(file)) if digest_of(&file) != *digest => (&mut audit.damaged, true),
                Ok(Some(_)) if gone => (&mut audit.left, false),
                Ok(Some(_)) => (&mut audit.sound, false),
                Ok(None) if gone => (&mut audit.erased, false),
                Ok(None) => (&mut audit.missing, true),
                // Longer than any blob.
                Err(RecordError::Corrupt { .. }) => (&mut audit.damaged, true),
                Err(error) => return Err(error),
            };
            *count += 1;
            if wrong && audit.named.len() < NAMED_MAX {
                audit.named.push(*digest);
            }
        }
        for name in names(files)?.into_iter().filter(|n| is_blob(n)) {
            let digest: Option<Digest> = format!("sha256:{name}").parse().ok();
            if digest.is_none_or(|d| !self.named.contains_key(&d)) {
                audit.unrecorded += 1;
            }
        }
        Ok(audit)
    }
}

/// Compares all leaves of a log with the blobs in a folder.
pub fn audit(
    files: &dyn Disk,
    leaves: impl IntoIterator<Item = Leaf>,
) -> Result<Audit, RecordError> {
    let mut mentions = Mentions::default();
    for leaf in leaves {
        mentions.leaf(&leaf);
    }
    mentions.audit(files)
}
