//! Error codes: unique to one crate, and each with a line in `docs/errors.md`.

use super::Complaints;
use crate::Outcome;
use crate::cargo::root;
use crate::source::{Source, rust_files};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const STAGES: [&str; 9] = [
    "admit/", "run/", "watch/", "respond/", "record/", "config/", "net/", "cli/", "core/",
];
const HEAD: &str = "# Errors\n\nEvery error that ringfence shows has a code. It is stable; search for it here or in the source.\n\n| code | crate |\n|---|---|\n";

/// Codes with the crates that use them.
fn codes(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.krate() != "xtask") {
        let (code, _) = source.split();
        // An error code stands in a literal within a function or constructor that makes one.
        let near = |i: usize| {
            code[i.saturating_sub(30)..=i]
                .iter()
                .any(|l| l.contains("ErrorCode"))
        };
        for (i, line) in code.iter().enumerate() {
            if line.trim_start().starts_with("//") || !near(i) {
                continue;
            }
            for literal in line.split('"').skip(1).step_by(2).filter(|l| is_code(l)) {
                found
                    .entry(literal.to_owned())
                    .or_default()
                    .insert(source.krate().to_owned());
            }
        }
    }
    found
}

fn is_code(literal: &str) -> bool {
    STAGES.iter().any(|s| literal.starts_with(s))
        && literal.split('/').count() == 2
        && literal
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-/".contains(&b))
        && !literal.ends_with('/')
}

fn page(codes: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut text = HEAD.to_owned();
    for (code, crates) in codes {
        let crates: Vec<&str> = crates.iter().map(String::as_str).collect();
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "| `{code}` | {} |", crates.join(", "));
    }
    text
}

/// Compares the page with the source.
pub(crate) fn check(sources: &[Source], complaints: &mut Complaints) -> Result<(), String> {
    let path = root().join("docs/errors.md");
    let written = std::fs::read_to_string(&path).map_err(|e| format!("docs/errors.md: {e}"))?;
    if written != page(&codes(sources)) {
        complaints.push("docs/errors.md is not what the source says: cargo xtask bless".to_owned());
    }
    Ok(())
}

/// Writes the page.
pub(crate) fn write_page() -> Outcome {
    let sources = rust_files()?;
    std::fs::write(root().join("docs/errors.md"), page(&codes(&sources))).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_recognised_by_shape() {
        assert!(is_code("run/port-taken"));
        assert!(!is_code("text/html"));
        assert!(!is_code("run/Port"));
        assert!(!is_code("run/a/b"));
    }
}
