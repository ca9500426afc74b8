//! One scan, top to bottom.

use crate::capability::Gathered;
use crate::error::AdmitError;
use crate::inventory::{Inventory, Lookups, ModelFile};
use crate::kind::{Unread, is_config, model_format, unread};
use crate::report::{REPORT_VERSION, ScanReport};
use crate::walk::{HostOpener, Opener, WalkLimits, Walked, WalkedFile, walk};
use ringfence_core::capability::CapabilityManifest;
use ringfence_core::digest::Digest;
use ringfence_core::finding::Finding;
use ringfence_core::severity::Severity;
use ringfence_core::time::Timestamp;
use ringfence_core::verdict::{Coverage, DataAge, Skip, Verdict};
use ringfence_crypto::hash::sha256;
use ringfence_inspect::{FileView, inspect};
use ringfence_policy::{Gate, GateConfig, GateFinding, GateInput};
use ringfence_supply::advisories::Index;
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// From this score, times ten, on a finding pages somebody now.
const URGENT_TENTHS: u8 = 90;

/// A waiver as far as a scan needs it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ActiveWaiver {
    /// The rule it waives.
    pub rule: String,
    /// Only this finding, or every finding of the rule.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// When it ends; from then on it waives nothing.
    pub until: Timestamp,
    /// When it ends for what would page somebody now (CVSS 9.0 and above, or critical without a
    /// score), which may be waived for a shorter time only.
    pub until_urgent: Timestamp,
}

impl ActiveWaiver {
    fn covers(&self, finding: &Finding, now: Timestamp) -> bool {
        let this = self
            .fingerprint
            .as_deref()
            .is_none_or(|f| f == finding.fingerprint.as_str());
        let urgent = match &finding.cvss {
            Some(score) => score.tenths >= URGENT_TENTHS,
            None => finding.severity == Severity::Critical,
        };
        let until = if urgent {
            self.until.min(self.until_urgent)
        } else {
            self.until
        };
        now < until && self.rule == finding.rule.as_str() && this
    }
}

/// What a scan is asked.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// An imported advisory index; without one the embedded set answers.
    pub advisories: Option<PathBuf>,
    /// The `[gate]` table.
    pub gate: GateConfig,
    /// Waivers; those that have ended are ignored.
    pub waivers: Vec<ActiveWaiver>,
    /// What the project declares, for the report.
    pub declared: Option<CapabilityManifest>,
    /// The moment of the decision.
    pub now: Timestamp,
    /// Limits of the walk.
    pub limits: WalkLimits,
}

impl ScanOptions {
    /// Defaults at a moment.
    pub fn at(now: Timestamp) -> Self {
        Self {
            advisories: None,
            gate: GateConfig::default(),
            waivers: Vec::new(),
            declared: None,
            now,
            limits: WalkLimits::default(),
        }
    }
}

/// How far a scan is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Files so far.
    pub files: u64,
    /// Octets so far.
    pub bytes: u64,
    /// The file at hand.
    pub path: &'a str,
}

/// Scans the directory at `root`.
pub fn scan(
    root: &Path,
    options: &ScanOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<ScanReport, AdmitError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(|e| AdmitError::Root {
        path: root.to_owned(),
        source: e.into(),
    })?;
    scan_with(&fd, &HostOpener, options, progress)
}

/// Scans an open directory through a given opener.
pub fn scan_with(
    root: &OwnedFd,
    opener: &dyn Opener,
    options: &ScanOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<ScanReport, AdmitError> {
    // What can refuse the whole scan comes before the walk.
    let gate = Gate::compile(&options.gate).map_err(AdmitError::Gate)?;
    let index = match &options.advisories {
        Some(path) => Index::load(path),
        None => Index::embedded(),
    }
    .map_err(AdmitError::Advisories)?;
    let mut scan = Scan {
        lookups: Lookups::new(&index),
        inventory: Inventory::default(),
        gathered: Gathered::default(),
        findings: Vec::new(),
        part: Coverage::default(),
        seen: (0, 0),
    };
    let walked = walk(root, opener, options.limits, &mut |file| {
        scan.file(file, progress);
    });
    scan.inventory.files = walked.files;
    scan.inventory.links = walked.links;
    scan.lookups.finish(&scan.inventory);
    let ages = index.ages(options.now, options.gate.advisories_age_days_max);
    Ok(decide(&gate, options, scan, walked, ages))
}

/// Asks the gate about everything that was gathered and puts the answer together.
fn decide(
    gate: &Gate,
    options: &ScanOptions,
    scan: Scan<'_>,
    walked: Walked,
    ages: Vec<DataAge>,
) -> ScanReport {
    let Scan {
        lookups,
        inventory,
        gathered,
        mut findings,
        part,
        ..
    } = scan;
    let mut coverage = walked.coverage;
    coverage.absorb(part);
    coverage.items += inventory.components.len() as u64;
    coverage.skips.extend(lookups.skips);
    coverage
        .skips
        .sort_by(|a, b| (&a.path, &a.reason).cmp(&(&b.path, &b.reason)));
    let used = |age: &&DataAge| {
        age.name
            .strip_prefix("advisories:")
            .is_some_and(|e| lookups.ecosystems.contains(e))
    };
    coverage.data_age = ages.iter().filter(used).cloned().collect();
    findings.extend(lookups.findings);
    findings.sort_by(|a, b| order(a).cmp(&order(b)));
    let covered = |f: &Finding| options.waivers.iter().any(|w| w.covers(f, options.now));
    let decision = gate.evaluate(&GateInput {
        findings: findings
            .iter()
            .map(|f| GateFinding::of(f, covered(f)))
            .collect(),
        coverage: coverage.clone(),
        now: options.now,
    });
    ScanReport {
        v: REPORT_VERSION,
        time: options.now,
        project_digest: walked.digest,
        gate_digest: Digest(sha256(&gate.digest_input())),
        inventory,
        waived: findings
            .iter()
            .filter(|f| covered(f))
            .map(|f| f.fingerprint.clone())
            .collect(),
        findings,
        verdict: Verdict {
            decision: decision.decision,
            reasons: decision.reasons,
            coverage,
        },
        manifest: gathered.manifest(),
        declared: options.declared.clone(),
        advisory_ages: ages,
    }
}

fn order(finding: &Finding) -> (&str, Option<u32>, &str, &str) {
    let subject = &finding.subject;
    (
        subject.path(),
        subject.line(),
        finding.rule.as_str(),
        finding.fingerprint.as_str(),
    )
}

struct Scan<'i> {
    lookups: Lookups<'i>,
    inventory: Inventory,
    gathered: Gathered,
    findings: Vec<Finding>,
    part: Coverage,
    seen: (u64, u64),
}

impl Scan<'_> {
    fn file(&mut self, walked: &WalkedFile<'_>, progress: &mut dyn FnMut(Progress<'_>)) {
        let view = FileView {
            path: walked.path,
            bytes: walked.bytes,
        };
        let length = walked.bytes.len() as u64;
        self.seen = (self.seen.0 + 1, self.seen.1 + length);
        progress(Progress {
            files: self.seen.0,
            bytes: self.seen.1,
            path: walked.path,
        });
        self.lookups
            .file(walked.path, walked.bytes, &mut self.inventory);
        self.gathered.file(&view);
        if is_config(&view) {
            self.inventory.configs.push(walked.path.to_owned());
        }
        if let Some(format) = model_format(&view) {
            self.inventory.models.push(ModelFile {
                path: walked.path.to_owned(),
                format,
                bytes: length,
                digest: walked.digest,
            });
        }
        let inspected = inspect(&view);
        self.part.items += inspected.items;
        self.part.bytes_understood += inspected.bytes_understood;
        let explained = !inspected.skips.is_empty()
            || !inspected.inert.is_empty()
            || inspected.bytes_understood >= length;
        for (kind, bytes) in inspected.inert {
            self.inert(kind, bytes);
        }
        self.part.skips.extend(inspected.skips);
        self.findings.extend(inspected.findings);
        if !explained {
            self.gap(&view, length - inspected.bytes_understood);
        }
    }

    fn inert(&mut self, kind: &str, bytes: u64) {
        let inert = self.inventory.inert.entry(kind.to_owned()).or_default();
        inert.files += 1;
        inert.bytes += bytes;
    }

    /// Octets that nobody understood and nobody spoke of.
    fn gap(&mut self, view: &FileView<'_>, bytes: u64) {
        match unread(view) {
            Unread::Inert(kind) => self.inert(kind, bytes),
            Unread::Skip(reason) => {
                let (path, reason) = (view.path.to_owned(), reason.to_owned());
                self.part.skips.push(Skip {
                    path,
                    reason,
                    bytes,
                });
            }
        }
    }
}
