//! API keys: `rf_ID_SECRET_CHECK`, of which only a keyed hash is kept.
//!
//! `ID` is public and finds the record, `SECRET` is 256 random bits, `CHECK` is the CRC-32
//! (ISO 3309) of what stands before it: it tells a typo from a guess and lets scanners of source
//! code recognise a leaked key. Looking at a key costs one HMAC and one comparison, whatever is
//! wrong with it, so that time tells nothing.

use crate::error::GatewayError;
use ringfence_core::digest::hex;
use ringfence_core::error::Explained;
use ringfence_core::ids::{KeyId, ProjectId};
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use ringfence_core::time::Timestamp;
use ringfence_crypto::hmac::HmacKey;
use zeroize::Zeroize;

/// Octets of the public part.
const ID_BYTES: usize = 6;
/// Octets of the secret part.
const SECRET_BYTES: usize = 32;
/// LIMIT: characters of a key: `rf_` 12 `_` 64 `_` 8.
pub const KEY_CHARS: usize = 3 + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES + 1 + 8;
const PREFIX: &str = "rf_";

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public part.
    pub id: KeyId,
    /// Whose project it opens.
    pub project: ProjectId,
    /// HMAC of the key under the pepper.
    pub mac: [u8; 32],
    /// How many requests a minute it may send.
    pub requests_per_minute: u32,
    /// From when on it opens nothing.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// Where records are kept. Synchronous and quick: it is asked for every request.
pub trait KeyDirectory: Send + Sync {
    /// The record of a key.
    fn lookup(&self, id: &KeyId) -> Option<KeyRecord>;
    /// Notes that a key was used.
    fn touch(&self, id: &KeyId, now: Timestamp);
}

/// What a new key is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// Whose project it opens.
    pub project: ProjectId,
    /// How many requests a minute it may send.
    pub requests_per_minute: u32,
    /// From when on it opens nothing.
    pub expires: Option<Timestamp>,
}

/// Makes a key. Its text is shown once and never kept.
pub fn mint(
    entropy: &dyn Entropy,
    pepper: &HmacKey,
    terms: KeyTerms,
) -> Result<(Secret<String>, KeyRecord), Explained> {
    let mut id = [0; ID_BYTES];
    let mut secret = [0; SECRET_BYTES];
    entropy.fill(&mut id)?;
    entropy.fill(&mut secret)?;
    let mut secret_text = hex(&secret);
    let mut text = String::with_capacity(KEY_CHARS);
    text.push_str(PREFIX);
    text.push_str(&hex(&id));
    text.push('_');
    text.push_str(&secret_text);
    secret_text.zeroize();
    secret.zeroize();
    let check = format!("_{:08x}", crc32(text.as_bytes()));
    text.push_str(&check);
    let text = Secret::new(text);
    let internal = || {
        Explained::new(
            ringfence_core::error::ErrorCode("run/key-mint"),
            "a key could not be made",
            "report it",
        )
    };
    let record = KeyRecord {
        id: hex(&id).parse().map_err(|_| internal())?,
        project: terms.project,
        mac: pepper.sign(text.danger_expose().as_bytes()),
        requests_per_minute: terms.requests_per_minute,
        expires: terms.expires,
        revoked: None,
    };
    Ok((text, record))
}

/// What a text that claims to be a key says of itself, before anything is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The public part, if the text has the shape of a key and its check is right.
    pub id: Option<KeyId>,
}

/// Reads the public part.
pub fn claim(text: &str) -> Claim {
    Claim { id: shape(text) }
}

fn shape(text: &str) -> Option<KeyId> {
    if text.len() != KEY_CHARS {
        return None;
    }
    let (body, check) = text.rsplit_once('_')?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
    let hexadecimal = |t: &str| t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let right = id.len() == 2 * ID_BYTES
        && secret.len() == 2 * SECRET_BYTES
        && hexadecimal(id)
        && hexadecimal(secret)
        && check == format!("{:08x}", crc32(body.as_bytes()));
    if right { id.parse().ok() } else { None }
}

/// Looks at a key. One HMAC and one comparison, whatever is wrong.
pub fn verify(
    directory: &dyn KeyDirectory,
    pepper: &HmacKey,
    text: &str,
    now: Timestamp,
) -> Result<KeyRecord, GatewayError> {
    let claimed = shape(text);
    let record = claimed.as_ref().and_then(|id| directory.lookup(id));
    let known = record.as_ref().map_or([0; 32], |r| r.mac);
    // A text longer than a key is cut, so that its length buys no time either.
    let octets = text.as_bytes().get(..KEY_CHARS).unwrap_or(text.as_bytes());
    let right = pepper.verify(octets, &known);
    match record {
        _ if claimed.is_none() => Err(GatewayError::KeyMalformed),
        Some(record) if right => {
            if record.revoked.is_some() {
                Err(GatewayError::KeyRevoked)
            } else if record.expires.is_some_and(|end| now >= end) {
                Err(GatewayError::KeyExpired)
            } else {
                Ok(record)
            }
        }
        _ => Err(GatewayError::KeyUnknown),
    }
}

/// CRC-32 of ISO 3309: polynomial 0x04c11db7, reflected, as in gzip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
            buffer.fill(self.0.fetch_add(1, Ordering::Relaxed));
            Ok(())
        }
    }

    struct Shelf(HashMap<KeyId, KeyRecord>);
    impl KeyDirectory for Shelf {
        fn lookup(&self, id: &KeyId) -> Option<KeyRecord> {
            self.0.get(id).cloned()
        }
        fn touch(&self, _: &KeyId, _: Timestamp) {}
    }

    fn pepper() -> HmacKey {
        HmacKey::from_bytes(&[7; 32]).unwrap()
    }

    fn minted() -> (String, KeyRecord) {
        let terms = KeyTerms {
            project: "p".parse().unwrap(),
            requests_per_minute: 10,
            expires: Some(Timestamp(100)),
        };
        let (text, record) = mint(&Counting(AtomicU8::new(1)), &pepper(), terms).unwrap();
        (text.danger_expose().clone(), record)
    }

    fn look(text: &str, record: &KeyRecord, now: i64) -> Result<KeyRecord, GatewayError> {
        let shelf = Shelf(HashMap::from([(record.id.clone(), record.clone())]));
        verify(&shelf, &pepper(), text, Timestamp(now))
    }

    #[test]
    fn the_check_is_the_published_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_minted_key_is_known_and_its_text_is_not_kept() {
        let (text, record) = minted();
        assert_eq!(text.len(), KEY_CHARS);
        assert_eq!(look(&text, &record, 99), Ok(record.clone()));
        assert!(!format!("{record:?}").contains(&text[16..80]));
    }

    #[test]
    fn a_key_is_good_until_its_last_millisecond_and_expired_in_the_next() {
        let (text, record) = minted();
        assert!(look(&text, &record, 99).is_ok());
        assert_eq!(look(&text, &record, 100), Err(GatewayError::KeyExpired));
    }

    #[test]
    fn a_revoked_key_is_refused() {
        let (text, mut record) = minted();
        record.revoked = Some(Timestamp(1));
        assert_eq!(look(&text, &record, 2), Err(GatewayError::KeyRevoked));
    }

    #[test]
    fn every_single_typo_is_told_apart_from_a_guess() {
        let (text, record) = minted();
        for at in 0..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'0' { b'1' } else { b'0' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(
                look(&typo, &record, 1),
                Err(GatewayError::KeyMalformed),
                "{at}"
            );
        }
        for other in ["", "sk-something", &text[1..], &format!("{text}0")] {
            assert_eq!(look(other, &record, 1), Err(GatewayError::KeyMalformed));
        }
    }

    #[test]
    fn a_well_formed_key_with_another_secret_is_unknown() {
        let (text, record) = minted();
        let body = format!("rf_{}_{}", record.id, "ab".repeat(32));
        let guess = format!("{body}_{:08x}", crc32(body.as_bytes()));
        assert_eq!(look(&guess, &record, 1), Err(GatewayError::KeyUnknown));
        let other = KeyRecord {
            id: "000000000000".parse().unwrap(),
            ..record
        };
        assert_eq!(look(&text, &other, 1), Err(GatewayError::KeyUnknown));
    }

    #[test]
    fn a_record_of_zeroes_opens_for_nobody() {
        let (text, record) = minted();
        let zero = KeyRecord {
            mac: [0; 32],
            ..record
        };
        assert_eq!(look(&text, &zero, 1), Err(GatewayError::KeyUnknown));
    }
}
