//! The order of versions. Nothing is allocated: a parsed version borrows its text, and numbers of
//! any length are compared as digits, so that no input overflows.
//!
//! A text that does not follow its specification has no place in the order, and is said to have
//! none; it is never compared as plain text.

mod pep440;
mod semver;

use crate::component::Ecosystem;
use std::cmp::Ordering;

/// LIMIT: octets of a version; longer ones have no place in the order.
pub const VERSION_BYTES_MAX: usize = 256;

/// A version in the order of its ecosystem.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Pep440(pep440::Version<'a>),
    Semver(semver::Version<'a>),
}

impl<'a> Version<'a> {
    /// Reads a version; `None` if it has no place in the order of the ecosystem.
    pub fn parse(ecosystem: Ecosystem, text: &'a str) -> Option<Self> {
        if text.len() > VERSION_BYTES_MAX {
            return None;
        }
        match ecosystem {
            Ecosystem::PyPi => pep440::Version::parse(text).map(Kind::Pep440),
            Ecosystem::Npm | Ecosystem::CratesIo => semver::Version::parse(text).map(Kind::Semver),
        }
        .map(Self)
    }

    /// The order of the specification.
    pub fn order(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Kind::Pep440(a), Kind::Pep440(b)) => a.order(b),
            (Kind::Semver(a), Kind::Semver(b)) => a.order(b),
            // Versions of two ecosystems are never compared; the order stays total if they are.
            (Kind::Pep440(_), Kind::Semver(_)) => Ordering::Less,
            (Kind::Semver(_), Kind::Pep440(_)) => Ordering::Greater,
        }
    }

    /// The order of this version against the end of a published range. PEP 440 ("Version
    /// specifiers") ignores the local label of a candidate unless the range names one: a locked
    /// `2.0.0+cpu` is the flawed 2.0.0, although it sorts after it.
    pub fn order_against_bound(&self, bound: &Self) -> Ordering {
        match (&self.0, &bound.0) {
            (Kind::Pep440(a), Kind::Pep440(b)) if !b.has_local() => a.public().order(b),
            _ => self.order(bound),
        }
    }
}

/// Compares two runs of digits as numbers of any length.
fn digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Cuts a leading run of digits off.
fn take_digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests;
