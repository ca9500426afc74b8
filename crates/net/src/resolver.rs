//! Addresses of names, asked over TCP (RFC 7766).
//!
//! Over TCP an answer cannot be forged by somebody who does not see the question, cannot be
//! truncated, and the process that asks needs no UDP socket. Only configured servers are asked; there
//! is no search list, no hosts file and no second meaning of a name.

use crate::dns::{Answer, MESSAGE_BYTES_MAX, Question, Rcode, TYPE_A, TYPE_AAAA};
use crate::host::HostName;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// LIMIT: milliseconds for one server to answer both questions.
pub const SERVER_MS_MAX: u64 = 3_000;
/// LIMIT: servers that are asked, one after the other.
pub const SERVERS_MAX: usize = 3;
/// LIMIT: addresses of one name.
pub const ADDRESSES_MAX: usize = 16;
/// LIMIT: names whose addresses are remembered.
pub const NAMES_KEPT_MAX: usize = 256;
/// LIMIT: seconds for which an answer is remembered, whatever it says.
const KEPT_S_MAX: u32 = 60;
/// The port of name servers.
pub const PORT: u16 = 53;

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The servers say that it does not exist, or has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No server answered.
    #[error("no name server answered: {0}")]
    Unanswered(String),
}

/// Asks for addresses.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    kept: Mutex<BTreeMap<HostName, (Instant, Vec<IpAddr>)>>,
}

/// The servers that a resolv.conf(5) names.
pub fn servers_of(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, PORT))
        .take(SERVERS_MAX)
        .collect()
}

impl Resolver {
    /// A resolver that asks these servers, the first [`SERVERS_MAX`] of them, in this order.
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().take(SERVERS_MAX).collect(),
            kept: Mutex::default(),
        }
    }

    /// The addresses of a name, IPv4 first; never none.
    pub async fn lookup(&self, name: &HostName) -> Result<Vec<IpAddr>, LookupError> {
        if let Some(addresses) = self.remembered(name) {
            return Ok(addresses);
        }
        let mut reason = "none is configured".to_owned();
        for server in &self.servers {
            let limit = Duration::from_millis(SERVER_MS_MAX);
            match tokio::time::timeout(limit, ask(*server, name)).await {
                Ok(Ok((addresses, _))) if addresses.is_empty() => {
                    return Err(LookupError::NoAddress);
                }
                Ok(Ok((addresses, ttl_s))) => {
                    self.remember(name, &addresses, ttl_s);
                    return Ok(addresses);
                }
                Ok(Err(error)) => reason = format!("{server}: {error}"),
                Err(_) => reason = format!("{server}: it took longer than {SERVER_MS_MAX} ms"),
            }
        }
        Err(LookupError::Unanswered(reason))
    }

    fn remembered(&self, name: &HostName) -> Option<Vec<IpAddr>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, addresses) = kept.get(name)?;
        (*until > Instant::now()).then(|| addresses.clone())
    }

    fn remember(&self, name: &HostName, addresses: &[IpAddr], ttl_s: u32) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= NAMES_KEPT_MAX {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() < NAMES_KEPT_MAX {
            let until = now + Duration::from_secs(ttl_s.min(KEPT_S_MAX).into());
            kept.insert(name.clone(), (until, addresses.to_vec()));
        }
    }
}

/// Asks one server both questions over one connection.
async fn ask(server: SocketAddr, name: &HostName) -> std::io::Result<(Vec<IpAddr>, u32)> {
    let mut stream = TcpStream::connect(server).await?;
    let questions = [(1, TYPE_A), (2, TYPE_AAAA)].map(|(id, kind)| Question::about(id, name, kind));
    let mut out = Vec::new();
    for question in &questions {
        let bytes = question.to_bytes();
        out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(bytes);
    }
    stream.write_all(&out).await?;
    let mut answers: [Option<Answer>; 2] = [None, None];
    // A server may answer in any order (RFC 7766, section 6.2.1.1).
    for _ in &questions {
        let bytes = message(&mut stream).await?;
        let read = questions
            .iter()
            .zip(&mut answers)
            .find_map(|(question, place)| Answer::parse(&bytes, question).ok().zip(Some(place)));
        match read {
            Some((answer, place @ None)) => *place = Some(answer),
            _ => {
                return Err(std::io::Error::other(
                    "its answer is not about the question",
                ));
            }
        }
    }
    let mut addresses = Vec::new();
    let mut ttl_s = u32::MAX;
    for answer in answers.into_iter().flatten() {
        match answer.rcode {
            Rcode::NoError => {}
            Rcode::NxDomain => continue,
            other => return Err(std::io::Error::other(format!("it answered {other:?}"))),
        }
        if !answer.addresses.is_empty() {
            ttl_s = ttl_s.min(answer.ttl_s);
        }
        addresses.extend(answer.addresses);
    }
    addresses.truncate(ADDRESSES_MAX);
    Ok((addresses, ttl_s))
}

/// One message with its length before it.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_BYTES_MAX {
        return Err(std::io::Error::other("its answer is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_from_resolv_conf_up_to_the_limit() {
        let text = "# comment\nnameserver 192.0.2.1\nsearch example.org\n nameserver ::1 \n\
                    nameserver not-an-address\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.2:53"]);
        assert_eq!(found.len(), SERVERS_MAX);
    }

    #[test]
    fn names_are_remembered_up_to_the_limit_and_for_their_time() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let resolver = Resolver::new([]);
            let name = |n: usize| format!("h{n}.example").parse::<HostName>().unwrap();
            let address: IpAddr = "1.1.1.1".parse().unwrap();
            for n in 0..=NAMES_KEPT_MAX {
                resolver.remember(&name(n), &[address], 30);
            }
            assert_eq!(resolver.remembered(&name(0)), Some(vec![address]));
            assert!(resolver.remembered(&name(NAMES_KEPT_MAX - 1)).is_some());
            assert!(resolver.remembered(&name(NAMES_KEPT_MAX)).is_none());
            let fresh = Resolver::new([]);
            fresh.remember(&name(1), &[address], 0);
            assert_eq!(fresh.remembered(&name(1)), None);
            assert!(matches!(
                fresh.lookup(&name(1)).await,
                Err(LookupError::Unanswered(_))
            ));
        });
    }
}
