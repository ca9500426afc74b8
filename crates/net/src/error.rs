//! What can go wrong between two sockets. Texts name addresses and limits, never contents.

use ringfence_core::error::{ErrorCode, Explain};
use std::net::SocketAddr;

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Another program listens on the address.
    #[error("{0} is already taken by another program")]
    PortTaken(SocketAddr),
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address or path.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// A key or certificate file cannot be read, written or made.
    #[error("cannot keep the local certificate authority in {path}")]
    Tls {
        /// The file or directory.
        path: String,
        /// What the system or the library said.
        reason: String,
    },
    /// A configured address is not `http://host:port`.
    #[error("{0:?} is not an upstream address")]
    Address(String),
    /// The other end does not answer the connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The configured address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The other end took too long.
    #[error("{what} took longer than {limit_ms} ms")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit_ms: u64,
    },
    /// The other end broke off or did not speak HTTP/1.1.
    #[error("the connection broke off or did not speak HTTP/1.1")]
    Broken,
    /// A body is longer than its limit.
    #[error("a body is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A frame of a stream is longer than its limit.
    #[error("a frame of the stream is longer than {limit} octets")]
    FrameTooLong {
        /// The limit.
        limit: usize,
    },
    /// Credentials for a signed request are not usable. Nothing of them is in the text.
    #[error("the credentials cannot sign a request: {0}")]
    Credentials(&'static str),
    /// An object store is configured in a way that cannot work or is not safe.
    #[error("the object store is misconfigured: {0}")]
    StoreConfig(&'static str),
    /// An object store refused an operation.
    #[error("the object store refused to {operation}: {code} (status {status})")]
    StoreRefused {
        /// What was asked.
        operation: &'static str,
        /// The status of the answer.
        status: u16,
        /// The error code of the answer, or `no-code`.
        code: String,
    },
    /// An object store answered what its interface does not allow.
    #[error("the object store answered {0}")]
    StoreAnswer(&'static str),
}

impl Explain for NetError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::PortTaken(_) => "run/port-taken",
            Self::Bind { .. } => "run/bind",
            Self::Tls { .. } => "run/tls-files",
            Self::Address(_) => "run/upstream-address",
            Self::Connect { .. } => "run/connect",
            Self::Timeout { .. } => "run/timeout",
            Self::Broken => "run/connection-broken",
            Self::TooLong { .. } => "run/body-too-long",
            Self::FrameTooLong { .. } => "run/frame-too-long",
            Self::Credentials(_) => "record/bucket-credentials",
            Self::StoreConfig(_) => "record/bucket-config",
            Self::StoreRefused { .. } => "record/bucket-refused",
            Self::StoreAnswer(_) => "record/bucket-answer",
        })
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::PortTaken(address) => Some(address.to_string()),
            Self::Bind { address, .. } | Self::Connect { address, .. } => Some(address.clone()),
            Self::Tls { path, .. } => Some(path.clone()),
            _ => None,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Bind { reason, .. } | Self::Connect { reason, .. } | Self::Tls { reason, .. } => {
                Some(reason.clone())
            }
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::PortTaken(address) => format!(
                "find the program with `ss -ltnp 'sport = :{}'`, or configure another port",
                address.port()
            ),
            Self::Bind { .. } => "configure an address of this machine and a free port".to_owned(),
            Self::Tls { path, .. } => {
                format!("check that you own {path} and that its disk has room")
            }
            Self::Address(_) => "write it as http://127.0.0.1:11434".to_owned(),
            Self::Connect { address, .. } => {
                format!("start the engine at {address}, then try again")
            }
            Self::Timeout { .. } => "look at the load of the engine, or raise the limit".to_owned(),
            Self::Broken => "look at the log of the engine".to_owned(),
            Self::TooLong { .. } | Self::FrameTooLong { .. } => {
                "send or ask for less at once".to_owned()
            }
            Self::Credentials(_) => {
                "give the access key and the secret key as the store's administrator shows them"
                    .to_owned()
            }
            Self::StoreConfig(_) => {
                "look at the keys under [record.worm] in docs/configuration.md".to_owned()
            }
            Self::StoreRefused { code, .. } => match code.as_str() {
                "RequestTimeTooSkewed" => "set the clock of this machine".to_owned(),
                "SignatureDoesNotMatch" | "InvalidAccessKeyId" => {
                    "compare the credentials and the region with those of the bucket".to_owned()
                }
                "NoSuchBucket" => {
                    "make the bucket with Object Lock, or correct its name".to_owned()
                }
                _ => "allow these credentials to put objects and retention, and to read both"
                    .to_owned(),
            },
            Self::StoreAnswer(_) => {
                "check that the endpoint is an S3 interface and no proxy changes its answers"
                    .to_owned()
            }
        })
    }
}
