//! The `[gate]` table as Rego v1 text.
//!
//! The text is written so that a missing or misspelt field of the input denies: conditions that
//! excuse are negated equalities (`not finding.waived == true`), never bare references.

use crate::config::{GateConfig, IncompleteRule, StaleRule};
use ringfence_core::severity::Severity;

/// What stands whatever the table says. `@RANK@`, `@DENY_AT@` and `@DAYS@` are filled in.
const FRAME: &str = r#"# Compiled from the [gate] table of ringfence.toml.
package ringfence.gate

import rego.v1

rank := {"info": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}

# A finding at @DENY_AT@ or above denies, unless a waiver covers it.
deny contains msg if {
	some finding in input.findings
	not finding.waived == true
	not rank[finding.severity] < @RANK@
	msg := sprintf("%s (%s) in %s", [finding.rule, finding.severity, finding.path])
}

# Data older than @DAYS@ days proves nothing about what was published since.
fresh(age) if {
	age.stale == false
	age.days <= @DAYS@
}

stale contains msg if {
	some age in input.coverage.data_age
	not fresh(age)
	msg := sprintf("%s is %d days old, more than @DAYS@ or of unknown date", [age.name, age.days])
}

incomplete contains msg if {
	not input.coverage.skips == 0
	msg := sprintf("%d parts were not looked at", [input.coverage.skips])
}

incomplete contains msg if some msg in stale

incomplete contains "coverage is not stated" if not input.coverage.complete in {true, false}
"#;

/// The end: exactly one verdict, or none at all, which denies.
const VERDICT: &str = r#"
verdict := "deny" if count(deny) > 0

verdict := "incomplete" if {
	count(deny) == 0
	count(incomplete) > 0
}

verdict := "allow" if {
	count(deny) == 0
	count(incomplete) == 0
}
"#;

/// Rules of the compiled text that a policy file may not define.
pub(crate) const RESERVED: [&str; 4] = ["verdict", "rank", "fresh", "stale"];

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
        Severity::Critical => 4,
    }
}

/// Writes the text for a table; equal tables give equal text.
pub(crate) fn compile(config: &GateConfig) -> String {
    let mut text = FRAME
        .replace("@RANK@", &rank(config.deny_at).to_string())
        .replace("@DENY_AT@", config.deny_at.as_str())
        .replace("@DAYS@", &config.advisories_age_days_max.to_string());
    if config.stale == StaleRule::Deny {
        text.push_str("\n# stale = \"deny\"\ndeny contains msg if some msg in stale\n");
    }
    if config.incomplete == IncompleteRule::Deny {
        text.push_str("\n# incomplete = \"deny\"\ndeny contains msg if some msg in incomplete\n");
    }
    text.push_str(VERDICT);
    text
}
