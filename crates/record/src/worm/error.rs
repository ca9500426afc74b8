//! Why an export stopped.

use ringfence_core::error::{ErrorCode, Explain};
use ringfence_crypto::CryptoError;
use ringfence_net::NetError;
use ringfence_sys::immutable::ImmutableError;
use std::io;

/// An export stopped. Nothing that was not verified counts as exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WormError {
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
    /// The log's own files do not agree with what it signed.
    #[error("{file} is not what the log signed: {reason}")]
    Rotten {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The log is shorter than, or another one than, what was exported before.
    #[error("the log is not the one that was exported before: {0}")]
    Rewritten(&'static str),
    /// The store holds other content under a key of the log.
    #[error("{0} is there already with other content")]
    Differs(String),
    /// The store took an object and does not hold it as long, or as fast, as was asked.
    #[error("{key} is not locked as asked: {held}")]
    NotLocked {
        /// Which object.
        key: String,
        /// What the store says about it.
        held: String,
    },
    /// Files cannot be made immutable there.
    #[error("{path} cannot be made immutable: {source}")]
    NotImmutable {
        /// Where.
        path: String,
        /// Why not.
        source: ImmutableError,
    },
    /// The cursor of an earlier export cannot be read.
    #[error("the cursor {0} is damaged")]
    Cursor(String),
    /// A setting that cannot work.
    #[error("{key}: {reason}")]
    Setting {
        /// Which key.
        key: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// The store cannot be reached or refused.
    #[error(transparent)]
    Store(#[from] NetError),
    /// A signature or note is wrong.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl WormError {
    pub(super) fn io(what: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what,
            file: file.into(),
            source,
        }
    }

    pub(super) fn rotten(file: impl Into<String>, reason: &'static str) -> Self {
        Self::Rotten {
            file: file.into(),
            reason,
        }
    }

    /// Whether this says something about the log or the store that a person must look at, and not
    /// only that it did not work now.
    pub fn is_finding(&self) -> bool {
        matches!(
            self,
            Self::Rotten { .. }
                | Self::Rewritten(_)
                | Self::Differs(_)
                | Self::NotLocked { .. }
                | Self::Crypto(_)
        )
    }
}

impl Explain for WormError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Io { .. } => "record/worm-io",
            Self::Rotten { .. } => "record/worm-rotten",
            Self::Rewritten(_) => "record/worm-rewritten",
            Self::Differs(_) => "record/worm-differs",
            Self::NotLocked { .. } => "record/worm-not-locked",
            Self::NotImmutable { .. } => "record/worm-not-immutable",
            Self::Cursor(_) => "record/worm-cursor",
            Self::Setting { .. } => "record/worm-setting",
            Self::Store(error) => return error.code(),
            Self::Crypto(error) => return error.code(),
        })
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Io { file, .. } | Self::Rotten { file, .. } => Some(file.clone()),
            Self::Store(error) => error.place(),
            _ => None,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => Some(source.to_string()),
            Self::Store(error) => error.why(),
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(
            match self {
                Self::Io { .. } => "see that the file exists, and that its disk works",
                Self::Rotten { .. } => "run `ringfence log fsck`; nothing of it was exported",
                Self::Rewritten(_) => {
                    "compare `ringfence log verify --since` with the checkpoint in the store: the \
                     log was rolled back, replaced or rewritten"
                }
                Self::Differs(_) => {
                    "look at who wrote it; export under another prefix, and keep both"
                }
                Self::NotLocked { .. } => {
                    "use a bucket with Object Lock, and a store that enforces it; what is there \
                     now can be deleted"
                }
                Self::NotImmutable { .. } => {
                    "export as root to a file system with immutable files, such as ext4 or xfs"
                }
                Self::Cursor(_) => {
                    "remove it; the next export compares everything with the store again"
                }
                Self::Setting { .. } => "see [record.worm] in docs/configuration.md",
                Self::Store(error) => return error.help(),
                Self::Crypto(error) => return error.help(),
            }
            .to_owned(),
        )
    }
}
