//! Semantic Versioning 2.0.0, section 11, for Cargo and npm.
//!
//! Read a little wider than written, because advisories and lock files are: a leading `v` or `=`
//! (node), and missing minor or patch numbers, which count as 0 (OSV writes `0`).

use super::{digits, is_digits, take_digits};
use std::cmp::Ordering;

/// A parsed version; build metadata has no part in the order and is not kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version<'a> {
    core: [&'a str; 3],
    pre: Option<&'a str>,
}

impl<'a> Version<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('=').unwrap_or(text).trim_start();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        let (core_text, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, Some(pre)),
            None => (text, None),
        };
        let mut core = ["0"; 3];
        let mut parts = core_text.split('.');
        let first = parts.next().filter(|p| is_digits(p))?;
        core[0] = first;
        for (slot, part) in core.iter_mut().skip(1).zip(parts.by_ref()) {
            *slot = Some(part).filter(|p| is_digits(p))?;
        }
        let well_formed = |text: &str| text.split('.').all(is_identifier);
        if parts.next().is_some() || !pre.is_none_or(well_formed) || !build.is_none_or(well_formed)
        {
            return None;
        }
        Some(Self { core, pre })
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        let core = self.core.iter().zip(other.core).map(|(a, b)| digits(a, b));
        core.fold(Ordering::Equal, Ordering::then)
            .then_with(|| match (self.pre, other.pre) {
                (None, None) => Ordering::Equal,
                // 11.3: a pre-release comes before its release.
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(a), Some(b)) => pre_release(a, b),
            })
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// 11.4: field by field; numbers as numbers and before words; the longer one last.
fn pre_release(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => {
                match (take_digits(x).1.is_empty(), take_digits(y).1.is_empty()) {
                    (true, true) => digits(x, y),
                    (true, false) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    (false, false) => x.cmp(y),
                }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}
