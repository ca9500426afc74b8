//! Fuzzing with libFuzzer on the stable toolchain: the compiler's own coverage pass, no sanitizer.
//!
//! The targets stand in `fuzz/`, a workspace of its own, each with a seed that is valid. What is found stays in
//! `fuzz/artifacts/TARGET`, and becomes a test before it is mended.

use crate::Outcome;
use crate::cargo::{root, visibly};
use std::process::Command;

/// Every target, in the order they are run.
const TARGETS: [&str; 6] = ["checkpoint", "note", "tile_path", "bundle", "proof", "leaf"];
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Seconds for one target unless another number is given.
const SECONDS: u64 = 60;
/// What libFuzzer needs to see which code ran. Given for one target triple, so that build scripts
/// and macros stay as they are.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// `fuzz TARGET|all [--seconds N]`.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let (name, seconds) = match words {
        [name] => (*name, SECONDS),
        [name, "--seconds", number] => {
            let seconds = number
                .parse()
                .map_err(|_| format!("not seconds: {number}"))?;
            (*name, seconds)
        }
        _ => {
            return Err(format!(
                "fuzz TARGET [--seconds N]; known: all, {}",
                TARGETS.join(", ")
            ));
        }
    };
    let chosen: Vec<&str> = TARGETS
        .into_iter()
        .filter(|target| name == "all" || name == *target)
        .collect();
    if chosen.is_empty() {
        return Err(format!(
            "unknown target {name}; known: all, {}",
            TARGETS.join(", ")
        ));
    }
    for target in chosen {
        build(target)?;
        fuzz(target, seconds)?;
    }
    Ok(())
}

fn build(target: &str) -> Outcome {
    visibly(
        Command::new("cargo")
            .current_dir(root().join("fuzz"))
            .args([
                "build",
                "--release",
                "--locked",
                "--target",
                TRIPLE,
                "--bin",
                target,
            ])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", FLAGS),
    )
}

fn fuzz(target: &str, seconds: u64) -> Outcome {
    let folder = root().join("fuzz");
    let (corpus, artifacts) = (
        folder.join("corpus").join(target),
        folder.join("artifacts").join(target),
    );
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made).map_err(|e| format!("{}: {e}", made.display()))?;
    }
    visibly(
        Command::new(folder.join(format!("target/{TRIPLE}/release/{target}")))
            .current_dir(&folder)
            .arg(&corpus)
            .arg(folder.join("seeds").join(target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg("-print_final_stats=1"),
    )
}
