//! `[store]`: where the state is kept.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the state is kept; by default in a file of the state directory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// A `PostgreSQL` server, for builds with the feature `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A server and who logs in there. There is no password: the file it would stand in is shown to
/// the hosted program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The way there.
    pub place: Place,
}

/// The way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port of this machine.
    Loopback(SocketAddr),
}

/// Why a URL is refused. Says nothing of what stands in it, since that may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not of one of the two forms.
    Form,
    /// It holds a password.
    Password,
    /// It leads away from this machine.
    Network,
}

impl Address {
    /// Takes apart `postgres://USER@/DATABASE?host=/FOLDER[&port=PORT]` or
    /// `postgres://USER@127.0.0.1:PORT/DATABASE`.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or(AddressError::Form)?;
        let (login, rest) = rest.rsplit_once('@').ok_or(AddressError::Form)?;
        if login.contains(':') || rest.contains("password=") {
            return Err(AddressError::Password);
        }
        let (host, rest) = rest.split_once('/').ok_or(AddressError::Form)?;
        let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !plain(login) || !plain(database) {
            return Err(AddressError::Form);
        }
        Ok(Self {
            user: login.to_owned(),
            database: database.to_owned(),
            place: if host.is_empty() {
                socket(query)?
            } else {
                loopback(host, query)?
            },
        })
    }
}

/// A name that means the same in every spelling of a URL.
fn plain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(letter)
}

fn socket(query: &str) -> Result<Place, AddressError> {
    let (mut folder, mut port) = (None, 5432);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("host", path)) if path.starts_with('/') && !path.contains('%') => {
                folder = Some(path);
            }
            Some(("port", number)) => {
                port = number.parse::<u16>().map_err(|_| AddressError::Form)?;
            }
            _ => return Err(AddressError::Form),
        }
    }
    let folder = PathBuf::from(folder.ok_or(AddressError::Form)?);
    Ok(Place::Unix(folder.join(format!(".s.PGSQL.{port}"))))
}

fn loopback(host: &str, query: &str) -> Result<Place, AddressError> {
    if !query.is_empty() {
        return Err(AddressError::Form);
    }
    // A name is refused like an address elsewhere: what it means is decided by the network.
    let address: SocketAddr = host
        .parse()
        .or_else(|_| format!("{host}:5432").parse())
        .map_err(|_| AddressError::Network)?;
    if address.ip().is_loopback() {
        Ok(Place::Loopback(address))
    } else {
        Err(AddressError::Network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_ways_to_a_server() {
        let unix = Address::parse("postgres://ringfence@/state?host=/run/postgresql").unwrap();
        let socket = PathBuf::from("/run/postgresql/.s.PGSQL.5432");
        assert_eq!(unix.place, Place::Unix(socket));
        assert_eq!(
            (unix.user.as_str(), unix.database.as_str()),
            ("ringfence", "state")
        );
        let other = Address::parse("postgresql://a@/b?host=/tmp/x&port=5433").unwrap();
        assert_eq!(other.place, Place::Unix("/tmp/x/.s.PGSQL.5433".into()));
        for (host, address) in [
            ("127.0.0.1:6000", "127.0.0.1:6000"),
            ("127.0.0.1", "127.0.0.1:5432"),
            ("[::1]:5432", "[::1]:5432"),
        ] {
            let found = Address::parse(&format!("postgres://a@{host}/b")).unwrap();
            assert_eq!(found.place, Place::Loopback(address.parse().unwrap()));
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_reason() {
        let error = |url: &str| Address::parse(url).unwrap_err();
        for url in [
            "postgres://a:secret@127.0.0.1/b",
            "postgres://a:@/b?host=/run",
            "postgres://a@/b?host=/run&password=secret",
            "postgres://a:p@ss@127.0.0.1/b",
        ] {
            assert_eq!(error(url), AddressError::Password, "{url}");
        }
        for url in ["postgres://a@192.0.2.1/b", "postgres://a@localhost/b"] {
            assert_eq!(error(url), AddressError::Network, "{url}");
        }
        for url in [
            "",
            "mysql://a@127.0.0.1/b",
            "postgres://127.0.0.1/b",
            "postgres://a@127.0.0.1",
            "postgres://a@127.0.0.1/",
            "postgres://a@127.0.0.1/b?sslmode=disable",
            "postgres://a@/b",
            "postgres://a@/b?host=run",
            "postgres://a@/b?host=/run&port=70000",
            "postgres://a%40@/b?host=/run",
        ] {
            assert_eq!(error(url), AddressError::Form, "{url}");
        }
    }
}
