//! Quantities as people write them: `512MiB`, `1.5` processors.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number of octets, written with a binary unit: `64KiB`, `512MiB`, `2GiB`, or plain octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

/// The text is not a number of octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size such as 64KiB, 512MiB or 2GiB")]
pub struct BytesError(String);

const UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl std::str::FromStr for Bytes {
    type Err = BytesError;
    fn from_str(text: &str) -> Result<Self, BytesError> {
        let error = || BytesError(text.to_owned());
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|d| (d.trim_end(), *factor)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        let count: u64 = digits.parse().map_err(|_| error())?;
        count.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

impl TryFrom<String> for Bytes {
    type Error = BytesError;
    fn try_from(text: String) -> Result<Self, BytesError> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .rev()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match unit {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_what_they_wrote() {
        for (text, octets) in [("512MiB", 512 << 20), ("2GiB", 2 << 30), ("1000", 1000)] {
            assert_eq!(text.parse(), Ok(Bytes(octets)));
            assert_eq!(Bytes(octets).to_string(), text);
        }
    }

    #[test]
    fn decimal_units_signs_and_overflow_are_refused() {
        for text in ["512MB", "-1", "", "MiB", "99999999999TiB", "1.5GiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
