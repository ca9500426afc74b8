//! Signed notes against other implementations, and what must not pass for one.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::sign::Algorithm;
use crate::testing::FixedEntropy;
use proptest::prelude::*;

// The example of the Go checksum database's note package: another implementation's output.
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
// The example of tlog-cosignature: its witness key is not given, its form is.
const COSIGNED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
// A checkpoint signed in all four ways by the Python packages cryptography 50.0.2 (Ed25519) and
// dilithium-py 1.5.1 (ML-DSA-44), which share no code with this provider.
const CHECKPOINT: &str = include_str!("../../tests/data/checkpoint.note");
const CHECKPOINT_VKEYS: &str = include_str!("../../tests/data/checkpoint.vkeys");

fn signer(algorithm: Algorithm) -> (SigningKey, NoteKey) {
    let key = SigningKey::generate(algorithm, &FixedEntropy(3)).unwrap();
    let verifier = NoteKey::new("example.com/log", key.verifying_key()).unwrap();
    (key, verifier)
}

fn foreign_keys() -> Vec<NoteKey> {
    CHECKPOINT_VKEYS
        .lines()
        .map(|l| l.parse().unwrap())
        .collect()
}

fn checkpoint_text() -> String {
    Checkpoint::new("example.com/log", 7, [9; 32]).text()
}

/// No octet of a note can be changed without the keys noticing.
fn every_octet_counts(good: &str, keys: &[NoteKey], step: usize) {
    assert_eq!(Note::parse(good).unwrap().verify(keys), Ok(()));
    for i in (0..good.len()).step_by(step) {
        let mut bytes = good.as_bytes().to_vec();
        bytes[i] ^= 0x01;
        let accepted = String::from_utf8(bytes)
            .ok()
            .and_then(|t| Note::parse(&t).ok())
            .is_some_and(|n| n.verify(keys).is_ok());
        assert!(!accepted, "octet {i}");
    }
}

#[test]
fn a_note_of_the_reference_implementation_verifies() {
    let key: NoteKey = VKEY.parse().unwrap();
    assert_eq!(key.to_string(), VKEY);
    assert_eq!(key.kind(), Kind::Ed25519);
    let note = Note::parse(NOTE).unwrap();
    assert_eq!(note.verify(&[key]), Ok(()));
    assert_eq!(note.signatures().len(), 1);
    assert_eq!(note.to_string(), NOTE);
}

#[test]
fn a_checkpoint_of_other_implementations_verifies_in_all_four_ways() {
    let keys = foreign_keys();
    let kinds: Vec<Kind> = keys.iter().map(NoteKey::kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Ed25519,
            Kind::Subtree,
            Kind::Cosignature,
            Kind::Subtree
        ]
    );
    for (key, text) in keys.iter().zip(CHECKPOINT_VKEYS.lines()) {
        assert_eq!(key.to_string(), text);
    }
    let note = Note::parse(CHECKPOINT).unwrap();
    assert_eq!(note.to_string(), CHECKPOINT);
    assert_eq!(note.verify(&keys), Ok(()));
    let times: Vec<u64> = keys
        .iter()
        .map(|k| note.signed_by(k).unwrap().unwrap().seconds)
        .collect();
    assert_eq!(times, [0, 0, 1_700_000_000, 1_700_000_000]);
    assert_eq!(
        Note::parse(COSIGNED).unwrap().signatures()[1].signature[..8],
        1_679_315_147_u64.to_be_bytes()
    );
}

#[test]
fn every_changed_octet_of_a_note_is_noticed() {
    every_octet_counts(NOTE, &[VKEY.parse().unwrap()], 1);
    every_octet_counts(CHECKPOINT, &foreign_keys(), 7);
}

#[test]
fn the_same_key_signs_the_same_octets_as_another_implementation() {
    let seed: [u8; 32] = std::array::from_fn(|i| u8::try_from(32 + i).unwrap());
    let key = SigningKey::from_seed(Algorithm::Ed25519, &seed).unwrap();
    let note = Note::parse(CHECKPOINT).unwrap();
    let own = sign(note.text(), "example.com/log", &[&key]).unwrap();
    assert_eq!(
        Note::parse(&own).unwrap().signatures()[0],
        note.signatures()[0]
    );
    let seed: [u8; 32] = std::array::from_fn(|i| u8::try_from(64 + i).unwrap());
    let key = SigningKey::from_seed(Algorithm::Ed25519, &seed).unwrap();
    let own = cosign(note.text(), "witness.example/w1", &key, 1_700_000_000).unwrap();
    assert_eq!(own, note.signatures()[2]);
}

#[test]
fn every_required_key_must_have_signed() {
    let (classic, classic_key) = signer(Algorithm::Ed25519);
    let (modern, modern_key) = signer(Algorithm::MlDsa44);
    let text = checkpoint_text();
    let both = sign(&text, "example.com/log", &[&classic, &modern]).unwrap();
    let keys = [classic_key, modern_key];
    assert_eq!(Note::parse(&both).unwrap().verify(&keys), Ok(()));
    for (present, absent) in [(0, 1), (1, 0)] {
        let alone = sign(&text, "example.com/log", &[[&classic, &modern][present]]).unwrap();
        let note = Note::parse(&alone).unwrap();
        assert_eq!(
            note.verify(std::slice::from_ref(&keys[present])),
            Ok(()),
            "{:?}",
            keys[present].kind()
        );
        assert_eq!(
            note.verify(&keys),
            Err(CryptoError::Unsigned(keys[absent].to_string()))
        );
        assert!(matches!(note.verify(&[]), Err(CryptoError::Unsigned(_))));
    }
}

#[test]
fn a_wrong_signature_by_a_known_key_spoils_the_note() {
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let (key, verifier) = signer(algorithm);
        let mut note =
            Note::parse(&sign(&checkpoint_text(), "example.com/log", &[&key]).unwrap()).unwrap();
        let other = Checkpoint::new("example.com/log", 8, [9; 32]).text();
        let other = Note::parse(&sign(&other, "example.com/log", &[&key]).unwrap()).unwrap();
        note.add(other.signatures()[0].clone()).unwrap();
        let verdict = note.verify(&[verifier]);
        assert!(matches!(verdict, Err(CryptoError::Signature(_))));
    }
}

#[test]
fn a_cosignature_is_none_of_the_log_and_the_other_way_round() {
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let (key, log) = signer(algorithm);
        let text = checkpoint_text();
        let witness = NoteKey::witness("example.com/w", key.verifying_key()).unwrap();
        let mut note = Note::parse(&sign(&text, log.name(), &[&key]).unwrap()).unwrap();
        assert_eq!(note.signed_by(&witness), Ok(None));
        note.add(cosign(&text, witness.name(), &key, 5).unwrap())
            .unwrap();
        assert_eq!(note.signed_by(&witness), Ok(Some(Signed { seconds: 5 })));
        note.add(cosign(&text, witness.name(), &key, 9).unwrap())
            .unwrap();
        assert_eq!(note.signed_by(&witness), Ok(Some(Signed { seconds: 9 })));
        assert_eq!(note.signed_by(&log), Ok(Some(Signed { seconds: 0 })));
        // The same octets under the other's name and id.
        let mut borrowed = note.signatures()[1].clone();
        (borrowed.name, borrowed.id) = (log.name().to_owned(), log.id());
        let mut forged = Note::parse(&format!("{text}\n{borrowed}\n")).unwrap();
        assert!(forged.signed_by(&log).is_err());
        (forged.signatures[0].name, forged.signatures[0].id) =
            (witness.name().to_owned(), witness.id());
        assert!(forged.signed_by(&witness).is_ok());
    }
}

#[test]
fn the_time_of_a_cosignature_is_signed() {
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let (key, _) = signer(algorithm);
        let text = checkpoint_text();
        let witness = NoteKey::witness("example.com/w", key.verifying_key()).unwrap();
        for (stated, said) in [(5, 6), (i64::MAX as u64, i64::MAX as u64 + 1)] {
            let mut line = cosign(&text, witness.name(), &key, stated).unwrap();
            let note = Note::parse(&format!("{text}\n{line}\n")).unwrap();
            assert_eq!(
                note.signed_by(&witness),
                Ok(Some(Signed { seconds: stated }))
            );
            line.signature[..8].copy_from_slice(&u64::to_be_bytes(said));
            let note = Note::parse(&format!("{text}\n{line}\n")).unwrap();
            assert!(note.signed_by(&witness).is_err());
        }
        assert!(cosign(&text, "w", &key, 0).is_err());
        assert!(cosign(&text, "w", &key, i64::MAX as u64 + 1).is_err());
        assert!(cosign("no checkpoint\n", "w", &key, 5).is_err());
    }
}

#[test]
fn malformed_notes_and_keys_are_refused() {
    for text in [
        "",
        "\n",
        "t\n",
        "t\n\n",
        "t\n\nx\n",
        "t\n\n\u{2014} n\n",
        "t\r\n\n\u{2014} n AAAAAAA=\n",
    ] {
        assert!(Note::parse(text).is_err(), "{text:?}");
    }
    let modern = CHECKPOINT_VKEYS.lines().nth(1).unwrap();
    for text in [
        "",
        "a",
        "a+b+c",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        &modern[..modern.len() - 4],
        &modern.replace("+9dcbe1f9+", "+9dcbe1f8+"),
    ] {
        assert!(text.parse::<NoteKey>().is_err(), "{text:?}");
    }
    let (key, _) = signer(Algorithm::Ed25519);
    assert!(sign("no newline", "n", &[&key]).is_err());
    assert!(sign("t\n", "two words", &[&key]).is_err());
    assert!(sign("t\n", "a+b", &[&key]).is_err());
    assert!(sign("t\n", "n", &[]).is_err());
    let (modern, _) = signer(Algorithm::MlDsa44);
    assert!(sign("t\n", "n", &[&modern]).is_err());
}

#[test]
fn lines_names_and_length_are_limited() {
    let line = NOTE.lines().last().unwrap();
    let of = |n: usize| format!("t\n\n{}", format!("{line}\n").repeat(n));
    let mut full = Note::parse(&of(SIGNATURES_MAX)).unwrap();
    assert!(Note::parse(&of(SIGNATURES_MAX + 1)).is_err());
    assert!(full.add(line.parse().unwrap()).is_err());
    assert_eq!(full.signatures().len(), SIGNATURES_MAX);
    let (key, _) = signer(Algorithm::Ed25519);
    let base = sign("\n", "n", &[&key]).unwrap().len();
    let long = |n: usize| sign(&format!("{}\n", "x".repeat(n)), "n", &[&key]);
    assert!(Note::parse(&long(NOTE_BYTES_MAX - base).unwrap()).is_ok());
    assert!(long(NOTE_BYTES_MAX - base + 1).is_err());
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let public = signer(algorithm).0.verifying_key();
        let named = |n: usize| NoteKey::new("n".repeat(n), public.clone());
        let longest = named(NAME_BYTES_MAX).unwrap().to_string();
        assert_eq!(longest.parse::<NoteKey>(), named(NAME_BYTES_MAX));
        assert!(named(NAME_BYTES_MAX + 1).is_err());
        if algorithm == Algorithm::MlDsa44 {
            assert_eq!(longest.len(), VKEY_BYTES_MAX);
        }
    }
}

#[test]
fn sixteen_of_the_longest_signatures_fit_a_note() {
    let (key, _) = signer(Algorithm::MlDsa44);
    let text = checkpoint_text();
    let mut note = Note::parse(&sign(&text, "example.com/log", &[&key]).unwrap()).unwrap();
    for witness in 1..16 {
        let name = format!("witness-{witness}.example.com/somewhere");
        note.add(cosign(&text, &name, &key, 1_700_000_000).unwrap())
            .unwrap();
    }
    assert_eq!(Note::parse(&note.to_string()), Ok(note));
}

proptest! {
    #[test]
    fn what_is_signed_reads_back(text in "([ -~é]{0,30}\n){1,5}") {
        let (key, verifier) = signer(Algorithm::Ed25519);
        let note = Note::parse(&sign(&text, verifier.name(), &[&key]).unwrap()).unwrap();
        prop_assert_eq!(note.text(), text.as_str());
        prop_assert_eq!(note.verify(&[verifier]), Ok(()));
    }

    #[test]
    fn a_checkpoint_of_any_size_is_signed_by_both(
        size in 0..u64::MAX, root: [u8; 32], origin in "[!-*,-~]{1,40}", seconds in 1..(1_u64 << 63)
    ) {
        let text = Checkpoint::new(origin.clone(), size, root).text();
        let (classic, _) = signer(Algorithm::Ed25519);
        let (modern, _) = signer(Algorithm::MlDsa44);
        let mut note = Note::parse(&sign(&text, &origin, &[&classic, &modern]).unwrap()).unwrap();
        let keys = [&classic, &modern].map(|k| NoteKey::new(origin.clone(), k.verifying_key()).unwrap());
        prop_assert_eq!(note.verify(&keys), Ok(()));
        for key in [&classic, &modern] {
            let witness = NoteKey::witness("w", key.verifying_key()).unwrap();
            note.add(cosign(&text, "w", key, seconds).unwrap()).unwrap();
            prop_assert_eq!(note.signed_by(&witness), Ok(Some(Signed { seconds })));
        }
    }

    #[test]
    fn whatever_is_read_has_one_spelling(text in "(\u{2014} |[a-zA+ =/\n]|\n\n){0,40}") {
        if let Ok(key) = text.parse::<NoteKey>() {
            prop_assert_eq!(key.to_string(), text.clone());
        }
        if let Ok(note) = Note::parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }
}
