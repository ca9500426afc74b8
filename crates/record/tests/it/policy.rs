//! Policies of logs and witnesses, and proofs that are checked under one.

use crate::support::{clock, entropy, leaf};
use ringfence_core::error::Explain as _;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::note::{self, Note, NoteKey, cosign};
use ringfence_crypto::sign::{Algorithm, SigningKey};
use ringfence_record::proof::{verify, verify_witnessed};
use ringfence_record::verify::vkeys_of;
use ringfence_record::witness::Policy;
use ringfence_record::witness::policy::{Known, POLICY_BYTES_MAX, POLICY_ENTRIES_MAX};
use ringfence_record::{RecordError, Recorder};
use std::fmt::Write as _;

const ORIGIN: &str = "example.com/log";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn witness(seed: u8) -> NoteKey {
    NoteKey::witness(format!("w{seed}"), key(seed).verifying_key()).unwrap()
}

/// The log's two keys.
fn log_keys() -> [SigningKey; 2] {
    [Algorithm::Ed25519, Algorithm::MlDsa44].map(|a| SigningKey::from_seed(a, &[200; 32]).unwrap())
}

fn log_vkeys() -> Vec<NoteKey> {
    log_keys()
        .iter()
        .map(|k| NoteKey::new(ORIGIN, k.verifying_key()).unwrap())
        .collect()
}

/// A checkpoint signed by the log and cosigned by these.
fn note(witnesses: &[u8]) -> Note {
    let text = Checkpoint::new(ORIGIN, 5, [3; 32]).text();
    let [a, b] = log_keys();
    let mut note = Note::parse(&note::sign(&text, ORIGIN, &[&a, &b]).unwrap()).unwrap();
    for seed in witnesses {
        note.add(cosign(&text, &format!("w{seed}"), &key(*seed), 9).unwrap())
            .unwrap();
    }
    note
}

fn parse(text: &str) -> Result<Policy, RecordError> {
    Policy::parse(text.as_bytes())
}

/// The example of the specification: two of X, one of Y, both.
fn example() -> String {
    let mut text = String::new();
    for key in log_vkeys() {
        writeln!(text, "log {key} https://log.example/").unwrap();
    }
    text.push_str("\n# witnesses\n");
    for (name, seed) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().zip(1..) {
        writeln!(text, "\twitness {name}  {} ", witness(seed)).unwrap();
    }
    text.push_str(
        "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
    );
    text
}

#[test]
fn the_example_of_the_specification_counts_as_it_says() {
    let policy = parse(&example()).unwrap();
    assert_eq!(policy.logs().len(), 2);
    assert_eq!(
        policy.witnesses()[0],
        Known {
            key: witness(1),
            url: None
        }
    );
    for (witnesses, enough) in [
        (&[1, 2, 4][..], true),
        (&[1, 3, 6], true),
        (&[1, 2, 3, 4, 5, 6], true),
        (&[1, 2, 3], false),
        (&[1, 4, 5, 6], false),
        (&[], false),
        (&[7, 8, 9], false),
    ] {
        let verdict = policy.verify(&note(witnesses));
        assert_eq!(verdict.is_ok(), enough, "{witnesses:?}");
        if let Ok(cosigned) = verdict {
            assert_eq!(cosigned.len(), witnesses.len());
            assert!(cosigned.iter().all(|c| c.seconds == 9));
        }
    }
}

#[test]
fn every_key_of_the_log_must_have_signed_and_a_bad_cosignature_spoils_all() {
    let policy = parse(&example()).unwrap();
    let text = note(&[]).text().to_owned();
    for alone in &log_keys() {
        let one = note::sign(&text, ORIGIN, &[alone]).unwrap();
        let mut one = Note::parse(&one).unwrap();
        for line in note(&[1, 2, 4]).signatures().iter().skip(2) {
            one.add(line.clone()).unwrap();
        }
        let error = policy.verify(&one).unwrap_err();
        assert_eq!(error.code().0, "record/signature-missing");
        assert!(policy.cosigned(&one).is_ok());
    }
    let mut spoiled = note(&[1, 2, 4]);
    let other = Checkpoint::new(ORIGIN, 6, [3; 32]).text();
    spoiled
        .add(cosign(&other, "w1", &key(1), 10).unwrap())
        .unwrap();
    assert!(policy.verify(&spoiled).is_err());
    let stranger = Checkpoint::new("example.com/other", 5, [3; 32]).text();
    let stranger = note::sign(&stranger, ORIGIN, &[&log_keys()[0]]).unwrap();
    assert!(policy.verify(&Note::parse(&stranger).unwrap()).is_err());
}

#[test]
fn a_quorum_of_none_asks_for_the_log_alone() {
    let policy = parse("quorum none\n").unwrap();
    assert_eq!(policy, Policy::default());
    assert!(!policy.asks_for_witnesses());
    assert!(policy.cosigned(&note(&[])).unwrap().is_empty());
    assert!(policy.verify(&note(&[])).is_err());
    let text = format!(
        "log {}\nwitness a {}\nquorum a\n",
        log_vkeys()[0],
        witness(1)
    );
    let policy = parse(&text).unwrap();
    assert!(policy.asks_for_witnesses());
    assert!(policy.verify(&note(&[1])).is_ok());
    assert!(matches!(
        policy.verify(&note(&[])),
        Err(RecordError::Quorum { have: 0, of: 1 })
    ));
}

#[test]
fn a_threshold_counts_witnesses() {
    let keys = vec![witness(1), witness(2), witness(3)];
    let policy = Policy::threshold(keys.clone(), 2).unwrap();
    assert!(policy.cosigned(&note(&[1, 3])).is_ok());
    assert!(policy.cosigned(&note(&[3])).is_err());
    assert!(Policy::threshold(keys.clone(), 3).is_ok());
    assert!(Policy::threshold(keys.clone(), 4).is_err());
    let none = Policy::threshold(keys, 0).unwrap();
    assert!(none.cosigned(&note(&[])).is_ok());
    assert!(Policy::threshold(vec![witness(1), witness(1)], 1).is_err());
    assert!(Policy::threshold(log_vkeys(), 1).is_err());
}

#[test]
fn what_the_specification_forbids_is_refused_with_its_line() {
    let (w1, w2, log) = (witness(1), witness(2), &log_vkeys()[0]);
    let renamed = NoteKey::witness("other", key(1).verifying_key()).unwrap();
    let two = format!("witness a {w1}\nwitness b {w2}\n");
    for (text, line) in [
        (String::new(), 0),
        (two.clone(), 0),
        ("quorum none".to_owned(), 0),
        ("quorum none\nquorum none\n".to_owned(), 2),
        ("quorum a\n".to_owned(), 1),
        (format!("quorum a\nwitness a {w1}\n"), 1),
        (format!("{two}witness a {log}\n"), 3),
        (format!("{two}witness c {renamed}\n"), 3),
        (format!("witness none {w1}\n"), 1),
        (format!("{two}group a any b\n"), 3),
        (format!("{two}group g any\n"), 3),
        (format!("{two}group g all\n"), 3),
        (format!("{two}group g 0 a\n"), 3),
        (format!("{two}group g 2 a\n"), 3),
        (format!("{two}group g 01 a b\n"), 3),
        (format!("{two}group g some a b\n"), 3),
        (format!("{two}group g any a a\n"), 3),
        (format!("{two}group g any a c\n"), 3),
        (format!("{two}group g any a none\n"), 3),
        (format!("{two}group g any a\ngroup h any g a\n"), 4),
        (format!("log {w1}\n"), 1),
        (format!("log {log}\nlog {log} url\n"), 2),
        (format!("log {log} url more\n"), 1),
        ("log x+00000000+AAAA\n".to_owned(), 1),
        ("what is this\n".to_owned(), 1),
        ("quorum none\r\n".to_owned(), 1),
        ("# \u{7f}\n".to_owned(), 1),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(
            matches!(error, RecordError::Policy { line: l, .. } if l == line),
            "{text:?}: {error}"
        );
    }
    // Names are octets, and a Kelvin sign is no K.
    let kelvin = format!("witness K {w1}\nwitness \u{212a} {w2}\nquorum \u{212a}\n");
    assert!(parse(&kelvin).unwrap().cosigned(&note(&[2])).is_ok());
    assert!(parse(&kelvin).unwrap().cosigned(&note(&[1])).is_err());
}

#[test]
fn entries_and_length_are_limited() {
    let witnesses = |count: usize| {
        let mut text = String::new();
        for seed in 0..count {
            let key = witness(u8::try_from(seed).unwrap());
            writeln!(text, "witness n{seed} {key}").unwrap();
        }
        parse(&(text + "quorum none\n"))
    };
    assert!(witnesses(POLICY_ENTRIES_MAX).is_ok());
    assert!(witnesses(POLICY_ENTRIES_MAX + 1).is_err());
    let groups = |count: usize| {
        let mut text = format!("witness g0 {}\n", witness(1));
        for n in 1..=count {
            writeln!(text, "group g{n} any g{}", n - 1).unwrap();
        }
        parse(&(text + "quorum none\n"))
    };
    assert!(groups(POLICY_ENTRIES_MAX).is_ok());
    assert!(groups(POLICY_ENTRIES_MAX + 1).is_err());
    let end = "quorum none\n";
    let long = |n: usize| parse(&format!("#{}\n{end}", "x".repeat(n - end.len() - 2)));
    assert!(long(POLICY_BYTES_MAX).is_ok());
    assert!(long(POLICY_BYTES_MAX + 1).is_err());
}

#[test]
fn a_proof_is_checked_under_a_policy_and_its_extra_line_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(folder.path(), clock(), entropy()).unwrap();
    for n in 0..5 {
        recorder.append(leaf(n)).unwrap();
    }
    let mut proof = recorder.prove(2).unwrap();
    let bytes = leaf(2).canonical().unwrap();
    let logs: Vec<String> = vkeys_of(folder.path())
        .unwrap()
        .iter()
        .map(|vkey| format!("log {vkey}\n"))
        .collect();
    let text = format!("{}witness w {}\nquorum w\n", logs.concat(), witness(1));
    let policy = parse(&text).unwrap();
    let refused = verify_witnessed(&proof, &bytes, &policy).unwrap_err();
    assert_eq!(refused.code().0, "record/quorum-missing");
    let mut note = Note::parse(&proof.checkpoint).unwrap();
    note.add(cosign(note.text(), "w1", &key(1), 77).unwrap())
        .unwrap();
    proof.checkpoint = note.to_string();
    let (proved, cosigned) = verify_witnessed(&proof, &bytes, &policy).unwrap();
    assert_eq!((proved.index, proved.size), (2, 5));
    assert_eq!((cosigned[0].name.as_str(), cosigned[0].seconds), ("w1", 77));
    assert!(verify_witnessed(&proof, &leaf(3).canonical().unwrap(), &policy).is_err());
    let written = proof.to_string();
    for (extra, good) in [
        ("aGVsbG8=", true),
        ("", true),
        ("aGVsbG8", false),
        ("?", false),
    ] {
        let with = written.replacen("\nindex", &format!("\nextra {extra}\nindex"), 1);
        assert_eq!(with.parse().ok(), good.then(|| proof.clone()), "{extra}");
    }
    // A witness's key says nothing about which log it is.
    assert!(verify(&proof, &bytes, &[witness(1)]).is_err());
    assert!(
        verify(
            &proof,
            &bytes,
            &[witness(1), vkeys_of(folder.path()).unwrap().remove(0)]
        )
        .is_ok()
    );
}
