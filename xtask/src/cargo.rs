//! Asking cargo, and running programs with their output visible.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The workspace root: xtask's manifest stands one folder below it.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// `cargo metadata` for this platform.
pub(crate) fn metadata() -> Result<Value, String> {
    let text = capture(Command::new("cargo").current_dir(root()).args([
        "metadata",
        "--format-version=1",
        "--filter-platform=x86_64-unknown-linux-gnu",
        "--locked",
    ]))?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata is not JSON: {e}"))
}

/// Unique packages that the product is built of, without its tests.
pub(crate) fn product_packages() -> Result<Vec<String>, String> {
    let text = capture(Command::new("cargo").current_dir(root()).args([
        "tree",
        "-p",
        "ringfence",
        "-e",
        "normal,build",
        "--target",
        "x86_64-unknown-linux-gnu",
        "--prefix",
        "none",
        "--locked",
    ]))?;
    let mut packages: Vec<String> = text
        .lines()
        .map(|l| l.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect();
    packages.sort();
    packages.dedup();
    Ok(packages)
}

/// Runs a program and returns what it printed; its failure is an error.
pub(crate) fn capture(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|e| format!("{shown}: {e}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{shown} ended with {}\n{errors}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("{shown}: {e}"))
}

/// Runs a program whose output goes to the terminal; its failure is an error.
pub(crate) fn visibly(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|e| format!("{shown}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown} ended with {status}"))
    }
}
