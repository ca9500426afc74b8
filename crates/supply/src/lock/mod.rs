//! Lock files as components with line numbers.
//!
//! Understood: `requirements*.txt` (pinned lines), `poetry.lock`, `uv.lock`, `package-lock.json` and
//! `npm-shrinkwrap.json` of versions 2 and 3, `Cargo.lock`. What stands in a file and cannot be
//! pinned to one version is listed in [`LockFile::not_understood`]; a file of another format is
//! recognised by [`is_lock_like`], so that the inventory can count it.

mod npm;
mod requirements;
mod tables;

use crate::component::Component;
use crate::error::SupplyError;

/// LIMIT: octets of one lock file.
pub const LOCK_BYTES_MAX: usize = 32 * 1024 * 1024;
/// LIMIT: entries of one lock file: components, what is not understood, and includes together.
pub const COMPONENTS_MAX: usize = 100_000;

/// The formats that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// pip's requirements or constraints.
    Requirements,
    /// `poetry.lock`.
    Poetry,
    /// `uv.lock`.
    Uv,
    /// `package-lock.json`, `npm-shrinkwrap.json`.
    Npm,
    /// `Cargo.lock`.
    Cargo,
}

/// A part of a lock file from which no component could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// 1-based line.
    pub line: u32,
    /// A stable kebab-case reason, for example `not-pinned`.
    pub reason: &'static str,
}

/// Another file that a requirements file includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// The path as written, relative to the including file.
    pub path: String,
    /// 1-based line.
    pub line: u32,
}

/// What a lock file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockFile {
    /// Its format.
    pub kind: LockKind,
    /// The pinned components, in the order of the file.
    pub components: Vec<Component>,
    /// Entries for the project's own code (workspace members, path dependencies): not looked up.
    pub local: u32,
    /// What could not be read as a component.
    pub not_understood: Vec<NotUnderstood>,
    /// Files it includes; the caller reads them with [`parse_as`].
    pub includes: Vec<Include>,
}

impl LockFile {
    fn new(kind: LockKind) -> Self {
        Self {
            kind,
            components: Vec::new(),
            local: 0,
            not_understood: Vec::new(),
            includes: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.components.len() + self.not_understood.len() + self.includes.len() > COMPONENTS_MAX
    }

    fn skip(&mut self, line: u32, reason: &'static str) {
        self.not_understood.push(NotUnderstood { line, reason });
    }
}

/// The format of a path by its file name, if it is understood.
pub fn kind_of(path: &str) -> Option<LockKind> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "poetry.lock" => return Some(LockKind::Poetry),
        "uv.lock" => return Some(LockKind::Uv),
        "package-lock.json" | "npm-shrinkwrap.json" | ".package-lock.json" => {
            return Some(LockKind::Npm);
        }
        "Cargo.lock" => return Some(LockKind::Cargo),
        _ => {}
    }
    let stem = name.strip_suffix(".txt")?;
    let by_name = stem.starts_with("requirements")
        || stem.ends_with("requirements")
        || stem.starts_with("constraints");
    let by_folder = folder == "requirements" || folder.ends_with("/requirements");
    (by_name || by_folder).then_some(LockKind::Requirements)
}

/// Whether a file name (or path) is of a format that [`parse`] understands.
pub fn is_known(file_name: &str) -> bool {
    kind_of(file_name).is_some()
}

/// Lock files that are recognised and not understood.
const NAMES: [&str; 32] = [
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "Pipfile.lock",
    "pdm.lock",
    "pylock.toml",
    "pixi.lock",
    "conda-lock.yml",
    "conda-lock.yaml",
    "go.sum",
    "Gemfile.lock",
    "gems.locked",
    "composer.lock",
    "mix.lock",
    "rebar.lock",
    "pubspec.lock",
    "Podfile.lock",
    "Package.resolved",
    "Cartfile.resolved",
    "packages.lock.json",
    "paket.lock",
    "gradle.lockfile",
    "buildscript-gradle.lockfile",
    "conan.lock",
    "renv.lock",
    "Manifest.toml",
    "stack.yaml.lock",
    "cabal.project.freeze",
    "flake.lock",
    "requirements.lock",
];

/// Whether a file name (or path) is of a lock file that nobody here understands yet: it holds
/// components that are not looked at.
pub fn is_lock_like(file_name: &str) -> bool {
    let name = file_name.rsplit('/').next().unwrap_or(file_name);
    let pylock = name
        .strip_prefix("pylock.")
        .is_some_and(|rest| rest.strip_suffix(".toml").is_some());
    !is_known(file_name) && (NAMES.contains(&name) || pylock)
}

/// Reads a lock file whose format its path tells.
pub fn parse(path: &str, bytes: &[u8]) -> Result<LockFile, SupplyError> {
    let kind = kind_of(path).ok_or_else(|| SupplyError::LockUnknown {
        path: path.to_owned(),
    })?;
    parse_as(kind, path, bytes)
}

/// Reads a lock file of a format that the caller knows, such as a file included by another.
pub fn parse_as(kind: LockKind, path: &str, bytes: &[u8]) -> Result<LockFile, SupplyError> {
    if bytes.len() > LOCK_BYTES_MAX {
        return Err(limit("size in bytes", path, LOCK_BYTES_MAX));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // pip also reads UTF-16 with a byte order mark; here such a file is refused, so it is counted.
    let text = std::str::from_utf8(bytes).map_err(|e| SupplyError::LockSyntax {
        path: path.to_owned(),
        line: Some(line_of(bytes, e.valid_up_to())),
        reason: "it is not UTF-8".to_owned(),
    })?;
    let file = match kind {
        LockKind::Requirements => requirements::parse(text),
        LockKind::Poetry | LockKind::Uv | LockKind::Cargo => tables::parse(kind, path, text)?,
        LockKind::Npm => npm::parse(path, text)?,
    };
    if file.is_full() {
        return Err(limit("number of entries", path, COMPONENTS_MAX));
    }
    Ok(file)
}

fn limit(what: &'static str, path: &str, limit: usize) -> SupplyError {
    SupplyError::Limit {
        what,
        place: path.to_owned(),
        limit: limit as u64,
    }
}

/// The 1-based line of an offset.
fn line_of(bytes: &[u8], offset: usize) -> u32 {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let lines = before.split(|b| *b == b'\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

/// Lines of ascending offsets without counting from the start each time.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            line: 1,
        }
    }

    /// The line of an offset; offsets that go back cost a new count.
    fn of(&mut self, offset: usize) -> u32 {
        if offset < self.at {
            (self.at, self.line) = (0, 1);
        }
        let between = self.bytes.get(self.at..offset).unwrap_or_default();
        self.line = self
            .line
            .saturating_add(line_of(between, between.len()) - 1);
        self.at = offset;
        self.line
    }
}
