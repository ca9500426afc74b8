//! Why a request is refused or fails: one code, one status, one next step each.
//!
//! INVARIANT: no text of a request, an answer or a key is in any of these.

use ringfence_core::error::{ErrorCode, Explain};
use ringfence_core::ids::RuleId;
use ringfence_net::NetError;

/// An error of the gateway, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// No such route.
    #[error("this gateway has no such route")]
    RouteUnknown,
    /// An engine's endpoint that is closed here.
    #[error("this endpoint of the engine is closed")]
    RouteClosed,
    /// The route exists, for another method.
    #[error("the route takes another method")]
    Method,
    /// No key was sent.
    #[error("no API key was sent")]
    KeyMissing,
    /// The text is not a key: a typo, or a key of another service.
    #[error("the API key is mistyped or not a key of this service")]
    KeyMalformed,
    /// The key is unknown, or its secret is wrong.
    #[error("the API key is not known")]
    KeyUnknown,
    /// The key's time is over.
    #[error("the API key has expired")]
    KeyExpired,
    /// The key was revoked.
    #[error("the API key was revoked")]
    KeyRevoked,
    /// Too many failed attempts.
    #[error("too many failed attempts with API keys from this address")]
    BackOff {
        /// Milliseconds until the next attempt is looked at.
        retry_ms: u64,
    },
    /// The breaker of this caller is open.
    #[error("the breaker of this caller is open")]
    Breaker,
    /// Too many requests in a minute.
    #[error("more requests a minute than this caller may send")]
    RateLimit {
        /// Milliseconds until one more passes.
        retry_ms: u64,
    },
    /// The log takes no slot.
    #[error("the request could not be recorded, so it was refused")]
    Record,
    /// Not strict JSON, or not the shape of the protocol.
    #[error("the request is not acceptable: {0}")]
    Malformed(String),
    /// The body is too long or broke off.
    #[error("the request body could not be read")]
    Body(#[source] NetError),
    /// The prompt shield found something.
    #[error("the prompt shield refused the request")]
    ShieldBlocked(RuleId),
    /// Personal data, where the policy says block.
    #[error("the request holds personal data that the policy refuses")]
    PiiBlocked(RuleId),
    /// Content that cannot be looked at.
    #[error("the request holds content that cannot be scanned: {0}")]
    NotScanned(String),
    /// The answer held something that the policy stops.
    #[error("the answer was stopped by the output filter")]
    OutputBlocked(RuleId),
    /// No upstream speaks this protocol.
    #[error("the engine behind this gateway does not speak the protocol of this route")]
    Protocol,
    /// The upstream cannot be reached or broke off.
    #[error("the engine behind this gateway does not answer")]
    UpstreamDown(#[source] NetError),
    /// The upstream took too long.
    #[error("the engine behind this gateway took too long")]
    UpstreamSlow(#[source] NetError),
    /// The upstream failed on its own account.
    #[error("the engine behind this gateway failed with status {0}")]
    UpstreamFailed(u16),
    /// The upstream's answer cannot be understood, so it cannot be filtered.
    #[error("the engine's answer could not be understood: {0}")]
    UpstreamMalformed(&'static str),
    /// The stream ended before its end.
    #[error("the engine's stream ended before its end")]
    UpstreamCut,
    /// No app of that name for this caller.
    #[error("no such app for this caller")]
    AppUnknown,
    /// The app does not answer.
    #[error("the app does not answer")]
    AppDown,
    /// Something inside went wrong; the request is denied.
    #[error("an internal check failed, so the request was refused")]
    Internal,
}

impl GatewayError {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::RouteUnknown | Self::AppUnknown => 404,
            Self::Method => 405,
            Self::RouteClosed
            | Self::ShieldBlocked(_)
            | Self::PiiBlocked(_)
            | Self::NotScanned(_) => 403,
            Self::KeyMissing
            | Self::KeyMalformed
            | Self::KeyUnknown
            | Self::KeyExpired
            | Self::KeyRevoked => 401,
            Self::BackOff { .. } | Self::RateLimit { .. } => 429,
            Self::Breaker | Self::Record => 503,
            Self::Body(NetError::TooLong { .. }) => 413,
            Self::Body(NetError::Timeout { .. }) => 408,
            Self::Malformed(_) | Self::Body(_) => 400,
            Self::Protocol => 501,
            Self::UpstreamSlow(_) => 504,
            Self::OutputBlocked(_)
            | Self::UpstreamDown(_)
            | Self::UpstreamFailed(_)
            | Self::UpstreamMalformed(_)
            | Self::UpstreamCut
            | Self::AppDown => 502,
            Self::Internal => 500,
        }
    }

    /// The word in `error.type` of `OpenAI`'s shape.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ShieldBlocked(_)
            | Self::PiiBlocked(_)
            | Self::NotScanned(_)
            | Self::OutputBlocked(_) => "ringfence_blocked",
            _ => match self.status() {
                401 => "authentication_error",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                _ => "ringfence_unavailable",
            },
        }
    }

    /// The rule that spoke, if one did.
    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::ShieldBlocked(rule) | Self::PiiBlocked(rule) | Self::OutputBlocked(rule) => {
                Some(rule)
            }
            _ => None,
        }
    }

    /// Milliseconds after which trying again makes sense.
    pub fn retry_ms(&self) -> Option<u64> {
        match self {
            Self::BackOff { retry_ms } | Self::RateLimit { retry_ms } => Some(*retry_ms),
            Self::Breaker | Self::Record => Some(1_000),
            _ => None,
        }
    }

    /// Whether a control refused, rather than something failing.
    pub fn is_denial(&self) -> bool {
        !matches!(
            self,
            Self::UpstreamDown(_)
                | Self::UpstreamSlow(_)
                | Self::UpstreamFailed(_)
                | Self::UpstreamMalformed(_)
                | Self::UpstreamCut
                | Self::AppDown
                | Self::Internal
                | Self::Protocol
        )
    }

    /// An upstream call that went wrong.
    pub fn of_upstream(error: NetError) -> Self {
        match error {
            NetError::Timeout { .. } => Self::UpstreamSlow(error),
            NetError::FrameTooLong { .. } | NetError::TooLong { .. } => {
                Self::UpstreamMalformed("it is longer than the limit")
            }
            other => Self::UpstreamDown(other),
        }
    }
}

impl Explain for GatewayError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::RouteUnknown => "run/route-unknown",
            Self::RouteClosed => "run/route-closed",
            Self::Method => "run/method",
            Self::KeyMissing => "run/key-missing",
            Self::KeyMalformed => "run/key-malformed",
            Self::KeyUnknown => "run/key-unknown",
            Self::KeyExpired => "run/key-expired",
            Self::KeyRevoked => "run/key-revoked",
            Self::BackOff { .. } => "run/key-back-off",
            Self::Breaker => "run/breaker-open",
            Self::RateLimit { .. } => "run/rate-limit",
            Self::Record => "run/not-recorded",
            Self::Malformed(_) => "run/request-malformed",
            Self::Body(_) => "run/request-body",
            Self::ShieldBlocked(_) => "run/shield-blocked",
            Self::PiiBlocked(_) => "run/pii-blocked",
            Self::NotScanned(_) => "run/not-scanned",
            Self::OutputBlocked(_) => "run/output-blocked",
            Self::Protocol => "run/protocol-unsupported",
            Self::UpstreamDown(_) => "run/upstream-down",
            Self::UpstreamSlow(_) => "run/upstream-slow",
            Self::UpstreamFailed(_) => "run/upstream-failed",
            Self::UpstreamMalformed(_) => "run/upstream-malformed",
            Self::UpstreamCut => "run/upstream-cut",
            Self::AppUnknown => "run/app-unknown",
            Self::AppDown => "run/app-down",
            Self::Internal => "run/internal",
        })
    }

    fn help(&self) -> Option<String> {
        Some(
            match self {
                Self::RouteUnknown | Self::RouteClosed | Self::Method => {
                    "open are: POST /v1/chat/completions, GET /v1/models, POST /api/chat, \
                     POST /api/generate, GET /api/tags, /apps/PROJECT/"
                }
                Self::KeyMissing => "send it as `Authorization: Bearer rf_…`",
                Self::KeyMalformed => "copy the key whole, from rf_ to its last character",
                Self::KeyUnknown | Self::KeyExpired | Self::KeyRevoked => {
                    "ask the operator for a new one: ringfence key create"
                }
                Self::BackOff { .. } => "wait as long as retry-after says, then send a valid key",
                Self::Breaker => "ask the operator to look: ringfence case list",
                Self::RateLimit { .. } => "wait as long as retry-after says",
                Self::Record => "ask the operator to look at the recorder: ringfence ps",
                Self::Malformed(_) => "send one JSON object without duplicate keys",
                Self::Body(_) => "send the whole body at once, at most 4 MiB",
                Self::ShieldBlocked(_) => {
                    "rephrase, or ask the operator about the rule that is named"
                }
                Self::PiiBlocked(_) => "leave the personal data out",
                Self::NotScanned(_) => {
                    "send text only, or ask the operator to allow it: guard.unscanned"
                }
                Self::OutputBlocked(_) => "ask the operator about the rule that is named",
                Self::Protocol => "use /v1/chat/completions, or run Ollama behind this gateway",
                Self::UpstreamDown(_) | Self::UpstreamCut => {
                    "ask the operator to look at the engine: ringfence doctor"
                }
                Self::UpstreamSlow(_) => "try again; the engine may be loading a model",
                Self::UpstreamFailed(_) | Self::UpstreamMalformed(_) => {
                    "ask the operator to look at the log of the engine"
                }
                Self::AppUnknown => "look at the names of the apps: ringfence ps",
                Self::AppDown => "ask the operator to look at it: ringfence logs",
                Self::Internal => "report it with the request id",
            }
            .to_owned(),
        )
    }
}
