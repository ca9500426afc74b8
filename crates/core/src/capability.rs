//! What a project says, or is seen, to need. The sandbox enforces it.

use serde::{Deserialize, Serialize};

/// Where a capability comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Written in `ringfence.toml`.
    Declared,
    /// Concluded from the source by ADMIT.
    Inferred,
}

/// The capabilities of one project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityManifest {
    /// Paths it writes, relative to the project.
    pub files: Vec<String>,
    /// Host names it connects to.
    pub hosts: Vec<String>,
    /// Tools it offers to a model.
    pub tools: Vec<String>,
    /// Programs it runs.
    pub exec: Vec<String>,
    /// Devices it opens.
    pub devices: Vec<String>,
    /// Where this comes from.
    pub origin: Origin,
}
