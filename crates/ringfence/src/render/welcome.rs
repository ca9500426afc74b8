//! What a person sees when everything runs: the verdict, the walls, where to go, what to try.

use super::table::neutral;
use ringfence_core::verdict::Decision;
use ringfence_server::startup::Running;
use serde_json::json;

/// What a person sees when everything runs.
pub(crate) fn print(running: &Running, program: &str, rootless: bool) {
    let app = &running.app;
    let facts = app.facts();
    if let Some(report) = &running.report {
        let coverage = &report.verdict.coverage;
        println!(
            "verdict: {} ({} findings; {} octets seen, {} skipped)",
            report.verdict.decision.as_str(),
            report.findings.len(),
            coverage.bytes_seen,
            coverage.bytes_skipped()
        );
        if report.verdict.decision == Decision::Incomplete {
            for reason in &report.verdict.reasons {
                println!("  because {}", neutral(reason));
            }
        }
    }
    let standing: Vec<&str> = facts
        .walls
        .iter()
        .filter(|w| w.stands)
        .map(|w| w.wall.as_str())
        .collect();
    println!("walls that stand: {}", standing.join(", "));
    for wall in facts.walls.iter().filter(|w| !w.stands) {
        println!(
            "wall that does NOT stand: {} ({})",
            wall.wall.as_str(),
            wall.evidence
        );
    }
    if rootless {
        println!(
            "started without root: all roles run as one user, so Landlock and not the user id \
             keeps the server from the keys"
        );
    }
    println!("answers come from: {}", facts.upstream);
    println!("gateway: {}", facts.gateway_url);
    println!("console: {}", facts.console_url);
    println!(
        "one-time admin token for the console: {}",
        running.token.danger_expose()
    );
    println!();
    println!("try next:");
    for line in suggestions(running, program) {
        println!("  {line}");
    }
}

/// Three commands that work when pasted.
fn suggestions(running: &Running, program: &str) -> [String; 3] {
    let app = &running.app;
    let facts = app.facts();
    let state = app
        .folder
        .parent()
        .map(|p| p.display().to_string())
        .unwrap_or_default();
    let ring = format!("{program} --state {state}");
    let trust = facts
        .authority
        .map(|path| format!("--cacert {} ", path.display()))
        .unwrap_or_default();
    let question = json!({"question": "What is this project for?"});
    [
        format!(
            "curl -s {trust}-H \"Authorization: Bearer $({ring} key create --name first)\" {}/apps/{}/ask -d '{question}'",
            facts.gateway_url, app.project
        ),
        format!("{ring} status"),
        format!("{ring} log verify"),
    ]
}
