//! RESPOND: what now?
//!
//! What ADMIT finds and what WATCH stops becomes a [`cases`] entry: a history of events with one
//! state, a [`tier`] that says how soon somebody must look, and a due date. A rule can be
//! [waived](waivers) for a reason and until a date, never for good. [`alerts`] tell people, and the
//! [`dispatch`]er gets them out of the house, however often the house or the receiver falls over.
//!
//! Every change returns the leaf that proves it; the caller appends it to the log. Nothing here
//! opens a socket: a channel that needs one is handed a [`dispatch::Transport`].
#![forbid(unsafe_code)]

pub mod alerts;
pub mod cases;
pub mod dispatch;
pub mod error;
pub mod lifecycle;
mod opening;
pub mod tier;
pub mod waivers;

pub use alerts::Alert;
pub use cases::{Case, Cases};
pub use dispatch::{Dispatcher, Transport};
pub use error::RespondError;
pub use lifecycle::State;
pub use tier::Tier;
pub use waivers::{Waiver, Waivers};

use ringfence_core::ports::Clock;
use ringfence_store::Store;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A receiver of alert messages over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// What the operator calls it; part of idempotency keys.
    pub name: String,
    /// Where it listens.
    pub url: String,
}

/// The `[alert]` part of the configuration. The signing key of a webhook is a secret and comes
/// apart from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RespondConfig {
    /// Whether alerts are also written as lines to the terminal.
    pub terminal: bool,
    /// Who else is told.
    pub webhooks: Vec<Webhook>,
}

impl Default for RespondConfig {
    fn default() -> Self {
        Self {
            terminal: true,
            webhooks: Vec::new(),
        }
    }
}

/// LIMIT: webhooks of one service.
pub const WEBHOOKS_MAX: usize = 16;
/// LIMIT: characters of a webhook's name.
pub const WEBHOOK_NAME_CHARS_MAX: usize = 40;

/// What all of RESPOND shares. Cheap to clone. Every call on what is made of it blocks on the
/// disk; async callers move it to the blocking pool.
#[derive(Clone)]
pub struct Respond {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) channels: Arc<[String]>,
}

impl Respond {
    /// RESPOND over this state.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        config: &RespondConfig,
    ) -> Result<Self, RespondError> {
        if config.webhooks.len() > WEBHOOKS_MAX {
            return Err(RespondError::Config {
                key: "alert.webhooks",
                reason: format!("at most {WEBHOOKS_MAX}"),
            });
        }
        let mut channels = Vec::new();
        if config.terminal {
            channels.push(dispatch::TERMINAL.to_owned());
        }
        for webhook in &config.webhooks {
            let channel = dispatch::webhook_channel(&webhook.name);
            // The name becomes part of a header: nothing in it may end a line.
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let fits = (1..=WEBHOOK_NAME_CHARS_MAX).contains(&webhook.name.len());
            if !fits || !webhook.name.chars().all(plain) || channels.contains(&channel) {
                return Err(RespondError::Config {
                    key: "alert.webhooks.name",
                    reason: format!(
                        "{:?} is used twice or not 1 to {WEBHOOK_NAME_CHARS_MAX} letters, digits, - and _",
                        webhook.name
                    ),
                });
            }
            channels.push(channel);
        }
        Ok(Self {
            store,
            clock,
            channels: channels.into(),
        })
    }

    /// The cases.
    pub fn cases(&self) -> Cases {
        Cases::new(self.clone())
    }

    /// The waivers.
    pub fn waivers(&self) -> Waivers {
        Waivers::new(self.clone())
    }
}
