//! A connection to a named host: resolve, then judge, then connect to what was judged.

use crate::guard::{Guard, Kind};
use crate::host::{Authority, HostName};
use crate::resolver::{LookupError, Resolver};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// LIMIT: addresses of a name that are tried.
pub const TRIES_MAX: usize = 4;
/// LIMIT: milliseconds for one address to answer.
pub const TRY_MS_MAX: u64 = 4_000;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or no server said so.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// One of its addresses is refused. Then none is used: a public name with a private address
    /// beside a public one is what rebinding looks like.
    #[error("the name leads to the address {0}, which is {kind}", kind = .1.as_str())]
    Forbidden(IpAddr, Kind),
    /// No address answered.
    #[error("no address of the name answered: {0}")]
    Unreachable(String),
}

/// Connects to names.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    guard: Guard,
}

impl Dialer {
    /// Resolves with one and judges with the other.
    pub fn new(resolver: Resolver, guard: Guard) -> Self {
        Self { resolver, guard }
    }

    /// The addresses of a name, all of them allowed.
    pub async fn addresses(&self, name: &HostName) -> Result<Vec<IpAddr>, DialError> {
        let addresses = self.resolver.lookup(name).await?;
        for address in &addresses {
            self.guard
                .check(*address)
                .map_err(|kind| DialError::Forbidden(*address, kind))?;
        }
        Ok(addresses)
    }

    /// A connection to one of the addresses of a host.
    pub async fn connect(&self, to: &Authority) -> Result<TcpStream, DialError> {
        let addresses = self.addresses(&to.host).await?;
        let mut reason = String::new();
        for address in addresses.into_iter().take(TRIES_MAX) {
            let address = SocketAddr::new(address, to.port);
            let attempt = TcpStream::connect(address);
            match tokio::time::timeout(Duration::from_millis(TRY_MS_MAX), attempt).await {
                Ok(Ok(stream)) => {
                    let _without_delay = stream.set_nodelay(true).is_ok();
                    return Ok(stream);
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = format!("it took longer than {TRY_MS_MAX} ms"),
            }
        }
        Err(DialError::Unreachable(reason))
    }
}
