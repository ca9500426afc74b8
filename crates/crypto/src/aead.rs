//! Sealing with AES-256-GCM (NIST SP 800-38D).
//!
//! An envelope is one version octet, a random 96-bit nonce, the ciphertext and the 128-bit tag.
//! The version octet and the caller's text of purpose are authenticated, so that a value sealed
//! for one purpose does not open for another.

use crate::error::CryptoError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use zeroize::{Zeroize as _, Zeroizing};

/// The version that [`seal`] writes.
pub const ENVELOPE_VERSION: u8 = 1;
/// Octets that an envelope adds to its plaintext.
pub const OVERHEAD_BYTES: usize = 1 + NONCE_LEN + 16;
/// LIMIT: octets of one plaintext. Large files have a chunked form of their own.
pub const PLAINTEXT_BYTES_MAX: usize = 256 * 1024;

/// A sealing key. SP 800-38D section 8.3 allows 2^32 envelopes under one key with random nonces,
/// far above what named purposes of one installation ever seal.
#[derive(Clone, Debug)]
pub struct Key(Secret<Vec<u8>>);

impl Key {
    /// Octets of a key.
    pub const BYTES: usize = 32;

    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, CryptoError> {
        let mut bytes = vec![0; Self::BYTES];
        entropy
            .fill(&mut bytes)
            .map_err(|e| CryptoError::Random(e.what))?;
        Ok(Self(Secret::new(bytes)))
    }

    /// A key from exactly [`Key::BYTES`] octets.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() != Self::BYTES {
            return Err(CryptoError::Key("AES-256 key"));
        }
        Ok(Self(Secret::new(bytes.to_vec())))
    }

    /// The octets, for the file that keeps them.
    pub fn danger_expose(&self) -> &[u8] {
        self.0.danger_expose()
    }

    fn cipher(&self) -> Result<LessSafeKey, CryptoError> {
        UnboundKey::new(&AES_256_GCM, self.0.danger_expose())
            .map(LessSafeKey::new)
            .map_err(|_| CryptoError::Key("AES-256 key"))
    }
}

fn context(aad: &[u8]) -> Aad<Vec<u8>> {
    let mut whole = Vec::with_capacity(aad.len() + 1);
    whole.push(ENVELOPE_VERSION);
    whole.extend_from_slice(aad);
    Aad::from(whole)
}

/// Seals a plaintext of at most [`PLAINTEXT_BYTES_MAX`] octets for the purpose `aad`.
pub fn seal(
    key: &Key,
    entropy: &dyn Entropy,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(CryptoError::TooLong {
            limit: PLAINTEXT_BYTES_MAX,
            length: plaintext.len(),
        });
    }
    let mut nonce = [0; NONCE_LEN];
    entropy
        .fill(&mut nonce)
        .map_err(|e| CryptoError::Random(e.what))?;
    let mut body = Vec::with_capacity(plaintext.len() + 16);
    body.extend_from_slice(plaintext);
    let sealed = key.cipher()?.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        context(aad),
        &mut body,
    );
    if sealed.is_err() {
        body.zeroize();
        return Err(CryptoError::Key("AES-256 key"));
    }
    let mut envelope = Vec::with_capacity(body.len() + 1 + NONCE_LEN);
    envelope.push(ENVELOPE_VERSION);
    envelope.extend_from_slice(&nonce);
    envelope.extend_from_slice(&body);
    Ok(envelope)
}

/// Opens an envelope that [`seal`] made under the same key for the same purpose.
pub fn open(key: &Key, aad: &[u8], envelope: &[u8]) -> Result<Secret<Vec<u8>>, CryptoError> {
    if envelope.len() > PLAINTEXT_BYTES_MAX + OVERHEAD_BYTES {
        return Err(CryptoError::Open);
    }
    let (version, rest) = envelope.split_first().ok_or(CryptoError::Open)?;
    if *version != ENVELOPE_VERSION {
        return Err(CryptoError::Open);
    }
    let (nonce, body) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(CryptoError::Open)?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain = key
        .cipher()?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            context(aad),
            &mut body,
        )
        .map_err(|_| CryptoError::Open)?;
    Ok(Secret::new(plain.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;
    use crate::testing::FixedEntropy;
    use ringfence_core::digest::{hex, unhex};

    fn key() -> Key {
        Key::from_bytes(&[0; 32]).unwrap()
    }

    #[test]
    fn the_cipher_agrees_with_the_gcm_specification_test_case_14() {
        // Test case 14 of the GCM specification has no additional data; ours always has the version
        // octet, so the ciphertext agrees and the tag does not.
        let envelope = seal(&key(), &FixedEntropy(0), b"", &[0; 16]).unwrap();
        assert_eq!(hex(&envelope[..13]), "01000000000000000000000000");
        assert_eq!(hex(&envelope[13..29]), "cea7403d4d606b6e074ec5d3baf39d18");
        let tag = unhex("d0d1c8a799996bf0265b98b5d48ab919").unwrap();
        assert_ne!(&envelope[29..], tag.as_slice());
    }

    #[test]
    fn a_sealed_value_opens_only_unchanged_under_its_key_and_purpose() {
        let envelope = seal(&key(), &SystemEntropy, b"webhook", b"value").unwrap();
        assert_eq!(
            open(&key(), b"webhook", &envelope).unwrap().danger_expose(),
            b"value"
        );
        assert!(matches!(
            open(&key(), b"pepper", &envelope),
            Err(CryptoError::Open)
        ));
        let other = Key::generate(&SystemEntropy).unwrap();
        assert!(matches!(
            open(&other, b"webhook", &envelope),
            Err(CryptoError::Open)
        ));
        for i in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[i] ^= 1;
            assert!(matches!(
                open(&key(), b"webhook", &changed),
                Err(CryptoError::Open)
            ));
            assert!(matches!(
                open(&key(), b"webhook", &envelope[..i]),
                Err(CryptoError::Open)
            ));
        }
    }

    #[test]
    fn the_same_value_never_seals_to_the_same_envelope() {
        let one = seal(&key(), &SystemEntropy, b"p", b"value").unwrap();
        assert_ne!(one, seal(&key(), &SystemEntropy, b"p", b"value").unwrap());
    }

    #[test]
    fn a_plaintext_is_sealed_at_the_limit_and_refused_one_above() {
        let at = seal(&key(), &SystemEntropy, b"", &vec![0; PLAINTEXT_BYTES_MAX]).unwrap();
        assert_eq!(at.len(), PLAINTEXT_BYTES_MAX + OVERHEAD_BYTES);
        assert!(open(&key(), b"", &at).is_ok());
        let above = seal(
            &key(),
            &SystemEntropy,
            b"",
            &vec![0; PLAINTEXT_BYTES_MAX + 1],
        );
        assert!(matches!(above, Err(CryptoError::TooLong { .. })));
    }

    #[test]
    fn a_key_has_one_length_and_debug_shows_none_of_it() {
        assert!(Key::from_bytes(&[1; 31]).is_err());
        assert!(Key::from_bytes(&[1; 33]).is_err());
        assert!(!format!("{:?}", Key::from_bytes(&[0x31; 32]).unwrap()).contains("49"));
    }
}
