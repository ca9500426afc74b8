//! The report of one scan, as it crosses process boundaries.

use crate::inventory::Inventory;
use ringfence_core::capability::CapabilityManifest;
use ringfence_core::digest::Digest;
use ringfence_core::finding::{Finding, Fingerprint};
use ringfence_core::time::Timestamp;
use ringfence_core::verdict::{DataAge, Verdict};
use serde::{Deserialize, Serialize};

/// Version of the shape of [`ScanReport`].
pub const REPORT_VERSION: u32 = 0;

/// Everything one scan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanReport {
    /// [`REPORT_VERSION`].
    pub v: u32,
    /// When the gate decided.
    pub time: Timestamp,
    /// Digest of the tree; see [`crate::walk`].
    pub project_digest: Digest,
    /// Digest of the compiled gate that decided.
    pub gate_digest: Digest,
    /// What the project is made of.
    pub inventory: Inventory,
    /// What was found, by path and line.
    pub findings: Vec<Finding>,
    /// Fingerprints of the findings that a waiver covers.
    pub waived: Vec<Fingerprint>,
    /// The decision with its reasons and coverage.
    pub verdict: Verdict,
    /// What the source seems to need.
    pub manifest: CapabilityManifest,
    /// What the project says it needs, if the caller handed it in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub declared: Option<CapabilityManifest>,
    /// Age of all advisory data at hand, also of ecosystems that the project does not use.
    pub advisory_ages: Vec<DataAge>,
}

impl ScanReport {
    /// Whether a waiver covers a finding.
    pub fn is_waived(&self, finding: &Finding) -> bool {
        self.waived.contains(&finding.fingerprint)
    }

    /// Hosts that the source names and the project does not declare.
    pub fn undeclared_hosts(&self) -> Vec<&str> {
        let declared = self
            .declared
            .as_ref()
            .map(|d| d.hosts.as_slice())
            .unwrap_or_default();
        let missing = |host: &&String| !declared.contains(host);
        self.manifest
            .hosts
            .iter()
            .filter(missing)
            .map(String::as_str)
            .collect()
    }
}
