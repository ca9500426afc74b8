//! Measurements and evaluations, run by name: the binaries of `benches/`. Tests never start them.

use crate::Outcome;
use crate::cargo::{root, visibly};
use std::process::Command;

/// Starts `benches/AREA`'s binary `KIND-AREA` with the rest of the arguments.
pub(crate) fn run(kind: &str, arguments: &[&str]) -> Outcome {
    let known = areas(kind)?;
    let (area, rest) = arguments
        .split_first()
        .filter(|(area, _)| known.iter().any(|k| k == *area))
        .ok_or_else(|| format!("{kind} needs an area; known: {}", known.join(" ")))?;
    if kind == "bench" {
        // What is measured is the binary as it is now.
        visibly(cargo().args(["build", "--release", "--locked"]))?;
    }
    visibly(
        cargo()
            .args(["run", "--release", "--locked", "--quiet", "-p"])
            .arg(format!("ringfence-bench-{area}"))
            .args(["--bin", &format!("{kind}-{area}"), "--"])
            .args(rest)
            .env("RINGFENCE_BIN", crate::test::release_binary()?),
    )
}

/// The areas that have a binary of this kind, in order.
fn areas(kind: &str) -> Result<Vec<String>, String> {
    let folder = root().join("benches");
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut areas = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| e.to_string())?;
        let area = entry.file_name().to_string_lossy().into_owned();
        let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        if manifest.contains(&format!("name = \"{kind}-{area}\"")) {
            areas.push(area);
        }
    }
    areas.sort_unstable();
    Ok(areas)
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_found_by_their_binary_and_others_are_refused_with_the_list() {
        assert!(areas("bench").unwrap().contains(&"log".to_owned()));
        assert!(areas("paint").unwrap().is_empty());
        let refusal = run("bench", &["no-such-area"]).unwrap_err();
        assert!(
            refusal.contains("known: ") && refusal.contains("log"),
            "{refusal}"
        );
        assert!(run("eval", &[]).is_err());
    }
}
