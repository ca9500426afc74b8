//! The resolver inside a sandbox: it answers for listed names, from memory.
//!
//! A listed name gets a synthetic address of a network that is routed nowhere (198.18.0.0/15, RFC
//! 2544); at the door for every address that number stands for the name again. Any other name does
//! not exist.
//! INVARIANT: a question from inside never leads to a question outside, so a name carries nothing
//! out. Names are resolved only when a connection to a listed host is made.

use super::Egress;
use super::refusal::Refusal;
use ringfence_net::dns::{MESSAGE_BYTES_MAX, Question, Rcode, TYPE_A, malformed};
use ringfence_net::host::HostName;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// LIMIT: names that have a synthetic address in one sandbox.
pub const NAMES_MAX: usize = 1024;
/// LIMIT: questions over one TCP connection.
const QUESTIONS_MAX: usize = 64;
/// LIMIT: milliseconds between two questions over one TCP connection.
const QUESTION_MS_MAX: u64 = 5_000;
/// How long receiving rests after the system refused it.
const REST_MS: u64 = 50;
/// Seconds for which an answer may be kept inside.
const TTL_S: u32 = 60;
/// The number before the first address.
const BASE: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// Names and their addresses, both ways.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_name: BTreeMap<HostName, Ipv4Addr>,
    by_place: Vec<HostName>,
}

impl Names {
    /// With the names that are known from the start: they have the same addresses each time, so a
    /// program goes on with what it remembers after the server was restarted.
    pub(super) fn with(names: Vec<HostName>) -> Self {
        let known = Self::default();
        for name in names {
            known.address_of(&name);
        }
        known
    }

    /// The address of a listed name; a new one if it has none and there is room.
    pub(super) fn address_of(&self, name: &HostName) -> Option<Ipv4Addr> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = inner.by_name.get(name) {
            return Some(*address);
        }
        if inner.by_place.len() >= NAMES_MAX {
            return None;
        }
        inner.by_place.push(name.clone());
        let number = u32::try_from(inner.by_place.len()).ok()?;
        let address = Ipv4Addr::from(BASE + number);
        inner.by_name.insert(name.clone(), address);
        Some(address)
    }

    /// The name behind an address that a program connected to.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<HostName> {
        let IpAddr::V4(address) = address.to_canonical() else {
            return None;
        };
        let place = u32::from(address).checked_sub(BASE + 1)?;
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_place.get(usize::try_from(place).ok()?).cloned()
    }
}

impl Egress {
    /// The answer to one message, if it deserves one.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Ok(question) = Question::parse(message) else {
            self.deny(&Refusal::Malformed, None);
            return malformed(message);
        };
        let listed = question
            .name
            .as_ref()
            .filter(|name| self.config.names(name) && !self.is_closed());
        let Some(name) = listed else {
            self.deny(&Refusal::HostNotListed, question.name.as_ref());
            return Some(question.answer(Rcode::NxDomain, &[], 0));
        };
        if question.kind != TYPE_A {
            // The name exists and has nothing else: no IPv6 address, no service binding with keys
            // for an encrypted hello.
            return Some(question.answer(Rcode::NoError, &[], 0));
        }
        Some(match self.names.address_of(name) {
            Some(address) => question.answer(Rcode::NoError, &[address], TTL_S),
            None => {
                self.deny(&Refusal::TooManyHosts, Some(name));
                question.answer(Rcode::Refused, &[], 0)
            }
        })
    }

    /// Answers datagrams for ever.
    pub(super) async fn answer_datagrams(&self, socket: UdpSocket) {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(Duration::from_millis(REST_MS)).await;
                continue;
            };
            let message = buffer.get(..length).unwrap_or_default();
            if let Some(answer) = self.answer(message) {
                // One that has gone away meanwhile misses nothing.
                let _sent = socket.send_to(&answer, from).await.is_ok();
            }
        }
    }

    /// Answers the questions of one connection.
    pub(super) async fn answer_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        let limit = Duration::from_millis(QUESTION_MS_MAX);
        for _ in 0..QUESTIONS_MAX {
            let question = async {
                let length = usize::from(stream.read_u16().await?);
                let mut message = vec![0; length];
                stream.read_exact(&mut message).await.map(|_| message)
            };
            let message = tokio::time::timeout(limit, question).await??;
            let Some(answer) = self.answer(&message) else {
                return Ok(());
            };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            let whole = [length.to_be_bytes().as_slice(), &answer].concat();
            tokio::time::timeout(limit, stream.write_all(&whole)).await??;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> HostName {
        format!("h{n}.example").parse().unwrap()
    }

    #[test]
    fn a_name_and_its_address_find_each_other_up_to_the_limit() {
        let names = Names::with(vec![name(0)]);
        for n in 0..NAMES_MAX {
            let address = names.address_of(&name(n)).unwrap();
            assert_eq!(names.address_of(&name(n)), Some(address));
            assert_eq!(names.name_of(address.into()), Some(name(n)));
            let mapped = IpAddr::from(address.to_ipv6_mapped());
            assert_eq!(names.name_of(mapped), Some(name(n)));
        }
        assert_eq!(names.address_of(&name(NAMES_MAX)), None);
    }

    #[test]
    fn no_other_address_stands_for_a_name() {
        let names = Names::with(vec![name(0)]);
        assert!(names.name_of("198.18.0.1".parse().unwrap()).is_some());
        for other in [
            "198.18.0.0",
            "198.18.0.2",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
        ] {
            assert_eq!(names.name_of(other.parse().unwrap()), None, "{other}");
        }
    }
}
