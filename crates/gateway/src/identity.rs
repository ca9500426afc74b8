//! Who asks. A door is identified by the socket that the host bound inside a sandbox; everyone
//! else by a key.

use crate::backoff::BackOff;
use crate::config::LimitConfig;
use crate::error::GatewayError;
use crate::keys::{self, KeyDirectory};
use crate::routes::Matched;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ringfence_core::event::Target;
use ringfence_core::ids::{KeyId, ProjectId, SandboxId};
use ringfence_core::ports::Clock;
use ringfence_crypto::hmac::HmacKey;
use std::net::SocketAddr;

/// Whom the listener says it is talking to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A sandbox, by the door it came through. Nothing it sends can change that.
    Door {
        /// Whose project.
        project: ProjectId,
        /// Which sandbox.
        sandbox: SandboxId,
    },
    /// Anyone else; needs a key.
    Remote {
        /// From where.
        address: SocketAddr,
    },
    /// A process of this machine over a Unix socket; needs a key as well.
    Local,
    /// A person signed in to the console, whose session the server has verified. Opens apps only.
    Console {
        /// Who.
        user: String,
    },
}

/// Who asks, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As in leaves: `key:…`, `sandbox:…`, `user:…`.
    pub actor: String,
    /// Whose project the request belongs to.
    pub project: ProjectId,
    /// What breaker and limit count by.
    pub target: Target,
    /// How many requests a minute.
    pub requests_per_minute: u32,
}

/// A refused attempt, with what may be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub error: GatewayError,
    /// The key, if the text named one that exists.
    pub key: Option<KeyId>,
    /// Whose project, if that is known.
    pub project: Option<ProjectId>,
}

impl From<GatewayError> for Refused {
    fn from(error: GatewayError) -> Self {
        Self {
            error,
            key: None,
            project: None,
        }
    }
}

/// What is needed to tell who asks.
pub struct Authentication<'a> {
    /// Where keys are kept.
    pub keys: &'a dyn KeyDirectory,
    /// What keys are hashed with.
    pub pepper: &'a HmacKey,
    /// Who failed before.
    pub back_off: &'a BackOff,
    /// What doors and people may send.
    pub limits: &'a LimitConfig,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl Authentication<'_> {
    /// Tells who asks, or refuses.
    pub fn identify(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        matched: &Matched,
    ) -> Result<Identity, Refused> {
        let identity = match peer {
            // A placeholder key that came along is not even read.
            Peer::Door { project, sandbox } => Identity {
                actor: format!("sandbox:{sandbox}"),
                project: project.clone(),
                target: Target::Sandbox(sandbox.clone()),
                requests_per_minute: self.limits.door_requests_per_minute,
            },
            Peer::Remote { address } => self.by_key(Some(*address), headers)?,
            Peer::Local => self.by_key(None, headers)?,
            Peer::Console { user } => self.by_session(user, matched)?,
        };
        match matched {
            // Whether an app of another project exists is nobody's business.
            Matched::App { project, .. } if *project != identity.project => {
                Err(GatewayError::AppUnknown.into())
            }
            _ => Ok(identity),
        }
    }

    fn by_session(&self, user: &str, matched: &Matched) -> Result<Identity, Refused> {
        let Matched::App { project, .. } = matched else {
            return Err(GatewayError::KeyMissing.into());
        };
        Ok(Identity {
            actor: format!("user:{user}"),
            project: project.clone(),
            target: Target::Host,
            requests_per_minute: self.limits.console_requests_per_minute,
        })
    }

    fn by_key(&self, from: Option<SocketAddr>, headers: &HeaderMap) -> Result<Identity, Refused> {
        let Some(text) = bearer(headers)? else {
            return Err(GatewayError::KeyMissing.into());
        };
        let (ip, now_ns) = (from.map(|a| a.ip()), self.clock.monotonic_ns());
        let claimed = keys::claim(text).id;
        let now = self.clock.now();
        // Before the back-off: a key's id is public, and whoever knows it could otherwise lock
        // out its owner from the same address. Looking costs one HMAC whatever is wrong, and a
        // secret of 256 bits needs no wait to be safe from guesses.
        match keys::verify(self.keys, self.pepper, text, now) {
            Ok(record) => {
                self.keys.touch(&record.id, now);
                Ok(Identity {
                    actor: format!("key:{}", record.id),
                    project: record.project,
                    target: Target::Key(record.id),
                    requests_per_minute: record.requests_per_minute,
                })
            }
            Err(error) => {
                let known = claimed.filter(|id| self.keys.lookup(id).is_some());
                if let Err(retry_ms) = self.back_off.check(ip, known.as_ref(), now_ns) {
                    let error = GatewayError::BackOff { retry_ms };
                    return Err(Refused {
                        error,
                        key: known,
                        project: None,
                    });
                }
                self.back_off.failed(ip, known.as_ref(), now_ns);
                let project = known
                    .as_ref()
                    .and_then(|id| self.keys.lookup(id))
                    .map(|r| r.project);
                Err(Refused {
                    error,
                    key: known,
                    project,
                })
            }
        }
    }
}

/// The one bearer token. Two `Authorization` headers could be read in two ways, so they are
/// refused.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, GatewayError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(GatewayError::KeyMalformed);
    }
    let text = value.to_str().map_err(|_| GatewayError::KeyMalformed)?;
    // RFC 9110 section 11.1: the scheme is case-insensitive.
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(GatewayError::KeyMalformed),
    }
}
