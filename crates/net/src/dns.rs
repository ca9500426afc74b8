//! The octets of DNS messages (RFC 1035): as much as is needed to ask for the addresses of a name,
//! and to answer such a question. Synchronous, without sockets.
//!
//! It reads messages of hosted programs and of name servers, both hostile: every length is checked,
//! a compression pointer may only point backwards, and a chain of aliases has an end.

use crate::host::{HostName, LABEL_BYTES_MAX};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// LIMIT: octets of a message that is read or written. Questions and answers about addresses are
/// far below it.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// LIMIT: octets of a name in its wire form (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// LIMIT: records of one answer that are looked at.
const RECORDS_MAX: usize = 64;
/// LIMIT: aliases (CNAME) that are followed.
const ALIASES_MAX: usize = 8;

const HEADER_BYTES: usize = 12;
const CLASS_INTERNET: u16 = 1;
const TYPE_CNAME: u16 = 5;
/// Type of a question for an IPv4 address.
pub const TYPE_A: u16 = 1;
/// Type of a question for an IPv6 address.
pub const TYPE_AAAA: u16 = 28;

/// A message that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a DNS message about one address")]
pub struct Malformed;

/// How a question is answered (RFC 1035, section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rcode {
    /// Answered, perhaps with nothing.
    NoError,
    /// The question cannot be read.
    FormErr,
    /// There is no such name.
    NxDomain,
    /// Nothing but questions is answered.
    NotImp,
    /// It is not answered here.
    Refused,
    /// Another number.
    Other(u8),
}

impl Rcode {
    fn number(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::Other(n) => n & 0xf,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            0 => Self::NoError,
            1 => Self::FormErr,
            3 => Self::NxDomain,
            4 => Self::NotImp,
            5 => Self::Refused,
            n => Self::Other(n),
        }
    }
}

/// A question as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Chosen by who asks.
    pub id: u16,
    /// Whether a recursive answer is wanted; repeated in the answer.
    pub recursive: bool,
    /// The name, if it is a host name; others are valid DNS and name no host.
    pub name: Option<HostName>,
    /// [`TYPE_A`], [`TYPE_AAAA`] or another.
    pub kind: u16,
    /// The question section, octet for octet: its name may be in mixed case.
    section: Vec<u8>,
}

/// Reads messages from the front.
struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let piece = self.whole.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(piece)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take(2)?
            .try_into()
            .map(u16::from_be_bytes)
            .map_err(|_| Malformed)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take(4)?
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| Malformed)
    }

    /// A name, lower case, labels joined by dots; a dot inside a label makes it no host name. What
    /// pointers lead to is read from a reader of its own, so this one ends behind the first of them.
    fn name(&mut self) -> Result<String, Malformed> {
        let mut text = String::new();
        let mut lowest = self.at;
        let mut elsewhere: Option<Reader<'a>> = None;
        loop {
            let reader = elsewhere.as_mut().unwrap_or(&mut *self);
            let start = reader.at;
            let length = usize::from(reader.byte()?);
            match length {
                0 => return Ok(text),
                1..=LABEL_BYTES_MAX => {
                    let label = reader.take(length)?;
                    if !text.is_empty() {
                        text.push('.');
                    }
                    // Latin-1: an octet outside of ASCII becomes a character that no host name has.
                    let lower = |b: &u8| char::from(b.to_ascii_lowercase());
                    text.extend(
                        label
                            .iter()
                            .map(lower)
                            .map(|c| if c == '.' { '?' } else { c }),
                    );
                    if text.len() > NAME_BYTES_MAX {
                        return Err(Malformed);
                    }
                }
                0xc0..=0xff => {
                    let target = (length & 0x3f) << 8 | usize::from(reader.byte()?);
                    // Only ever backwards: a chain of pointers gets shorter, so it ends.
                    if target >= lowest.min(start) || target < HEADER_BYTES {
                        return Err(Malformed);
                    }
                    lowest = target;
                    elsewhere = Some(Reader {
                        whole: self.whole,
                        at: target,
                    });
                }
                _ => return Err(Malformed),
            }
        }
    }
}

impl Question {
    /// A question for the addresses of a name.
    pub fn about(id: u16, name: &HostName, kind: u16) -> Self {
        let mut section = Vec::new();
        for label in name.labels() {
            // A label of a host name has at most 63 octets.
            section.push(u8::try_from(label.len()).unwrap_or(0));
            section.extend(label.as_bytes());
        }
        section.push(0);
        section.extend(kind.to_be_bytes());
        section.extend(CLASS_INTERNET.to_be_bytes());
        Self {
            id,
            recursive: true,
            name: Some(name.clone()),
            kind,
            section,
        }
    }

    /// Reads a question of a program. An additional section (EDNS) is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        let mut reader = Reader {
            whole: bytes,
            at: 0,
        };
        let (id, flags, questions) = (reader.u16()?, reader.u16()?, reader.u16()?);
        // Neither the bit of an answer nor an operation other than a standard query.
        let is_query = flags & 0xf800 == 0;
        if !is_query || questions != 1 {
            return Err(Malformed);
        }
        reader.take(6)?;
        let start = reader.at;
        let name = reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        if class != CLASS_INTERNET {
            return Err(Malformed);
        }
        let section = bytes.get(start..reader.at).ok_or(Malformed)?.to_vec();
        Ok(Self {
            id,
            recursive: flags & 0x100 != 0,
            name: name.parse().ok(),
            kind,
            section,
        })
    }

    /// The octets of the question.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.message(u16::from(self.recursive) << 8, &[], 0)
    }

    /// The octets of an answer with these addresses.
    pub fn answer(&self, rcode: Rcode, addresses: &[Ipv4Addr], ttl_s: u32) -> Vec<u8> {
        // An answer, authoritative, recursion available: a stub that asked is told no more than that.
        let flags = 0x8480 | u16::from(self.recursive) << 8 | u16::from(rcode.number());
        self.message(flags, addresses, ttl_s)
    }

    fn message(&self, flags: u16, addresses: &[Ipv4Addr], ttl_s: u32) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(HEADER_BYTES + self.section.len() + 16 * addresses.len());
        let count = u16::try_from(addresses.len()).unwrap_or(0);
        for number in [self.id, flags, 1, count, 0, 0] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(&self.section);
        for address in addresses.iter().take(usize::from(count)) {
            // The name is that of the question, right behind the header.
            bytes.extend([0xc0, 12]);
            bytes.extend(TYPE_A.to_be_bytes());
            bytes.extend(CLASS_INTERNET.to_be_bytes());
            bytes.extend(ttl_s.to_be_bytes());
            bytes.extend(4_u16.to_be_bytes());
            bytes.extend(address.octets());
        }
        bytes
    }
}

/// The answer to octets that are no question: the id, if there is one, and [`Rcode::FormErr`].
pub fn malformed(bytes: &[u8]) -> Option<Vec<u8>> {
    let [high, low, flags, ..] = *bytes else {
        return None;
    };
    // What is an answer itself is not answered, or two servers could keep each other busy.
    if flags & 0x80 != 0 {
        return None;
    }
    let mut answer = vec![high, low, 0x80, Rcode::FormErr.number()];
    answer.resize(HEADER_BYTES, 0);
    Some(answer)
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub rcode: Rcode,
    /// The addresses at the end of the chain of aliases, in the order of the message.
    pub addresses: Vec<IpAddr>,
    /// Seconds for which all of it holds.
    pub ttl_s: u32,
}

/// One record of an answer.
struct Record {
    name: String,
    ttl_s: u32,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Alias(String),
    Other,
}

impl Answer {
    /// Reads the answer to this very question; anything else is malformed.
    pub fn parse(bytes: &[u8], question: &Question) -> Result<Self, Malformed> {
        let mut reader = Reader {
            whole: bytes,
            at: 0,
        };
        let (id, flags, questions) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let count = usize::from(reader.u16()?);
        reader.take(4)?;
        let complete = flags & 0x8000 != 0 && flags & 0x0200 == 0 && questions == 1;
        if !complete || id != question.id || count > RECORDS_MAX {
            return Err(Malformed);
        }
        let name = reader.name()?;
        let asked = (reader.u16()?, reader.u16()?) == (question.kind, CLASS_INTERNET);
        if !asked || question.name.as_ref().is_none_or(|n| n.as_str() != name) {
            return Err(Malformed);
        }
        let records = (0..count)
            .map(|_| record(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        let rcode = Rcode::of(flags.to_be_bytes()[1] & 0xf);
        Ok(follow(rcode, name, &records))
    }
}

fn record(reader: &mut Reader<'_>) -> Result<Record, Malformed> {
    let name = reader.name()?;
    let (kind, class, ttl_s) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let length = usize::from(reader.u16()?);
    let start = reader.at;
    let data = match (class, kind, length) {
        (CLASS_INTERNET, TYPE_A, 4) => {
            let octets: [u8; 4] = reader.take(4)?.try_into().map_err(|_| Malformed)?;
            Data::Address(Ipv4Addr::from(octets).into())
        }
        (CLASS_INTERNET, TYPE_AAAA, 16) => {
            let octets: [u8; 16] = reader.take(16)?.try_into().map_err(|_| Malformed)?;
            Data::Address(Ipv6Addr::from(octets).into())
        }
        (CLASS_INTERNET, TYPE_CNAME, _) => Data::Alias(reader.name()?),
        _ => {
            reader.take(length)?;
            Data::Other
        }
    };
    if reader.at != start + length {
        return Err(Malformed);
    }
    Ok(Record { name, ttl_s, data })
}

/// From the name that was asked, along the aliases, to its addresses.
fn follow(rcode: Rcode, asked: String, records: &[Record]) -> Answer {
    let mut name = asked;
    let mut ttl_s = u32::MAX;
    for _ in 0..=ALIASES_MAX {
        let here = records.iter().filter(|r| r.name == name);
        let mut addresses = Vec::new();
        let mut alias = None;
        for record in here {
            match &record.data {
                Data::Address(address) => addresses.push(*address),
                Data::Alias(target) => alias = Some(target.clone()),
                Data::Other => continue,
            }
            ttl_s = ttl_s.min(record.ttl_s);
        }
        match alias {
            Some(target) if addresses.is_empty() => name = target,
            _ => {
                return Answer {
                    rcode,
                    addresses,
                    ttl_s,
                };
            }
        }
    }
    Answer {
        rcode,
        addresses: Vec::new(),
        ttl_s: 0,
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
