//! Randomness of the system, and texts made of it.

use crate::error::CryptoError;
use aws_lc_rs::rand;
use ringfence_core::digest::hex;
use ringfence_core::error::Explained;
use ringfence_core::ports::Entropy;
use zeroize::Zeroizing;

/// LIMIT: octets of one random text.
pub const TOKEN_BYTES_MAX: usize = 256;

/// The provider's generator, seeded by the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        rand::fill(buffer)
            .map_err(|_| Explained::of(&CryptoError::Random("the provider failed".to_owned())))
    }
}

/// So many random octets as lower-case RFC 4648 base32 without padding: what a person may type.
pub fn token(entropy: &dyn Entropy, bytes: usize) -> Result<String, CryptoError> {
    Ok(base32(random(entropy, bytes)?.as_slice()))
}

/// So many random octets as lower-case hex.
pub fn token_hex(entropy: &dyn Entropy, bytes: usize) -> Result<String, CryptoError> {
    Ok(hex(random(entropy, bytes)?.as_slice()))
}

/// So many random octets, overwritten when dropped.
pub fn random(entropy: &dyn Entropy, bytes: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    if bytes > TOKEN_BYTES_MAX {
        return Err(CryptoError::Random(format!(
            "at most {TOKEN_BYTES_MAX} octets at once"
        )));
    }
    let mut buffer = Zeroizing::new(vec![0; bytes]);
    entropy
        .fill(&mut buffer)
        .map_err(|e| CryptoError::Random(e.what))?;
    Ok(buffer)
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut pending, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        pending = pending << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(pending >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(pending << (5 - bits) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_base32_vectors_hold_without_padding() {
        for (plain, coded) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foob", "mzxw6yq"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn two_tokens_differ_and_have_their_length() {
        let (a, b) = (
            token(&SystemEntropy, 20).unwrap(),
            token(&SystemEntropy, 20).unwrap(),
        );
        assert_ne!(a, b);
        assert_eq!(a.len(), 32);
        assert_eq!(token_hex(&SystemEntropy, 20).unwrap().len(), 40);
    }

    #[test]
    fn a_token_is_made_at_the_limit_and_refused_one_above() {
        assert!(token(&SystemEntropy, TOKEN_BYTES_MAX).is_ok());
        assert!(matches!(
            token(&SystemEntropy, TOKEN_BYTES_MAX + 1),
            Err(CryptoError::Random(_))
        ));
    }
}
