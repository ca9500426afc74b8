//! Why the supervisor could not start, or why everything ended.

use crate::error::SandboxError;
use ringfence_core::error::{ErrorCode, Explain};
use ringfence_sys::lock::LockError;
use std::io;
use std::path::PathBuf;

/// What ends a supervisor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The state directory is taken or cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A part of the state directory cannot be made safe.
    #[error("{} cannot be prepared: {what}", .path.display())]
    State {
        /// Which part.
        path: PathBuf,
        /// What was wrong or failed.
        what: String,
    },
    /// A role could not be started.
    #[error("the {name} role could not be started")]
    Spawn {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A role died too often.
    #[error("the {name} role died {times} times within {seconds} s, last {how}")]
    KeepsDying {
        /// Which.
        name: String,
        /// How often.
        times: usize,
        /// In which time.
        seconds: u64,
        /// How it died the last time.
        how: String,
    },
    /// A role that is not restarted died.
    #[error("the {name} role ended {how}")]
    Died {
        /// Which.
        name: String,
        /// How.
        how: String,
    },
    /// The zygote failed, or another step of making sandboxes.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A system call of the supervisor itself failed.
    #[error("the supervisor failed while {doing}")]
    System {
        /// What it did.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Explain for SupervisorError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Lock(error) => error.code(),
            Self::State { .. } => ErrorCode("run/state-unsafe"),
            Self::Spawn { .. } => ErrorCode("run/role-not-started"),
            Self::KeepsDying { .. } => ErrorCode("run/role-keeps-dying"),
            Self::Died { .. } => ErrorCode("run/role-died"),
            Self::Sandbox(error) => error.code(),
            Self::System { .. } => ErrorCode("run/supervisor-failed"),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.why(),
            Self::Sandbox(error) => error.why(),
            other => std::error::Error::source(other).map(ToString::to_string),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.help(),
            Self::Sandbox(error) => error.help(),
            Self::State { .. } => {
                Some("remove it or give another directory with --state".to_owned())
            }
            Self::KeepsDying { .. } | Self::Died { .. } => {
                Some("read its last lines with `ringfence logs`, then start again".to_owned())
            }
            Self::Spawn { .. } | Self::System { .. } => {
                Some("run `ringfence doctor`; it names what this host lacks".to_owned())
            }
        }
    }
}

/// Turns a failed system call into an error that says what was being done.
pub(super) fn doing<E: Into<io::Error>>(doing: &'static str) -> impl Fn(E) -> SupervisorError {
    move |source| SupervisorError::System {
        doing,
        source: source.into(),
    }
}
