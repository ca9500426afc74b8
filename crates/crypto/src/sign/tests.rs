//! Both algorithms against published vectors, and what must not verify.

use super::*;
use crate::hash::sha256;
use crate::random::SystemEntropy;
use ringfence_core::digest::{hex, unhex};

const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::MlDsa44];

// RINGFENCE-TEST-FIXTURE: the seed is test 1 of RFC 8032 section 7.1.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

fn key_of(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_seed(algorithm, &unhex(SEED).unwrap().try_into().unwrap()).unwrap()
}

#[test]
fn rfc_8032_test_1_holds() {
    let key = key_of(Algorithm::Ed25519);
    assert_eq!(
        hex(key.verifying_key().as_bytes()),
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    );
    assert_eq!(
        hex(&key.sign(b"").unwrap()),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
}

#[test]
fn another_implementation_of_fips_204_derives_the_same_key() {
    // SHA-256 of the public key that the Python package dilithium-py 1.5.1 derives from the seed
    // 00 01 .. 1f. Its signatures are verified in the tests of `note`.
    let seed: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let key = SigningKey::from_seed(Algorithm::MlDsa44, &seed).unwrap();
    assert_eq!(
        hex(&sha256(key.verifying_key().as_bytes())),
        "9f107644c1084526af3bc8098680b05499a2325a644e388fb4f970e058d19d46"
    );
}

#[test]
fn a_key_reads_back_from_pkcs8() {
    for algorithm in BOTH {
        let key = SigningKey::generate(algorithm, &SystemEntropy).unwrap();
        let document = key.to_pkcs8().unwrap();
        let again = SigningKey::from_pkcs8(algorithm, document.danger_expose()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert_eq!(again.algorithm(), algorithm);
        for other in BOTH.into_iter().filter(|o| *o != algorithm) {
            assert!(SigningKey::from_pkcs8(other, document.danger_expose()).is_err());
        }
    }
}

#[test]
fn a_damaged_pkcs8_document_gives_no_other_key_unnoticed() {
    let key = key_of(Algorithm::Ed25519);
    let document = key.to_pkcs8().unwrap();
    let bytes = document.danger_expose();
    for i in 0..bytes.len() {
        let mut other = bytes.clone();
        other[i] ^= 1;
        let differs = SigningKey::from_pkcs8(Algorithm::Ed25519, &other)
            .is_ok_and(|k| k.verifying_key() != key.verifying_key());
        assert!(!differs, "octet {i} changed the key unnoticed");
    }
    for algorithm in BOTH {
        let document = key_of(algorithm).to_pkcs8().unwrap();
        let bytes = document.danger_expose();
        assert!(SigningKey::from_pkcs8(algorithm, &bytes[..bytes.len() - 1]).is_err());
    }
}

#[test]
fn any_changed_octet_of_signature_or_message_is_refused() {
    for algorithm in BOTH {
        let key = key_of(algorithm);
        let public = key.verifying_key();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), algorithm.signature_bytes());
        assert!(public.verify(b"message", &signature));
        for i in 0..signature.len() {
            let mut other = signature.clone();
            other[i] ^= 0x10;
            assert!(!public.verify(b"message", &other), "{algorithm:?} {i}");
        }
        assert!(!public.verify(b"massage", &signature));
        assert!(!public.verify(b"message", &signature[1..]));
        let no_key = vec![0xff; algorithm.public_key_bytes()];
        let no_key = VerifyingKey::from_bytes(algorithm, &no_key).unwrap();
        assert!(!no_key.verify(b"message", &signature));
    }
}

#[test]
fn a_public_key_has_its_length_and_no_other() {
    for algorithm in BOTH {
        let public = key_of(algorithm).verifying_key();
        let bytes = public.as_bytes();
        assert_eq!(
            VerifyingKey::from_bytes(algorithm, bytes),
            Ok(public.clone())
        );
        assert!(VerifyingKey::from_bytes(algorithm, &bytes[1..]).is_err());
        assert!(VerifyingKey::from_bytes(algorithm, &[bytes, &[0]].concat()).is_err());
    }
}

#[test]
fn debug_output_shows_no_key() {
    for algorithm in BOTH {
        assert_eq!(format!("{:?}", key_of(algorithm)), "SigningKey(..)");
    }
}
