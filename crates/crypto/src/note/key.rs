//! Who signs a note: name, kind of signature and public key, as the text `name+id+key`.

use crate::error::CryptoError;
use crate::sign::{Algorithm, VerifyingKey};
use crate::text::{base64_decode, base64_encode};
use std::fmt;
use std::str::FromStr;

/// LIMIT: octets of a key's name: what the message of an ML-DSA-44 signature can hold.
pub const NAME_BYTES_MAX: usize = 255;
/// LIMIT: octets of a verifier key as text: the longest name, its id, and an ML-DSA-44 key.
pub const VKEY_BYTES_MAX: usize = NAME_BYTES_MAX + 10 + 1752;

/// The kinds of signature that C2SP signed-note assigns and this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 0x01: Ed25519 over the text of the note. What a log signs with.
    Ed25519,
    /// 0x04: C2SP tlog-cosignature, Ed25519 with a time. What a witness signs with.
    Cosignature,
    /// 0x06: C2SP tlog-cosignature, ML-DSA-44 over name, time, origin, size and root. What a
    /// witness signs with, and a log, which then states no time.
    Subtree,
}

impl Kind {
    /// The type octet of the specification.
    pub const fn octet(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
            Self::Subtree => 0x06,
        }
    }

    /// Which keys sign so.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Ed25519 | Self::Cosignature => Algorithm::Ed25519,
            Self::Subtree => Algorithm::MlDsa44,
        }
    }

    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature, Self::Subtree]
            .into_iter()
            .find(|kind| kind.octet() == octet)
    }
}

/// Name, kind and public key of who signs: the `name+id+key` text that people pass around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    kind: Kind,
    key: VerifyingKey,
}

impl NoteKey {
    /// The key of a log: kind 0x01 for Ed25519, 0x06 for ML-DSA-44. A name is not empty and has
    /// neither white space nor `+`.
    pub fn new(name: impl Into<String>, key: VerifyingKey) -> Result<Self, CryptoError> {
        let kind = match key.algorithm() {
            Algorithm::Ed25519 => Kind::Ed25519,
            Algorithm::MlDsa44 => Kind::Subtree,
        };
        Self::of_kind(name.into(), kind, key)
    }

    /// The key of a witness: kind 0x04 for Ed25519, 0x06 for ML-DSA-44.
    pub fn witness(name: impl Into<String>, key: VerifyingKey) -> Result<Self, CryptoError> {
        let kind = match key.algorithm() {
            Algorithm::Ed25519 => Kind::Cosignature,
            Algorithm::MlDsa44 => Kind::Subtree,
        };
        Self::of_kind(name.into(), kind, key)
    }

    fn of_kind(name: String, kind: Kind, key: VerifyingKey) -> Result<Self, CryptoError> {
        if !name_is_valid(&name) {
            return Err(CryptoError::Note(
                "a key name has 1 to 255 octets, no white space and no plus sign",
            ));
        }
        Ok(Self { name, kind, key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether a log may sign with it.
    pub fn is_of_a_log(&self) -> bool {
        matches!(self.kind, Kind::Ed25519 | Kind::Subtree)
    }

    /// Whether a witness may sign with it.
    pub fn is_of_a_witness(&self) -> bool {
        matches!(self.kind, Kind::Cosignature | Kind::Subtree)
    }

    /// The first four octets of SHA-256 over name, newline, type and key.
    pub fn id(&self) -> [u8; 4] {
        let mut hash = crate::hash::Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update(&[b'\n', self.kind.octet()]);
        hash.update(self.key.as_bytes());
        let [a, b, c, d, ..] = hash.finish();
        [a, b, c, d]
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![self.kind.octet()];
        typed.extend_from_slice(self.key.as_bytes());
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, base64_encode(&typed))
    }
}

impl FromStr for NoteKey {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        let malformed = CryptoError::Key("verifier key (name+id+key)");
        if text.len() > VKEY_BYTES_MAX {
            return Err(malformed);
        }
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed);
        };
        let typed = base64_decode(key).ok_or(malformed.clone())?;
        let (octet, bytes) = typed.split_first().ok_or(malformed)?;
        let kind = Kind::from_octet(*octet).ok_or(CryptoError::Key(
            "verifier key: its type is none of 0x01, 0x04 and 0x06",
        ))?;
        let key = VerifyingKey::from_bytes(kind.algorithm(), bytes)?;
        let this = Self::of_kind(name.to_owned(), kind, key)?;
        if format!("{:08x}", u32::from_be_bytes(this.id())) != id {
            return Err(CryptoError::Key(
                "verifier key: its id is not that of its name and key",
            ));
        }
        Ok(this)
    }
}

pub(super) fn name_is_valid(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}
