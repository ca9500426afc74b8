//! PEP 440: epochs, releases of any length, pre-, post- and development releases, local labels,
//! and every spelling that its "Normalization" section accepts.

use super::{digits, is_digits, take_digits};
use std::cmp::Ordering;

/// A parsed version; the parts borrow the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version<'a> {
    epoch: &'a str,
    release: &'a str,
    pre: Option<(Phase, &'a str)>,
    post: Option<&'a str>,
    dev: Option<&'a str>,
    local: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Alpha,
    Beta,
    Candidate,
}

/// Spellings, longest first, so that `rc` is not read as `r` and `alpha` not as `a`.
const PRE: [(&str, Phase); 8] = [
    ("preview", Phase::Candidate),
    ("alpha", Phase::Alpha),
    ("beta", Phase::Beta),
    ("pre", Phase::Candidate),
    ("rc", Phase::Candidate),
    ("a", Phase::Alpha),
    ("b", Phase::Beta),
    ("c", Phase::Candidate),
];
const POST: [&str; 3] = ["post", "rev", "r"];

fn word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(tail)
}

fn skip_separator(text: &str) -> &str {
    text.strip_prefix(['.', '-', '_']).unwrap_or(text)
}

/// The number after a word: an optional separator, then digits; a missing number is 0. A
/// separator without digits belongs to what follows.
fn number(text: &str) -> (&str, &str) {
    let (found, rest) = take_digits(skip_separator(text));
    if found.is_empty() {
        ("0", text)
    } else {
        (found, rest)
    }
}

/// `N(.N)*`; the dot before something else stays in the rest.
fn release(text: &str) -> Option<(&str, &str)> {
    let (first, mut rest) = take_digits(text);
    if first.is_empty() {
        return None;
    }
    while let Some((found, tail)) = rest.strip_prefix('.').map(take_digits) {
        if found.is_empty() {
            break;
        }
        rest = tail;
    }
    text.split_at_checked(text.len() - rest.len())
}

impl<'a> Version<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (epoch, text) = match text.split_once('!') {
            Some((epoch, text)) => (Some(epoch).filter(|e| is_digits(e))?, text),
            None => ("0", text),
        };
        let (release, mut rest) = release(text)?;
        let (mut pre, mut post, mut dev) = (None, None, None);
        let bare = skip_separator(rest);
        if let Some((phase, tail)) = PRE
            .iter()
            .find_map(|(name, phase)| Some((*phase, word(bare, name)?)))
        {
            let (found, tail) = number(tail);
            (pre, rest) = (Some((phase, found)), tail);
        }
        let bare = skip_separator(rest);
        if let Some(tail) = POST.iter().find_map(|name| word(bare, name)) {
            let (found, tail) = number(tail);
            (post, rest) = (Some(found), tail);
        } else if let Some((found, tail)) = rest.strip_prefix('-').map(take_digits)
            && !found.is_empty()
        {
            (post, rest) = (Some(found), tail);
        }
        if let Some(tail) = word(skip_separator(rest), "dev") {
            let (found, tail) = number(tail);
            (dev, rest) = (Some(found), tail);
        }
        let local = match rest.strip_prefix('+') {
            Some(label) => Some(label).filter(|l| is_local(l)).map(Some)?,
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self {
            epoch,
            release,
            pre,
            post,
            dev,
            local,
        })
    }

    /// The version without its local label.
    pub(super) fn public(&self) -> Self {
        Self {
            local: None,
            ..*self
        }
    }

    pub(super) fn has_local(&self) -> bool {
        self.local.is_some()
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        digits(self.epoch, other.epoch)
            .then_with(|| releases(self.release, other.release))
            .then_with(|| self.phase_rank().cmp(&other.phase_rank()))
            .then_with(|| match (self.pre, other.pre) {
                (Some((p, a)), Some((q, b))) => p.cmp(&q).then_with(|| digits(a, b)),
                _ => Ordering::Equal,
            })
            .then_with(|| absent_first(self.post, other.post))
            .then_with(|| absent_last(self.dev, other.dev))
            .then_with(|| locals(self.local, other.local))
    }

    /// A development release of the release itself comes before all its pre-releases; a release
    /// without any comes after them.
    fn phase_rank(&self) -> u8 {
        match (self.pre, self.post, self.dev) {
            (None, None, Some(_)) => 0,
            (Some(_), _, _) => 1,
            (None, _, _) => 2,
        }
    }
}

fn is_local(label: &str) -> bool {
    label
        .split(['.', '-', '_'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn releases(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let (x, y) = (left.next(), right.next());
        if x.is_none() && y.is_none() {
            return Ordering::Equal;
        }
        let order = digits(x.unwrap_or("0"), y.unwrap_or("0"));
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn absent_first(a: Option<&str>, b: Option<&str>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => digits(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn absent_last(a: Option<&str>, b: Option<&str>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => digits(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// "Local version identifiers": part by part, numbers after words, the longer one last.
fn locals(a: Option<&str>, b: Option<&str>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_some().cmp(&b.is_some());
    };
    let (mut left, mut right) = (a.split(['.', '-', '_']), b.split(['.', '-', '_']));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (is_digits(x), is_digits(y)) {
                (true, true) => digits(x, y),
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => lower(x).cmp(lower(y)),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn lower(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|b| b.to_ascii_lowercase())
}
