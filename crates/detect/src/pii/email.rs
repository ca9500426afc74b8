//! E-mail addresses in the form people write them: a dot-atom of RFC 5322 before the `@`, a host
//! name with a top-level domain after it. Quoted local parts and address literals are not read.

use crate::lexer::{End, Found, Lexer, Next, byte_before};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;

// LIMIT: RFC 5321 section 4.5.3.1.1: 64 octets before the `@`.
const LOCAL_BYTES_MAX: usize = 64;
// LIMIT: RFC 5321 allows 254 octets for a whole address.
const DOMAIN_BYTES_MAX: usize = 189;
const MATCH_BYTES_MAX: usize = LOCAL_BYTES_MAX + 1 + DOMAIN_BYTES_MAX;
// LIMIT: RFC 1035: 63 octets a label.
const LABEL_BYTES_MAX: usize = 63;

fn local_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._%+-'!#$&*/=?^{|}~".contains(&b)
}

fn domain_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'.' || b == b'-'
}

/// The start of the run of address characters that ends at `at`, not before `from`.
fn local_start(text: &str, from: usize, at: usize) -> usize {
    let lowest = from.max(at.saturating_sub(LOCAL_BYTES_MAX));
    let mut start = at;
    while start > lowest && byte_before(text, start).is_some_and(local_byte) {
        start -= 1;
    }
    start
}

/// Bytes of the longest host name with a top-level domain at the start of `run`.
fn host_length(run: &str) -> Option<usize> {
    let mut offset = 0;
    let mut labels = 0;
    let mut longest = None;
    for label in run.split('.') {
        let well_formed = !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && !label.trim_end_matches('-').is_empty();
        if !well_formed {
            break;
        }
        labels += 1;
        // "a@b.com-" at the end of a sentence: the hyphen is not part of the name.
        let name = label.trim_end_matches('-');
        let top = (name.len() >= 2 && name.bytes().all(|b| b.is_ascii_alphabetic()))
            || name.to_ascii_lowercase().starts_with("xn--");
        if labels >= 2 && top {
            longest = Some(offset + name.len());
        }
        if name.len() != label.len() {
            break;
        }
        offset += label.len() + 1;
    }
    longest
}

/// The recogniser of e-mail addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emails;

impl Lexer for Emails {
    fn left_context(&self) -> usize {
        0
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let mut search = from;
        while let Some(sign) = text
            .get(search..)
            .and_then(|rest| rest.find('@'))
            .map(|i| search + i)
        {
            let start = local_start(text, from, sign);
            let local = text.get(start..sign).unwrap_or_default();
            // Quotes, brackets of markup and mail schemes' separators lead; they are not the name.
            let trimmed = local.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let begin = sign - trimmed.len();
            if trimmed.is_empty() {
                search = sign + 1;
                continue;
            }
            let rest = text.as_bytes().get(sign + 1..).unwrap_or_default();
            let run = rest
                .iter()
                .take(DOMAIN_BYTES_MAX)
                .take_while(|b| domain_byte(**b))
                .count();
            if run == rest.len() && run < DOMAIN_BYTES_MAX && end == End::Open {
                return Next::ClearTo(begin);
            }
            let host = text.get(sign + 1..sign + 1 + run).unwrap_or_default();
            if let Some(length) = host_length(host) {
                return Next::Hit(Found {
                    rule: RuleId::of("detect/email"),
                    label: Label::Email,
                    span: begin..sign + 1 + length,
                    score: 1000,
                });
            }
            search = sign + 1;
        }
        match end {
            End::Closed => Next::ClearTo(text.len()),
            End::Open => Next::ClearTo(local_start(text, search, text.len())),
        }
    }
}

super::detector!(Emails, "detect/email", Label::Email, MATCH_BYTES_MAX);
