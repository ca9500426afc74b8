//! Who signs the log: one name, two keys.
//!
//! Every checkpoint bears an Ed25519 signature, which every verifier of the field knows, and an
//! ML-DSA-44 signature (FIPS 204), which stands when the former no longer does.

use crate::error::RecordError;
use crate::receipt::Group;
use ringfence_core::digest::hex;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::note::{self, NoteKey};
use ringfence_crypto::sign::{SigningKey, VerifyingKey};

/// The two keys of a log.
pub struct LogKeys {
    /// Signs checkpoints and receipts.
    pub ed25519: SigningKey,
    /// Signs checkpoints.
    pub ml_dsa: SigningKey,
}

/// The keys under the log's name.
pub(crate) struct Signer {
    keys: LogKeys,
    origin: String,
    vkeys: [NoteKey; 2],
}

/// The name under which a key signs: no two logs share one.
fn origin_of(key: &VerifyingKey) -> String {
    let mut id = hex(&sha256(key.as_bytes()));
    id.truncate(16);
    format!("ringfence.invalid/log/{id}")
}

impl Signer {
    pub(crate) fn new(keys: LogKeys) -> Result<Self, RecordError> {
        let origin = origin_of(&keys.ed25519.verifying_key());
        let vkey = |key: &SigningKey| NoteKey::new(origin.clone(), key.verifying_key());
        let vkeys = [vkey(&keys.ed25519)?, vkey(&keys.ml_dsa)?];
        Ok(Self {
            keys,
            origin,
            vkeys,
        })
    }

    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// What verifies its signatures.
    pub(crate) fn vkeys(&self) -> &[NoteKey] {
        &self.vkeys
    }

    /// A checkpoint as a signed note.
    pub(crate) fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<String, RecordError> {
        let keys = [&self.keys.ed25519, &self.keys.ml_dsa];
        Ok(note::sign(&checkpoint.text(), &self.origin, &keys)?)
    }

    /// A commit group as a signed note.
    pub(crate) fn group(&self, group: &Group) -> Result<String, RecordError> {
        Ok(note::sign(
            &group.text(),
            &self.origin,
            &[&self.keys.ed25519],
        )?)
    }
}
