//! Addresses of the web, and users with passwords inside any address.

use crate::lexer::{End, Found, Lexer, Next, char_at, floor_boundary, glued_before};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;
use std::ops::Range;

// LIMIT: bytes of an address; browsers and servers agree on no more. The rest is left.
pub(crate) const URL_BYTES_MAX: usize = 2048;
// LIMIT: letters of a scheme.
const SCHEME_BYTES_MAX: usize = 16;
const LABELS: [Label; 2] = [Label::Url, Label::UrlCredential];
const WEB: [&str; 5] = ["http", "https", "ftp", "ws", "wss"];

fn url_char(c: char) -> bool {
    !c.is_whitespace()
        && !c.is_control()
        && !matches!(
            c,
            '"' | '\''
                | '<'
                | '>'
                | '`'
                | '{'
                | '}'
                | '|'
                | '\\'
                | '^'
                | '['
                | ']'
                | '\u{3001}'
                | '\u{3002}'
                | '\u{ff0c}'
                | '\u{ff09}'
        )
}

/// An address at some place: where it starts, where its host starts, where it ends.
pub(crate) struct Read {
    pub(crate) start: usize,
    pub(crate) authority: usize,
    pub(crate) stop: usize,
    /// It reaches the end of the text: more of it may follow.
    pub(crate) open: bool,
}

/// Reads the address around `://` at `sign`, or around `www.` when there is no scheme.
fn read(text: &str, from: usize, sign: usize, scheme: bool) -> Read {
    let bytes = text.as_bytes();
    let letters = if scheme {
        bytes
            .get(from..sign)
            .unwrap_or_default()
            .iter()
            .rev()
            .take(SCHEME_BYTES_MAX + 1)
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-'))
            .count()
    } else {
        0
    };
    let mut start = sign - letters;
    while start < sign && !bytes.get(start).is_some_and(u8::is_ascii_alphabetic) {
        start += 1;
    }
    let authority = if scheme { sign + 3 } else { sign };
    let limit = floor_boundary(text, start + URL_BYTES_MAX);
    let rest = text
        .get(authority..limit.max(authority))
        .unwrap_or_default();
    let length = rest.find(|c| !url_char(c)).unwrap_or(rest.len());
    let open = length == rest.len() && limit == text.len();
    let trimmed = rest
        .get(..length)
        .unwrap_or_default()
        .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '*', '_']);
    Read {
        start,
        authority,
        stop: authority + trimmed.len(),
        open,
    }
}

/// User and password before the `@` of the host part.
fn credential(text: &str, read: &Read) -> Option<Range<usize>> {
    let rest = text.get(read.authority..read.stop)?;
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let user = rest.get(..host_end)?.rfind('@')?;
    let (name, password) = rest.get(..user)?.split_once(':')?;
    let written = !password.is_empty() && !name.contains('/');
    written.then(|| read.authority..read.authority + user)
}

/// The recogniser of web addresses and of credentials inside addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Urls;

/// The next `://`, or `www.` at the start of a word.
fn next_sign(text: &str, from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    while let Some(i) = text
        .as_bytes()
        .get(at..)
        .and_then(|rest| rest.iter().position(|b| matches!(b, b':' | b'w' | b'W')))
    {
        let found = at + i;
        let rest = text.as_bytes().get(found..).unwrap_or_default();
        if rest.starts_with(b"://") {
            return Some((found, true));
        }
        let www = rest
            .get(..4)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"www."));
        if www && !glued_before(text, found) {
            return Some((found, false));
        }
        at = found + 1;
    }
    None
}

/// Bytes at the end that may become a scheme or `www.`.
fn tail(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes().get(from..).unwrap_or_default();
    let length = bytes
        .iter()
        .rev()
        .take(SCHEME_BYTES_MAX + 3)
        .take_while(|b| b.is_ascii_alphanumeric() || b"+.-:/".contains(b))
        .count();
    text.len() - length
}

/// Reads one address after another until `judge` makes a hit of one, and says how far the text is
/// clear otherwise.
pub(crate) fn next_where(
    text: &str,
    from: usize,
    end: End,
    judge: &dyn Fn(&Read, usize, bool) -> Option<Found>,
) -> Next {
    let mut at = from;
    while let Some((sign, scheme)) = next_sign(text, at) {
        let read = read(text, from, sign, scheme);
        at = sign + 3;
        if scheme && (read.start == sign || glued_before(text, read.start)) {
            continue;
        }
        if read.open && end == End::Open {
            return Next::ClearTo(read.start);
        }
        if let Some(found) = judge(&read, sign, scheme) {
            return Next::Hit(found);
        }
    }
    Next::ClearTo(match end {
        End::Closed => text.len(),
        End::Open => tail(text, at.min(text.len()).max(from)),
    })
}

impl Lexer for Urls {
    fn left_context(&self) -> usize {
        SCHEME_BYTES_MAX
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        next_where(text, from, end, &|read, sign, scheme| {
            let name = text.get(read.start..sign).unwrap_or_default();
            let web = !scheme || WEB.iter().any(|w| name.eq_ignore_ascii_case(w));
            let hosted = char_at(text, read.authority).is_some_and(char::is_alphanumeric);
            let (label, rule, span) = match credential(text, read) {
                Some(span) => (Label::UrlCredential, "pii/url-credential", span),
                None => (Label::Url, "pii/url", read.start..read.stop),
            };
            let long_enough = read.stop >= read.authority + 4;
            let is_one = label == Label::UrlCredential || (web && hosted && long_enough);
            is_one.then(|| Found {
                rule: RuleId::of(rule),
                label,
                span,
                score: 900,
            })
        })
    }
}

impl ringfence_core::detection::Detector for Urls {
    fn id(&self) -> &'static str {
        "detect/url"
    }
    fn labels(&self) -> &[Label] {
        &LABELS
    }
    fn bound(&self) -> ringfence_core::detection::Bound {
        ringfence_core::detection::Bound::Bytes(URL_BYTES_MAX + SCHEME_BYTES_MAX + 3)
    }
    fn scan(&self, text: &str, hits: &mut Vec<ringfence_core::detection::Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
