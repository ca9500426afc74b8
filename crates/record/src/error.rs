//! What can go wrong with the log, and what to do then.

use crate::blob::Audit;
use ringfence_core::error::{ErrorCode, Explain, Explained};
use ringfence_core::leaf::LeafError;
use ringfence_crypto::CryptoError;
use std::io;

/// An operation on the log or its keys failed. No variant holds a key or a sealed value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file could not be read or written.
    #[error("cannot {what} {file}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// No space is left; nothing acknowledged is lost.
    #[error("no space is left for the log")]
    DiskFull,
    /// Forcing data to disk failed, so what is on it is unknown until it is read again.
    #[error("the disk did not confirm a write; the log stops until it is opened again")]
    Poisoned,
    /// A file does not hold what was written.
    #[error("{file} is damaged at octet {offset}: {reason}")]
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Going on could sign a second history.
    #[error("the log may have been forked or rolled back: {0}")]
    ForkRisk(String),
    /// A key file is gone although its log exists.
    #[error("the key file {0} is missing although its log exists")]
    KeyMissing(String),
    /// A key file is damaged.
    #[error("the key file {0} is damaged")]
    KeyMalformed(String),
    /// Others may read a key file.
    #[error("the key file {file} has mode {mode:o}; others may read it")]
    KeyExposed {
        /// Which file.
        file: String,
        /// Its mode.
        mode: u32,
    },
    /// The key is not that of the log.
    #[error("the log in this directory was signed by another key")]
    KeyMismatch,
    /// A log of a format that no release ever wrote.
    #[error("the log in {0} is of format 0, which only unreleased versions wrote")]
    OldFormat(String),
    /// Another process holds the log.
    #[error("another process holds the log in {0}")]
    Busy(String),
    /// A leaf that cannot be written.
    #[error("the leaf is refused: {0}")]
    Leaf(#[from] LeafError),
    /// A sequence number that was never reserved, or whose block was closed long ago.
    #[error("sequence number {0} is not open")]
    SequenceUnknown(u64),
    /// More of something than its named limit.
    #[error("{what}: at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// No leaf has this index.
    #[error("the log has no leaf {0}")]
    NoLeaf(u64),
    /// The recorder cannot be reached; whether it carried out the request is unknown.
    #[error("the recorder cannot be reached")]
    Unreachable,
    /// The recorder did not answer in time; whether it carried out the request is unknown.
    #[error("the recorder did not answer in {0} ms")]
    Timeout(u64),
    /// A message that this version does not speak.
    #[error("a message between roles is malformed: {0}")]
    Protocol(&'static str),
    /// A proof file that is not one.
    #[error("not a proof: {0}")]
    Proof(&'static str),
    /// A witness saw a longer log than the one on this disk.
    #[error(
        "the log was rolled back: witness {witness} has cosigned {theirs} leaves of it, and it \
         holds {ours}"
    )]
    RolledBack {
        /// Who says so.
        witness: String,
        /// The size that the witness saw.
        theirs: u64,
        /// The size of the log here.
        ours: u64,
    },
    /// A witness saw other leaves than the ones on this disk.
    #[error("the log was forked: witness {witness} has cosigned other first {size} leaves of it")]
    Forked {
        /// Who says so.
        witness: String,
        /// The size at which it saw others.
        size: u64,
    },
    /// A witness does not cosign, for a reason that says nothing about the log.
    #[error("witness {name} did not cosign: {reason}")]
    Witness {
        /// Which one.
        name: String,
        /// What it did instead.
        reason: String,
    },
    /// Fewer witnesses cosigned than the policy asks for.
    #[error("the checkpoint is cosigned by {have} of {of} witnesses, which is no quorum")]
    Quorum {
        /// How many did.
        have: usize,
        /// How many are known.
        of: usize,
    },
    /// Not a policy of logs and witnesses.
    #[error("line {line} of the witness policy: {reason}")]
    Policy {
        /// Which line, from 1; 0 for the whole.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A key, signature, note or proof is wrong.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// No payload has this digest.
    #[error("there is no sealed payload {0}")]
    NoBlob(String),
    /// The payload's subject was erased, and with it the key.
    #[error("the payload was erased: its key no longer exists")]
    Erased,
    /// Nothing was ever kept for this subject, or it was erased.
    #[error("nothing is kept for this subject")]
    NoSubject,
    /// Payloads that the log names are gone or damaged, and no erasure says why.
    #[error(
        "{} sealed payloads that the log names are missing and {} are damaged{}",
        .0.missing, .0.damaged, first(.0)
    )]
    Payloads(Box<Audit>),
    /// An erasure was interrupted and must end first.
    #[error("an erasure was interrupted and must end first")]
    ErasurePending,
    /// The recorder refused.
    #[error("{}", .0.what)]
    Remote(Explained),
}

/// The first payload that is not as it should be.
fn first(audit: &Audit) -> String {
    let first = audit.named.first();
    first.map_or_else(String::new, |d| format!("; the first is {d}"))
}

impl RecordError {
    /// Wraps what the system said, and names a full disk as such.
    pub(crate) fn io(what: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull,
            _ => Self::Io {
                what,
                file: file.into(),
                source,
            },
        }
    }

    pub(crate) fn corrupt(file: impl Into<String>, offset: u64, reason: &'static str) -> Self {
        Self::Corrupt {
            file: file.into(),
            offset,
            reason,
        }
    }
}

impl Explain for RecordError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            // Not shown: what the recorder said in words keeps its own code.
            Self::Remote(_) => "record/refused",
            Self::Io { .. } => "record/io",
            Self::DiskFull => "record/disk-full",
            Self::Poisoned => "record/sync-failed",
            Self::Corrupt { .. } => "record/corrupt",
            Self::ForkRisk(_) => "record/fork-risk",
            Self::KeyMissing(_) => "record/key-missing",
            Self::KeyMalformed(_) => "record/key-damaged",
            Self::KeyExposed { .. } => "record/key-exposed",
            Self::KeyMismatch => "record/key-mismatch",
            Self::OldFormat(_) => "record/old-format",
            Self::Busy(_) => "record/busy",
            Self::Leaf(_) => "record/leaf-refused",
            Self::SequenceUnknown(_) => "record/sequence-unknown",
            Self::TooMany { .. } => "record/too-many",
            Self::NoLeaf(_) => "record/no-leaf",
            Self::Unreachable => "record/unreachable",
            Self::Timeout(_) => "record/timeout",
            Self::Protocol(_) => "record/protocol",
            Self::Proof(_) => "record/proof-malformed",
            Self::RolledBack { .. } => "record/rolled-back",
            Self::Forked { .. } => "record/forked",
            Self::Witness { .. } => "record/witness-refused",
            Self::Quorum { .. } => "record/quorum-missing",
            Self::Policy { .. } => "record/witness-policy",
            Self::NoBlob(_) => "record/no-blob",
            Self::Erased => "record/erased",
            Self::NoSubject => "record/no-subject",
            Self::Payloads(_) => "record/payloads-lost",
            Self::ErasurePending => "record/erasure-pending",
            Self::Crypto(error) => return error.code(),
        })
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Io { file, .. } => Some(file.clone()),
            Self::Corrupt { file, offset, .. } => Some(format!("{file}:{offset}")),
            Self::Remote(explained) => explained.place.clone(),
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Io { .. } => {
                "see that the state directory exists, belongs to this user and its disk works"
            }
            Self::DiskFull => {
                "free space in the file system of the state directory; the log then goes on by itself"
            }
            Self::Poisoned => {
                "check the disk (dmesg), then start again: what was acknowledged is read back"
            }
            Self::Corrupt { .. } | Self::ForkRisk(_) => {
                "keep a copy of the directory as evidence, then restore the newest backup whose checkpoint you hold"
            }
            Self::KeyMissing(_) | Self::KeyMalformed(_) | Self::KeyMismatch => {
                "restore keys and log from the same backup; a key is never replaced silently"
            }
            Self::KeyExposed { .. } => {
                "chmod 600 the file, and consider the key known to who could read it"
            }
            Self::OldFormat(_) => {
                "keep it elsewhere, away from the state directory (mv); a new log begins with the next start"
            }
            Self::Busy(_) => "stop the other process, or let this command talk to it",
            Self::Leaf(_) => "shorten the leaf's details; larger payloads belong outside the log",
            Self::SequenceUnknown(_) => "take a new slot",
            Self::TooMany { .. } => "ask for less at once, or wait until something finished",
            Self::NoLeaf(_) => "ask for `log show` to see which leaves exist",
            Self::Unreachable | Self::Timeout(_) => "see whether the recorder runs: `ringfence ps`",
            Self::Protocol(_) => "run the same version of ringfence everywhere",
            Self::Proof(_) => "fetch the proof again: `ringfence log prove N`",
            Self::RolledBack { .. } | Self::Forked { .. } => {
                "keep a copy of the state directory as evidence and find out who restored it; go on \
                 with the newest copy, or begin a new log in an empty directory"
            }
            Self::Witness { .. } => {
                "give the witness this log's keys (`ringfence log vkey`), and see that it runs"
            }
            Self::Quorum { .. } => {
                "wait until more witnesses were reached, or ask the log's owner why not"
            }
            Self::Policy { .. } => "compare the line with c2sp.org/tlog-policy",
            Self::NoBlob(_) | Self::Payloads(_) => {
                "restore the files of `record/blob` from a backup, then run `ringfence log fsck`"
            }
            Self::Erased => "nothing can be done: that is what erasing means",
            Self::NoSubject => "compare the name with the one it was kept under",
            Self::ErasurePending => "start the recorder again; it ends the erasure first",
            Self::Crypto(error) => return error.help(),
            Self::Remote(explained) => return explained.help.clone(),
        };
        Some(text.to_owned())
    }
}

/// Puts an error into words; one that came in words keeps them.
pub(crate) fn explain(error: RecordError) -> Explained {
    match error {
        RecordError::Remote(explained) => explained,
        other => Explained::of(&other),
    }
}
