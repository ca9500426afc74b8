//! What stops a scan altogether. A single file never does: it becomes a skip.

use ringfence_core::error::{ErrorCode, Explain};
use ringfence_policy::PolicyError;
use ringfence_supply::SupplyError;
use std::path::PathBuf;

/// Why a project cannot be scanned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The project's directory cannot be opened.
    #[error("the project directory cannot be opened")]
    Root {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The `[gate]` table or a policy file is wrong.
    #[error("the gate cannot be compiled")]
    Gate(#[source] PolicyError),
    /// The advisory index cannot be used.
    #[error("the advisories cannot be read")]
    Advisories(#[source] SupplyError),
}

impl Explain for AdmitError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Root { .. } => ErrorCode("admit/root-unreadable"),
            Self::Gate(inner) => inner.code(),
            Self::Advisories(inner) => inner.code(),
        }
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Root { path, .. } => Some(path.display().to_string()),
            Self::Gate(inner) => inner.place(),
            Self::Advisories(inner) => inner.place(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Root { .. } => Some("name a directory that this user can read".to_owned()),
            Self::Gate(inner) => inner.help(),
            Self::Advisories(inner) => inner.help(),
        }
    }
}
