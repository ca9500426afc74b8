//! The request `add-checkpoint` of C2SP tlog-witness: what a log sends, and what the answer means.

use crate::error::RecordError;
use ringfence_crypto::checkpoint::{Checkpoint, decimal};
use ringfence_crypto::merkle::Hash;
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note, NoteKey, NoteSignature, signature_lines};
use ringfence_crypto::{base64_decode, base64_encode};
use std::fmt;

/// LIMIT: hashes of a consistency proof, by the specification.
pub const REQUEST_HASHES_MAX: usize = 63;
/// LIMIT: octets of a request: a full note, the longest proof, and the line with the old size.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + REQUEST_HASHES_MAX * 45 + 32;
/// LIMIT: octets of an answer that are read: signature lines of at most a note.
pub const ANSWER_BYTES_MAX: usize = NOTE_BYTES_MAX;
/// The media type of an answer that only says a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// The path under a witness's address.
pub const PATH: &str = "/add-checkpoint";

/// "From this size on, which you have, to this checkpoint": as text, the body of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is thought to have; 0 for none.
    pub old: u64,
    /// RFC 6962 consistency proof from there to the checkpoint.
    pub proof: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub note: Note,
}

impl AddCheckpoint {
    /// Reads the body of a request. `Err` says what is malformed.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err("longer than a request may be");
        }
        let text = std::str::from_utf8(body).map_err(|_| "not UTF-8")?;
        let (head, note) = text.split_once("\n\n").ok_or("no empty line")?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|l| l.strip_prefix("old "))
            .and_then(decimal)
            .ok_or("no old size")?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == REQUEST_HASHES_MAX {
                return Err("more than 63 hashes");
            }
            let hash = base64_decode(line).and_then(|b| b.try_into().ok());
            proof.push(hash.ok_or("a hash is malformed")?);
        }
        let note = Note::parse(note).map_err(|_| "not a signed note")?;
        Ok(Self { old, proof, note })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", base64_encode(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// What an answer means to the log that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Cosigned: the lines that verify, one or more.
    Cosigned(Vec<NoteSignature>),
    /// The witness has this smaller size; ask again with a proof from there.
    AskFrom(u64),
}

/// What a witness that is known by `key` says with this answer to a request.
///
/// A witness that remembers more leaves than the log has, or other ones, proves that the log on
/// this disk is not the log that it saw: [`RecordError::RolledBack`] and [`RecordError::Forked`],
/// after which nothing may be appended. Everything else that is no cosignature is a witness that
/// does not do its work, [`RecordError::Witness`]. Lines of unknown keys are ignored.
pub fn judge(
    request: &AddCheckpoint,
    key: &NoteKey,
    status: u16,
    body: &str,
) -> Result<Judgement, RecordError> {
    let refused = |reason: String| RecordError::Witness {
        name: key.name().to_owned(),
        reason,
    };
    let checkpoint = Checkpoint::parse(request.note.text())?;
    let forked = RecordError::Forked {
        witness: key.name().to_owned(),
        size: request.old,
    };
    match status {
        200 => cosigned(&request.note, key, body).map(Judgement::Cosigned),
        409 => {
            let size = body
                .strip_suffix('\n')
                .and_then(decimal)
                .ok_or_else(|| refused("a conflict without a size".to_owned()))?;
            if size > checkpoint.size {
                Err(RecordError::RolledBack {
                    witness: key.name().to_owned(),
                    theirs: size,
                    ours: checkpoint.size,
                })
            } else if size == request.old {
                // It has that size, as we said, and still does not go on: under another root.
                Err(forked)
            } else {
                Ok(Judgement::AskFrom(size))
            }
        }
        // Our proof leads from our leaves, so the witness holds the root of others.
        422 if request.old > 0 => Err(forked),
        403 => Err(refused("it does not know the log's keys (403)".to_owned())),
        404 => Err(refused("it does not know the log (404)".to_owned())),
        other => Err(refused(format!("it answered {other}"))),
    }
}

fn cosigned(note: &Note, key: &NoteKey, body: &str) -> Result<Vec<NoteSignature>, RecordError> {
    let mut alone = note.clone();
    let mut lines = signature_lines(body)?;
    lines.retain(|line| line.name == key.name() && line.id == key.id());
    for line in &lines {
        alone.add(line.clone())?;
    }
    match alone.signed_by(key)? {
        Some(signed) if signed.seconds > 0 && !lines.is_empty() => Ok(lines),
        _ => Err(RecordError::Witness {
            name: key.name().to_owned(),
            reason: "its answer holds no cosignature by its key".to_owned(),
        }),
    }
}
