//! `package-lock.json` of versions 2 and 3: the `packages` object, whose keys are places in the
//! tree (`node_modules/a/node_modules/@s/b`).

use super::{LockFile, LockKind};
use crate::component::{Component, Ecosystem};
use crate::error::SupplyError;
use ringfence_core::json::parse_strict;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

pub(super) fn parse(path: &str, text: &str) -> Result<LockFile, SupplyError> {
    let document = parse_strict(text.as_bytes()).map_err(|e| SupplyError::LockSyntax {
        path: path.to_owned(),
        line: u32::try_from(e.line).ok(),
        reason: e.reason,
    })?;
    let version = document.get("lockfileVersion");
    if !matches!(version.and_then(Value::as_u64), Some(2 | 3)) {
        let found = version.map_or_else(|| "none".to_owned(), ToString::to_string);
        let found = found.chars().take(20).collect();
        return Err(SupplyError::LockVersion {
            path: path.to_owned(),
            found,
        });
    }
    let Some(Value::Object(packages)) = document.get("packages") else {
        return Err(SupplyError::LockSyntax {
            path: path.to_owned(),
            line: None,
            reason: "it has no `packages` object".to_owned(),
        });
    };
    let lines = key_lines(text);
    let mut file = LockFile::new(LockKind::Npm);
    for (place, entry) in packages {
        let line = lines.get(place.as_str()).copied().unwrap_or(1);
        match entry {
            Value::Object(entry) => add(&mut file, place, entry, line),
            _ => file.skip(line, "not-an-object"),
        }
    }
    if version.and_then(Value::as_u64) == Some(2) {
        only_for_old_npm(&mut file, document.get("dependencies"));
    }
    file.components.sort_by_key(|c| c.line);
    file.not_understood.sort_by_key(|n| n.line);
    Ok(file)
}

/// Version 2 lists everything twice: npm 7 and later install `packages`, npm 6 `dependencies`. What
/// stands only in the second list would be installed by an old npm and looked up by nobody.
fn only_for_old_npm(file: &mut LockFile, dependencies: Option<&Value>) {
    let known: HashSet<(String, String)> = file
        .components
        .iter()
        .map(|c| (c.name.clone(), c.version.clone()))
        .collect();
    let mut hidden = 0_usize;
    let mut open: Vec<&Value> = dependencies.into_iter().collect();
    while let Some(next) = open.pop() {
        let Value::Object(level) = next else { continue };
        for (name, entry) in level {
            open.extend(entry.get("dependencies"));
            let version = entry
                .get("version")
                .and_then(Value::as_str)
                .unwrap_or_default();
            // `npm:real@1.0.0` is an alias; any other scheme is no version to compare.
            let aliased = version
                .strip_prefix("npm:")
                .and_then(|v| v.rsplit_once('@'));
            let (name, version) = aliased.unwrap_or((name, version));
            let compared = aliased.is_some() || !version.contains(':');
            let pair = (name.to_owned(), version.to_owned());
            hidden += usize::from(compared && !known.contains(&pair));
        }
    }
    for _ in 0..hidden {
        file.skip(1, "only-for-old-npm");
    }
}

fn add(file: &mut LockFile, place: &str, entry: &Map<String, Value>, line: u32) {
    let text = |key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let is_link = entry.get("link") == Some(&Value::Bool(true));
    let Some((_, name)) = place.rsplit_once("node_modules/").filter(|_| !is_link) else {
        // The root, a workspace member, or a link to one.
        file.local += 1;
        return;
    };
    // An alias (`npm:real@1`) stands in the tree under the alias and says its real name inside.
    let name = text("name").unwrap_or(name);
    match text("version") {
        Some(version) if !name.is_empty() => {
            file.components
                .push(Component::new(Ecosystem::Npm, name, version, line));
        }
        _ => file.skip(line, "no-version"),
    }
}

/// The lines of the keys of the top-level `packages` object. The text is known to be valid JSON:
/// this only counts brackets and skips strings.
fn key_lines(text: &str) -> HashMap<String, u32> {
    let bytes = text.as_bytes();
    let mut lines = HashMap::new();
    let (mut at, mut line, mut depth) = (0, 1, 0_usize);
    let mut in_packages = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line += 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(bytes, at);
                let rest = bytes.get(end..).unwrap_or_default();
                let is_key = rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
                if is_key && (depth == 1 || (depth == 2 && in_packages)) {
                    let raw = bytes.get(at..end).unwrap_or_default();
                    let key: String = serde_json::from_slice(raw).unwrap_or_default();
                    if depth == 1 {
                        in_packages = key == "packages";
                    } else {
                        lines.insert(key, line);
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    lines
}

/// The offset after a string that starts at `start`. A string of JSON holds no raw line break.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}
