//! The states of a case and the steps between them. One state at a time: contradictions such as
//! "accepted and fixed" cannot be written down.
//!
//! ```text
//! reported ─▶ triaging ─▶ affected ─▶ mitigated ─▶ fix-proposed ─▶ fix-verified ─▶ closed
//!                            ▲ └───────────────────────▲ │               │
//!                            └───────── the fix does not hold ───────────┘
//! any before fix-verified ─▶ waived (until) ─▶ affected
//! reported, triaging, affected ─▶ rejected, duplicate
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The state of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Somebody or something said so.
    Reported,
    /// Somebody is looking.
    Triaging,
    /// It is true and it matters here.
    Affected,
    /// A temporary measure holds.
    Mitigated,
    /// A fix exists.
    FixProposed,
    /// The fix was shown to hold.
    FixVerified,
    /// Over. The same thing again opens a new case that points here.
    Closed,
    /// Accepted until a date.
    Waived,
    /// Not true, or it does not matter here.
    Rejected,
    /// Another case is about the same.
    Duplicate,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Reported,
        Self::Triaging,
        Self::Affected,
        Self::Mitigated,
        Self::FixProposed,
        Self::FixVerified,
        Self::Closed,
        Self::Waived,
        Self::Rejected,
        Self::Duplicate,
    ];

    /// The states that may follow. [`State::Closed`] follows only a verified fix.
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Reported => &[
                Self::Triaging,
                Self::Waived,
                Self::Rejected,
                Self::Duplicate,
            ],
            Self::Triaging => &[
                Self::Affected,
                Self::Waived,
                Self::Rejected,
                Self::Duplicate,
            ],
            Self::Affected => &[
                Self::Mitigated,
                Self::FixProposed,
                Self::Waived,
                Self::Rejected,
                Self::Duplicate,
            ],
            Self::Mitigated => &[Self::FixProposed, Self::Affected, Self::Waived],
            Self::FixProposed => &[Self::FixVerified, Self::Affected, Self::Waived],
            Self::FixVerified => &[Self::Closed, Self::Affected],
            Self::Waived => &[Self::Affected],
            Self::Closed | Self::Rejected | Self::Duplicate => &[],
        }
    }

    /// Whether the case still asks something of somebody.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Closed | Self::Rejected | Self::Duplicate)
    }

    /// The word, as in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Triaging => "triaging",
            Self::Affected => "affected",
            Self::Mitigated => "mitigated",
            Self::FixProposed => "fix-proposed",
            Self::FixVerified => "fix-verified",
            Self::Closed => "closed",
            Self::Waived => "waived",
            Self::Rejected => "rejected",
            Self::Duplicate => "duplicate",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a case")]
pub struct StateError;

impl FromStr for State {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or(StateError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_agree_with_their_wire_form() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn only_a_verified_fix_closes_and_what_is_over_stays_over() {
        for state in State::ALL {
            assert_eq!(
                state.next().contains(&State::Closed),
                state == State::FixVerified
            );
            assert_eq!(state.next().is_empty(), !state.is_open());
            assert!(!state.next().contains(&state));
            assert!(
                !state.next().contains(&State::Reported),
                "history does not start again"
            );
        }
    }

    #[test]
    fn every_open_state_can_reach_an_end() {
        for start in State::ALL {
            let mut reached = vec![start];
            let mut at = 0;
            while let Some(state) = reached.get(at).copied() {
                let more: Vec<_> = state
                    .next()
                    .iter()
                    .filter(|s| !reached.contains(s))
                    .copied()
                    .collect();
                reached.extend(more);
                at += 1;
            }
            assert!(
                !start.is_open() || reached.contains(&State::Closed),
                "{start}"
            );
        }
    }
}
