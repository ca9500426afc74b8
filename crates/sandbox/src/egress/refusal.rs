//! Why a connection out did not come about, in words and as a code.

use ringfence_core::error::{ErrorCode, Explain};
use ringfence_net::guard::Kind;
use ringfence_net::hello::HelloError;
use ringfence_net::host::HostError;
use ringfence_net::reach::DialError;

/// Why a connection or a question about a name was not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The operator or a breaker closed the way out.
    #[error("the way out of this sandbox is closed")]
    Closed,
    /// An address was named, or connected to, in place of a host.
    #[error("an address was given in place of a host name")]
    Address,
    /// The host is not on the list.
    #[error("the host is not on the list of this project")]
    HostNotListed,
    /// The host is, the port is not.
    #[error("port {0} of this host is not on the list of this project")]
    PortNotListed(u16),
    /// A `Host` header that is missing, repeated, or of another host.
    #[error("the Host header is not the host that was asked for")]
    HostMismatch,
    /// A TLS hello for another host: domain fronting.
    #[error("the TLS server name is not the host that was asked for")]
    NameMismatch,
    /// What came is not a TLS hello with one name in the clear.
    #[error(transparent)]
    Hello(HelloError),
    /// The name leads to an address that may not be reached.
    #[error("the name leads to an address that is {}", .0.as_str())]
    Forbidden(Kind),
    /// The bytes of this hour are spent.
    #[error("this sandbox has spent its octets of this hour")]
    BytesSpent,
    /// Too many connections, at the same time or in this minute.
    #[error("this sandbox has too many connections")]
    TooMany,
    /// More hosts than are recorded for one sandbox.
    #[error("this sandbox has reached too many different hosts")]
    TooManyHosts,
    /// Not a request that a proxy takes.
    #[error("not a request for a proxy")]
    Malformed,
    /// The first use of the host could not be recorded.
    #[error("the first use of a host could not be recorded")]
    Unrecorded,
    /// The name has no address.
    #[error("the host name has no address")]
    Unresolved,
    /// The host does not answer.
    #[error("the host does not answer")]
    Unreachable,
    /// Nothing came for too long.
    #[error("nothing was sent for too long")]
    Idle,
}

impl Refusal {
    /// Whether a control said no, rather than the network or the program.
    pub(super) fn is_denial(&self) -> bool {
        !matches!(
            self,
            Self::Unresolved | Self::Unreachable | Self::Unrecorded | Self::Idle
        )
    }

    /// The status with which a proxy says it.
    pub(super) fn status(&self) -> http::StatusCode {
        match self {
            Self::Malformed => http::StatusCode::BAD_REQUEST,
            Self::BytesSpent | Self::TooMany => http::StatusCode::TOO_MANY_REQUESTS,
            Self::Unrecorded | Self::Closed => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Unresolved | Self::Unreachable => http::StatusCode::BAD_GATEWAY,
            Self::Idle => http::StatusCode::GATEWAY_TIMEOUT,
            _ => http::StatusCode::FORBIDDEN,
        }
    }
}

impl Explain for Refusal {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Closed => "run/egress-closed",
            Self::Address => "run/egress-address",
            Self::HostNotListed => "run/egress-host",
            Self::PortNotListed(_) => "run/egress-port",
            Self::HostMismatch => "run/egress-host-header",
            Self::NameMismatch => "run/egress-fronting",
            Self::Hello(_) => "run/egress-hello",
            Self::Forbidden(_) => "run/egress-forbidden",
            Self::BytesSpent => "run/egress-bytes",
            Self::TooMany => "run/egress-connections",
            Self::TooManyHosts => "run/egress-hosts",
            Self::Malformed => "run/egress-malformed",
            Self::Unrecorded => "run/egress-unrecorded",
            Self::Unresolved => "run/egress-unresolved",
            Self::Unreachable => "run/egress-unreachable",
            Self::Idle => "run/egress-idle",
        })
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::Closed => "open it again when the cause is known",
            Self::Address => "use the host's name, and list it under [egress] hosts",
            Self::HostNotListed => {
                "list the host under [egress] hosts, if it is meant to be reached"
            }
            Self::PortNotListed(_) => "list the port with the host: hosts = [\"HOST:PORT\"]",
            Self::HostMismatch | Self::NameMismatch => {
                "ask for the host that is meant; the name must be the same everywhere"
            }
            Self::Hello(_) => "use TLS with a server name, without encrypted ClientHello",
            Self::Forbidden(_) => "list a private network under [egress] networks, if it is yours",
            Self::BytesSpent => "wait, or raise [egress] mib_per_hour_max",
            Self::TooMany => "wait, or raise the limits of connections under [egress]",
            Self::TooManyHosts => "list the hosts by name instead of a suffix",
            Self::Malformed => {
                "send CONNECT host:port, or a request with an absolute http:// address"
            }
            Self::Unrecorded => "look at the recorder: ringfence status",
            Self::Unresolved => "check the name, and the servers under [egress] resolvers",
            Self::Unreachable | Self::Idle => "try again later",
        };
        Some(help.to_owned())
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Address => Self::Address,
            HostError::Malformed => Self::Malformed,
        }
    }
}

impl From<HelloError> for Refusal {
    fn from(error: HelloError) -> Self {
        Self::Hello(error)
    }
}

impl From<DialError> for Refusal {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Lookup(_) => Self::Unresolved,
            DialError::Forbidden(_, kind) => Self::Forbidden(kind),
            DialError::Unreachable(_) => Self::Unreachable,
        }
    }
}
