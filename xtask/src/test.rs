//! Everything that must hold, in one command, with a table at the end. What was left out is
//! shown; what could not run is a failure.

use crate::cargo::{root, visibly};
use crate::doctor::works;
use crate::{Outcome, doctor, setup, tidy};
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
    report.step("set-up", || {
        if has("--yes") {
            setup::run(&["--yes"])
        } else {
            Ok(())
        }
    });
    report.step("doctor", || doctor::run(flags));
    report.step("tidy", tidy::run);
    report.step("format", || {
        visibly(cargo().args(["fmt", "--all", "--check"]))
    });
    report.step("lints", || {
        visibly(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))
    });
    report.step("build (release)", || {
        visibly(cargo().args(["build", "--release", "--locked"]))
    });
    report.step("unit and laws", || {
        tests(&units(has("--no-privileged")), has("--no-privileged"))
    });
    for (name, flag) in [
        ("services", "--no-services"),
        ("privileged", "--no-privileged"),
        ("browser", "--no-browser"),
    ] {
        if has(flag) {
            report.skip(name, flag);
        } else {
            report.step(name, || whole_binary(name));
        }
    }
    report.step("documentation commands", || {
        if has("--no-privileged") {
            println!("the commands that host something need root and are left out");
        }
        whole_binary("documentation")
    });
    report.print()
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command
}

fn units(no_privileged: bool) -> Vec<String> {
    let mut filter = "not package(ringfence-e2e)".to_owned();
    if no_privileged {
        filter.push_str(" and not test(/privileged/)");
    }
    vec!["--workspace".to_owned(), "-E".to_owned(), filter]
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
        return plain_tests(arguments);
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
fn plain_tests(arguments: &[String]) -> Outcome {
    let package = arguments
        .iter()
        .position(|a| a == "-p")
        .and_then(|i| arguments.get(i + 1));
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]);
    match package {
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
