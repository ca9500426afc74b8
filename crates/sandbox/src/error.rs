//! What can go wrong on the way to a sandbox and in it, in words for the person who asked.

use ringfence_core::error::{ErrorCode, Explain};
use ringfence_core::isolation::WallState;
use std::io;

/// Why a sandbox could not be made, or stopped answering.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The process that makes sandboxes did not start.
    #[error("the process that makes sandboxes did not start")]
    Launch(#[source] io::Error),
    /// The process that makes sandboxes is gone.
    #[error("the process that makes sandboxes is gone")]
    ZygoteLost,
    /// The description of the sandbox is not acceptable.
    #[error("this sandbox cannot be made: {0}")]
    Spec(String),
    /// One step of building the sandbox failed.
    #[error("the sandbox could not be built: {step} failed")]
    Setup {
        /// Which step.
        step: String,
        /// What the kernel said.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// Walls are missing and the operator did not accept that.
    #[error("{} of the walls of the sandbox {} missing: {}", .0.len(), if .0.len() == 1 { "is" } else { "are" }, names(.0))]
    WallsMissing(Vec<WallState>),
    /// The init inside is gone, and everything with it.
    #[error("the sandbox is gone")]
    InitLost,
    /// The init inside did not answer in time (it may be frozen).
    #[error("the sandbox did not answer within {0} ms")]
    InitSilent(i64),
    /// A program did not get from its fork to its exec: another one inside stopped it.
    #[error("a program could not start in the sandbox because another one inside stops it")]
    ExecStalled,
    /// A program was still there long after it was killed for its time.
    #[error("a program was still there {0} ms after its time was up")]
    ProgramOverdue(u64),
    /// The program is not there.
    #[error("{program}: not found in the sandbox")]
    CommandNotFound {
        /// What was asked for.
        program: String,
    },
    /// The program is there but could not be started.
    #[error("{program}: could not be started in the sandbox")]
    CommandNotExecutable {
        /// What was asked for.
        program: String,
        /// Which step, and what the kernel said.
        reason: String,
    },
    /// Arguments and environment are too long.
    #[error("arguments and environment take {0} octets, more than a sandbox accepts")]
    ExecTooLarge(usize),
    /// Nothing listens on that port inside.
    #[error("nothing answers on port {port} inside the sandbox")]
    ConnectRefused {
        /// The port.
        port: u16,
        /// What the kernel said.
        reason: String,
    },
    /// The attack suite was asked for by another user than root.
    #[error("the attack suite makes namespaces and canaries that only root can make")]
    SuiteNeedsRoot,
    /// Another system call failed.
    #[error("{what} failed")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn names(walls: &[WallState]) -> String {
    walls
        .iter()
        .map(|w| w.wall.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Turns a failed system call into an error that says what was being done.
pub(crate) fn doing(what: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::Io { what, source }
}

impl Explain for SandboxError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Launch(_) => "run/zygote-launch",
            Self::ZygoteLost => "run/zygote-lost",
            Self::Spec(_) => "run/bad-spec",
            Self::Setup { .. } => "run/sandbox-setup",
            Self::WallsMissing(_) => "run/walls-missing",
            Self::InitLost => "run/sandbox-lost",
            Self::InitSilent(_) => "run/sandbox-silent",
            Self::ExecStalled => "run/exec-stalled",
            Self::ProgramOverdue(_) => "run/program-overdue",
            Self::CommandNotFound { .. } => "run/command-not-found",
            Self::CommandNotExecutable { .. } => "run/command-not-executable",
            Self::ExecTooLarge(_) => "run/exec-too-large",
            Self::ConnectRefused { .. } => "run/connect-refused",
            Self::SuiteNeedsRoot => "run/attack-suite-needs-root",
            Self::Io { .. } => "run/system-call",
        })
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Setup { reason, .. }
            | Self::CommandNotExecutable { reason, .. }
            | Self::ConnectRefused { reason, .. } => Some(reason.clone()),
            Self::WallsMissing(walls) => {
                let lines: Vec<String> = walls
                    .iter()
                    .map(|w| format!("{}: {}", w.wall.as_str(), w.evidence))
                    .collect();
                Some(lines.join("; "))
            }
            other => std::error::Error::source(other).map(ToString::to_string),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Launch(_) => {
                "check that the ringfence program file can be read and memory is free".to_owned()
            }
            Self::ZygoteLost | Self::InitLost => {
                "start it again; if it happens twice, look at the kernel log for out-of-memory \
                 kills: dmesg | tail"
                    .to_owned()
            }
            Self::Spec(_) => "correct the description and start again".to_owned(),
            Self::Setup { remedy, .. } => remedy.clone(),
            Self::WallsMissing(walls) => {
                let first = walls
                    .iter()
                    .find_map(|w| w.remedy.clone())
                    .unwrap_or_default();
                format!("{first}; or accept a weaker fence with --accept-weaker")
            }
            Self::InitSilent(_) | Self::ExecStalled | Self::ProgramOverdue(_) => {
                "the sandbox is ended; start it again, and look at what its programs do to each \
                 other if it happens twice"
                    .to_owned()
            }
            Self::CommandNotFound { .. } => {
                "programs under /usr and in mounted directories can be run; give a full path or \
                 mount the directory that holds it"
                    .to_owned()
            }
            Self::CommandNotExecutable { .. } => {
                "check that it is an executable file and the working directory exists inside"
                    .to_owned()
            }
            Self::ExecTooLarge(_) => "pass long input on standard input or in a file".to_owned(),
            Self::ConnectRefused { .. } => {
                "wait until the program inside listens on 127.0.0.1 at this port".to_owned()
            }
            Self::SuiteNeedsRoot => "run it as root: sudo ringfence run --attack-suite".to_owned(),
            Self::Io { .. } => "run ringfence doctor to see what this host lacks".to_owned(),
        })
    }
}
