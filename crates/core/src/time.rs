//! Moments and spans. Asking what time it is happens through [`crate::ports::Clock`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Milliseconds in a second, a minute, an hour and a day.
pub const SECOND_MS: i64 = 1_000;
/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A text is not a moment or span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct TimeError {
    text: String,
    wanted: &'static str,
}

impl Timestamp {
    /// This moment moved by so many milliseconds; saturates at the ends of time.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative when the clock went back.
    pub fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 (`2026-11-20T12:00:00Z`) or a plain date (`2026-11-20`, midnight UTC).
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let whole = if text.len() == 10 {
            format!("{text}T00:00:00Z")
        } else {
            text.to_owned()
        };
        whole
            .parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_millisecond()))
            .map_err(|_| TimeError {
                text: text.to_owned(),
                wanted: "a date such as 2026-11-20",
            })
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "@{}ms", self.0),
        }
    }
}

/// Reads a span such as `250ms`, `30s`, `10m`, `24h`, `30d` into milliseconds.
pub fn parse_span_ms(text: &str) -> Result<i64, TimeError> {
    let error = || TimeError {
        text: text.to_owned(),
        wanted: "a span such as 30s, 10m, 24h or 30d",
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (digits, unit) = text.split_at(split);
    let count: i64 = digits.parse().map_err(|_| error())?;
    let factor = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return Err(error()),
    };
    count.checked_mul(factor).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_what_it_wrote() {
        let moment = Timestamp(1_795_176_000_123);
        assert_eq!(Timestamp::parse(&moment.to_string()), Ok(moment));
        assert_eq!(Timestamp::parse("1970-01-02"), Ok(Timestamp(DAY_MS)));
    }

    #[test]
    fn spans_have_units_and_never_overflow() {
        assert_eq!(parse_span_ms("30d"), Ok(30 * DAY_MS));
        assert_eq!(parse_span_ms("250ms"), Ok(250));
        assert!(parse_span_ms("30").is_err());
        assert!(parse_span_ms("9223372036854775807d").is_err());
        assert!(parse_span_ms("d").is_err());
    }
}
