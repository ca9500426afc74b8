//! What the gate is asked about, in the shape that Rego sees as `input`.

use crate::config::GateConfig;
use ringfence_core::finding::Finding;
use ringfence_core::severity::Severity;
use ringfence_core::time::Timestamp;
use ringfence_core::verdict::Coverage;
use serde_json::{Value, json};

/// LIMIT: findings of one evaluation; more is a denial, because a policy that was not evaluated
/// over all of them said nothing.
pub const FINDINGS_MAX: usize = 50_000;

/// A finding as far as a policy may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateFinding {
    /// The rule that fired.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// The stable fingerprint.
    pub fingerprint: String,
    /// The path it is about.
    pub path: String,
    /// Whether a waiver that has not ended covers it.
    pub waived: bool,
}

impl GateFinding {
    /// What a policy may see of a finding.
    pub fn of(finding: &Finding, waived: bool) -> Self {
        Self {
            rule: finding.rule.as_str().to_owned(),
            severity: finding.severity,
            fingerprint: finding.fingerprint.as_str().to_owned(),
            path: finding.subject.path().to_owned(),
            waived,
        }
    }
}

/// Everything the gate decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateInput {
    /// All findings, waived ones included.
    pub findings: Vec<GateFinding>,
    /// How completely the project was looked at.
    pub coverage: Coverage,
    /// The moment of the decision; a policy reads no other clock.
    pub now: Timestamp,
}

impl GateInput {
    /// The `input` document. Its fields are listed once more in [`crate::check`], which refuses
    /// policies that read any other; a test keeps both equal.
    pub(crate) fn document(&self, config: &GateConfig) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|f| {
                json!({
                    "rule": f.rule,
                    "severity": f.severity,
                    "fingerprint": f.fingerprint,
                    "path": f.path,
                    "waived": f.waived,
                })
            })
            .collect();
        let ages: Vec<Value> = self
            .coverage
            .data_age
            .iter()
            .map(|a| json!({"name": a.name, "days": a.days, "stale": a.stale}))
            .collect();
        json!({
            "findings": findings,
            "coverage": {
                "complete": self.coverage.is_complete(),
                "items": self.coverage.items,
                "skips": self.coverage.skips.len(),
                "bytes_seen": self.coverage.bytes_seen,
                "bytes_understood": self.coverage.bytes_understood,
                "bytes_skipped": self.coverage.bytes_skipped(),
                "data_age": ages,
            },
            "thresholds": {
                "deny_at": config.deny_at,
                "advisories_age_days_max": config.advisories_age_days_max,
            },
            "now": self.now.to_string(),
        })
    }
}
