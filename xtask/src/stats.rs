//! Figures about the source, for `docs/STATS.md`. Each says how it was counted.

use crate::Outcome;
use crate::cargo::{product_packages, root};
use crate::source::{Source, functions, rust_files};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Default)]
struct Figures {
    lines: usize,
    test_lines: usize,
    doc_lines: usize,
    public: usize,
    public_documented: usize,
    with_module_doc: usize,
    long_functions: usize,
    functions: usize,
    unwraps: usize,
    unsafe_outside: usize,
    sizes: Vec<usize>,
    crates: BTreeMap<String, usize>,
}

/// Writes `docs/STATS.md` and prints it.
pub(crate) fn run() -> Outcome {
    let sources = rust_files()?;
    let mut figures = Figures::default();
    for source in &sources {
        count(source, &mut figures);
    }
    figures.sizes.sort_unstable();
    let text = page(&figures, sources.len(), product_packages()?.len())?;
    print!("{text}");
    std::fs::write(root().join("docs/STATS.md"), text).map_err(|e| e.to_string())
}

fn count(source: &Source, figures: &mut Figures) {
    let all = source.text.lines().count();
    let (code, tests) = source.split();
    figures.lines += all;
    figures.test_lines += tests;
    *figures.crates.entry(source.krate().to_owned()).or_default() += all;
    figures.with_module_doc += usize::from(source.text.starts_with("//! "));
    let every: Vec<&str> = source.text.lines().collect();
    figures.doc_lines += every.iter().filter(|l| is_doc(l)).count();
    for (_, length) in functions(&every) {
        figures.functions += 1;
        figures.long_functions += usize::from(length > 70);
    }
    if code.is_empty() {
        return;
    }
    figures.sizes.push(code.len());
    for (i, line) in code.iter().enumerate() {
        let bare = line.trim_start();
        if is_public_item(bare) {
            figures.public += 1;
            figures.public_documented += usize::from(documented(&code[..i]));
        }
        if bare.starts_with("//") {
            continue;
        }
        figures.unwraps += bare.matches(".unwrap()").count() + bare.matches(".expect(\"").count();
        let is_unsafe = bare.contains("unsafe {") || bare.contains("unsafe fn");
        figures.unsafe_outside +=
            usize::from(is_unsafe && !matches!(source.krate(), "sys" | "xtask"));
    }
}

fn is_doc(line: &str) -> bool {
    let bare = line.trim_start();
    bare.starts_with("///") || bare.starts_with("//!")
}

fn is_public_item(bare: &str) -> bool {
    [
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "const ",
        "type ",
        "async fn ",
        "mod ",
    ]
    .iter()
    .any(|kind| {
        bare.strip_prefix("pub ")
            .is_some_and(|r| r.starts_with(kind))
    }) && !(bare.starts_with("pub mod") && bare.ends_with(';'))
}

fn documented(before: &[&str]) -> bool {
    before
        .iter()
        .rev()
        .map(|l| l.trim_start())
        .find(|l| !(l.starts_with("#[") || l.starts_with(')') || l.starts_with(']')))
        .is_some_and(|l| l.starts_with("///"))
}

fn percent(part: usize, whole: usize) -> String {
    let tenths = (part * 1000).checked_div(whole).unwrap_or(0);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// One row of the table: criterion, value, goal.
type Row = (&'static str, String, &'static str);

fn criteria(figures: &Figures, files: usize, packages: usize) -> Vec<Row> {
    let at = |share: usize| {
        let index = figures.sizes.len().saturating_sub(1) * share / 100;
        figures.sizes.get(index).copied().unwrap_or(0)
    };
    let (biggest, most) = figures
        .crates
        .iter()
        .max_by_key(|(_, lines)| **lines)
        .map(|(name, lines)| (name.as_str(), *lines))
        .unwrap_or_default();
    let sizes = format!("{} / {} / {}", at(50), at(90), at(100));
    let code = figures.lines - figures.test_lines;
    let per_kloc = (figures.unwraps * 10_000).checked_div(code).unwrap_or(0);
    let documented = percent(figures.public_documented, figures.public);
    vec![
        (
            "Rust lines, files",
            format!("{}, {files}", figures.lines),
            "",
        ),
        (
            "biggest crate, % of lines",
            format!("{} ({biggest})", percent(most, figures.lines)),
            "≤ 20",
        ),
        (
            "source file p50 / p90 / max, lines before tests",
            sizes,
            "200 / 500 / 1,000",
        ),
        (
            "functions > 70 lines, %",
            percent(figures.long_functions, figures.functions),
            "≤ 1",
        ),
        (
            "doc lines, %",
            percent(figures.doc_lines, figures.lines),
            "8-14",
        ),
        ("public items documented, %", documented, "100"),
        (
            "files with a module doc, %",
            percent(figures.with_module_doc, files),
            "100",
        ),
        (
            "test lines, %",
            percent(figures.test_lines, figures.lines),
            "≥ 50",
        ),
        (
            "unwrap + expect per 1,000 lines outside tests",
            format!("{}.{}", per_kloc / 10, per_kloc % 10),
            "0",
        ),
        (
            "unsafe outside sys",
            figures.unsafe_outside.to_string(),
            "0",
        ),
        (
            "packages of the product (unique, ours included)",
            packages.to_string(),
            "≤ 220",
        ),
        ("decisions recorded", decisions().to_string(), "numbered"),
    ]
}

fn decisions() -> usize {
    std::fs::read_dir(root().join("docs/decisions")).map_or(0, Iterator::count)
}

fn page(figures: &Figures, files: usize, packages: usize) -> Result<String, String> {
    let mut text = String::from(
        "# Statistics\n\nWritten by `cargo xtask stats`; a file is a test by path, or from its first `mod tests` on.\n\n| criterion | ringfence | goal |\n|---|---|---|\n",
    );
    for (name, value, goal) in criteria(figures, files, packages) {
        writeln!(text, "| {name} | {value} | {goal} |").map_err(|e| e.to_string())?;
    }
    text.push_str("\n| crate | lines | % |\n|---|---|---|\n");
    for (name, lines) in &figures.crates {
        let share = percent(*lines, figures.lines);
        writeln!(text, "| {name} | {lines} | {share} |").map_err(|e| e.to_string())?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_item_counts_as_documented_through_its_attributes() {
        let mut figures = Figures::default();
        let text = "//! d\n/// doc\n#[derive(Debug)]\npub struct A;\npub fn b() {}\n";
        count(
            &Source {
                path: "crates/x/src/a.rs".into(),
                text: text.into(),
            },
            &mut figures,
        );
        assert_eq!((figures.public, figures.public_documented), (2, 1));
    }
}
