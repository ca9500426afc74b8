//! HMAC-SHA-256 (RFC 2104, FIPS 198-1): keyed digests of texts and API keys.

use crate::error::CryptoError;
use crate::hash::fixed;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use ringfence_core::ports::Entropy;
use zeroize::Zeroizing;

/// A key. Its octets cannot be read back.
#[derive(Clone)]
pub struct HmacKey(Key);

impl HmacKey {
    /// Octets of a key that [`HmacKey::generate`] makes.
    pub const BYTES: usize = 32;

    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, CryptoError> {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        entropy
            .fill(bytes.as_mut_slice())
            .map_err(|e| CryptoError::Random(e.what))?;
        Ok(Self(Key::new(HMAC_SHA256, bytes.as_slice())))
    }

    /// A key from octets of any length; fewer than [`HmacKey::BYTES`] are refused as guessable.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() < Self::BYTES {
            return Err(CryptoError::Key("HMAC key of at least 32 octets"));
        }
        Ok(Self(Key::new(HMAC_SHA256, bytes)))
    }

    /// The code of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        fixed(sign(&self.0, message).as_ref())
    }

    /// Whether a code is that of a message, in time that does not depend on where they differ.
    pub fn verify(&self, message: &[u8], code: &[u8]) -> bool {
        verify(&self.0, message, code).is_ok()
    }
}

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;
    use ringfence_core::digest::hex;

    #[test]
    fn rfc_4231_case_6_holds() {
        let key = HmacKey::from_bytes(&[0xaa; 131]).unwrap();
        let code = key.sign(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex(&code),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert!(key.verify(
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            &code
        ));
    }

    #[test]
    fn any_other_code_message_or_key_is_refused() {
        let key = HmacKey::generate(&SystemEntropy).unwrap();
        let code = key.sign(b"m");
        for i in 0..32 {
            let mut other = code;
            other[i] ^= 1;
            assert!(!key.verify(b"m", &other));
        }
        assert!(!key.verify(b"n", &code));
        assert!(!key.verify(b"m", &code[..31]));
        assert!(
            !HmacKey::generate(&SystemEntropy)
                .unwrap()
                .verify(b"m", &code)
        );
    }

    #[test]
    fn a_key_is_accepted_at_its_least_length_and_refused_one_below() {
        assert!(HmacKey::from_bytes(&[7; HmacKey::BYTES]).is_ok());
        assert!(HmacKey::from_bytes(&[7; HmacKey::BYTES - 1]).is_err());
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = HmacKey::from_bytes(&[b'k'; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "HmacKey(..)");
    }
}
