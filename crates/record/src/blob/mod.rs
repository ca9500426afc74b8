//! Payloads beside the log, sealed so that they can be forgotten.
//!
//! The log is append-only and its copies are locked, so nothing personal may stand in it. What must
//! be kept and be erasable stands in a blob: AES-256-GCM under a key that exists once for each
//! subject, in a file named after the SHA-256 of its own content. The leaf holds that digest and the
//! subject's pseudonym. Erasing a subject destroys the key, removes the blobs, and appends a leaf
//! that says so; the tree and every proof stay as they are.
//!
//! The digest is of ciphertext: one of plaintext would let anybody who can guess confirm a guess. The
//! pseudonym is derived from the subject's own key, so it too leads nowhere once that is gone.
//!
//! What erasing is worth depends on what is done with copies of the key file: it must not be in
//! write-once storage, and backups of it must expire. Overwriting reaches the file's own blocks on
//! file systems that write in place; a flash translation layer or a snapshot may keep older ones.
//!
//! INVARIANT: a blob is on disk before its digest is handed out, and its key before the blob.
//! INVARIANT: an erasure that began ends, after any number of crashes, before anything new is kept.

mod audit;
mod erase;
mod keys;

pub use audit::{Audit, Mentions, NAMED_MAX, audit};
pub use erase::{Erasure, leaf};
pub use keys::{Pseudonym, SUBJECT_BYTES_MAX, SUBJECTS_MAX};

use crate::error::RecordError;
use crate::log::disk::{Disk, read_whole, replace};
use keys::{Subject, Table};
use ringfence_core::digest::Digest;
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use ringfence_crypto::aead::{self, OVERHEAD_BYTES, PLAINTEXT_BYTES_MAX};
use ringfence_crypto::hash::digest_of;
use std::sync::Arc;

/// What a blob's file begins with; the subject's pseudonym follows, then the envelope.
const MAGIC: &[u8; 4] = b"RFB0";
const HEADER_BYTES: usize = MAGIC.len() + 32;
/// LIMIT: octets of a blob's file.
pub const BLOB_BYTES_MAX: usize = HEADER_BYTES + OVERHEAD_BYTES + PLAINTEXT_BYTES_MAX;

/// What a leaf says about a payload that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Of the sealed file; the leaf's `blob`.
    pub digest: Digest,
    /// Of the subject; the leaf's detail `subject`.
    pub subject: Pseudonym,
}

/// The blobs of one log, and the keys that open them.
pub struct Blobs {
    files: Arc<dyn Disk>,
    table: Table,
    entropy: Arc<dyn Entropy>,
}

impl Blobs {
    /// Opens or begins the blobs in `files` and the table of keys in `keys`, which only the recorder
    /// may read. What an interrupted change of the table left behind is overwritten and removed. An
    /// erasure that was interrupted is found by [`Blobs::pending`].
    pub fn open(
        files: Arc<dyn Disk>,
        keys: &Arc<dyn Disk>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, RecordError> {
        let table = Table::open(keys, &*entropy)?;
        Ok(Self {
            files,
            table,
            entropy,
        })
    }

    /// Seals a payload of at most [`PLAINTEXT_BYTES_MAX`] octets for a subject, and keeps it.
    /// Returns when both are on disk.
    pub fn keep(&mut self, subject: &str, content: &[u8]) -> Result<Kept, RecordError> {
        if self.pending()?.is_some() {
            return Err(RecordError::ErasurePending);
        }
        let held = self.table.make(subject, &*self.entropy)?;
        let pseudonym = held.pseudonym();
        let key = held.sealing()?;
        let envelope = aead::seal(&key, &*self.entropy, &purpose(pseudonym), content)?;
        let mut file = Vec::with_capacity(HEADER_BYTES + envelope.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&pseudonym.0);
        file.extend_from_slice(&envelope);
        let digest = digest_of(&file);
        replace(&*self.files, &digest.hex(), &file)?;
        Ok(Kept {
            digest,
            subject: pseudonym,
        })
    }

    /// Opens a payload. [`RecordError::Erased`] says that its key is gone for good.
    pub fn read(&self, digest: &Digest) -> Result<Secret<Vec<u8>>, RecordError> {
        let name = digest.hex();
        let file = read_whole(&*self.files, &name, BLOB_BYTES_MAX as u64)?
            .ok_or_else(|| RecordError::NoBlob(name.clone()))?;
        if digest_of(&file) != *digest {
            return Err(RecordError::corrupt(name, 0, "not what its name says"));
        }
        let (pseudonym, envelope) =
            header(&file).ok_or_else(|| RecordError::corrupt(&name, 0, "not a blob"))?;
        let subject = self.table.of(pseudonym).ok_or(RecordError::Erased)?;
        Ok(aead::open(
            &subject.sealing()?,
            &purpose(pseudonym),
            envelope,
        )?)
    }

    /// The pseudonym of a subject that something was kept for.
    pub fn pseudonym(&self, subject: &str) -> Option<Pseudonym> {
        self.table.find(subject).map(Subject::pseudonym)
    }
}

/// Takes a file apart.
fn header(file: &[u8]) -> Option<(Pseudonym, &[u8])> {
    let (pseudonym, envelope) = file.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    Some((Pseudonym(*pseudonym), envelope))
}

/// Bound to the subject: an envelope that is moved into another header does not open.
fn purpose(pseudonym: Pseudonym) -> Vec<u8> {
    [b"ringfence-blob/v0\0".as_slice(), &pseudonym.0].concat()
}

/// Whether a name in the folder is that of a blob; others are temporary files.
fn is_blob(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// All names in a directory of the log.
fn names(disk: &dyn Disk) -> Result<Vec<String>, RecordError> {
    disk.names("")
        .map_err(|e| RecordError::io("list", "blobs", e))
}

/// Forces names to disk.
fn sync_names(disk: &dyn Disk) -> Result<(), RecordError> {
    disk.sync_names("")
        .map_err(|e| RecordError::io("force to disk", "blobs", e))
}
