//! The server name that a TLS client asks for, read from its `ClientHello` (RFC 8446, section 4.1.2)
//! without taking part in the handshake.
//!
//! [`Flight`] is fed what a client sends. It reads messages over fragmented records, refuses what is
//! not exactly one server name, and goes on looking: after a `HelloRetryRequest` a client says its
//! hello again, and a second one with another name would lead elsewhere.
//! INVARIANT: octets that complete a hello are judged before they can be passed on.

use crate::host::HostName;

/// LIMIT: octets of one `ClientHello`; those with post-quantum key shares have about 2 KiB.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// LIMIT: octets of one record before encryption (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// LIMIT: octets that may wait for the rest of their record.
const WAITING_BYTES_MAX: usize = RECORD_HEAD_BYTES + RECORD_BYTES_MAX;

const RECORD_HEAD_BYTES: usize = 5;
const MESSAGE_HEAD_BYTES: usize = 4;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
/// `encrypted_client_hello` (RFC 9849): the name that counts would be hidden.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Why a client's hello is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first octets are no TLS handshake.
    #[error("not a TLS handshake")]
    NotTls,
    /// A handshake that breaks the rules of the protocol.
    #[error("a malformed TLS handshake")]
    Malformed,
    /// Longer than [`HELLO_BYTES_MAX`].
    #[error("a ClientHello of more than {HELLO_BYTES_MAX} octets")]
    TooLong,
    /// No server name, or more than one.
    #[error("a TLS handshake without exactly one server name")]
    NoName,
    /// The server name is encrypted.
    #[error("a TLS handshake with an encrypted ClientHello")]
    Encrypted,
}

/// What one client has sent so far, as far as it is of interest.
#[derive(Debug, Default)]
pub struct Flight {
    /// Octets of a record that is not whole.
    waiting: Vec<u8>,
    /// Octets of a handshake message that is not whole.
    message: Vec<u8>,
    /// Whether a hello was read.
    greeted: bool,
    /// Whether nothing that follows can be a hello in plain text.
    done: bool,
}

impl Flight {
    /// Takes what came next. `Some` is the name of a hello that is complete by now; there is at
    /// most one in what an honest client sends at once.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<HostName>, HelloError> {
        if self.done {
            return Ok(None);
        }
        self.waiting.extend_from_slice(bytes);
        let mut heard = None;
        while !self.done {
            let Some((kind, payload)) = self.record()? else {
                break;
            };
            if let Some(name) = self.take(kind, &payload)? {
                if heard.is_some() {
                    return Err(HelloError::Malformed);
                }
                heard = Some(name);
            }
        }
        if self.done {
            self.waiting = Vec::new();
            self.message = Vec::new();
        }
        Ok(heard)
    }

    /// The next whole record: its type and what is in it.
    fn record(&mut self) -> Result<Option<(u8, Vec<u8>)>, HelloError> {
        let Some(&[kind, major, _, high, low]) = self.waiting.first_chunk::<RECORD_HEAD_BYTES>()
        else {
            let other = self.waiting.first().is_some_and(|kind| *kind != HANDSHAKE);
            return if other && !self.greeted {
                Err(HelloError::NotTls)
            } else {
                Ok(None)
            };
        };
        if !self.greeted && (kind != HANDSHAKE || major != 3) {
            return Err(HelloError::NotTls);
        }
        if self.greeted && kind != HANDSHAKE && kind != CHANGE_CIPHER_SPEC {
            self.done = true;
            return Ok(None);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Zero-length fragments of handshake messages are forbidden (RFC 8446, section 5.1).
        if length == 0 || length > RECORD_BYTES_MAX {
            return if self.greeted {
                Ok(self.end())
            } else {
                Err(HelloError::Malformed)
            };
        }
        let end = RECORD_HEAD_BYTES + length;
        if self.waiting.len() < end {
            debug_assert!(self.waiting.len() <= WAITING_BYTES_MAX);
            return Ok(None);
        }
        let payload = self.waiting.drain(..end).skip(RECORD_HEAD_BYTES).collect();
        Ok(Some((kind, payload)))
    }

    /// Whatever follows is not a hello in plain text.
    fn end<T>(&mut self) -> Option<T> {
        self.done = true;
        None
    }

    /// The content of one record.
    fn take(&mut self, kind: u8, payload: &[u8]) -> Result<Option<HostName>, HelloError> {
        if kind != HANDSHAKE {
            return Ok(None);
        }
        self.message.extend_from_slice(payload);
        let Some(&[first, rest @ ..]) = self.message.first_chunk::<MESSAGE_HEAD_BYTES>() else {
            return match self.message.first() {
                Some(&CLIENT_HELLO) => Ok(None),
                _ if self.greeted => Ok(self.end()),
                _ => Err(HelloError::Malformed),
            };
        };
        let [high, middle, low] = rest;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if first != CLIENT_HELLO || length > HELLO_BYTES_MAX {
            // The second half of a TLS 1.2 handshake, or an encrypted message that looks like one.
            return match (self.greeted, first) {
                (true, _) => Ok(self.end()),
                (false, CLIENT_HELLO) => Err(HelloError::TooLong),
                (false, _) => Err(HelloError::Malformed),
            };
        }
        let whole = MESSAGE_HEAD_BYTES + length;
        if self.message.len() < whole {
            return Ok(None);
        }
        // Nothing may follow a hello in its record: the keys change there.
        if self.message.len() > whole {
            return Err(HelloError::Malformed);
        }
        let message = std::mem::take(&mut self.message);
        self.greeted = true;
        let body = message.get(MESSAGE_HEAD_BYTES..).unwrap_or_default();
        server_name(body).map(Some)
    }
}

/// A piece of a message, read from the front.
struct Piece<'a>(&'a [u8]);

impl<'a> Piece<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (piece, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(piece)
    }

    fn number(&mut self, octets: usize) -> Result<usize, HelloError> {
        let piece = self.take(octets)?;
        Ok(piece.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    /// A vector with its length in so many octets before it.
    fn vector(&mut self, octets: usize) -> Result<Piece<'a>, HelloError> {
        let length = self.number(octets)?;
        self.take(length).map(Piece)
    }

    fn u16(&mut self) -> Result<u16, HelloError> {
        u16::try_from(self.number(2)?).map_err(|_| HelloError::Malformed)
    }
}

/// The one server name of a `ClientHello`.
fn server_name(body: &[u8]) -> Result<HostName, HelloError> {
    let mut body = Piece(body);
    // Version and random.
    body.take(2 + 32)?;
    body.vector(1)?; // session id
    body.vector(2)?; // cipher suites
    body.vector(1)?; // compression methods
    if body.0.is_empty() {
        return Err(HelloError::NoName);
    }
    let mut extensions = body.vector(2)?;
    if !body.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector(2)?;
        match kind {
            SERVER_NAME if name.is_some() => return Err(HelloError::Malformed),
            SERVER_NAME => name = Some(one_name(data)?),
            ENCRYPTED_CLIENT_HELLO => return Err(HelloError::Encrypted),
            _ => {}
        }
    }
    name.ok_or(HelloError::NoName)
}

/// The list of RFC 6066, section 3, with exactly one entry of type `host_name`.
fn one_name(mut extension: Piece<'_>) -> Result<HostName, HelloError> {
    let mut list = extension.vector(2)?;
    if !extension.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let kind = list.number(1)?;
    let name = list.vector(2)?;
    if kind != 0 || !list.0.is_empty() {
        return Err(HelloError::NoName);
    }
    let text = std::str::from_utf8(name.0).map_err(|_| HelloError::NoName)?;
    text.parse().map_err(|_| HelloError::NoName)
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
