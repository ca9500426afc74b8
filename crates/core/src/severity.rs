//! How bad a thing is and how sure we are.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Qualitative severity, the rating scale of CVSS v3.1 and v4.0 section 5 / 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, nothing to do.
    Info,
    /// CVSS 0.1 to 3.9.
    Low,
    /// CVSS 4.0 to 6.9.
    Medium,
    /// CVSS 7.0 to 8.9.
    High,
    /// CVSS 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// The rating of a score in tenths (98 is 9.8), by CVSS v3.1 section 5.
    pub fn of_tenths(tenths: u8) -> Self {
        match tenths {
            0 => Self::Info,
            1..=39 => Self::Low,
            40..=69 => Self::Medium,
            70..=89 => Self::High,
            _ => Self::Critical,
        }
    }

    /// The word, as in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a severity is info, low, medium, high or critical")]
pub struct SeverityError;

impl FromStr for Severity {
    type Err = SeverityError;
    fn from_str(text: &str) -> Result<Self, SeverityError> {
        [
            Self::Info,
            Self::Low,
            Self::Medium,
            Self::High,
            Self::Critical,
        ]
        .into_iter()
        .find(|s| s.as_str() == text)
        .ok_or(SeverityError)
    }
}

/// How sure a detector is of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A pattern alone.
    Low,
    /// A pattern with context.
    Medium,
    /// A checksum, an exact range, a full parse.
    High,
}

/// A CVSS vector and its base score in tenths, so that 8.95 can never be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cvss {
    /// The vector as published, for example `CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H`.
    pub vector: String,
    /// The base score times ten, 0 to 100.
    pub tenths: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_change_at_the_published_boundaries() {
        let expected = [
            (0, Severity::Info),
            (39, Severity::Low),
            (40, Severity::Medium),
            (69, Severity::Medium),
            (70, Severity::High),
            (89, Severity::High),
            (90, Severity::Critical),
        ];
        for (tenths, severity) in expected {
            assert_eq!(Severity::of_tenths(tenths), severity, "{tenths}");
        }
    }
}
