//! Addresses that carry data away when they are drawn or unfurled.
//!
//! A picture is fetched without a click, so any picture of a host that is not allowed is one. A
//! link is one when its query, path or host name carries a long opaque value: previews of chat
//! programs fetch links too.

use crate::lexer::{End, Found, Lexer, Next, floor_boundary};
use crate::pii::url::{Read, URL_BYTES_MAX, next_where};
use ringfence_core::detection::{Bound, Detector, Hit, Label};
use ringfence_core::ids::RuleId;

// LIMIT: octets before an address in which the mark of a picture may stand.
const LEAD_BYTES: usize = 256;
/// Characters of a value that may carry data.
const VALUE_MIN: usize = 24;
/// Octets of a query that is too long for a harmless search.
const QUERY_MIN: usize = 96;
// LIMIT: octets of the part of a host name that may carry data (RFC 1035: 63 a label).
const HOST_LABEL_MIN: usize = 32;
const LABELS: [Label; 1] = [Label::ExfiltrationUrl];

/// Finds them.
#[derive(Clone, Debug, Default)]
pub struct Exfiltration {
    allowed: Vec<String>,
}

impl Exfiltration {
    /// Hosts that are harmless, with their subdomains.
    pub fn new(allowed: &[String]) -> Self {
        let lower = |h: &String| h.trim_start_matches('.').to_ascii_lowercase();
        Self {
            allowed: allowed.iter().map(lower).collect(),
        }
    }

    fn is_allowed(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.allowed.iter().any(|a| {
            host.strip_suffix(a.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    /// Which rule an address breaks.
    fn judge(&self, text: &str, read: &Read) -> Option<&'static str> {
        let rest = text.get(read.authority..read.stop)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let host = host.split(':').next().unwrap_or(host);
        if host.is_empty() || self.is_allowed(host) {
            return None;
        }
        if is_picture(text, read.start) {
            return Some("run/exfiltration-image");
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let opaque = path
            .split(['/', '?', '&', '=', '#', ';'])
            .any(|value| value.len() >= VALUE_MIN && is_opaque(value));
        let in_host = host.split('.').any(|l| l.len() >= HOST_LABEL_MIN);
        (opaque || in_host || query.len() >= QUERY_MIN).then_some("run/exfiltration-link")
    }
}

/// Encoded data: base64, hexadecimal or percent escapes, not words with hyphens.
fn is_opaque(value: &str) -> bool {
    let count = |f: fn(&u8) -> bool| value.bytes().filter(f).count();
    let digits = count(u8::is_ascii_digit);
    let upper = count(u8::is_ascii_uppercase);
    let lower = count(u8::is_ascii_lowercase);
    let breaks = count(|b| matches!(b, b'-' | b'_' | b'.'));
    let escapes = count(|b| matches!(b, b'%' | b'+'));
    let longest_run = value
        .split(['-', '_', '.'])
        .map(str::len)
        .max()
        .unwrap_or(0);
    escapes >= 3
        || (longest_run >= VALUE_MIN - 4
            && breaks <= value.len() / 12
            && (digits > 0 || upper > 0)
            && lower + upper > 0)
        || digits >= VALUE_MIN
}

/// Whether a picture's mark stands before the address: `![alt](`, `src=`, `url(`.
fn is_picture(text: &str, start: usize) -> bool {
    let low = floor_boundary(text, start.saturating_sub(LEAD_BYTES));
    let lead = text.get(low..start).unwrap_or_default();
    let lead = lead.rsplit('\n').next().unwrap_or(lead);
    let trimmed = lead.trim_end_matches(['"', '\'', '<', ' ']);
    if let Some(before) = trimmed.strip_suffix("](") {
        return before
            .rfind('[')
            .is_some_and(|at| before.get(..at).is_some_and(|b| b.ends_with('!')));
    }
    let lower = trimmed.to_ascii_lowercase();
    ["src=", "srcset=", "url(", "background=", "poster=", "]:"]
        .iter()
        .any(|mark| lower.ends_with(mark))
}

impl Lexer for Exfiltration {
    fn left_context(&self) -> usize {
        LEAD_BYTES + 4
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        next_where(text, from, end, &|read, _, _| {
            let rule = self.judge(text, read)?;
            Some(Found {
                rule: RuleId::of(rule),
                label: Label::ExfiltrationUrl,
                span: read.start..read.stop,
                score: 900,
            })
        })
    }
}

impl Detector for Exfiltration {
    fn id(&self) -> &'static str {
        "detect/exfiltration"
    }
    fn labels(&self) -> &[Label] {
        &LABELS
    }
    fn bound(&self) -> Bound {
        Bound::Bytes(URL_BYTES_MAX + 32)
    }
    fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
