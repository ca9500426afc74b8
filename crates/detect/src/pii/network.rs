//! Addresses of machines: IPv4 and IPv6 as the standard library parses them, and hardware
//! addresses. Versions ("version 1.2.3.4") and times are not addresses.

use super::context::{Words, before, ends_with_marker};
use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next, byte_before};
use ringfence_core::detection::Label;
use ringfence_core::ids::RuleId;
use std::net::{Ipv4Addr, Ipv6Addr};

// LIMIT: an IPv6 address with an IPv4 tail has 45 characters.
const RUN_BYTES_MAX: usize = 48;
// LIMIT: digits before the first colon, point or hyphen.
const FIRST_MAX: usize = 4;
// LIMIT: bytes before an address in which a word may say that it is a version.
const CONTEXT_BYTES: usize = 16;
const LABELS: [Label; 2] = [Label::IpAddress, Label::MacAddress];
const VERSIONS: &[&[&str]] = &[&[
    "version", "ver", "v", "release", "firmware", "section", "build",
]];

fn run_byte(b: u8) -> bool {
    b.is_ascii_hexdigit() || matches!(b, b':' | b'.' | b'-')
}

/// Length of a hardware address at the start of `run`.
fn mac(run: &[u8]) -> Option<usize> {
    let pairs = |sign: u8, each: usize, length: usize| {
        let head = run.get(..length)?;
        let fits = head.iter().enumerate().all(|(i, b)| {
            if i % (each + 1) == each {
                *b == sign
            } else {
                b.is_ascii_hexdigit()
            }
        });
        let ends = run.get(length).is_none_or(|b| *b == b'.');
        (fits && ends).then_some(length)
    };
    pairs(b':', 2, 17)
        .or_else(|| pairs(b'-', 2, 17))
        .or_else(|| pairs(b'.', 4, 14))
}

/// Length of an internet address at the start of `run`, full stops of the sentence left out.
fn address(run: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(run).ok()?;
    let mut text = text.split('-').next()?.trim_end_matches('.');
    if text.ends_with(':') && !text.ends_with("::") {
        text = text.trim_end_matches(':');
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(text.len());
    }
    // "10.0.0.1:8080" is an address and a port.
    if let Some((host, _)) = text.split_once(':')
        && host.parse::<Ipv4Addr>().is_ok()
    {
        return Some(host.len());
    }
    let plausible = text.len() >= 4
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.split(':').filter(|part| !part.is_empty()).count() >= 2;
    (plausible && text.parse::<Ipv6Addr>().is_ok()).then_some(text.len())
}

/// The recogniser of network addresses.
#[derive(Clone, Debug)]
pub struct NetworkAddresses {
    versions: Words,
}

impl NetworkAddresses {
    /// Builds the list of words that say "version".
    pub fn new() -> Result<Self, DetectError> {
        Ok(Self {
            versions: Words::new("detect/network-address", VERSIONS)?,
        })
    }

    fn decide(&self, text: &str, start: usize, run: &[u8]) -> Option<Found> {
        let (label, rule, length) = if let Some(length) = mac(run) {
            (Label::MacAddress, "pii/mac-address", length)
        } else {
            (Label::IpAddress, "pii/ip-address", address(run)?)
        };
        let next = text.as_bytes().get(start + length);
        let goes_on = next.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'['));
        let version = label == Label::IpAddress
            && self.versions.lists_in(before(text, start, CONTEXT_BYTES)) != 0;
        (!goes_on && !version).then(|| Found {
            rule: RuleId::of(rule),
            label,
            span: start..start + length,
            score: 950,
        })
    }
}

/// The start of the digits that end at the sign at `at`.
fn start_of(bytes: &[u8], from: usize, at: usize) -> usize {
    let digits = bytes
        .get(from..at)
        .unwrap_or_default()
        .iter()
        .rev()
        .take(FIRST_MAX + 1)
        .take_while(|b| b.is_ascii_hexdigit())
        .count();
    at - digits
}

impl Lexer for NetworkAddresses {
    fn left_context(&self) -> usize {
        CONTEXT_BYTES + 48
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        let bytes = text.as_bytes();
        let mut at = from;
        while let Some(sign) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| matches!(b, b':' | b'.' | b'-')))
            .map(|i| at + i)
        {
            at = sign + 1;
            let start = start_of(bytes, from, sign);
            let leading_colons =
                start == sign && bytes.get(sign..).is_some_and(|r| r.starts_with(b"::"));
            let open_colon = start == sign && sign + 1 == bytes.len() && end == End::Open;
            let inside = byte_before(text, start).is_some_and(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-')
            });
            if (start == sign && !leading_colons && !open_colon)
                || sign - start > FIRST_MAX
                || inside
                || ends_with_marker(text, start)
            {
                continue;
            }
            let run = bytes
                .get(start..)
                .unwrap_or_default()
                .iter()
                .take(RUN_BYTES_MAX)
                .take_while(|b| run_byte(**b))
                .count();
            if start + run == bytes.len() && run < RUN_BYTES_MAX && end == End::Open {
                return Next::ClearTo(start);
            }
            let run = bytes.get(start..start + run).unwrap_or_default();
            if let Some(found) = self.decide(text, start, run) {
                return Next::Hit(found);
            }
        }
        Next::ClearTo(match end {
            End::Closed => text.len(),
            End::Open => start_of(bytes, at.max(from), bytes.len()),
        })
    }
}

impl ringfence_core::detection::Detector for NetworkAddresses {
    fn id(&self) -> &'static str {
        "detect/network-address"
    }
    fn labels(&self) -> &[Label] {
        &LABELS
    }
    fn bound(&self) -> ringfence_core::detection::Bound {
        ringfence_core::detection::Bound::Bytes(RUN_BYTES_MAX + 1)
    }
    fn scan(&self, text: &str, hits: &mut Vec<ringfence_core::detection::Hit>) {
        crate::lexer::scan_all(self, text, hits);
    }
}
