//! The `[gateway]` part of the configuration. Every field has a default that is safe.

use ringfence_core::detection::GuardAction;
use serde::{Deserialize, Serialize};

/// LIMIT: requests a minute that can be configured; the exact window keeps one moment for each.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 60_000;

/// The whole part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// What is looked at and what is done about it.
    pub guard: GuardConfig,
    /// How much each caller may ask.
    pub limits: LimitConfig,
    /// Where requests go.
    pub upstream: UpstreamConfig,
}

/// What is looked at and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// On a hit of the prompt shield in what people and programs write: `block`, `tag` or `pass`.
    pub shield: GuardAction,
    /// The same for what tools and documents bring in.
    pub shield_tools: GuardAction,
    /// On personal data on the way in: `redact`, `block`, `tag` or `pass`.
    pub pii_inbound: GuardAction,
    /// On personal data on the way out: `redact`, `block` or `pass`.
    pub pii_outbound: GuardAction,
    /// On content that cannot be looked at (images, audio, files): `block` or `pass`.
    pub unscanned: GuardAction,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            shield: GuardAction::Block,
            shield_tools: GuardAction::Block,
            pii_inbound: GuardAction::Redact,
            pii_outbound: GuardAction::Redact,
            unscanned: GuardAction::Block,
        }
    }
}

impl GuardConfig {
    /// Everything passes: what the tests show the attacks with.
    pub fn off() -> Self {
        Self {
            shield: GuardAction::Pass,
            shield_tools: GuardAction::Pass,
            pii_inbound: GuardAction::Pass,
            pii_outbound: GuardAction::Pass,
            unscanned: GuardAction::Pass,
        }
    }
}

/// How much each caller may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// Requests a minute of a new key, unless it is made with another number.
    pub key_requests_per_minute: u32,
    /// Requests a minute of one sandbox through its door.
    pub door_requests_per_minute: u32,
    /// Requests a minute of one person in the console.
    pub console_requests_per_minute: u32,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            key_requests_per_minute: 120,
            door_requests_per_minute: 600,
            console_requests_per_minute: 600,
        }
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// `auto` looks for an engine on loopback and falls back to the demo engine, `demo` takes the
    /// demo engine, anything else is an address such as `http://127.0.0.1:11434`.
    pub address: String,
    /// Milliseconds to connect.
    pub connect_ms: u64,
    /// Milliseconds until the first answer; a model may load first.
    pub head_ms: u64,
    /// Milliseconds between two parts of an answer.
    pub idle_ms: u64,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            address: "auto".to_owned(),
            connect_ms: ringfence_net::client::CONNECT_MS_MAX,
            head_ms: ringfence_net::client::HEAD_MS_MAX,
            idle_ms: ringfence_net::client::IDLE_MS_MAX,
        }
    }
}

impl UpstreamConfig {
    /// The same as the client of `net` takes it.
    pub fn client_limits(&self) -> ringfence_net::client::ClientLimits {
        ringfence_net::client::ClientLimits {
            connect_ms: self.connect_ms,
            head_ms: self.head_ms,
            idle_ms: self.idle_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_safe_default_and_an_unknown_key_is_refused() {
        let config: GatewayConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, GatewayConfig::default());
        assert_eq!(config.guard.shield, GuardAction::Block);
        assert_eq!(config.guard.unscanned, GuardAction::Block);
        let unknown = serde_json::from_str::<GatewayConfig>(r#"{"guard":{"shields":"pass"}}"#);
        assert!(unknown.is_err());
    }
}
