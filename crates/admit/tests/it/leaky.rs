//! The examples: one with four planted faults, one without.

use crate::tree::{NOW, repository};
use ringfence_admit::{ScanOptions, ScanReport, scan};
use ringfence_core::severity::Severity;
use ringfence_core::verdict::Decision;
use std::collections::BTreeSet;

fn example(name: &str) -> ScanReport {
    let path = repository().join("examples").join(name);
    scan(&path, &ScanOptions::at(NOW), &mut |_| {}).expect("a report")
}

#[test]
fn the_four_planted_faults_are_found_and_nothing_else() {
    let report = example("leaky");
    assert_eq!(report.verdict.decision, Decision::Deny);
    let kinds: BTreeSet<(&str, Option<u32>)> = report
        .findings
        .iter()
        .map(|f| (f.subject.path(), f.subject.line()))
        .collect();
    let expected = [
        ("assistant.py", Some(24)),
        ("assistant.py", Some(92)),
        ("model.pkl", None),
        ("requirements.txt", Some(2)),
    ];
    let seen: Vec<String> = report.findings.iter().map(|f| f.title.clone()).collect();
    assert_eq!(kinds, BTreeSet::from(expected), "{seen:#?}");
    assert_eq!(report.findings.len(), 4, "{seen:#?}");
    for finding in &report.findings {
        assert!(finding.severity >= Severity::High, "{}", finding.title);
        for text in [
            &finding.title,
            &finding.impact,
            &finding.fix,
            &finding.mitigation,
        ] {
            assert!(!text.is_empty(), "{}", finding.rule);
        }
    }
    assert_eq!(report.inventory.models.len(), 1);
    assert!(
        report.verdict.coverage.skips.is_empty(),
        "{:?}",
        report.verdict.coverage.skips
    );
}

#[test]
fn the_planted_key_is_nowhere_in_the_report() {
    let report = example("leaky");
    let text = serde_json::to_string(&report).expect("JSON");
    assert!(!text.contains("Q3RFNZ7LK2WXVDHT"));
}

/// The control off: the same assistant without the faults comes in.
#[test]
fn the_honest_example_has_no_findings() {
    let report = example("helpdesk");
    let seen: Vec<String> = report.findings.iter().map(|f| f.title.clone()).collect();
    assert!(seen.is_empty(), "{seen:#?}");
    assert_ne!(
        report.verdict.decision,
        Decision::Deny,
        "{:?}",
        report.verdict.reasons
    );
}
