//! pip's requirements and constraints files. Only a line that pins one version with `==` or `===`
//! is a component; whatever pip would still have to resolve is counted as not understood.

use super::{Include, LockFile, LockKind};
use crate::component::{Component, Ecosystem};

/// Options that install nothing.
const HARMLESS: [&str; 14] = [
    "-i",
    "--index-url",
    "--extra-index-url",
    "--no-index",
    "-f",
    "--find-links",
    "--no-binary",
    "--only-binary",
    "--prefer-binary",
    "--require-hashes",
    "--pre",
    "--trusted-host",
    "--use-feature",
    "--config-settings",
];
/// Options that name another file of requirements.
const INCLUDES: [&str; 4] = ["-r", "--requirement", "-c", "--constraint"];

pub(super) fn parse(text: &str) -> LockFile {
    let mut file = LockFile::new(LockKind::Requirements);
    // The line being joined, with the number of its first part.
    let mut open: Option<(u32, String)> = None;
    for (number, raw) in (1_u32..).zip(text.lines()) {
        if file.is_full() {
            break;
        }
        // As pip: lines that end in a backslash are joined first, and a comment line ends a
        // joined one, whatever it ends in itself.
        let is_comment = raw.trim_start().starts_with('#');
        if let Some(head) = raw.strip_suffix('\\').filter(|_| !is_comment) {
            open.get_or_insert_with(|| (number, String::new()))
                .1
                .push_str(head);
            continue;
        }
        match open.take() {
            None => logical(&mut file, raw, number),
            Some((start, mut joined)) => {
                joined.push_str(if is_comment { "" } else { raw });
                logical(&mut file, &joined, start);
            }
        }
    }
    if let Some((start, joined)) = open {
        logical(&mut file, &joined, start);
    }
    file
}

/// One joined line.
fn logical(file: &mut LockFile, line: &str, number: u32) {
    let end = comment_start(line).unwrap_or(line.len());
    let content = line.get(..end).unwrap_or(line).trim();
    if content.starts_with('-') {
        option(file, content, number);
    } else if !content.is_empty() {
        requirement(file, content, number);
    }
}

/// A `#` starts a comment at the beginning or after white space; in a URL it does not.
fn comment_start(line: &str) -> Option<usize> {
    let mut after_space = true;
    for (at, c) in line.char_indices() {
        if c == '#' && after_space {
            return Some(at);
        }
        after_space = c.is_whitespace();
    }
    None
}

fn option(file: &mut LockFile, content: &str, line: u32) {
    let end = content
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(content.len());
    let (name, value) = content.split_at_checked(end).unwrap_or((content, ""));
    let value = value
        .trim_start_matches(|c: char| c.is_whitespace() || c == '=')
        .trim();
    // `-rbase.txt` is the short option with its value attached.
    let attached = ["-r", "-c"].iter().find_map(|short| {
        name.strip_prefix(short)
            .filter(|rest| !rest.is_empty() && !name.starts_with("--"))
    });
    if INCLUDES.contains(&name) && !value.is_empty() {
        file.includes.push(Include {
            path: value.to_owned(),
            line,
        });
    } else if let Some(path) = attached {
        file.includes.push(Include {
            path: path.to_owned(),
            line,
        });
    } else if HARMLESS.contains(&name) {
        // Changes where packages come from, not which ones.
    } else if name == "-e" || name == "--editable" {
        file.skip(line, "editable");
    } else {
        file.skip(line, "unknown-option");
    }
}

fn requirement(file: &mut LockFile, content: &str, line: u32) {
    match pinned(content) {
        Ok((name, version)) => {
            file.components
                .push(Component::new(Ecosystem::PyPi, name, version, line));
        }
        Err(reason) => file.skip(line, reason),
    }
}

/// Name and version of `name[extra] == 1.0 ; marker --hash=…`.
fn pinned(content: &str) -> Result<(&str, &str), &'static str> {
    // Options after a requirement start with ` --`; a marker starts with `;`.
    let content = content.split(" --").next().unwrap_or(content);
    let name_end = content
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(content.len());
    let (name, rest) = content.split_at_checked(name_end).unwrap_or((content, ""));
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let ends_well = name.ends_with(|c: char| c.is_ascii_alphanumeric());
    let rest = rest.trim_start();
    if rest.starts_with('@') || rest.starts_with(':') || rest.starts_with('/') {
        return Err("direct-reference");
    }
    if !starts_well || !ends_well {
        return Err("not-a-requirement");
    }
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras
            .split_once(']')
            .ok_or("not-a-requirement")?
            .1
            .trim_start(),
        None => rest,
    };
    if rest.starts_with('@') {
        return Err("direct-reference");
    }
    let specifiers = rest.split(';').next().unwrap_or(rest).trim();
    let specifiers = specifiers
        .strip_prefix('(')
        .and_then(|s| s.strip_suffix(')'))
        .unwrap_or(specifiers);
    let mut found = None;
    for specifier in specifiers.split(',') {
        let specifier = specifier.trim();
        let version = specifier
            .strip_prefix("===")
            .or_else(|| specifier.strip_prefix("=="));
        if let Some(version) = version.map(str::trim) {
            let is_version = !version.is_empty()
                && version
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".!+-_".contains(&b));
            if !is_version || found.replace(version).is_some_and(|other| other != version) {
                return Err("not-pinned");
            }
        }
    }
    found.map(|version| (name, version)).ok_or("not-pinned")
}
