//! A locked component and its package URL.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A package ecosystem that this crate can read, order and match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ecosystem {
    /// Python packages.
    #[serde(rename = "PyPI")]
    PyPi,
    /// JavaScript packages.
    #[serde(rename = "npm")]
    Npm,
    /// Rust crates.
    #[serde(rename = "crates.io")]
    CratesIo,
}

impl Ecosystem {
    /// All of them, in the order of the index.
    pub const ALL: [Self; 3] = [Self::PyPi, Self::Npm, Self::CratesIo];

    /// The name that OSV gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PyPi => "PyPI",
            Self::Npm => "npm",
            Self::CratesIo => "crates.io",
        }
    }

    /// Reads the OSV name; what follows a colon (a release of a distribution) is not ours.
    pub fn of_osv(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.as_str() == name)
    }

    fn purl_type(self) -> &'static str {
        match self {
            Self::PyPi => "pypi",
            Self::Npm => "npm",
            Self::CratesIo => "cargo",
        }
    }
}

/// One component of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Package URL with the version, for example `pkg:npm/%40scope/name@1.0.0`.
    pub purl: String,
    /// Where it comes from.
    pub ecosystem: Ecosystem,
    /// The name in the normal form of its ecosystem.
    pub name: String,
    /// The locked version as written.
    pub version: String,
    /// 1-based line in the lock file.
    pub line: u32,
}

impl Component {
    /// A component from what a lock file says.
    pub fn new(ecosystem: Ecosystem, name: &str, version: &str, line: u32) -> Self {
        let name = normal_name(ecosystem, name);
        let purl = format!("{}@{}", purl_of(ecosystem, &name), percent(version));
        Self {
            purl,
            ecosystem,
            name,
            version: version.to_owned(),
            line,
        }
    }

    /// The package URL without its version: what a finding is remembered by.
    pub fn purl_without_version(&self) -> String {
        purl_of(self.ecosystem, &self.name)
    }
}

fn purl_of(ecosystem: Ecosystem, name: &str) -> String {
    let path: Vec<String> = name.split('/').map(percent).collect();
    format!("pkg:{}/{}", ecosystem.purl_type(), path.join("/"))
}

/// Percent-encodes one part of a package URL (purl specification, "Character encoding").
fn percent(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    out
}

/// The normal form under which names of an ecosystem are compared: PEP 503 for `PyPI` (lower case,
/// runs of `-`, `_` and `.` become one `-`); elsewhere the name as it is.
pub fn normal_name(ecosystem: Ecosystem, name: &str) -> String {
    if ecosystem != Ecosystem::PyPi {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    let mut separator = false;
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            separator = true;
            continue;
        }
        if separator {
            out.push('-');
            separator = false;
        }
        out.extend(c.to_lowercase());
    }
    if separator {
        out.push('-');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_pep_503_says() {
        let cases = [
            ("Friendly-Bard", "friendly-bard"),
            ("FRIENDLY.BARD", "friendly-bard"),
            ("friendly_bard", "friendly-bard"),
            ("FrIeNdLy-._.-bArD", "friendly-bard"),
            ("a", "a"),
        ];
        for (written, normal) in cases {
            assert_eq!(normal_name(Ecosystem::PyPi, written), normal);
        }
        assert_eq!(normal_name(Ecosystem::Npm, "JSONStream"), "JSONStream");
        assert_eq!(normal_name(Ecosystem::CratesIo, "serde_json"), "serde_json");
    }

    #[test]
    fn package_urls_are_encoded() {
        let purl = |e, n, v| Component::new(e, n, v, 1).purl;
        assert_eq!(
            purl(Ecosystem::Npm, "@angular/core", "1.0.0"),
            "pkg:npm/%40angular/core@1.0.0"
        );
        assert_eq!(
            purl(Ecosystem::PyPi, "Torch", "2.0+cpu"),
            "pkg:pypi/torch@2.0%2Bcpu"
        );
        assert_eq!(
            purl(Ecosystem::CratesIo, "time", "0.1.0"),
            "pkg:cargo/time@0.1.0"
        );
        let hostile = Component::new(Ecosystem::Npm, "a b?c#d", "1", 1);
        assert_eq!(hostile.purl_without_version(), "pkg:npm/a%20b%3Fc%23d");
    }
}
