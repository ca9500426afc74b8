//! Reads a run of digits with single separators, the common ground of cards and phones.

/// Value of a decimal digit, full-width forms included (they survive copying from documents).
pub(super) fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8 - b'0'),
        '\u{ff10}'..='\u{ff19}' => u8::try_from(c as u32 - 0xff10).ok(),
        _ => None,
    }
}

/// First byte of every full-width digit in UTF-8.
pub(super) const FULL_WIDTH_LEAD: u8 = 0xef;

/// The offset of the next digit from `from` on.
pub(super) fn next_digit(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    // ASCII text is skipped by bytes; the lead byte of full-width digits is 0xEF.
    let mut at = 0;
    while let Some(found) = rest
        .as_bytes()
        .get(at..)?
        .iter()
        .position(|b| b.is_ascii_digit() || *b == FULL_WIDTH_LEAD)
    {
        at += found;
        if rest
            .get(at..)
            .and_then(|r| r.chars().next())
            .is_some_and(|c| digit(c).is_some())
        {
            return Some(from + at);
        }
        at += 1;
    }
    None
}

/// Whether the character that ends right before `at` is a digit.
pub(super) fn digit_before(text: &str, at: usize) -> bool {
    text.get(..at)
        .and_then(|t| t.chars().next_back())
        .is_some_and(|c| digit(c).is_some())
}

/// Whether the ASCII run at `at` is seen to its end and has fewer than `fewest` digits: then no
/// number begins there, and nothing needs to be read with care. It looks at `most` octets.
pub(super) fn too_short(text: &str, at: usize, most: usize, fewest: usize, between: &[u8]) -> bool {
    let mut digits = 0;
    for b in text
        .as_bytes()
        .get(at..)
        .unwrap_or_default()
        .iter()
        .take(most)
    {
        if b.is_ascii_digit() {
            digits += 1;
            if digits >= fewest {
                return false;
            }
        } else if !b.is_ascii() {
            return false;
        } else if !between.contains(b) {
            return true;
        }
    }
    false
}

/// A digit of a run: its value, the offset after it, and the separator in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digit {
    pub(super) value: u8,
    pub(super) end: usize,
    pub(super) separator: Option<char>,
}

/// How a run of digits stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At something that cannot belong to it.
    Ended,
    /// At the end of the text seen so far.
    OutOfText,
    /// After as many digits as were asked for.
    Full,
}

/// Reads up to `max` digits from `at`, each after at most one separator. A final separator stays
/// outside, and is `OutOfText` when nothing follows it yet.
pub(super) fn read(text: &str, at: usize, max: usize, separators: &[char]) -> (Vec<Digit>, Stop) {
    let mut digits = Vec::with_capacity(max);
    let mut separator = None;
    let mut offset = at;
    for c in text.get(at..).unwrap_or_default().chars() {
        offset += c.len_utf8();
        if let Some(value) = digit(c) {
            digits.push(Digit {
                value,
                end: offset,
                separator: separator.take(),
            });
            if digits.len() == max {
                return (digits, Stop::Full);
            }
        } else if separator.is_none() && !digits.is_empty() && separators.contains(&c) {
            separator = Some(c);
        } else {
            return (digits, Stop::Ended);
        }
    }
    (digits, Stop::OutOfText)
}
