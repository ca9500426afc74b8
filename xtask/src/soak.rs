//! Long runs that `test` only holds a short version of.

use crate::Outcome;
use crate::cargo::{root, visibly};
use std::process::Command;

/// Runs one by name.
pub(crate) fn run(name: &str) -> Outcome {
    match name {
        "crash" => {
            build()?;
            visibly(
                Command::new("cargo")
                    .current_dir(root())
                    .args([
                        "test",
                        "--release",
                        "-p",
                        "ringfence-e2e",
                        "--",
                        "--exact",
                        "privileged::crash_loop",
                        "--nocapture",
                    ])
                    .env("RINGFENCE_BIN", crate::test::release_binary()?)
                    .env("RINGFENCE_CRASH_ROUNDS", "50"),
            )
        }
        "log" => visibly(
            Command::new("cargo")
                .current_dir(root())
                .args(["test", "--release", "--locked", "-p", "ringfence-record"])
                .args(["--test", "it", "--", "--nocapture"])
                .arg("crash::nothing_acknowledged_is_lost")
                .env("RINGFENCE_LOG_LIVES", "2500"),
        ),
        _ => Err(format!("unknown soak {name}; known: crash, log")),
    }
}

/// The binary under test, as it is now.
fn build() -> Outcome {
    visibly(
        Command::new("cargo")
            .current_dir(root())
            .args(["build", "--release", "--locked"]),
    )
}
