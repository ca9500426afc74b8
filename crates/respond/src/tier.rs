//! How soon somebody must look, by CVSS base score in tenths, so that 8.9 and 9.0 are never a
//! matter of rounding.

use ringfence_core::severity::{Cvss, Severity};
use ringfence_core::time::{DAY_MS, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Scores from here on page somebody now (9.0).
pub const NOW_TENTHS: u8 = 90;
/// Scores from here on are in the daily digest (7.0).
pub const DAILY_TENTHS: u8 = 70;

/// How soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Somebody is told at once.
    Now,
    /// In the digest of the day.
    Daily,
    /// In the audit of the month.
    Monthly,
}

impl Tier {
    /// The tier of a score, or without one of a severity, and why in words. A score decides
    /// alone; without one, nothing rated high ever waits longer than a day.
    pub fn of(score: Option<&Cvss>, severity: Severity) -> (Self, String) {
        if let Some(score) = score {
            let tier = match score.tenths {
                NOW_TENTHS.. => Self::Now,
                DAILY_TENTHS.. => Self::Daily,
                _ => Self::Monthly,
            };
            let (whole, tenth) = (score.tenths / 10, score.tenths % 10);
            let bound = match tier {
                Self::Now => "9.0 or more",
                Self::Daily => "7.0 to 8.9",
                Self::Monthly => "below 7.0",
            };
            return (tier, format!("CVSS {whole}.{tenth} is {bound}"));
        }
        let tier = match severity {
            Severity::Critical => Self::Now,
            Severity::High => Self::Daily,
            Severity::Medium | Severity::Low | Severity::Info => Self::Monthly,
        };
        (
            tier,
            format!("no score is known and the rule says {severity}"),
        )
    }

    /// The word, as in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Daily => "daily",
            Self::Monthly => "monthly",
        }
    }

    /// When a case of this tier must be settled.
    pub fn due(self, opened: Timestamp) -> Timestamp {
        opened.plus_ms(match self {
            Self::Now => DAY_MS,
            Self::Daily => 7 * DAY_MS,
            Self::Monthly => 30 * DAY_MS,
        })
    }

    /// When a message of this tier leaves, and the number of the period it belongs to: at once, or
    /// at the end of the day, or of thirty days, by UTC.
    pub fn departure(self, now: Timestamp) -> (Timestamp, i64) {
        let length = match self {
            Self::Now => return (now, now.0),
            Self::Daily => DAY_MS,
            Self::Monthly => 30 * DAY_MS,
        };
        let period = now.0.div_euclid(length);
        (
            Timestamp(period.saturating_add(1).saturating_mul(length)),
            period,
        )
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_change_at_nine_and_seven() {
        let of = |tenths| {
            Tier::of(
                Some(&Cvss {
                    vector: String::new(),
                    tenths,
                }),
                Severity::Low,
            )
            .0
        };
        assert_eq!(
            [of(100), of(90), of(89)],
            [Tier::Now, Tier::Now, Tier::Daily]
        );
        assert_eq!(
            [of(70), of(69), of(0)],
            [Tier::Daily, Tier::Monthly, Tier::Monthly]
        );
    }

    #[test]
    fn without_a_score_high_never_waits_longer_than_a_day() {
        let of = |severity| Tier::of(None, severity).0;
        assert_eq!(of(Severity::Critical), Tier::Now);
        assert_eq!(of(Severity::High), Tier::Daily);
        assert_eq!(of(Severity::Medium), Tier::Monthly);
    }

    #[test]
    fn a_digest_leaves_when_its_period_is_over() {
        let noon = Timestamp(DAY_MS * 5 / 2);
        assert_eq!(Tier::Now.departure(noon).0, noon);
        assert_eq!(Tier::Daily.departure(noon), (Timestamp(3 * DAY_MS), 2));
        assert_eq!(
            Tier::Daily.departure(Timestamp(3 * DAY_MS)).0,
            Timestamp(4 * DAY_MS)
        );
        assert_eq!(Tier::Monthly.departure(noon), (Timestamp(30 * DAY_MS), 0));
        assert_eq!(Tier::Monthly.due(Timestamp(0)), Timestamp(30 * DAY_MS));
    }
}
