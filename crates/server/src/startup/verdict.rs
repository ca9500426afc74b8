//! The verdict of a start: looked at, decided, recorded, and made into cases.

use super::Options;
use crate::admission::{self, Scan, ScanRequest};
use crate::app::{App, broken};
use crate::{hosted, incidents};
use ringfence_admit::{ActiveWaiver, ScanReport};
use ringfence_core::error::Explained;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::ports::Isolation;
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_core::verdict::Decision;
use ringfence_respond::waivers::DAYS_NOW_MAX;
use ringfence_store::{admissions, waivers};
use std::path::Path;
use std::sync::Arc;

/// Scans, decides, records, and opens cases.
pub(super) async fn reach(
    app: &Arc<App>,
    options: &Options,
    isolation: &dyn Isolation,
    folder: &Path,
) -> Result<ScanReport, Explained> {
    let now = app.now();
    let waivers = in_force(app, now).await?;
    let scan = Scan {
        project: &app.project,
        id: hosted::fresh_id(app, "scan-")?,
        folder,
        advisories: options.advisories.clone(),
        request: ScanRequest {
            gate: app.config.gate.clone(),
            waivers,
            now,
        },
        strictness: options.strictness,
    };
    let report = match admission::scan(isolation, scan).await {
        Ok(report) => report,
        Err(error) => {
            // That nobody could look is a decision against the project, and as such in the log.
            let leaf = app
                .leaf("service", LeafAction::AdmissionDecide, "unseen")
                .outcome(Outcome::Failed)
                .with("decision", Decision::Deny.as_str())
                .with("error", error.code.clone());
            app.record(leaf).await?;
            return Err(error);
        }
    };
    let decision = report.verdict.decision;
    let outcome = if decision == Decision::Deny {
        Outcome::Denied
    } else {
        Outcome::Ok
    };
    let coverage = &report.verdict.coverage;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let leaf = app
        .leaf(
            "service",
            LeafAction::AdmissionDecide,
            report.project_digest.to_string(),
        )
        .outcome(outcome)
        .with("decision", decision.as_str())
        .with("findings", count(report.findings.len()))
        .with("skips", count(coverage.skips.len()));
    app.record(leaf).await?;
    let row = admissions::Admission {
        project: app.project.clone(),
        time: now,
        digest: report.project_digest,
        verdict: report.verdict.clone(),
        report: serde_json::to_value(&report)
            .map_err(|e| broken("a report cannot be written").because(e))?,
    };
    app.state(move |store| store.write(move |tx| admissions::add(tx, &row)))
        .await?;
    incidents::from_report(app, &report).await?;
    Ok(report)
}

/// The waivers that a scan must know, with the earlier end for what pages somebody.
async fn in_force(app: &App, now: Timestamp) -> Result<Vec<ActiveWaiver>, Explained> {
    let project = app.project.clone();
    let rows = app
        .state(move |store| store.read(|view| waivers::in_force(view, &project, now)))
        .await?;
    let active = rows.into_iter().map(|w| ActiveWaiver {
        rule: w.rule.to_string(),
        fingerprint: w.fingerprint,
        until: w.until,
        until_urgent: w.created.plus_ms(DAYS_NOW_MAX * DAY_MS),
    });
    Ok(active.collect())
}
