//! The report as SARIF 2.1.0 (OASIS standard), for code hosts and editors.
//!
//! Skips are notifications of the invocation: a consumer that shows results only must not be the
//! reason that a gap goes unseen, so the number of skips also stands in the run's properties.

use crate::report::ScanReport;
use ringfence_core::finding::{Finding, Subject};
use ringfence_core::severity::Severity;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The report as a SARIF log with one run.
pub fn sarif(report: &ScanReport) -> Value {
    let mut rules: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in &report.findings {
        rules.entry(finding.rule.as_str()).or_insert(finding);
    }
    let index: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(n, id)| (*id, n)).collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|f| result(f, index.get(f.rule.as_str()).copied(), report.is_waived(f)))
        .collect();
    let coverage = &report.verdict.coverage;
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "ringfence",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.values().map(|f| rule(f)).collect::<Vec<_>>(),
            }},
            "columnKind": "utf16CodeUnits",
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications(report),
            }],
            "results": results,
            "properties": {
                "decision": report.verdict.decision,
                "reasons": report.verdict.reasons,
                "projectDigest": report.project_digest,
                "bytesSeen": coverage.bytes_seen,
                "bytesUnderstood": coverage.bytes_understood,
                "skips": coverage.skips.len(),
            },
        }],
    })
}

fn rule(finding: &Finding) -> Value {
    // One finding speaks for its rule; what differs between findings stands in each result.
    let help = format!(
        "{}\n\nFix: {}\n\nUntil then: {}",
        finding.impact, finding.fix, finding.mitigation
    );
    let mut rule = json!({
        "id": finding.rule,
        "name": finding.rule.as_str().replace('/', "-"),
        "shortDescription": {"text": generic_title(finding)},
        "fullDescription": {"text": finding.impact},
        "help": {"text": help},
        "defaultConfiguration": {"level": level(finding.severity)},
        "properties": {"tags": finding.tags, "security-severity": score(finding)},
    });
    if let (Some(url), Some(object)) = (finding.references.first(), rule.as_object_mut()) {
        object.insert("helpUri".to_owned(), json!(url));
    }
    rule
}

fn generic_title(finding: &Finding) -> &str {
    match finding.subject {
        Subject::Component { .. } => finding.rule.as_str(),
        _ => finding.title.split(": ").next().unwrap_or(&finding.title),
    }
}

fn result(finding: &Finding, index: Option<usize>, waived: bool) -> Value {
    let message = format!("{}. {} Fix: {}", finding.title, finding.impact, finding.fix);
    let accepted = json!({"kind": "external", "status": "accepted"});
    let suppressions = if waived { vec![accepted] } else { Vec::new() };
    json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": {"text": message},
        "locations": [location(&finding.subject)],
        "partialFingerprints": {"ringfence/v1": finding.fingerprint},
        "suppressions": suppressions,
        "properties": {
            "severity": finding.severity,
            "confidence": finding.confidence,
            "cvss": finding.cvss,
            "evidence": finding.evidence,
            "mitigation": finding.mitigation,
            "references": finding.references,
            "tags": finding.tags,
        },
    })
}

fn location(subject: &Subject) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(subject.path())}});
    let region = match subject {
        Subject::Model {
            member,
            offset: Some(offset),
            ..
        } if member.is_empty() => Some(json!({"byteOffset": offset, "byteLength": 1})),
        _ => subject.line().map(|line| json!({"startLine": line})),
    };
    if let (Some(region), Some(object)) = (region, physical.as_object_mut()) {
        object.insert("region".to_owned(), region);
    }
    let name = match subject {
        Subject::Source { symbol, .. } => symbol.clone(),
        Subject::Model { member, .. } if !member.is_empty() => Some(member.clone()),
        Subject::Component { purl, version, .. } => Some(format!("{purl}@{version}")),
        _ => None,
    };
    match name {
        Some(name) => json!({
            "physicalLocation": physical,
            "logicalLocations": [{"fullyQualifiedName": name}],
        }),
        None => json!({"physicalLocation": physical}),
    }
}

fn notifications(report: &ScanReport) -> Vec<Value> {
    let skips = report.verdict.coverage.skips.iter().map(|s| {
        json!({
            "level": "warning",
            "descriptor": {"id": format!("admit/skip/{}", s.reason)},
            "message": {"text": format!("{} was not looked at: {} ({} octets)", s.path, s.reason, s.bytes)},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri(&s.path)}}}],
        })
    });
    let stale = report
        .verdict
        .coverage
        .data_age
        .iter()
        .filter(|a| a.stale)
        .map(|a| {
            json!({
                "level": "warning",
                "descriptor": {"id": "admit/stale-data"},
                "message": {"text": format!("{} is {} days old", a.name, a.days)},
            })
        });
    skips.chain(stale).collect()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// The score that code hosts sort by: the published one, else the middle of the rating's range.
fn score(finding: &Finding) -> String {
    let tenths = finding.cvss.as_ref().map_or(
        match finding.severity {
            Severity::Critical => 95,
            Severity::High => 80,
            Severity::Medium => 55,
            Severity::Low => 20,
            Severity::Info => 0,
        },
        |c| c.tenths,
    );
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A relative reference (RFC 3986): a colon in the first part would make it a scheme.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_relative_references() {
        assert_eq!(uri("a b/c:d.py"), "a%20b/c%3Ad.py");
    }

    #[test]
    fn levels_follow_severity() {
        assert_eq!(level(Severity::Critical), "error");
        assert_eq!(level(Severity::Medium), "warning");
        assert_eq!(level(Severity::Info), "note");
    }
}
