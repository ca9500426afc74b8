//! The Rust files of the workspace, read as text: enough for tidiness and statistics.

use crate::cargo::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The crate's folder name, or `xtask`.
    pub(crate) fn krate(&self) -> &str {
        let mut parts = self.path.split('/');
        match (parts.next(), parts.next()) {
            (Some("crates"), Some(name)) => name,
            (Some(name), _) => name,
            (None, _) => "",
        }
    }

    /// Whether the whole file is a test.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("tests.rs")
            || self.path.ends_with("/testing.rs")
            || self.path.contains("/src/bin/")
            || self.path.contains("/examples/")
            || self.path.contains("/testkit/")
            || self.path.contains("/e2e/")
    }

    /// The lines before the test module, and the number of lines from there on.
    pub(crate) fn split(&self) -> (Vec<&str>, usize) {
        let lines: Vec<&str> = self.text.lines().collect();
        if self.is_test() {
            return (Vec::new(), lines.len());
        }
        let cut = lines
            .windows(2)
            .position(|w| w[0].trim() == "#[cfg(test)]" && w[1].contains("mod tests {"))
            .unwrap_or(lines.len());
        (lines[..cut].to_vec(), lines.len() - cut)
    }
}

/// Every file that git tracks or would track.
pub(crate) fn tracked() -> Result<Vec<PathBuf>, String> {
    let text = crate::cargo::capture(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<PathBuf> = text
        .lines()
        .map(PathBuf::from)
        .filter(|p| root().join(p).is_file())
        .collect();
    paths.sort();
    Ok(paths)
}

/// Every Rust file of the crates and xtask.
pub(crate) fn rust_files() -> Result<Vec<Source>, String> {
    tracked()?
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|p| read(&p))
        .collect()
}

fn read(path: &Path) -> Result<Source, String> {
    let text = std::fs::read_to_string(root().join(path))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Source {
        path: path.to_string_lossy().into_owned(),
        text,
    })
}

/// Names and lengths of the functions in some lines, found by indentation as rustfmt writes it.
pub(crate) fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        if is_only_declared(&lines[i..]) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if line.trim_end().ends_with("{}") {
            found.push((name.to_owned(), 1));
            continue;
        }
        let end = lines[i..].iter().position(|l| {
            l.len() - l.trim_start().len() == indent && l.trim_start().starts_with('}')
        });
        if let Some(length) = end {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

/// Whether a signature ends with `;` before a body begins, as in a trait.
fn is_only_declared(lines: &[&str]) -> bool {
    let end = lines
        .iter()
        .find(|l| l.trim_end().ends_with(['{', ';', '}']));
    end.is_some_and(|l| l.trim_end().ends_with(';'))
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for word in [
        "pub(crate) ",
        "pub(super) ",
        "pub ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_signature_to_closing_brace() {
        let text = "pub fn a() {\n    x();\n}\n\nimpl T {\n    async fn b(\n        c: u8,\n    ) -> u8 {\n        1\n    }\n}\n";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            functions(&lines),
            vec![("a".to_owned(), 3), ("b".to_owned(), 5)]
        );
    }

    #[test]
    fn a_declaration_without_a_body_has_no_length() {
        let text =
            "trait T {\n    fn a(&self);\n    fn b(\n        &self,\n    ) -> u8;\n}\nfn c() {}\n";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(functions(&lines), vec![("c".to_owned(), 1)]);
    }

    #[test]
    fn lines_after_the_test_module_count_as_tests() {
        let source = Source {
            path: "crates/x/src/a.rs".into(),
            text: "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n".into(),
        };
        let (code, tests) = source.split();
        assert_eq!((code.len(), tests), (1, 3));
    }
}
