//! The `[gate]` table of `ringfence.toml`.

use ringfence_core::severity::Severity;
use serde::{Deserialize, Serialize};

/// What old advisory data does to the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StaleRule {
    /// The verdict is at best incomplete; the caller may start and must say so.
    #[default]
    Warn,
    /// The project does not come in.
    Deny,
}

/// What a part that was not looked at does to the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncompleteRule {
    /// The verdict is at best incomplete; the caller may start and must say so.
    #[default]
    Warn,
    /// The project does not come in.
    Deny,
}

/// Thresholds of the gate, with the defaults that hold when the table is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// The lowest severity that denies. Default `high`.
    pub deny_at: Severity,
    /// What stale advisory data does. Default `warn`.
    pub stale: StaleRule,
    /// What an incomplete look does. Default `warn`.
    pub incomplete: IncompleteRule,
    /// Days after which advisory data is stale. Default 30.
    pub advisories_age_days_max: u32,
    /// Further Rego modules as (name, text), in the order they are added. Filled from the
    /// project's own policy files by the caller; each must be in `package ringfence.gate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_rego: Vec<(String, String)>,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            deny_at: Severity::High,
            stale: StaleRule::Warn,
            incomplete: IncompleteRule::Warn,
            advisories_age_days_max: 30,
            extra_rego: Vec::new(),
        }
    }
}
