//! The promises that need a real host: real walls, real processes, real crashes.
//!
//! Here stand the tests that the threat model names; what belongs to one area stands in its file.

mod admission;
mod attacks;
mod confinement;
mod erasure;
mod faults;
mod health;
mod isolation;
mod life;
mod log;
mod metrics;
mod oneshot;
mod rootless;
mod serving;
mod upstream;
mod witness;
mod worm;

use ringfence_e2e::{Host, Said, binary, workspace};
use std::process::Command;

#[test]
fn selftest_passes() {
    let host = Host::prepare("");
    let project = host.project();
    let said = host
        .run(&["--json", "up", "--selftest", project.to_str().unwrap()])
        .ok();
    let table = said.json();
    assert_eq!(table["passed"], true, "{table}");
    let checks = table["checks"].as_array().unwrap();
    assert!(checks.len() >= 7, "{table}");
    assert!(checks.iter().all(|c| c["passed"] == true), "{table}");
    assert_eq!(host.processes(), [], "the self-test left something running");
    // The same for people.
    let said = host
        .run(&["up", "--selftest", project.to_str().unwrap()])
        .ok();
    assert_eq!(
        said.out.matches(" passed ").count(),
        checks.len(),
        "{said:?}"
    );
}

#[test]
fn leaky_is_refused() {
    let host = Host::prepare("");
    let leaky = workspace().join("examples/leaky");
    let said = host.run(&["up", leaky.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for (rule, place) in admission::PLANTED {
        let head = said
            .out
            .find(&format!("[{rule}]"))
            .unwrap_or_else(|| panic!("{rule}: {said:?}"));
        let finding = said.out[head..].split("\n\n").next().unwrap();
        assert!(
            finding.contains(&format!("at {place}")),
            "{rule}: {finding}"
        );
        for part in ["why: ", "fix: "] {
            assert!(finding.contains(part), "{rule} has no {part:?}: {finding}");
        }
    }
    assert!(said.out.contains("verdict: deny"), "{said:?}");
    assert_eq!(host.processes(), [], "something of a denied project runs");
}

#[test]
fn the_server_is_confined() {
    confinement::of_every_role();
}

#[test]
fn crash_loop() {
    let rounds = std::env::var("RINGFENCE_CRASH_ROUNDS").map_or(3, |n| n.parse().unwrap());
    faults::crash_rounds(rounds);
}

/// Runs the binary in a folder, without a state directory.
fn ringfence(folder: &std::path::Path, arguments: &[&str]) -> Said {
    Said::of(
        &Command::new(binary())
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap(),
    )
}
