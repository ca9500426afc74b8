//! SHA-256 (FIPS 180-4).

use aws_lc_rs::digest::{Context, SHA256, digest};
use ringfence_core::digest::Digest;

/// Hashes octets at once.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(digest(&SHA256, bytes).as_ref())
}

/// Hashes octets at once, as the value that records carry.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(sha256(bytes))
}

/// Hashes octets as they come.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    /// An empty hash.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes more octets.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all octets taken.
    pub fn finish(self) -> [u8; 32] {
        fixed(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// The provider hands out slices whose length its algorithm fixes.
pub(crate) fn fixed(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let length = bytes.len().min(32);
    debug_assert_eq!(bytes.len(), 32);
    out[..length].copy_from_slice(&bytes[..length]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_core::digest::hex;

    #[test]
    fn fips_180_4_vectors_hold() {
        for (input, hash) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            assert_eq!(hex(&sha256(input.as_bytes())), hash);
        }
    }

    #[test]
    fn octets_in_pieces_hash_as_one() {
        let mut hash = Sha256::new();
        hash.update(b"a");
        hash.update(b"");
        hash.update(b"bc");
        assert_eq!(hash.finish(), sha256(b"abc"));
    }
}
