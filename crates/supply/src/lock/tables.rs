//! The TOML lock files: `Cargo.lock`, `poetry.lock`, `uv.lock`. All three are lists of
//! `[[package]]`; they differ in how they mark the project's own code.

use super::{Lines, LockFile, LockKind, line_of};
use crate::component::{Component, Ecosystem};
use crate::error::SupplyError;
use serde::Deserialize;
use toml::{Spanned, Value};

#[derive(Deserialize)]
struct Document {
    package: Option<Vec<Package>>,
}

#[derive(Deserialize)]
struct Package {
    name: Spanned<String>,
    version: Option<String>,
    source: Option<Value>,
}

/// Whether an entry is the project's own code.
fn is_local(kind: LockKind, source: Option<&Value>) -> bool {
    match (kind, source) {
        (LockKind::Cargo, source) => source.is_none(),
        (LockKind::Poetry, Some(Value::Table(table))) => {
            table.get("type").and_then(Value::as_str) == Some("directory")
        }
        (LockKind::Uv, Some(Value::Table(table))) => ["virtual", "editable", "directory"]
            .iter()
            .any(|key| table.contains_key(*key)),
        _ => false,
    }
}

pub(super) fn parse(kind: LockKind, path: &str, text: &str) -> Result<LockFile, SupplyError> {
    let syntax = |line, reason: &str| SupplyError::LockSyntax {
        path: path.to_owned(),
        line,
        reason: reason.to_owned(),
    };
    let document: Document = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| line_of(text.as_bytes(), span.start));
        // The parser's message may repeat the input; only its first line is kept.
        syntax(line, e.message().lines().next().unwrap_or("not TOML"))
    })?;
    // A lock file of these three always lists something, or says `package = []`: a file without
    // the key is not what its name says, and would otherwise look like a project without flaws.
    let packages = document
        .package
        .ok_or_else(|| syntax(None, "it has no [[package]]"))?;
    let ecosystem = if kind == LockKind::Cargo {
        Ecosystem::CratesIo
    } else {
        Ecosystem::PyPi
    };
    let mut file = LockFile::new(kind);
    let mut lines = Lines::new(text);
    for package in packages {
        let line = lines.of(package.name.span().start);
        if is_local(kind, package.source.as_ref()) {
            file.local += 1;
            continue;
        }
        let name = package.name.get_ref();
        match package.version {
            Some(version) if !version.is_empty() && !name.is_empty() => {
                file.components
                    .push(Component::new(ecosystem, name, &version, line));
            }
            _ => file.skip(line, "no-version"),
        }
    }
    Ok(file)
}
