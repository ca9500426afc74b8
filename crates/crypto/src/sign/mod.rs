//! Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204), side by side.
//!
//! A log signs with both: Ed25519 for everybody who reads logs today, ML-DSA-44 for a log that must
//! still convince when Ed25519 is broken. Both keys come from a seed of 32 octets and are kept as
//! PKCS #8.

use crate::error::CryptoError;
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair as _, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair,
    UnparsedPublicKey,
};
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use zeroize::Zeroizing;

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RFC 8032, without prehash or context. Deterministic.
    Ed25519,
    /// FIPS 204 with an empty context. Hedged: two signatures of one message differ.
    MlDsa44,
}

impl Algorithm {
    /// Octets of a public key.
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::MlDsa44 => 1312,
        }
    }

    /// Octets of a signature.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 64,
            Self::MlDsa44 => 2420,
        }
    }

    /// The name that the standard gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
        }
    }
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    MlDsa44(Box<PqdsaKeyPair>),
}

/// A key that signs.
pub struct SigningKey(Pair);

impl SigningKey {
    /// A new key from 32 random octets.
    pub fn generate(algorithm: Algorithm, entropy: &dyn Entropy) -> Result<Self, CryptoError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy
            .fill(seed.as_mut_slice())
            .map_err(|e| CryptoError::Random(e.what))?;
        Self::from_seed(algorithm, &seed)
    }

    /// The key that RFC 8032 section 5.1.5 or FIPS 204 algorithm 6 derives from a seed.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, CryptoError> {
        match algorithm {
            Algorithm::Ed25519 => Ed25519KeyPair::from_seed_unchecked(seed)
                .map(|pair| Self(Pair::Ed25519(pair)))
                .map_err(|_| CryptoError::Key("Ed25519 seed")),
            Algorithm::MlDsa44 => PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed)
                .map(|pair| Self(Pair::MlDsa44(Box::new(pair))))
                .map_err(|_| CryptoError::Key("ML-DSA-44 seed")),
        }
    }

    /// Reads what [`SigningKey::to_pkcs8`] writes. In the form for Ed25519 the public key stands
    /// beside the private one and must agree with it; that for ML-DSA-44 holds the seed alone, so
    /// a changed octet gives another key: who keeps one keeps a checksum with it.
    pub fn from_pkcs8(algorithm: Algorithm, document: &[u8]) -> Result<Self, CryptoError> {
        match algorithm {
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(document)
                .map(|pair| Self(Pair::Ed25519(pair)))
                .map_err(|_| CryptoError::Key("Ed25519 key in PKCS #8")),
            Algorithm::MlDsa44 => PqdsaKeyPair::from_pkcs8(&ML_DSA_44_SIGNING, document)
                .map(|pair| Self(Pair::MlDsa44(Box::new(pair))))
                .map_err(|_| CryptoError::Key("ML-DSA-44 key in PKCS #8")),
        }
    }

    /// Writes PKCS #8: version 2 of RFC 8410 for Ed25519, the seed of RFC 9881 for ML-DSA-44.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, CryptoError> {
        let document = match &self.0 {
            Pair::Ed25519(pair) => pair.to_pkcs8(),
            Pair::MlDsa44(pair) => pair.to_pkcs8v1(),
        };
        let document = document.map_err(|_| CryptoError::Key(self.algorithm().name()))?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Pair::Ed25519(_) => Algorithm::Ed25519,
            Pair::MlDsa44(_) => Algorithm::MlDsa44,
        }
    }

    /// Signs. ML-DSA-44 asks the provider for randomness, which may fail.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &self.0 {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::MlDsa44(pair) => {
                let mut signature = vec![0; Algorithm::MlDsa44.signature_bytes()];
                match pair.sign(message, &mut signature) {
                    Ok(length) if length == signature.len() => Ok(signature),
                    _ => Err(CryptoError::Signing(Algorithm::MlDsa44.name())),
                }
            }
        }
    }

    /// The key that verifies what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        let bytes: &[u8] = match &self.0 {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::MlDsa44(pair) => pair.public_key().as_ref(),
        };
        VerifyingKey {
            algorithm: self.algorithm(),
            bytes: bytes.into(),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

impl VerifyingKey {
    /// A key from its octets, of which there must be [`Algorithm::public_key_bytes`]. Octets that
    /// are no point on the curve verify nothing.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() != algorithm.public_key_bytes() {
            return Err(CryptoError::Key("public key: it has another length"));
        }
        Ok(Self {
            algorithm,
            bytes: bytes.into(),
        })
    }

    /// How its signatures are made.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the signature is of this message by this key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        if signature.len() != self.algorithm.signature_bytes() {
            return false;
        }
        match self.algorithm {
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.bytes)
                .verify(message, signature)
                .is_ok(),
            Algorithm::MlDsa44 => UnparsedPublicKey::new(&ML_DSA_44, &self.bytes)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
