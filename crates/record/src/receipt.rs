//! What a log gives at once for a leaf: a signed promise that it stands at an index.
//!
//! Each commit group has an RFC 6962 root over the hashes of its leaves, signed once. A receipt is
//! the leaf's path to that root and the signed note. It says less than a proof: that the log *will*
//! show the leaf at this index. A log that does not is caught by the receipt.
//!
//! The form is that of C2SP tlog-proof with another title and a note of another form, so that
//! neither passes for the other: the note's text is the title, the log's name, the index of the
//! group's first leaf, their number, and the root in base64, a line each.

use crate::error::RecordError;
use crate::proof::Proved;
use ringfence_crypto::checkpoint::decimal;
use ringfence_crypto::merkle::{
    Hash, PROOF_HASHES_MAX, inclusion_proof, leaf_hash, node_hash, root_of, verify_inclusion,
};
use ringfence_crypto::note::{Kind, NOTE_BYTES_MAX, Note, NoteKey};
use ringfence_crypto::{base64_decode, base64_encode};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

const TITLE: &str = "ringfence.invalid/receipt@v1";
/// LIMIT: octets of a receipt.
pub const RECEIPT_BYTES_MAX: usize = NOTE_BYTES_MAX + 8192;

/// The leaves of one commit group, with the roots of their complete subtrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    origin: String,
    first: u64,
    /// Hashes of the leaves, then of pairs of them, and so on.
    levels: Vec<Vec<Hash>>,
}

impl Group {
    /// A group of leaves that begins at an index.
    pub(crate) fn new(origin: &str, first: u64, leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|l| l.len() > 1) {
            let pairs = below.as_chunks::<2>().0;
            let above = pairs.iter().map(|[l, r]| node_hash(l, r)).collect();
            levels.push(above);
        }
        Self {
            origin: origin.to_owned(),
            first,
            levels,
        }
    }

    /// Index of the first leaf.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Hashes of the leaves, in order.
    pub(crate) fn leaves(&self) -> &[Hash] {
        self.levels.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// What is signed.
    pub(crate) fn text(&self) -> String {
        let count = self.leaves().len() as u64;
        let read = &mut |level, number| Ok::<_, Infallible>(self.subtree(level, number));
        let Ok(root) = root_of(count, read);
        let (origin, first, root) = (&self.origin, self.first, base64_encode(&root));
        format!("{TITLE}\n{origin}\n{first}\n{count}\n{root}\n")
    }

    /// The root of a complete subtree; only those are asked for, and all of them are here.
    fn subtree(&self, level: u32, number: u64) -> Hash {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let hash = self.levels.get(level as usize).and_then(|l| l.get(at));
        hash.copied().unwrap_or_default()
    }

    /// The path of a leaf to the group's root.
    fn path(&self, at: u64) -> Vec<Hash> {
        let count = self.leaves().len() as u64;
        let read = &mut |level, number| Ok::<_, Infallible>(self.subtree(level, number));
        let Ok(path) = inclusion_proof(at, count, read);
        path
    }
}

/// A group with its signature: what receipts are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedGroup {
    pub(crate) group: Group,
    pub(crate) note: String,
}

impl SignedGroup {
    /// The receipt of the leaf at `at` within the group.
    pub(crate) fn receipt(&self, at: u64) -> ReceiptFile {
        ReceiptFile {
            index: self.group.first + at,
            hashes: self.group.path(at),
            note: self.note.clone(),
        }
    }
}

/// A receipt; as text it is the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFile {
    /// The leaf's index.
    pub index: u64,
    /// The path from the leaf to the group's root.
    pub hashes: Vec<Hash>,
    /// The signed note.
    pub note: String,
}

/// Checks that the log of `keys` promised `leaf`; those of the keys that sign receipts (Ed25519)
/// must have signed, and there must be one.
pub fn verify(receipt: &ReceiptFile, leaf: &[u8], keys: &[NoteKey]) -> Result<Proved, RecordError> {
    let note = Note::parse(&receipt.note)?;
    let signers: Vec<NoteKey> = keys
        .iter()
        .filter(|k| k.kind() == Kind::Ed25519)
        .cloned()
        .collect();
    note.verify(&signers)?;
    let malformed = || RecordError::Proof("its note is not that of a receipt");
    let body = note.text().strip_suffix('\n').ok_or_else(malformed)?;
    let lines: Vec<&str> = body.split('\n').collect();
    let [TITLE, origin, first, count, root] = lines[..] else {
        return Err(malformed());
    };
    if signers.iter().all(|k| k.name() != origin) {
        return Err(RecordError::Proof("it is of another log"));
    }
    let (first, count) = (decimal(first), decimal(count));
    let (first, count) = (first.ok_or_else(malformed)?, count.ok_or_else(malformed)?);
    let root: Option<Hash> = base64_decode(root).and_then(|b| b.try_into().ok());
    let at = receipt.index.checked_sub(first).ok_or_else(malformed)?;
    let root = root.ok_or_else(malformed)?;
    verify_inclusion(&leaf_hash(leaf), at, count, &receipt.hashes, &root)?;
    Ok(Proved {
        origin: origin.to_owned(),
        index: receipt.index,
        size: first.saturating_add(count),
    })
}

impl fmt::Display for ReceiptFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", base64_encode(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for ReceiptFile {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        if text.len() > RECEIPT_BYTES_MAX {
            return Err(RecordError::Proof("longer than a receipt can be"));
        }
        let malformed = || RecordError::Proof("not the form of a receipt");
        let (head, note) = text.split_once("\n\n").ok_or_else(malformed)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(TITLE) {
            return Err(malformed());
        }
        let index = lines
            .next()
            .and_then(|l| decimal(l.strip_prefix("index ")?))
            .ok_or_else(malformed)?;
        let hashes: Vec<Hash> = lines
            .map(|l| base64_decode(l)?.try_into().ok())
            .collect::<Option<_>>()
            .filter(|hashes: &Vec<Hash>| hashes.len() <= PROOF_HASHES_MAX)
            .ok_or_else(malformed)?;
        Note::parse(note)?;
        Ok(Self {
            index,
            hashes,
            note: note.to_owned(),
        })
    }
}
