//! Numbers of people: national ids, tax numbers, passports, licences, health.
//!
//! A candidate is a run of letters and digits with single separators. Its first part chooses the
//! few shapes that can fit, the check digits throw out nine tenths or more of what is left, and the words
//! before it decide where arithmetic alone cannot. The table is [`super::table`].

use super::context::{CONTEXT_BYTES, Words, before, ends_with_marker};
use super::run::{Fit, RUN_BYTES_MAX, fit, goes_on, read, separator};
use super::table::{NUMBERS, Needs, Number, WORDS};
use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: letters before the first digit of a number; longer words begin none.
const LEAD_LETTERS_MAX: usize = 8;
// LIMIT: letters of a prefix that stands apart ("AB 12 34 56 C").
const PREFIX_LETTERS_MAX: usize = 5;
/// Longest first part of any shape.
const FIRST_MAX: usize = 20;
// LIMIT: a run, its prefix and one character to see the end.
const MATCH_BYTES_MAX: usize = RUN_BYTES_MAX + PREFIX_LETTERS_MAX + LEAD_LETTERS_MAX + 4;

/// What this recogniser can say.
const LABELS: [Label; 5] = [
    Label::NationalId,
    Label::TaxId,
    Label::Passport,
    Label::DriverLicence,
    Label::Medical,
];

/// The recogniser of numbers of people.
#[derive(Clone, Debug)]
pub struct PersonNumbers {
    words: Words,
    /// For each length of a first part: the numbers and shapes that can begin so.
    by_first: Vec<Vec<(&'static Number, &'static str)>>,
}

/// Letters and digits up to the first place where `shape` may have a separator, and up to the
/// first where it must.
fn first_lengths(shape: &str) -> [usize; 2] {
    let plain = |b: u8| matches!(b, b'9' | b'*') || b.is_ascii_uppercase();
    let loose = shape.bytes().take_while(|b| plain(*b)).count();
    let tight = shape
        .bytes()
        .take_while(|b| plain(*b) || *b == b' ')
        .filter(|b| *b != b' ')
        .count();
    [loose, tight]
}

impl PersonNumbers {
    /// Builds the tables of shapes and words.
    pub fn new() -> Result<Self, DetectError> {
        let mut by_first = vec![Vec::new(); FIRST_MAX + 1];
        for number in NUMBERS {
            for shape in number.shapes {
                let [loose, tight] = first_lengths(shape);
                for length in [Some(loose), (tight != loose).then_some(tight)]
                    .into_iter()
                    .flatten()
                {
                    by_first
                        .get_mut(length)
                        .ok_or_else(|| DetectError::Rule {
                            rule: number.rule.to_owned(),
                            reason: "a part of its shape is too long".to_owned(),
                        })?
                        .push((number, *shape));
                }
            }
        }
        Ok(Self {
            words: Words::new("detect/person-number", &WORDS)?,
            by_first,
        })
    }

    /// The best number that begins at `at`, given that the run there is complete.
    fn decide(&self, text: &str, at: usize) -> Option<Found> {
        let rest = text.as_bytes().get(at..)?;
        let run = read(rest);
        let mut lists = None;
        let mut best: Option<(usize, u32, &Number)> = None;
        for (number, shape) in self.by_first.get(run.first)? {
            let Some(found) = fit(shape, run.bytes).filter(|f| !goes_on(rest, f.length)) else {
                continue;
            };
            if best.is_some_and(|(length, ..)| length > found.length)
                || !(number.check)(found.plain())
            {
                continue;
            }
            let lists =
                *lists.get_or_insert_with(|| self.words.lists_in(before(text, at, CONTEXT_BYTES)));
            let score = confidence(number, shape, &found, lists & (1 << number.words) != 0);
            let better = score.is_some_and(|score| {
                best.is_none_or(|(length, known, _)| (found.length, score) > (length, known))
            });
            if let Some(score) = score.filter(|_| better) {
                best = Some((found.length, score, number));
            }
        }
        best.map(|(length, score, number)| Found {
            rule: RuleId::of(number.rule),
            label: number.label,
            span: at..at + length,
            score,
        })
    }
}

/// How sure it is, 0 to 1000; `None` is not sure enough.
fn confidence(number: &Number, shape: &str, fit: &Fit, word: bool) -> Option<u32> {
    let formed = fit.separators > 0 || shape.bytes().any(|b| b"-./(".contains(&b));
    match (number.needs, word) {
        (Needs::Nothing, true) => Some(1000),
        (Needs::Nothing, false) => Some(850),
        (Needs::Form, true) => Some(950),
        (Needs::Form, false) => formed.then_some(700),
        (Needs::Word, true) => Some(600 + 50 * u32::from(formed)),
        (Needs::Word, false) => None,
    }
}

/// Whether what stands before `at` makes it the inside of something longer.
fn glued(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let back = |n: usize| at.checked_sub(n).and_then(|i| bytes.get(i)).copied();
    let inside = match back(1) {
        Some(b) if b.is_ascii_alphanumeric() => true,
        Some(b'_' | b'+' | b'$' | b'@' | b'=' | b'%') => true,
        Some(b'-' | b'/') => back(2).is_some_and(|b| b.is_ascii_alphanumeric() || b == b']'),
        Some(b'.' | b',') => back(2).is_some_and(|b| b.is_ascii_digit() || b == b']'),
        _ => false,
    };
    inside || ends_with_marker(text, at)
}

/// The start of the letters and digits that end at `at`, not before `low`, of at most `most`.
fn solid_start(bytes: &[u8], low: usize, at: usize, most: usize) -> usize {
    let run = bytes
        .get(low..at)
        .unwrap_or_default()
        .iter()
        .rev()
        .take(most)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    at - run
}

/// The start of a prefix of capitals that stands one separator before `start`.
fn prefix_start(bytes: &[u8], low: usize, start: usize) -> Option<usize> {
    let gap = start.checked_sub(1).filter(|gap| *gap >= low)?;
    if !bytes.get(gap).copied().is_some_and(separator) {
        return None;
    }
    let letters = bytes
        .get(low..gap)?
        .iter()
        .rev()
        .take(PREFIX_LETTERS_MAX + 1)
        .take_while(|b| b.is_ascii_uppercase())
        .count();
    (1..=PREFIX_LETTERS_MAX)
        .contains(&letters)
        .then_some(gap - letters)
}

/// From where on an open text may still become a number.
fn tail(bytes: &[u8], from: usize) -> usize {
    let start = solid_start(bytes, from, bytes.len(), LEAD_LETTERS_MAX + 1);
    if bytes.len() - start > LEAD_LETTERS_MAX {
        return bytes.len();
    }
    prefix_start(bytes, from, start).unwrap_or(start)
}

impl Lexer for PersonNumbers {
    fn left_context(&self) -> usize {
        CONTEXT_BYTES
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let bytes = text.as_bytes();
        let mut at = from;
        while let Some(digit) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
            .map(|i| at + i)
        {
            let start = solid_start(bytes, from, digit, LEAD_LETTERS_MAX + 1);
            let plausible = digit - start <= LEAD_LETTERS_MAX;
            let prefix = prefix_start(bytes, from, start);
            for begin in [prefix, plausible.then_some(start)].into_iter().flatten() {
                if glued(text, begin) {
                    continue;
                }
                let run = read(bytes.get(begin..).unwrap_or_default());
                if end == End::Open && !run.ended {
                    return Next::ClearTo(begin);
                }
                if let Some(found) = self.decide(text, begin) {
                    return Next::Hit(found);
                }
            }
            let solid = bytes
                .get(digit..)
                .unwrap_or_default()
                .iter()
                .take_while(|b| b.is_ascii_alphanumeric())
                .count();
            at = digit + solid;
        }
        Next::ClearTo(match end {
            End::Closed => text.len(),
            End::Open => tail(bytes, at.max(from)),
        })
    }
}

impl ringfence_core::detection::Detector for PersonNumbers {
    fn id(&self) -> &'static str {
        "detect/person-number"
    }
    fn labels(&self) -> &[Label] {
        &LABELS
    }
    fn bound(&self) -> ringfence_core::detection::Bound {
        ringfence_core::detection::Bound::Bytes(MATCH_BYTES_MAX)
    }
    fn scan(&self, text: &str, hits: &mut Vec<ringfence_core::detection::Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
