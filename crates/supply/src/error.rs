//! What can go wrong with a lock file, an archive or an index.

use ringfence_core::error::{ErrorCode, Explain};
use std::path::PathBuf;

/// Why a lock file, an archive of advisories or an index cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupplyError {
    /// The name is of no lock file that is understood.
    #[error("{path} is not a lock file that is understood")]
    LockUnknown {
        /// The path as given.
        path: String,
    },
    /// The lock file breaks its format.
    #[error("{path} cannot be read as a lock file: {reason}")]
    LockSyntax {
        /// The path as given.
        path: String,
        /// 1-based line, if known.
        line: Option<u32>,
        /// What is wrong, without the input.
        reason: String,
    },
    /// The lock file is of a format version that is not understood.
    #[error("{path} has lock file version {found}")]
    LockVersion {
        /// The path as given.
        path: String,
        /// The version it states.
        found: String,
    },
    /// Input beyond a limit.
    #[error("{what} of {place} exceeds the limit of {limit}")]
    Limit {
        /// What is too much.
        what: &'static str,
        /// File or entry.
        place: String,
        /// The limit.
        limit: u64,
    },
    /// A file cannot be read or written.
    #[error("cannot {verb} {path}")]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An archive is broken.
    #[error("{place} is not a zip archive of advisories")]
    Archive {
        /// Which archive.
        place: String,
        /// Why.
        reason: String,
    },
    /// An index is broken, of another version, or cut off.
    #[error("the advisory index is not usable: {reason}")]
    Index {
        /// What is wrong.
        reason: &'static str,
    },
}

impl Explain for SupplyError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::LockUnknown { .. } => "admit/lock-unknown",
            Self::LockSyntax { .. } => "admit/lock-syntax",
            Self::LockVersion { .. } => "admit/lock-version",
            Self::Limit { .. } => "admit/supply-limit",
            Self::Io { .. } => "admit/supply-io",
            Self::Archive { .. } => "admit/advisories-archive",
            Self::Index { .. } => "admit/advisories-index",
        })
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::LockSyntax {
                path,
                line: Some(line),
                ..
            } => Some(format!("{path}:{line}")),
            Self::LockUnknown { path }
            | Self::LockSyntax { path, .. }
            | Self::LockVersion { path, .. } => Some(path.clone()),
            Self::Limit { place, .. } | Self::Archive { place, .. } => Some(place.clone()),
            Self::Io { path, .. } => Some(path.display().to_string()),
            Self::Index { .. } => None,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => Some(source.to_string()),
            Self::Archive { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(
            match self {
                Self::LockUnknown { .. } => "the inventory counts it as not understood",
                Self::LockSyntax { .. } => "write the lock file again with its package manager",
                Self::LockVersion { .. } => "write it again with a current package manager",
                Self::Limit { .. } => "an honest file is far smaller: look at where it comes from",
                Self::Io { .. } => "check that the path exists and its permissions",
                Self::Archive { .. } => "give the all.zip of one ecosystem in OSV format",
                Self::Index { .. } => "import the archives again: ringfence advisories import ZIP…",
            }
            .to_owned(),
        )
    }
}
