//! The witness itself: one largest checkpoint for each log, and cosignatures on what continues it.
//!
//! It is synchronous and handed its disk and clock. Checks stand in the order of C2SP
//! tlog-witness; each has its status. Two things are stricter than there: every key that is
//! configured for a log must have signed, so that a log which signs with two keys is as strong as
//! the better one, and a log's own signature lines are kept as evidence with what was seen.

use super::keys;
use super::request::{AddCheckpoint, SIZE_TYPE};
use crate::error::RecordError;
use crate::log::disk::{Disk, RealDisk, read_whole, replace};
use ringfence_core::digest::hex;
use ringfence_core::ports::{Clock, Entropy};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::merkle::{Hash, empty_root, verify_consistency};
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note, NoteKey, NoteSignature, cosign};
use ringfence_crypto::sign::SigningKey;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// LIMIT: keys of logs that one witness knows.
pub const LOG_KEYS_MAX: usize = 1024;
const TITLE: &str = "ringfence-witness-head/v1";
/// Octets of a head file beside its note: title, checksum, two newlines.
const HEAD_FRAME_BYTES: u64 = 128;

/// Why a checkpoint was not cosigned. As text it is the body of the answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a request.
    #[error("malformed: {0}\n")]
    Malformed(&'static str),
    /// No key of such a log is configured.
    #[error("unknown log\n")]
    UnknownLog,
    /// Not signed by every key that is configured for the log.
    #[error("not signed by every known key of the log\n")]
    NotSigned,
    /// The witness has another size than the log thinks, or another root at that size. The text is
    /// the size alone.
    #[error("{0}\n")]
    Conflict(u64),
    /// The checkpoint does not continue what the witness saw.
    #[error("not consistent with what was seen\n")]
    Inconsistent,
    /// The witness could not keep what it saw, so it says nothing about it.
    #[error("the witness cannot answer\n")]
    Failed(#[source] RecordError),
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
            Self::Failed(_) => 500,
        }
    }

    /// The media type of the text.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict(_) => SIZE_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }
}

/// The largest checkpoint seen of one log.
struct Head {
    size: u64,
    root: Hash,
}

/// A witness.
pub struct Witness {
    name: String,
    keys: Vec<SigningKey>,
    /// By origin: every one must have signed.
    logs: BTreeMap<String, Vec<NoteKey>>,
    heads: BTreeMap<String, Head>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
}

impl Witness {
    /// Opens the witness of a directory: keys in `keys`, what it saw in `heads`; both are made at
    /// the first opening. The caller holds the directory's lock: there is one writer.
    pub fn open(
        directory: &Path,
        logs: Vec<NoteKey>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, RecordError> {
        let heads = directory.join("heads");
        crate::keys::private_directory(&heads)?;
        let in_use = fs::read_dir(&heads)
            .map_err(|e| RecordError::io("list", "heads", e))?
            .next()
            .is_some();
        let keys = keys::open(&directory.join("keys"), in_use, entropy)?;
        let disk = Arc::new(RealDisk::writable(heads));
        let first = keys.first().map(|k| sha256(k.verifying_key().as_bytes()));
        let mut id = hex(&first.unwrap_or_default());
        id.truncate(16);
        Self::with(
            format!("ringfence.invalid/witness/{id}"),
            keys,
            logs,
            disk,
            clock,
        )
    }

    /// A witness with these keys on this disk. Log keys of the same name are one log.
    pub fn with(
        name: String,
        keys: Vec<SigningKey>,
        logs: Vec<NoteKey>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RecordError> {
        if logs.len() > LOG_KEYS_MAX {
            return Err(RecordError::TooMany {
                what: "keys of logs",
                limit: LOG_KEYS_MAX as u64,
            });
        }
        let mut by_origin: BTreeMap<String, Vec<NoteKey>> = BTreeMap::new();
        for key in logs {
            if !key.is_of_a_log() {
                return Err(RecordError::Policy {
                    line: 0,
                    reason: "a log is named by a key of type 0x01 or 0x06",
                });
            }
            by_origin
                .entry(key.name().to_owned())
                .or_default()
                .push(key);
        }
        let mut heads = BTreeMap::new();
        for origin in by_origin.keys() {
            if let Some(head) = load(&*disk, origin)? {
                heads.insert(origin.clone(), head);
            }
        }
        Ok(Self {
            name,
            keys,
            logs: by_origin,
            heads,
            disk,
            clock,
        })
    }

    /// The keys under which it cosigns, to be configured at the logs. The first is the one to
    /// prefer.
    pub fn vkeys(&self) -> Result<Vec<NoteKey>, RecordError> {
        self.keys
            .iter()
            .map(|key| Ok(NoteKey::witness(self.name.clone(), key.verifying_key())?))
            .collect()
    }

    /// The size last cosigned for a log; 0 if there is none.
    pub fn size_of(&self, origin: &str) -> u64 {
        self.heads.get(origin).map_or(0, |head| head.size)
    }

    /// Cosigns the checkpoint of a request, or says why not. What it cosigns is on disk before.
    pub fn add_checkpoint(&mut self, body: &[u8]) -> Result<Vec<NoteSignature>, Refusal> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let checkpoint = Checkpoint::parse(request.note.text())
            .map_err(|_| Refusal::Malformed("not a checkpoint"))?;
        let keys = self
            .logs
            .get(&checkpoint.origin)
            .ok_or(Refusal::UnknownLog)?;
        request.note.verify(keys).map_err(|_| Refusal::NotSigned)?;
        self.check_history(&request, &checkpoint)?;
        self.persist(&request.note, &checkpoint)
            .map_err(Refusal::Failed)?;
        self.cosign(request.note.text()).map_err(Refusal::Failed)
    }

    fn check_history(&self, request: &AddCheckpoint, new: &Checkpoint) -> Result<(), Refusal> {
        if request.old > new.size {
            return Err(Refusal::Malformed(
                "the old size is beyond the checkpoint's",
            ));
        }
        let nothing = Head {
            size: 0,
            root: empty_root(),
        };
        let head = self.heads.get(&new.origin).unwrap_or(&nothing);
        if request.old != head.size {
            return Err(Refusal::Conflict(head.size));
        }
        if head.size == new.size && head.root != new.root {
            return Err(Refusal::Conflict(head.size));
        }
        if head.size == 0 || head.size == new.size {
            // Nothing to prove; whoever sends a proof means something else.
            return if request.proof.is_empty() {
                Ok(())
            } else {
                Err(Refusal::Inconsistent)
            };
        }
        verify_consistency(head.size, new.size, &head.root, &new.root, &request.proof)
            .map_err(|_| Refusal::Inconsistent)
    }

    fn persist(&mut self, note: &Note, new: &Checkpoint) -> Result<(), RecordError> {
        if self.size_of(&new.origin) == new.size && self.heads.contains_key(&new.origin) {
            return Ok(());
        }
        store(&*self.disk, &new.origin, note)?;
        let head = Head {
            size: new.size,
            root: new.root,
        };
        self.heads.insert(new.origin.clone(), head);
        Ok(())
    }

    fn cosign(&self, text: &str) -> Result<Vec<NoteSignature>, RecordError> {
        let seconds = u64::try_from(self.clock.now().0 / 1000).unwrap_or(0);
        self.keys
            .iter()
            .map(|key| Ok(cosign(text, &self.name, key, seconds)?))
            .collect()
    }
}

fn file_of(origin: &str) -> String {
    hex(&sha256(origin.as_bytes()))
}

fn store(disk: &dyn Disk, origin: &str, note: &Note) -> Result<(), RecordError> {
    let note = note.to_string();
    let sum = hex(&sha256(note.as_bytes()));
    replace(
        disk,
        &file_of(origin),
        format!("{TITLE}\n{sum}\n{note}").as_bytes(),
    )
}

fn load(disk: &dyn Disk, origin: &str) -> Result<Option<Head>, RecordError> {
    let name = file_of(origin);
    let Some(bytes) = read_whole(disk, &name, NOTE_BYTES_MAX as u64 + HEAD_FRAME_BYTES)? else {
        return Ok(None);
    };
    let head = String::from_utf8(bytes).ok().and_then(|text| {
        let rest = text.strip_prefix(TITLE)?.strip_prefix('\n')?;
        let (sum, note) = rest.split_once('\n')?;
        if hex(&sha256(note.as_bytes())) != sum {
            return None;
        }
        let checkpoint = Checkpoint::parse(Note::parse(note).ok()?.text()).ok()?;
        (checkpoint.origin == origin).then_some(Head {
            size: checkpoint.size,
            root: checkpoint.root,
        })
    });
    // Without its memory a witness would cosign a second history.
    head.map(Some)
        .ok_or_else(|| RecordError::corrupt(name, 0, "not what the witness saw of a log"))
}
