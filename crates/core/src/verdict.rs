//! A decision together with how completely it was looked at. Incomplete is not clean.

use serde::{Deserialize, Serialize};

/// What a gate decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may come in.
    Allow,
    /// It may not.
    Deny,
    /// Not everything was understood, so nothing can be promised.
    Incomplete,
}

impl Decision {
    /// The word, as in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Something that was not looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Path relative to the project.
    pub path: String,
    /// A stable kebab-case reason, for example `unreadable`, `too-large`, `symlink-out`.
    pub reason: String,
    /// Octets not looked at.
    pub bytes: u64,
}

/// How old a body of data is that the verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataAge {
    /// Which data, for example `advisories:PyPI`.
    pub name: String,
    /// Whole days since it was made.
    pub days: u32,
    /// Whether that is older than the configured limit.
    pub stale: bool,
}

/// What was seen, what was understood, what was skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Octets of all regular files of the project.
    pub bytes_seen: u64,
    /// Octets that at least one inspector understood.
    pub bytes_understood: u64,
    /// Files, archive members and components looked at.
    pub items: u64,
    /// What was not looked at.
    pub skips: Vec<Skip>,
    /// The data the verdict rests on.
    pub data_age: Vec<DataAge>,
}

impl Coverage {
    /// Octets that were skipped.
    pub fn bytes_skipped(&self) -> u64 {
        self.skips.iter().map(|s| s.bytes).sum()
    }

    /// Whether every octet was seen by an inspector and no data is stale.
    pub fn is_complete(&self) -> bool {
        self.skips.is_empty() && self.data_age.iter().all(|d| !d.stale)
    }

    /// Adds the coverage of another part.
    pub fn absorb(&mut self, other: Self) {
        self.bytes_seen += other.bytes_seen;
        self.bytes_understood += other.bytes_understood;
        self.items += other.items;
        self.skips.extend(other.skips);
        self.data_age.extend(other.data_age);
    }
}

/// A decision, its reasons and its coverage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was decided.
    pub decision: Decision,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
    /// How completely.
    pub coverage: Coverage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_or_stale_data_makes_coverage_incomplete() {
        let mut coverage = Coverage::default();
        assert!(coverage.is_complete());
        coverage.data_age.push(DataAge {
            name: "a".into(),
            days: 31,
            stale: true,
        });
        assert!(!coverage.is_complete());
        coverage.data_age.clear();
        coverage.skips.push(Skip {
            path: "x".into(),
            reason: "unreadable".into(),
            bytes: 7,
        });
        assert!(!coverage.is_complete());
        assert_eq!(coverage.bytes_skipped(), 7);
    }
}
