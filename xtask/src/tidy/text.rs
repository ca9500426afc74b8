//! Rules about the text of files: sizes, module docs, forbidden words and places.

use super::Complaints;
use crate::cargo::root;
use crate::source::{Source, functions, tracked};

/// LIMIT: lines of a Rust file written by hand.
const FILE_LINES_MAX: usize = 1_000;
/// LIMIT: lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// LIMIT: octets of any tracked file.
const FILE_BYTES_MAX: u64 = 500 * 1024;
/// LIMIT: octets of trained weights, which are part of the binary; their manifest stands beside them.
const WEIGHTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Words that a module is never called: they say nothing about what is inside.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

/// Checks every Rust file, then the other files.
pub(super) fn check(sources: &[Source], complaints: &mut Complaints) -> Result<(), String> {
    for source in sources {
        shape(source, complaints);
        places(source, complaints);
        ignored(source, complaints);
    }
    for path in tracked()? {
        let bytes = std::fs::metadata(root().join(&path))
            .map_err(|e| e.to_string())?
            .len();
        let most = if path.starts_with("crates/detect/weights") {
            WEIGHTS_BYTES_MAX
        } else {
            FILE_BYTES_MAX
        };
        if bytes > most && !path.ends_with("Cargo.lock") {
            complaints.push(format!(
                "{}: {bytes} octets, at most {most}",
                path.display()
            ));
        }
    }
    changelog(complaints)
}

fn shape(source: &Source, complaints: &mut Complaints) {
    let path = &source.path;
    let lines: Vec<&str> = source.text.lines().collect();
    if lines.len() > FILE_LINES_MAX {
        complaints.push(format!(
            "{path}: {} lines, at most {FILE_LINES_MAX}",
            lines.len()
        ));
    }
    if !source.text.starts_with("//! ") {
        complaints.push(format!("{path}: no module doc on the first line"));
    }
    for (name, length) in functions(&lines) {
        if length > FUNCTION_LINES_MAX {
            complaints.push(format!(
                "{path}: fn {name} has {length} lines, at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
    let stem = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs");
    if EMPTY_NAMES.contains(&stem) {
        complaints.push(format!("{path}: name it after what it does"));
    }
    if (path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs"))
        && source.krate() != "sys"
        && !source.text.contains("#![forbid(unsafe_code)]")
    {
        complaints.push(format!("{path}: no #![forbid(unsafe_code)]"));
    }
}

/// What only some crates may do.
fn places(source: &Source, complaints: &mut Complaints) {
    let (code, _) = source.split();
    let krate = source.krate();
    // Tools for people at a terminal: they print, and measure over sockets of their own.
    if krate == "xtask" || krate == "benches" {
        return;
    }
    let rules: [(&str, &[&str], &str); 7] = [
        (
            "env::var",
            &["ringfence"],
            "only the binary reads the environment",
        ),
        (
            "env::args",
            &["ringfence"],
            "only the binary reads the command line",
        ),
        (
            "env::current_",
            &["ringfence"],
            "only the binary asks where it is",
        ),
        ("println!", &["ringfence"], "only the binary prints"),
        ("unsafe {", &["sys"], "unsafe lives in sys"),
        (
            "TcpListener::bind",
            &["net", "sandbox", "sys"],
            "sockets are opened in net and sandbox",
        ),
        (
            "TcpStream::connect",
            &["net", "sandbox", "sys"],
            "sockets are opened in net and sandbox",
        ),
    ];
    for (i, line) in code.iter().enumerate() {
        let bare = line.trim_start();
        if bare.starts_with("//") {
            continue;
        }
        for (word, allowed, why) in rules {
            if bare.contains(word) && !allowed.contains(&krate) {
                complaints.push(format!("{}:{}: {why}", source.path, i + 1));
            }
        }
    }
}

/// A test that is ignored is a promise that nobody keeps.
fn ignored(source: &Source, complaints: &mut Complaints) {
    let word = concat!("#[", "ignore");
    for (i, line) in source.text.lines().enumerate() {
        if line.trim_start().starts_with(word) {
            complaints.push(format!(
                "{}:{}: a test is never ignored",
                source.path,
                i + 1
            ));
        }
    }
}

fn changelog(complaints: &mut Complaints) -> Result<(), String> {
    let text = std::fs::read_to_string(root().join("CHANGELOG.md"))
        .map_err(|e| format!("CHANGELOG.md: {e}"))?;
    let entries = text
        .lines()
        .skip_while(|l| !l.starts_with("## Unreleased"))
        .skip(1)
        .take_while(|l| !l.starts_with("## "))
        .filter(|l| l.starts_with("- "))
        .count();
    if entries == 0 {
        complaints.push("CHANGELOG.md: nothing under `## Unreleased`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.into(),
            text: text.into(),
        };
        let mut found = Vec::new();
        shape(&source, &mut found);
        places(&source, &mut found);
        ignored(&source, &mut found);
        found
    }

    #[test]
    fn a_file_is_accepted_at_the_line_limit_and_named_one_above() {
        let of = |n: usize| format!("//! d\n{}", "\n".repeat(n - 1));
        assert!(complaints("crates/x/src/a.rs", &of(FILE_LINES_MAX)).is_empty());
        assert_eq!(
            complaints("crates/x/src/a.rs", &of(FILE_LINES_MAX + 1)).len(),
            1
        );
    }

    #[test]
    fn an_ignored_test_is_named_wherever_it_stands() {
        let text = format!("//! d\n{}]\nfn a() {{}}\n", concat!("#[", "ignore"));
        assert_eq!(complaints("crates/x/tests/it/a.rs", &text).len(), 1);
        assert_eq!(complaints("crates/x/src/a.rs", &text).len(), 1);
    }

    #[test]
    fn printing_is_allowed_in_the_binary_only() {
        let text = "//! d\nfn a() {\n    println!();\n}\n";
        assert!(complaints("crates/ringfence/src/a.rs", text).is_empty());
        assert_eq!(
            complaints("crates/net/src/a.rs", text),
            ["crates/net/src/a.rs:3: only the binary prints"]
        );
    }
}
