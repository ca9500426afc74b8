//! The witness as a log meets it: every answer of tlog-witness, what a rollback and a fork look
//! like from the log's side, and that nothing is cosigned that a power cut could make it forget.

use crate::sim::{SimDisk, Stop};
use crate::support::{Dice, clock, entropy};
use ringfence_core::error::Explain as _;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Frontier, Hash, consistency_proof, empty_root, leaf_hash};
use ringfence_crypto::note::{self, Note, NoteKey, NoteSignature, Signed, cosign};
use ringfence_crypto::sign::{Algorithm, SigningKey};
use ringfence_record::RecordError;
use ringfence_record::witness::core::LOG_KEYS_MAX;
use ringfence_record::witness::request::{REQUEST_BYTES_MAX, REQUEST_HASHES_MAX, SIZE_TYPE};
use ringfence_record::witness::{AddCheckpoint, Judgement, Refusal, Witness, judge};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

const ORIGIN: &str = "example.com/log";
/// What the clock of the tests says, in seconds.
const NOW: u64 = 1_795_176_000;

/// A log in memory with two keys.
struct TestLog {
    keys: [SigningKey; 2],
    nodes: BTreeMap<(u32, u64), Hash>,
    roots: Vec<Hash>,
}

impl TestLog {
    /// So many leaves of a history, which differs from others by its name.
    fn grown(history: &str, size: u64) -> Self {
        let key = |algorithm| SigningKey::from_seed(algorithm, &[7; 32]).unwrap();
        let mut tree = Frontier::new();
        let mut log = Self {
            keys: [key(Algorithm::Ed25519), key(Algorithm::MlDsa44)],
            nodes: BTreeMap::new(),
            roots: vec![empty_root()],
        };
        for n in 0..size {
            let leaf = leaf_hash(format!("{history} {n}").as_bytes());
            tree.append(leaf, &mut |c| {
                log.nodes.insert((c.level, c.number), c.hash);
            });
            log.roots.push(tree.root());
        }
        log
    }

    fn vkeys(&self) -> Vec<NoteKey> {
        self.keys
            .iter()
            .map(|k| NoteKey::new(ORIGIN, k.verifying_key()).unwrap())
            .collect()
    }

    fn note(&self, size: u64) -> Note {
        let root = self.roots[usize::try_from(size).unwrap()];
        let text = Checkpoint::new(ORIGIN, size, root).text();
        let [a, b] = &self.keys;
        Note::parse(&note::sign(&text, ORIGIN, &[a, b]).unwrap()).unwrap()
    }

    fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        let proof = consistency_proof(old, size, &mut |level, number| {
            Ok::<_, Infallible>(self.nodes[&(level, number)])
        });
        AddCheckpoint {
            old,
            proof: proof.unwrap(),
            note: self.note(size),
        }
    }
}

fn witness_keys() -> Vec<SigningKey> {
    [Algorithm::MlDsa44, Algorithm::Ed25519]
        .map(|a| SigningKey::from_seed(a, &[8; 32]).unwrap())
        .into()
}

fn witness_on(disk: &SimDisk, logs: Vec<NoteKey>) -> Result<Witness, RecordError> {
    let disk = Arc::new(disk.clone());
    Witness::with("w.example".to_owned(), witness_keys(), logs, disk, clock())
}

fn ask(witness: &mut Witness, request: &AddCheckpoint) -> Result<Vec<NoteSignature>, Refusal> {
    witness.add_checkpoint(request.to_string().as_bytes())
}

/// What the log makes of it, as HTTP would carry it.
fn exchange(witness: &mut Witness, request: &AddCheckpoint) -> Result<Judgement, RecordError> {
    let key = witness.vkeys().unwrap().remove(0);
    match ask(witness, request) {
        Ok(lines) => {
            let body: Vec<String> = lines.iter().map(|l| format!("{l}\n")).collect();
            judge(request, &key, 200, &body.concat())
        }
        Err(refusal) => judge(request, &key, refusal.status(), &refusal.to_string()),
    }
}

#[test]
fn a_log_that_grows_is_cosigned_with_both_keys_of_the_witness() {
    let log = TestLog::grown("a", 40);
    let mut witness = witness_on(&SimDisk::new(1), log.vkeys()).unwrap();
    let mut old = 0;
    for size in [0, 1, 7, 7, 8, 40] {
        let lines = ask(&mut witness, &log.request(old, size)).unwrap();
        assert_eq!(lines.len(), 2);
        let mut note = log.note(size);
        for line in lines {
            note.add(line).unwrap();
        }
        for key in witness.vkeys().unwrap() {
            assert_eq!(note.signed_by(&key), Ok(Some(Signed { seconds: NOW })));
        }
        assert_eq!(witness.size_of(ORIGIN), size);
        old = size;
    }
}

#[test]
fn each_refusal_has_the_status_of_the_specification() {
    let log = TestLog::grown("a", 20);
    let mut witness = witness_on(&SimDisk::new(1), log.vkeys()).unwrap();
    ask(&mut witness, &log.request(0, 10)).unwrap();
    let mut status = |request: &AddCheckpoint| {
        let refusal = ask(&mut witness, request).unwrap_err();
        assert_eq!(witness.size_of(ORIGIN), 10);
        (
            refusal.status(),
            refusal.content_type() == SIZE_TYPE,
            refusal.to_string(),
        )
    };
    let ten = (409, true, "10\n".to_owned());
    assert_eq!(status(&log.request(0, 20)), ten);
    assert_eq!(status(&log.request(9, 20)), ten);
    assert_eq!(status(&log.request(11, 20)), ten);
    assert_eq!(status(&log.request(9, 9)), ten);
    let other = TestLog::grown("b", 20);
    assert_eq!(status(&other.request(10, 10)), ten);
    assert_eq!(status(&other.request(10, 20)).0, 422);
    let mut backward = log.request(10, 20);
    (backward.old, backward.note) = (10, log.note(9));
    assert_eq!(status(&backward).0, 400);
    let mut wrong = log.request(10, 20);
    wrong.proof[0][0] ^= 1;
    assert_eq!(status(&wrong).0, 422);
    let mut long = log.request(10, 10);
    long.proof.push([0; 32]);
    assert_eq!(status(&long).0, 422);
    let text = Checkpoint::new("example.com/other", 20, [0; 32]).text();
    let mut unknown = log.request(10, 20);
    unknown.note = Note::parse(&note::sign(&text, ORIGIN, &[&log.keys[0]]).unwrap()).unwrap();
    assert_eq!(status(&unknown).0, 404);
    assert!(ask(&mut witness, &log.request(10, 20)).is_ok());
}

#[test]
fn every_key_that_is_configured_for_a_log_must_have_signed() {
    let log = TestLog::grown("a", 3);
    let text = log.note(3).text().to_owned();
    for alone in [0, 1] {
        let mut request = log.request(0, 3);
        let one = note::sign(&text, ORIGIN, &[&log.keys[alone]]).unwrap();
        request.note = Note::parse(&one).unwrap();
        let mut strict = witness_on(&SimDisk::new(1), log.vkeys()).unwrap();
        assert_eq!(ask(&mut strict, &request).unwrap_err().status(), 403);
        // With the other key unknown, one is enough: it is the configuration that asks for two.
        let known = vec![log.vkeys().remove(alone)];
        let mut lax = witness_on(&SimDisk::new(1), known).unwrap();
        assert!(ask(&mut lax, &request).is_ok());
    }
    let mut request = log.request(0, 3);
    let stranger = SigningKey::from_seed(Algorithm::Ed25519, &[1; 32]).unwrap();
    request.note = Note::parse(&note::sign(&text, ORIGIN, &[&stranger]).unwrap()).unwrap();
    let mut witness = witness_on(&SimDisk::new(1), log.vkeys()).unwrap();
    assert_eq!(ask(&mut witness, &request).unwrap_err().status(), 403);
}

#[test]
fn malformed_requests_are_refused_and_limits_hold_at_the_limit_and_one_beyond() {
    let log = TestLog::grown("a", 3);
    let good = log.request(1, 3);
    let text = good.to_string();
    assert_eq!(AddCheckpoint::parse(text.as_bytes()), Ok(good));
    for bad in [
        text.replacen("old 1\n", "old 01\n", 1),
        text.replacen("old 1\n", "old -1\n", 1),
        text.replacen("old 1\n", "\nold 1\n", 1),
        text.replacen("old 1\n", "old 1\r\n", 1),
        text.replacen("old 1\n", "", 1),
        text.replacen("=\n", "\n", 1),
        text.replacen("=\n", "=\nAAAA\n", 1),
        text.trim_end().to_owned(),
        String::new(),
    ] {
        assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let mut many = log.request(1, 3);
    many.proof = vec![[5; 32]; REQUEST_HASHES_MAX];
    assert!(AddCheckpoint::parse(many.to_string().as_bytes()).is_ok());
    many.proof.push([5; 32]);
    assert!(AddCheckpoint::parse(many.to_string().as_bytes()).is_err());
    let mut long = text.into_bytes();
    long.resize(REQUEST_BYTES_MAX, b'x');
    assert_ne!(
        AddCheckpoint::parse(&long),
        Err("longer than a request may be")
    );
    long.push(b'x');
    assert_eq!(
        AddCheckpoint::parse(&long),
        Err("longer than a request may be")
    );
    let key = log.vkeys().remove(0);
    assert!(witness_on(&SimDisk::new(1), vec![key.clone(); LOG_KEYS_MAX]).is_ok());
    assert!(witness_on(&SimDisk::new(1), vec![key; LOG_KEYS_MAX + 1]).is_err());
}

#[test]
fn a_rollback_and_a_fork_are_told_from_a_witness_that_fails() {
    let log = TestLog::grown("a", 30);
    let mut witness = witness_on(&SimDisk::new(1), log.vkeys()).unwrap();
    let first = exchange(&mut witness, &log.request(0, 20)).unwrap();
    assert!(matches!(first, Judgement::Cosigned(lines) if lines.len() == 1));
    // A log that forgot what the witness has asks again from there.
    let asked = exchange(&mut witness, &log.request(0, 30)).unwrap();
    assert_eq!(asked, Judgement::AskFrom(20));
    // The same log, taken back to 12 leaves.
    for old in [0, 12] {
        let error = exchange(&mut witness, &log.request(old, 12)).unwrap_err();
        assert_eq!(error.code().0, "record/rolled-back");
        assert!(matches!(
            error,
            RecordError::RolledBack {
                theirs: 20,
                ours: 12,
                ..
            }
        ));
    }
    // Taken back to 12 leaves and grown past what the witness saw: other leaves at its size.
    let other = TestLog::grown("b", 25);
    let error = exchange(&mut witness, &other.request(20, 25)).unwrap_err();
    assert!(matches!(error, RecordError::Forked { size: 20, .. }));
    let error = exchange(&mut witness, &other.request(20, 20)).unwrap_err();
    assert_eq!(error.code().0, "record/forked");
    // Nothing of this is said by a witness that is lost, rude or someone else.
    let request = log.request(20, 30);
    let key = witness.vkeys().unwrap().remove(0);
    let cosigned = ask(&mut witness, &request).unwrap();
    let foreign = format!("{}\n", cosigned[1]);
    for (status, body) in [
        (200, ""),
        (200, "hello\n"),
        (200, foreign.as_str()),
        (403, ""),
        (404, ""),
        (409, "many\n"),
        (409, "020\n"),
        (500, ""),
        (302, ""),
    ] {
        let error = judge(&request, &key, status, body).unwrap_err();
        let stops = ["record/rolled-back", "record/forked"].contains(&error.code().0);
        assert!(!stops, "{status} {body}: {error}");
    }
    let early = judge(&log.request(0, 30), &key, 422, "");
    assert!(matches!(early, Err(RecordError::Witness { .. })));
}

#[test]
fn a_cosignature_of_something_else_or_without_a_time_is_none() {
    let log = TestLog::grown("a", 9);
    let request = log.request(0, 9);
    let keys = witness_keys();
    let key = NoteKey::witness("w.example", keys[0].verifying_key()).unwrap();
    let judged = |line: &NoteSignature| judge(&request, &key, 200, &format!("{line}\n"));
    let good = cosign(request.note.text(), "w.example", &keys[0], 5).unwrap();
    assert_eq!(judged(&good).unwrap(), Judgement::Cosigned(vec![good]));
    let other = cosign(log.note(8).text(), "w.example", &keys[0], 5).unwrap();
    assert!(judged(&other).is_err());
    // As a log of that name would sign: the same kind, and no time.
    let timeless = note::sign(request.note.text(), "w.example", &[&keys[0]]).unwrap();
    let timeless = Note::parse(&timeless).unwrap().signatures()[0].clone();
    assert!(judged(&timeless).is_err());
}

/// Whatever is cosigned before the machine stops is known after it, at every step and with every
/// mixture that a power cut may leave.
#[test]
fn nothing_that_was_cosigned_is_forgotten() {
    let log = TestLog::grown("a", 12);
    let other = TestLog::grown("b", 12);
    let (mut cosigned_after_all, mut forgot_what_was_not_said) = (0, 0);
    for seed in 0..10 {
        for steps in 0..40 {
            let disk = SimDisk::new(seed);
            let mut witness = witness_on(&disk, log.vkeys()).unwrap();
            disk.stop_after(steps);
            let mut said = 0;
            let mut dice = Dice(seed);
            for size in 1..=12 {
                if dice.chance(2) && ask(&mut witness, &log.request(said, size)).is_ok() {
                    said = size;
                }
            }
            let stop = if seed % 2 == 0 {
                Stop::PowerCut
            } else {
                Stop::Kill
            };
            let mut again = witness_on(&disk.restart(stop), log.vkeys()).unwrap();
            let known = again.size_of(ORIGIN);
            assert!(known >= said, "seed {seed} steps {steps}: {known} < {said}");
            if said > 0 {
                let refused = ask(&mut again, &other.request(said, 12));
                assert!(
                    refused.is_err(),
                    "a second history, seed {seed} steps {steps}"
                );
                cosigned_after_all += 1;
            } else {
                forgot_what_was_not_said += u32::from(known == 0);
            }
        }
    }
    // The trials reached both sides.
    assert!(cosigned_after_all > 150 && forgot_what_was_not_said > 15);
}

#[test]
fn a_witness_that_cannot_write_does_not_cosign() {
    let log = TestLog::grown("a", 5);
    let disk = SimDisk::new(4);
    let mut witness = witness_on(&disk, log.vkeys()).unwrap();
    disk.fail_sync(true);
    let refusal = ask(&mut witness, &log.request(0, 5)).unwrap_err();
    assert_eq!(refusal.status(), 500);
    assert_eq!(witness.size_of(ORIGIN), 0);
    disk.fail_sync(false);
    assert!(ask(&mut witness, &log.request(0, 5)).is_ok());
}

#[test]
fn a_damaged_memory_stops_the_witness_instead_of_starting_anew() {
    let log = TestLog::grown("a", 5);
    let folder = tempfile::tempdir().unwrap();
    let open = || Witness::open(folder.path(), log.vkeys(), clock(), &*entropy());
    let mut witness = open().unwrap();
    let vkeys = witness.vkeys().unwrap();
    assert!(ask(&mut witness, &log.request(0, 5)).is_ok());
    let witness = open().unwrap();
    assert_eq!(witness.vkeys().unwrap(), vkeys);
    assert_eq!(witness.size_of(ORIGIN), 5);
    let heads = fs::read_dir(folder.path().join("heads")).unwrap();
    let head = heads.last().unwrap().unwrap().path();
    let kept = fs::read(&head).unwrap();
    for i in (0..kept.len()).step_by(11) {
        let mut bytes = kept.clone();
        bytes[i] ^= 1;
        fs::write(&head, &bytes).unwrap();
        assert!(
            matches!(open(), Err(RecordError::Corrupt { .. })),
            "octet {i}"
        );
    }
    fs::write(&head, &kept).unwrap();
    for file in fs::read_dir(folder.path().join("keys")).unwrap() {
        let path = file.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(open(), Err(RecordError::KeyMissing(_))));
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(open().unwrap().size_of(ORIGIN), 5);
}
