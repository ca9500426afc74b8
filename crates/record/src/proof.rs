//! A proof that one leaf is in the log: one text file, checked offline.
//!
//! The form is C2SP tlog-proof: a title, the index, the hashes from the leaf upward in base64, an
//! empty line, and the checkpoint as a signed note, with the cosignatures of witnesses if there are
//! any. [`verify`] asks for keys; [`verify_witnessed`] asks for a policy of logs and witnesses.

use crate::error::RecordError;
use crate::witness::policy::{Cosigned, Policy};
use ringfence_crypto::checkpoint::{Checkpoint, decimal};
use ringfence_crypto::merkle::{Hash, PROOF_HASHES_MAX, leaf_hash, verify_inclusion};
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note, NoteKey};
use ringfence_crypto::{base64_decode, base64_encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const TITLE: &str = "c2sp.org/tlog-proof@v1";
/// LIMIT: octets of a proof file: a full note and the longest path.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 8192;

/// An inclusion proof with the checkpoint it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Proof {
    /// The leaf's index.
    pub index: u64,
    /// The path from the leaf to the root.
    pub hashes: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// What a proof showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// In which log.
    pub origin: String,
    /// At which index.
    pub index: u64,
    /// Among how many leaves.
    pub size: u64,
}

/// Checks that `leaf` stands in the log of `keys`, every one of which must have signed. At least
/// one of them is a log's and has the name of the checkpoint's origin.
pub fn verify(proof: &Proof, leaf: &[u8], keys: &[NoteKey]) -> Result<Proved, RecordError> {
    let note = Note::parse(&proof.checkpoint)?;
    note.verify(keys)?;
    let checkpoint = Checkpoint::parse(note.text())?;
    let of_the_log = |k: &NoteKey| k.is_of_a_log() && k.name() == checkpoint.origin;
    if !keys.iter().any(of_the_log) {
        return Err(RecordError::Proof("its checkpoint is of another log"));
    }
    included(proof, leaf, checkpoint)
}

/// Checks that `leaf` stands in a log of the policy, and that enough witnesses cosigned its
/// checkpoint. Says who did.
pub fn verify_witnessed(
    proof: &Proof,
    leaf: &[u8],
    policy: &Policy,
) -> Result<(Proved, Vec<Cosigned>), RecordError> {
    let note = Note::parse(&proof.checkpoint)?;
    let cosigned = policy.verify(&note)?;
    let proved = included(proof, leaf, Checkpoint::parse(note.text())?)?;
    Ok((proved, cosigned))
}

fn included(proof: &Proof, leaf: &[u8], checkpoint: Checkpoint) -> Result<Proved, RecordError> {
    let (index, size) = (proof.index, checkpoint.size);
    let (hash, root) = (leaf_hash(leaf), checkpoint.root);
    verify_inclusion(&hash, index, size, &proof.hashes, &root)?;
    Ok(Proved {
        origin: checkpoint.origin,
        index,
        size,
    })
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", base64_encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(RecordError::Proof("longer than a proof can be"));
        }
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(RecordError::Proof("no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(TITLE) {
            return Err(RecordError::Proof("another title"));
        }
        let mut line = lines.next();
        // Opaque data of other applications, which nothing authenticates: read, and dropped.
        if let Some(extra) = line.and_then(|l| l.strip_prefix("extra ")) {
            base64_decode(extra).ok_or(RecordError::Proof("its extra data is malformed"))?;
            line = lines.next();
        }
        let index = line
            .and_then(|l| l.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(RecordError::Proof("no index"))?;
        let hashes: Vec<Hash> = lines
            .map(|l| base64_decode(l).and_then(|b| b.try_into().ok()))
            .collect::<Option<_>>()
            .ok_or(RecordError::Proof("a hash is malformed"))?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(RecordError::Proof("more hashes than a proof can have"));
        }
        Note::parse(checkpoint)?;
        Ok(Self {
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

impl TryFrom<String> for Proof {
    type Error = RecordError;
    fn try_from(text: String) -> Result<Self, RecordError> {
        text.parse()
    }
}

impl From<Proof> for String {
    fn from(proof: Proof) -> Self {
        proof.to_string()
    }
}
