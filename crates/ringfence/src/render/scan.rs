//! A scan for people: findings with place, reason and fix, then the verdict with its coverage.

use super::table::neutral;
use ringfence_admit::ScanReport;
use ringfence_core::finding::Finding;
use ringfence_core::verdict::Decision;

/// LIMIT: skips that are listed one by one; the rest is counted.
const SKIPS_LISTED_MAX: usize = 20;

/// Prints findings and verdict.
pub(crate) fn print(report: &ScanReport) {
    for finding in &report.findings {
        print_finding(finding);
    }
    let coverage = &report.verdict.coverage;
    let skips = &coverage.skips;
    for skip in skips.iter().take(SKIPS_LISTED_MAX) {
        println!(
            "skipped {} ({}, {} octets)",
            neutral(&skip.path),
            skip.reason,
            skip.bytes
        );
    }
    if skips.len() > SKIPS_LISTED_MAX {
        println!(
            "skipped {} more; --json lists all",
            skips.len() - SKIPS_LISTED_MAX
        );
    }
    for age in coverage.data_age.iter().filter(|a| a.stale) {
        println!("stale: {} is {} days old", age.name, age.days);
    }
    println!("verdict: {}", report.verdict.decision.as_str());
    for reason in &report.verdict.reasons {
        println!("  because {}", neutral(reason));
    }
    println!(
        "coverage: {} octets seen, {} understood, {} skipped; {} items, {} findings",
        coverage.bytes_seen,
        coverage.bytes_understood,
        coverage.bytes_skipped(),
        coverage.items,
        report.findings.len()
    );
    if report.verdict.decision == Decision::Deny
        && let Some(finding) = report.findings.first()
    {
        println!(
            "help: mend the findings above, or accept one for a time: ringfence waive {} --until 30d --reason \"…\"",
            finding.rule
        );
    }
}

fn print_finding(finding: &Finding) {
    let subject = &finding.subject;
    let line = subject.line().map(|l| format!(":{l}")).unwrap_or_default();
    println!(
        "{}[{}]: {}",
        finding.severity,
        finding.rule,
        neutral(&finding.title)
    );
    println!("  at {}{line}", neutral(subject.path()));
    println!("  why: {}", neutral(&finding.impact));
    if !finding.evidence.is_empty() {
        println!("  seen: {}", neutral(&finding.evidence));
    }
    println!("  fix: {}", neutral(&finding.fix));
    println!("  until then: {}", neutral(&finding.mitigation));
    println!();
}
