//! The supervisor's channel: what the server role may ask, and what it is told.
//!
//! One message is one packet of [`ringfence_sys::seqpacket`], JSON, with descriptors beside it. The
//! two ends are always the same binary, so reading is as strict as can be: a message is accepted
//! only if writing it again gives the same octets. That refuses unknown fields at any depth,
//! duplicate keys, other spellings and other versions at once.
//! INVARIANT: the supervisor parses nothing that a hosted program wrote.

use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::{
    Attestation, Door, Ended, ExecRequest, ProcessEvidence, SandboxStats, Spec,
};
use ringfence_sys::seqpacket::PACKET_BYTES_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of this shape.
pub const PROTOCOL_VERSION: u32 = 0;
/// LIMIT: octets of one message.
pub const MESSAGE_BYTES_MAX: usize = PACKET_BYTES_MAX;
/// LIMIT: doors of one sandbox, so that their sockets fit beside one message with two streams for
/// each program that a new server takes over.
pub const DOORS_MAX: usize = 8;

/// A question of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`PROTOCOL_VERSION`].
    pub v: u32,
    /// Chosen by the server; the answer repeats it.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What the server may ask. Descriptors never travel in this direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Start a sandbox. Answer: [`Answer::Started`], with one listening socket for each door.
    Start {
        /// What it shall be.
        spec: Spec,
    },
    /// Start a program. Answer: [`Answer::Running`], with stdin, stdout and stderr.
    Exec {
        /// Where.
        sandbox: SandboxId,
        /// What.
        request: ExecRequest,
    },
    /// Connect to a port inside. Answer: [`Answer::Connected`], with the socket.
    Connect {
        /// Where.
        sandbox: SandboxId,
        /// The port on 127.0.0.1 inside.
        port: u16,
    },
    /// Signal a program and all that it started. Answer: [`Answer::Done`].
    Signal {
        /// Where.
        sandbox: SandboxId,
        /// Which program.
        exec_id: u64,
        /// The signal number.
        signal: i32,
    },
    /// Stop or continue every process. Answer: [`Answer::Done`].
    Freeze {
        /// Which.
        sandbox: SandboxId,
        /// Stop or continue.
        frozen: bool,
    },
    /// The processes. Answer: [`Answer::Evidence`], in one or more parts.
    Evidence {
        /// Which.
        sandbox: SandboxId,
    },
    /// Counters. Answer: [`Answer::Stats`].
    Stats {
        /// Which.
        sandbox: SandboxId,
    },
    /// End it. Answer: [`Answer::Done`] when nothing of it is left.
    Close {
        /// Which.
        sandbox: SandboxId,
    },
    /// Take over every live sandbox. Answer: one [`Answer::Adopted`] for each, then
    /// [`Answer::Done`].
    Adopt,
}

/// What the supervisor sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// [`PROTOCOL_VERSION`].
    pub v: u32,
    /// The content.
    pub body: Body,
}

/// An answer or a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// The answer to a question.
    Reply {
        /// Which question.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Something happened.
    Notice {
        /// What.
        notice: Notice,
    },
}

/// Answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// A sandbox runs; beside it one listening socket for each door, in this order.
    Started {
        /// What it found when it attacked itself.
        attestation: Attestation,
        /// The doors.
        doors: Vec<Door>,
    },
    /// A program runs; beside it its stdin, stdout and stderr.
    Running {
        /// Its number.
        exec_id: u64,
    },
    /// Beside it the connected socket.
    Connected,
    /// Done; nothing more to say.
    Done,
    /// Processes; more parts follow while `more`.
    Evidence {
        /// This part.
        processes: Vec<ProcessEvidence>,
        /// Whether another part follows.
        more: bool,
    },
    /// Counters.
    Stats {
        /// The counters.
        stats: SandboxStats,
    },
    /// One live sandbox; beside it its door sockets, then stdout and stderr of each program.
    Adopted {
        /// What it was asked to be.
        spec: Spec,
        /// What it found when it attacked itself.
        attestation: Attestation,
        /// The programs that run in it and whose streams are beside this message.
        execs: Vec<u64>,
    },
    /// It could not be done.
    Failed {
        /// Why.
        error: Explained,
    },
}

/// What happens without being asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    /// A program ended.
    Ended {
        /// Where.
        sandbox: SandboxId,
        /// Which.
        exec_id: u64,
        /// How.
        ended: Ended,
    },
    /// A sandbox is gone without having been closed.
    SandboxLost {
        /// Which.
        sandbox: SandboxId,
        /// What is known of the cause.
        reason: String,
    },
}

/// Why a packet is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message has at most {MESSAGE_BYTES_MAX} octets, this one has {0}")]
    TooLong(usize),
    /// Not a message of this version, or not written as this version writes it.
    #[error("not a message of protocol version {PROTOCOL_VERSION}: {0}")]
    Malformed(String),
    /// Another number of descriptors than the message needs.
    #[error("the message needs {needed} descriptors and has {found}")]
    Descriptors {
        /// How many it needs.
        needed: usize,
        /// How many came.
        found: usize,
    },
}

impl ProtocolError {
    /// In words, for crossing a port.
    pub fn explained(&self) -> Explained {
        Explained::new(
            ErrorCode("run/supervisor-protocol"),
            self.to_string(),
            "make the request smaller; if it is not large, restart the service: its parts differ",
        )
    }
}

/// The octets of a message.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ProtocolError> {
    let bytes = serde_json::to_vec(message).map_err(|e| ProtocolError::Malformed(e.to_string()))?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(ProtocolError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

/// Reads a question.
pub fn decode_request(bytes: &[u8]) -> Result<Request, ProtocolError> {
    let request: Request = decode(bytes)?;
    check_version(request.v)?;
    Ok(request)
}

/// Reads what the supervisor sent.
pub fn decode_message(bytes: &[u8]) -> Result<Message, ProtocolError> {
    let message: Message = decode(bytes)?;
    check_version(message.v)?;
    Ok(message)
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, ProtocolError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(ProtocolError::TooLong(bytes.len()));
    }
    let message: T =
        serde_json::from_slice(bytes).map_err(|e| ProtocolError::Malformed(e.to_string()))?;
    if encode(&message)? != bytes {
        return Err(ProtocolError::Malformed(
            "the octets are not how it is written".to_owned(),
        ));
    }
    Ok(message)
}

fn check_version(v: u32) -> Result<(), ProtocolError> {
    if v == PROTOCOL_VERSION {
        Ok(())
    } else {
        Err(ProtocolError::Malformed(format!("it is of version {v}")))
    }
}

impl Message {
    /// An answer.
    pub fn reply(id: u64, answer: Answer) -> Self {
        Self {
            v: PROTOCOL_VERSION,
            body: Body::Reply { id, answer },
        }
    }

    /// A notice.
    pub fn notice(notice: Notice) -> Self {
        Self {
            v: PROTOCOL_VERSION,
            body: Body::Notice { notice },
        }
    }
}

/// LIMIT: octets of evidence in one part, below [`MESSAGE_BYTES_MAX`] by more than its frame.
const EVIDENCE_PART_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 1024;

/// Splits evidence into answers that each fit one message. A single process that would not fit is
/// kept with its stack cut.
pub fn evidence_parts(processes: Vec<ProcessEvidence>) -> Vec<Answer> {
    let mut parts: Vec<Vec<ProcessEvidence>> = vec![Vec::new()];
    let mut used = 0;
    for mut process in processes {
        let mut size = evidence_bytes(&process);
        while size > EVIDENCE_PART_BYTES_MAX && process.kernel_stack.pop().is_some() {
            size = evidence_bytes(&process);
        }
        if size > EVIDENCE_PART_BYTES_MAX {
            "(longer than a message)".clone_into(&mut process.command);
            size = evidence_bytes(&process);
        }
        if used + size > EVIDENCE_PART_BYTES_MAX {
            parts.push(Vec::new());
            used = 0;
        }
        used += size;
        if let Some(last) = parts.last_mut() {
            last.push(process);
        }
    }
    let count = parts.len();
    let numbered = parts.into_iter().zip(1..);
    numbered
        .map(|(processes, n)| Answer::Evidence {
            processes,
            more: n < count,
        })
        .collect()
}

fn evidence_bytes(process: &ProcessEvidence) -> usize {
    // One octet more for the comma between two.
    serde_json::to_vec(process).map_or(usize::MAX / 2, |v| v.len() + 1)
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
