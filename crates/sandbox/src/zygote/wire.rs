//! The messages between owner, zygote and init: JSON in packets, descriptors beside them.
//!
//! All three are this same binary, so there is one version and no negotiation. Hosted programs
//! never see these sockets.

use crate::error::SandboxError;
use ringfence_core::isolation::{Ended, ExecRequest, Spec, Wall};
use ringfence_sys::seqpacket::PACKET_BYTES_MAX;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Owner to zygote.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ZygoteRequest {
    /// Clone a sandbox; beside it the init's end of its socket.
    Start(Box<Spec>),
}

/// Zygote to owner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ZygoteReply {
    /// It is there.
    Ready,
    /// Cloned; beside it the pidfd.
    Cloned,
    /// Not cloned.
    Failed(Failure),
}

/// The step of a program that did not get from its fork to its exec in time.
pub(crate) const STALLED: &str = "starting in time";

/// A step that failed, with the number of the error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Which step.
    pub step: String,
    /// `errno`, when the kernel said it.
    pub errno: Option<i32>,
    /// What the kernel said.
    pub reason: String,
}

impl Failure {
    /// From a failed call.
    pub(crate) fn new(step: &str, error: &std::io::Error) -> Self {
        Self {
            step: step.to_owned(),
            errno: error.raw_os_error(),
            reason: error.to_string(),
        }
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        let remedy = crate::host::setup_remedy(&failure.step, failure.errno);
        Self::Setup {
            step: failure.step,
            reason: failure.reason,
            remedy,
        }
    }
}

/// Owner to init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitRequest {
    /// The cgroups hold you: build the rest.
    Go,
    /// Start a program; beside it its three standard streams.
    Exec {
        /// Its number.
        exec_id: u64,
        /// What.
        request: ExecRequest,
    },
    /// Connect to a port inside.
    Connect {
        /// The port.
        port: u16,
    },
    /// Send a signal to a program and what it started.
    Signal {
        /// Which program.
        exec_id: u64,
        /// Which signal.
        signal: i32,
    },
}

/// Init to owner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitReply {
    /// All stands and has been attacked; beside it the doors in order.
    Ready {
        /// What the probes found.
        findings: Vec<ProbeFinding>,
    },
    /// Building failed; the init is gone.
    Failed(Failure),
    /// The program runs.
    Executed,
    /// The program could not be started.
    NotExecuted(Failure),
    /// Connected; beside it the socket.
    Connected,
    /// Not connected.
    NotConnected(Failure),
    /// A program ended.
    Ended {
        /// Which.
        exec_id: u64,
        /// How.
        ended: Ended,
    },
}

/// One probe and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeFinding {
    /// Which wall it attacked.
    pub wall: Wall,
    /// Whether the wall held.
    pub held: bool,
    /// What was tried and what came back.
    pub evidence: String,
}

/// To bytes, refused above the size of a packet.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, SandboxError> {
    let bytes = serde_json::to_vec(message).map_err(|e| SandboxError::Spec(e.to_string()))?;
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(SandboxError::ExecTooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// From bytes; `None` for anything else, the empty end of the socket included.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
