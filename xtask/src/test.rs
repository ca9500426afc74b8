//! Everything that must hold, in one command, with a table at the end. What was left out is
//! shown; what could not run is a failure.

use crate::cargo::{root, visibly};
use crate::doctor::works;
use crate::{Outcome, doctor, setup, tidy};
use std::io::IsTerminal as _;
use std::process::Command;
use std::time::Instant;

/// How a step ended.
enum Status {
    Ran,
    Failed(String),
    Skipped(String),
}

struct Report {
    rows: Vec<(String, Status, u64)>,
}

impl Report {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) {
        println!("\n== {name}");
        let start = Instant::now();
        let status = match work() {
            Ok(()) => Status::Ran,
            Err(message) => {
                eprintln!("error: {message}");
                Status::Failed(message.lines().next().unwrap_or_default().to_owned())
            }
        };
        self.rows
            .push((name.to_owned(), status, start.elapsed().as_secs()));
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.rows
            .push((name.to_owned(), Status::Skipped(why.to_owned()), 0));
    }

    fn print(&self) -> Outcome {
        println!("\n{:24} {:8} {:>6}  why", "step", "result", "s");
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for (name, status, seconds) in &self.rows {
            let (word, why) = match status {
                Status::Ran => {
                    passed += 1;
                    ("ran", "")
                }
                Status::Failed(why) => {
                    failed += 1;
                    ("FAILED", why.as_str())
                }
                Status::Skipped(why) => {
                    skipped += 1;
                    ("skipped", why.as_str())
                }
            };
            println!("{name:24} {word:8} {seconds:>6}  {why}");
        }
        println!("\nsteps: {passed} passed, {failed} failed, {skipped} skipped");
        if failed == 0 {
            Ok(())
        } else {
            Err(format!("{failed} steps failed"))
        }
    }
}

/// Runs everything.
pub(crate) fn run(flags: &[&str]) -> Outcome {
    let known = ["--yes", "--no-privileged", "--no-browser", "--no-services"];
    if let Some(unknown) = flags.iter().find(|f| !known.contains(f)) {
        return Err(format!(
            "unknown flag {unknown}; known: {}",
            known.join(" ")
        ));
    }
    let has = |flag: &str| flags.contains(&flag);
    let mut report = Report { rows: Vec::new() };
    if has("--yes") || std::io::stdin().is_terminal() {
        let answer: &[&str] = if has("--yes") { &["--yes"] } else { &[] };
        report.step("set-up", || setup::run(answer));
    } else {
        report.skip("set-up", "nobody to ask: --yes installs what is missing");
    }
    report.step("doctor", || doctor::run(flags));
    report.step("tidy", tidy::run);
    report.step("format", || {
        visibly(cargo().args(["fmt", "--all", "--check"]))
    });
    report.step("lints", || visibly(cargo().args(CLIPPY)));
    report.step("build (release)", || {
        visibly(cargo().args(["build", "--release", "--locked"]))
    });
    report.step("unit and laws", || units(has("--no-privileged")));
    if has("--no-services") {
        report.skip("state on PostgreSQL", "--no-services");
    } else {
        report.step("state on PostgreSQL", || postgres(has("--no-privileged")));
    }
    report.step("independent verifier", || {
        visibly(
            Command::new("python3")
                .current_dir(root())
                .arg("tools/test_verify_log.py"),
        )
    });
    report.step("doctests", || {
        visibly(cargo().args(["test", "--doc", "--workspace", "--locked", "--quiet"]))
    });
    if has("--no-privileged") {
        report.skip(
            "unit tests with root",
            "--no-privileged: each says so and returns",
        );
    }
    whole_binaries(&mut report, &has);
    report.print()
}

const CLIPPY: [&str; 8] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--locked",
    "--quiet",
    "--",
    "-D",
    "warnings",
];

/// The areas of `crates/e2e`. All but the documentation host something, which needs root.
fn whole_binaries(report: &mut Report, has: &dyn Fn(&str) -> bool) {
    let areas = [
        ("services", "--no-services"),
        ("privileged", "--no-privileged"),
        ("browser", "--no-browser"),
    ];
    for (name, flag) in areas {
        if has(flag) {
            report.skip(name, flag);
        } else if has("--no-privileged") {
            report.skip(name, "--no-privileged: hosting needs root");
        } else {
            report.step(name, || whole_binary(name));
        }
    }
    report.step("documentation commands", || whole_binary("documentation"));
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command
}

fn units(no_privileged: bool) -> Outcome {
    let filter = "not package(ringfence-e2e)".to_owned();
    tests(
        &["--workspace".to_owned(), "-E".to_owned(), filter],
        no_privileged,
    )
}

/// The packages that the feature `scale` changes.
const SCALE: [&str; 6] = [
    "-p",
    "ringfence-store",
    "-p",
    "ringfence-server",
    "--features",
    "ringfence-store/scale,ringfence-server/scale",
];

/// What the feature `scale` adds: its lints, and the suite of the state on a private server.
fn postgres(no_privileged: bool) -> Outcome {
    let mut lints = cargo();
    lints.arg("clippy").args(SCALE);
    visibly(lints.args([
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    let filter = ["-E", "package(ringfence-store) or test(/store/)"];
    let words: Vec<String> = SCALE
        .iter()
        .chain(&filter)
        .map(|w| (*w).to_owned())
        .collect();
    tests(&words, no_privileged)
}

/// The tests of `crates/e2e` whose module has this name; they drive the release binary.
fn whole_binary(area: &str) -> Outcome {
    let filter = format!("test(/^{area}::/)");
    tests(
        &["-p".into(), "ringfence-e2e".into(), "-E".into(), filter],
        false,
    )
}

fn tests(arguments: &[String], no_privileged: bool) -> Outcome {
    if !works("cargo", &["nextest", "--version"]) {
        return plain_tests(arguments, no_privileged);
    }
    let mut command = cargo();
    command
        .args(["nextest", "run", "--locked", "--no-fail-fast"])
        .args(arguments);
    command.env("RINGFENCE_BIN", release_binary()?);
    if no_privileged {
        command.env("RINGFENCE_TEST_NO_PRIVILEGED", "1");
    }
    visibly(&mut command)
}

/// Without nextest: cargo's own runner on the same packages, one process each.
fn plain_tests(arguments: &[String], no_privileged: bool) -> Outcome {
    let features = arguments.iter().position(|a| a == "--features");
    let package = arguments
        .iter()
        .position(|a| a == "-p")
        .and_then(|i| arguments.get(i + 1));
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]);
    match package {
        Some(_) if features.is_some() => {
            // With their features, but without the filter, which only nextest knows.
            let known = features.map_or(0, |i| i + 2);
            command.args(arguments.iter().take(known));
        }
        Some(name) => {
            let area = arguments.last().map_or("", |f| f.as_str());
            let area = area.trim_start_matches("test(/^").trim_end_matches("/)");
            command.args(["-p", name, "--", area, "--test-threads=2"]);
        }
        None => {
            command.args(["--workspace", "--exclude", "ringfence-e2e"]);
        }
    }
    command.env("RINGFENCE_BIN", release_binary()?);
    if no_privileged {
        command.env("RINGFENCE_TEST_NO_PRIVILEGED", "1");
    }
    visibly(&mut command)
}

/// Where cargo puts the release binary, whatever the target directory is.
pub(crate) fn release_binary() -> Result<std::path::PathBuf, String> {
    let metadata = crate::cargo::metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .ok_or("cargo names no target directory")?;
    Ok(std::path::Path::new(target).join("release/ringfence"))
}
