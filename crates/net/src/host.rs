//! Host names and authorities as they are compared: one spelling for each name.
//!
//! A policy that compares names must never meet two spellings of one, or an address that looks like
//! a name: `EXAMPLE.org.`, `0x7f.1` and `127.0.0.1` are either brought to the one form or refused.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// LIMIT: octets of a host name (RFC 1035, section 2.3.4, without the root's dot).
pub const HOST_BYTES_MAX: usize = 253;
/// LIMIT: octets of one label (RFC 1035, section 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// A host name: lower-case ASCII letters, digits, `-` and `_`, in labels; no final dot. The last
/// label begins with a letter, so no form of an IP address is a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// A text that is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// An address in place of a name.
    #[error("an address stands where a host name is needed")]
    Address,
    /// Neither.
    #[error("not a host name")]
    Malformed,
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels, the host's own first.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if bare.unwrap_or(text).parse::<IpAddr>().is_ok() {
            return Err(HostError::Address);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > HOST_BYTES_MAX || !text.split('.').all(is_label) {
            return Err(HostError::Malformed);
        }
        let last = text.rsplit('.').next().unwrap_or_default();
        // inet_aton(3) reads `0x7f.1`, `017700000001` and `2130706433` as addresses; each ends in a
        // label that begins with a digit, and no top-level domain does.
        if !last.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(HostError::Address);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn is_label(label: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(fine)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `host:port`, with the port written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: HostName,
    /// The port, not 0.
    pub port: u16,
}

impl Authority {
    /// Reads `host` or `host:port`; `default` is the port that is not written.
    pub fn parse(text: &str, default: u16) -> Result<Self, HostError> {
        if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
            return Err(HostError::Address);
        }
        let (host, port) = match text.split_once(':') {
            None => (text, default),
            Some((host, port)) => {
                let plain =
                    (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse().ok().filter(|_| plain);
                (host, port.ok_or(HostError::Malformed)?)
            }
        };
        if port == 0 {
            return Err(HostError::Malformed);
        }
        Ok(Self {
            host: host.parse()?,
            port,
        })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_spelling() {
        for text in ["api.example.org", "API.Example.ORG", "api.example.org."] {
            assert_eq!(
                text.parse::<HostName>().unwrap().as_str(),
                "api.example.org"
            );
        }
        assert!("localhost".parse::<HostName>().is_ok());
        assert!("xn--bcher-kva.example".parse::<HostName>().is_ok());
    }

    #[test]
    fn no_form_of_an_address_is_a_name() {
        for text in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "017700000001",
            "2130706433",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "1.2.3.4.",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        assert_eq!("10.0.0.1".parse::<HostName>(), Err(HostError::Address));
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "-a.org",
            "a-.org",
            "a b.org",
            "b\u{fc}cher.example",
            "a/b",
            "a@b",
            "a.org\0",
            "*.a.org",
            "a.org..",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_accepted_at_the_limit_and_refused_one_above() {
        let label = |n: usize| "a".repeat(n);
        assert!(
            format!("{}.org", label(LABEL_BYTES_MAX))
                .parse::<HostName>()
                .is_ok()
        );
        assert!(
            format!("{}.org", label(LABEL_BYTES_MAX + 1))
                .parse::<HostName>()
                .is_err()
        );
        let whole = |n: usize| format!("{}a", "a.".repeat(n / 2));
        assert_eq!(whole(HOST_BYTES_MAX).len(), HOST_BYTES_MAX);
        assert!(whole(HOST_BYTES_MAX).parse::<HostName>().is_ok());
        assert!(
            format!("{}aa", "a.".repeat(HOST_BYTES_MAX / 2))
                .parse::<HostName>()
                .is_err()
        );
    }

    #[test]
    fn an_authority_is_a_name_and_a_port() {
        let read = |text: &str| Authority::parse(text, 443).map(|a| a.to_string());
        assert_eq!(read("Example.org"), Ok("example.org:443".to_owned()));
        assert_eq!(read("example.org.:8443"), Ok("example.org:8443".to_owned()));
        for text in [
            "example.org:0",
            "example.org:",
            "example.org:+80",
            "example.org:65536",
            "example.org:80:80",
            "[::1]:80",
            "10.0.0.1:80",
            "::1",
            "user@example.org",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
