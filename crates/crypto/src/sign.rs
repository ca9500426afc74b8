//! Ed25519 (RFC 8032).

use crate::error::CryptoError;
use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use zeroize::Zeroizing;

/// A key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new key from 32 random octets.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, CryptoError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy
            .fill(seed.as_mut_slice())
            .map_err(|e| CryptoError::Random(e.what))?;
        Self::from_seed(&seed)
    }

    /// The key that RFC 8032 section 5.1.5 derives from a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, CryptoError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| CryptoError::Key("Ed25519 seed"))
    }

    /// Reads PKCS #8, version 2 (RFC 8410), where the public key stands beside the private one and
    /// must agree with it.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, CryptoError> {
        Ed25519KeyPair::from_pkcs8(document)
            .map(Self)
            .map_err(|_| CryptoError::Key("Ed25519 key in PKCS #8"))
    }

    /// Writes PKCS #8, version 2.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, CryptoError> {
        let document = self
            .0
            .to_pkcs8()
            .map_err(|_| CryptoError::Key("Ed25519 key"))?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    /// The 32 octets that [`SigningKey::from_seed`] reads.
    pub fn to_seed(&self) -> Result<Secret<Vec<u8>>, CryptoError> {
        let seed = self.0.seed().map_err(|_| CryptoError::Key("Ed25519 key"))?;
        let bytes: aws_lc_rs::encoding::Curve25519SeedBin<'_> = seed
            .as_be_bytes()
            .map_err(|_| CryptoError::Key("Ed25519 key"))?;
        Ok(Secret::new(bytes.as_ref().to_vec()))
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    /// The key that verifies what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(crate::hash::fixed(self.0.public_key().as_ref()))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// A key from its octets. Octets that are no point on the curve verify nothing.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the signature is of this message by this key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemEntropy;
    use ringfence_core::digest::{hex, unhex};

    // RINGFENCE-TEST-FIXTURE: the seed is test 1 of RFC 8032 section 7.1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    fn rfc_key() -> SigningKey {
        SigningKey::from_seed(&unhex(SEED).unwrap().try_into().unwrap()).unwrap()
    }

    #[test]
    fn rfc_8032_test_1_holds() {
        let key = rfc_key();
        assert_eq!(
            hex(key.verifying_key().as_bytes()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            hex(&key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    #[test]
    fn a_key_reads_back_from_pkcs8_and_seed() {
        let key = SigningKey::generate(&SystemEntropy).unwrap();
        let document = key.to_pkcs8().unwrap();
        let again = SigningKey::from_pkcs8(document.danger_expose()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        let seed = rfc_key().to_seed().unwrap();
        assert_eq!(hex(seed.danger_expose()), SEED);
    }

    #[test]
    fn a_damaged_pkcs8_document_is_refused_wherever_it_matters() {
        let document = rfc_key().to_pkcs8().unwrap();
        let bytes = document.danger_expose();
        for i in 0..bytes.len() {
            let mut other = bytes.clone();
            other[i] ^= 1;
            let same = SigningKey::from_pkcs8(&other)
                .is_ok_and(|k| k.verifying_key() != rfc_key().verifying_key());
            assert!(!same, "octet {i} changed the key unnoticed");
        }
        assert!(SigningKey::from_pkcs8(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn any_changed_bit_of_signature_or_message_is_refused() {
        let key = rfc_key();
        let signature = key.sign(b"message");
        assert!(key.verifying_key().verify(b"message", &signature));
        for i in 0..signature.len() {
            let mut other = signature.clone();
            other[i] ^= 0x10;
            assert!(!key.verifying_key().verify(b"message", &other));
        }
        assert!(!key.verifying_key().verify(b"massage", &signature));
        assert!(!VerifyingKey::from_bytes([0xff; 32]).verify(b"message", &signature));
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(format!("{:?}", rfc_key()), "SigningKey(..)");
    }
}
