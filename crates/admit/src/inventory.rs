//! What a project is made of: lock files with their components, model files, configuration.
//!
//! A lock file that is not understood, a line that pins nothing, an included file that is not
//! read: each is a skip, because each can hold a component that nobody looked up.

use ringfence_core::digest::Digest;
use ringfence_core::error::Explain;
use ringfence_core::finding::{Finding, Fingerprint, Subject};
use ringfence_core::ids::RuleId;
use ringfence_core::severity::{Confidence, Severity};
use ringfence_core::verdict::Skip;
use ringfence_crypto::hash::sha256;
use ringfence_supply::advisories::{Index, Kind, Lookup, Match};
use ringfence_supply::{Component, lock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A component with the lock file that pins it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedComponent {
    /// Package URL with version.
    pub purl: String,
    /// Its ecosystem, as OSV names it.
    pub ecosystem: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The lock file.
    pub lock_path: String,
    /// 1-based line.
    pub line: u32,
}

/// A model file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Its path.
    pub path: String,
    /// The format its name claims.
    pub format: String,
    /// Its octets.
    pub bytes: u64,
    /// SHA-256 of them.
    pub digest: Digest,
}

/// Data that nobody runs and nobody looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InertData {
    /// Files.
    pub files: u64,
    /// Octets.
    pub bytes: u64,
}

/// What a project is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Regular files.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
    /// Lock files that were read.
    pub lock_files: Vec<String>,
    /// Their components.
    pub components: Vec<LockedComponent>,
    /// Model files.
    pub models: Vec<ModelFile>,
    /// Configuration files.
    pub configs: Vec<String>,
    /// Data that no inspector reads and that makes no scan incomplete, by kind.
    pub inert: BTreeMap<String, InertData>,
}

/// Looks up the components of lock files.
pub(crate) struct Lookups<'a> {
    pub(crate) index: &'a Index,
    pub(crate) findings: Vec<Finding>,
    pub(crate) skips: Vec<Skip>,
    /// Ecosystems the project uses.
    pub(crate) ecosystems: BTreeSet<String>,
    /// Included requirement files, with where they are included; settled at the end.
    includes: Vec<(String, String)>,
    seen: BTreeSet<Fingerprint>,
}

impl<'a> Lookups<'a> {
    pub(crate) fn new(index: &'a Index) -> Self {
        Self {
            index,
            findings: Vec::new(),
            skips: Vec::new(),
            ecosystems: BTreeSet::new(),
            includes: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn skip(&mut self, path: &str, reason: &str, bytes: u64) {
        let (path, reason) = (path.to_owned(), reason.to_owned());
        self.skips.push(Skip {
            path,
            reason,
            bytes,
        });
    }

    /// Reads a file if its name says that it is a lock file.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8], inventory: &mut Inventory) {
        if lock::is_lock_like(path) {
            return self.skip(path, "lock-not-understood", bytes.len() as u64);
        }
        if !lock::is_known(path) {
            return;
        }
        let file = match lock::parse(path, bytes) {
            Ok(file) => file,
            Err(error) => {
                let reason = error.code().0.trim_start_matches("admit/");
                return self.skip(path, reason, bytes.len() as u64);
            }
        };
        inventory.lock_files.push(path.to_owned());
        let reasons: BTreeSet<&str> = file.not_understood.iter().map(|n| n.reason).collect();
        for reason in reasons {
            self.skip(path, reason, 0);
        }
        for include in &file.includes {
            self.includes
                .push((beside(path, &include.path), path.to_owned()));
        }
        for component in &file.components {
            self.component(path, component);
            inventory.components.push(LockedComponent {
                purl: component.purl.clone(),
                ecosystem: component.ecosystem.as_str().to_owned(),
                name: component.name.clone(),
                version: component.version.clone(),
                lock_path: path.to_owned(),
                line: component.line,
            });
        }
    }

    /// Included files are read only where the walk met them under a name that says what they are.
    pub(crate) fn finish(&mut self, inventory: &Inventory) {
        for (target, from) in std::mem::take(&mut self.includes) {
            if !inventory.lock_files.contains(&target) {
                self.skip(&from, "lock-include-not-read", 0);
            }
        }
    }

    fn component(&mut self, path: &str, component: &Component) {
        self.ecosystems
            .insert(component.ecosystem.as_str().to_owned());
        let lookup = self.index.match_component(component);
        match &lookup {
            Lookup::NoData => self.push(no_data(path, component)),
            Lookup::NotOrdered { advisories, .. } if *advisories > 0 => {
                self.skip(path, "version-not-ordered", 0);
            }
            Lookup::NotOrdered { .. } | Lookup::Known(_) => {}
        }
        for found in lookup.matches() {
            self.push(finding(path, component, found));
        }
    }

    fn push(&mut self, finding: Finding) {
        if self.seen.insert(finding.fingerprint.clone()) {
            self.findings.push(finding);
        }
    }
}

/// A path relative to the folder of another, with `.` and `..` resolved as far as they go.
fn beside(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn subject(path: &str, component: &Component, advisory: &str) -> Subject {
    Subject::Component {
        advisory: advisory.to_owned(),
        purl: component.purl_without_version(),
        version: component.version.clone(),
        lock_path: path.to_owned(),
        line: Some(component.line),
    }
}

fn finding(path: &str, component: &Component, found: &Match) -> Finding {
    let malicious = found.kind == Kind::Malicious;
    let rule = RuleId::of(match found.kind {
        Kind::Malicious => "admit/malicious-package",
        Kind::Unmaintained => "admit/unmaintained-package",
        Kind::Vulnerability | Kind::Unsound | Kind::Notice => "admit/vulnerable-dependency",
    });
    let subject = subject(path, component, &found.group);
    let (name, version) = (&component.name, &component.version);
    let what = match found.kind {
        Kind::Malicious => "is malware",
        Kind::Vulnerability => "has a known vulnerability",
        Kind::Unmaintained => "is no longer maintained",
        Kind::Unsound => "is unsound",
        Kind::Notice => "has a notice",
    };
    let fix = match (&found.fixed, malicious) {
        (_, true) => format!(
            "Remove {name} and everything it installed, and change every secret that the machine \
             held where it ran."
        ),
        (Some(fixed), _) => format!("Update {name} from {version} to {fixed} or newer in {path}."),
        (None, _) => format!("No fixed version of {name} is known: replace it or take it out."),
    };
    let aliases = found.aliases.join(", ");
    Finding {
        fingerprint: Fingerprint::derive(&rule, &subject, sha256),
        rule,
        subject,
        title: format!("{name} {version} {what}: {}", found.group),
        severity: found.severity,
        cvss: found.cvss.clone(),
        confidence: Confidence::High,
        impact: impact(found.kind).to_owned(),
        fix,
        mitigation: mitigation(found.kind).to_owned(),
        evidence: format!("{name} {version} is within {} ({aliases})", found.range),
        references: std::iter::once(&found.group)
            .chain(&found.aliases)
            .map(|id| format!("https://osv.dev/vulnerability/{id}"))
            .collect(),
        tags: vec![
            "CWE-1395".to_owned(),
            "LLM03".to_owned(),
            "AML.T0010".to_owned(),
        ],
        edit: None,
    }
}

fn impact(kind: Kind) -> &'static str {
    match kind {
        Kind::Malicious => {
            "Whoever published the package runs code of their choice wherever it is installed or \
             imported."
        }
        Kind::Unmaintained => "Flaws found from now on will not be mended by anyone.",
        Kind::Vulnerability | Kind::Unsound | Kind::Notice => {
            "The flaw is public, so attackers know it. What it gives them is described in the \
             advisory; it is within reach of whatever input the project passes to the package."
        }
    }
}

fn mitigation(kind: Kind) -> &'static str {
    match kind {
        Kind::Malicious => "Do not install or start the project.",
        Kind::Unmaintained | Kind::Vulnerability | Kind::Unsound | Kind::Notice => {
            "Keep the project inside the fence without outbound network, and do not feed the \
             package input from strangers."
        }
    }
}

/// An ecosystem of which nothing is known is not clean: it is denied unless waived.
fn no_data(path: &str, component: &Component) -> Finding {
    let rule = RuleId::of("admit/ecosystem-without-data");
    let ecosystem = component.ecosystem.as_str();
    let subject = Subject::Component {
        advisory: "none".to_owned(),
        purl: format!("pkg:{ecosystem}"),
        version: String::new(),
        lock_path: path.to_owned(),
        line: None,
    };
    Finding {
        fingerprint: Fingerprint::derive(&rule, &subject, sha256),
        rule,
        subject,
        title: format!("There is no advisory data for {ecosystem}"),
        severity: Severity::High,
        cvss: None,
        confidence: Confidence::High,
        impact: "Known vulnerabilities and malware among these components are not noticed."
            .to_owned(),
        fix: format!("Import advisories for {ecosystem}: ringfence advisories import FILE.zip"),
        mitigation: "Look the components up by hand, then waive this rule until data is there."
            .to_owned(),
        evidence: format!("{path} pins components of {ecosystem}"),
        references: vec!["https://osv.dev".to_owned()],
        tags: vec!["CWE-1395".to_owned(), "LLM03".to_owned()],
        edit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::time::Timestamp;
    use ringfence_supply::advisories::Builder;

    fn index() -> Index {
        let mut builder = Builder::new(Timestamp(0));
        builder.add(
            br#"{"id":"GHSA-test-1","aliases":["CVE-2024-1"],"modified":"2024-01-01T00:00:00Z",
            "affected":[{"package":{"ecosystem":"PyPI","name":"thing"},"ranges":[{"type":
            "ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.0"}]}]}]}"#,
        );
        builder.finish().expect("an index")
    }

    #[test]
    fn a_pinned_component_in_range_is_found_once_with_its_fix() {
        let index = index();
        let mut lookups = Lookups::new(&index);
        let mut inventory = Inventory::default();
        lookups.file(
            "requirements.txt",
            b"other==1.0\nthing==1.5\n",
            &mut inventory,
        );
        assert_eq!(inventory.components.len(), 2);
        let [found] = lookups.findings.as_slice() else {
            panic!("{:?}", lookups.findings)
        };
        assert_eq!(found.subject.line(), Some(2));
        assert!(found.fix.contains("to 2.0"), "{}", found.fix);
        assert!(found.title.contains("CVE-2024-1"));
    }

    #[test]
    fn what_cannot_be_looked_up_is_a_skip_or_a_finding() {
        let index = index();
        let mut lookups = Lookups::new(&index);
        let mut inventory = Inventory::default();
        lookups.file("yarn.lock", b"x", &mut inventory);
        lookups.file("requirements.txt", b"thing\n-r base.in\n", &mut inventory);
        lookups.file("uv.lock", b"\xff", &mut inventory);
        lookups.file("Cargo.lock", b"version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n", &mut inventory);
        lookups.finish(&inventory);
        let reasons: Vec<&str> = lookups.skips.iter().map(|s| s.reason.as_str()).collect();
        assert!(reasons.contains(&"lock-not-understood"), "{reasons:?}");
        assert!(reasons.contains(&"lock-syntax"), "{reasons:?}");
        assert!(reasons.contains(&"lock-include-not-read"), "{reasons:?}");
        assert!(reasons.len() >= 4, "{reasons:?}");
        assert_eq!(lookups.findings.len(), 1);
        assert_eq!(
            lookups.findings[0].rule.as_str(),
            "admit/ecosystem-without-data"
        );
    }

    #[test]
    fn includes_are_read_beside_the_file_that_includes_them() {
        assert_eq!(beside("a/requirements.txt", "../b/x.txt"), "b/x.txt");
        assert_eq!(beside("requirements.txt", "./x.txt"), "x.txt");
    }
}
