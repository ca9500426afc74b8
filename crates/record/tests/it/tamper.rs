//! Every octet of every file: changed, cut, removed, replaced. Verification fails, or says so.

use crate::support::{clock, entropy, leaf};
use ringfence_core::error::Explain as _;
use ringfence_crypto::note::NoteKey;
use ringfence_record::log::ledger::{Gap, GapReason};
use ringfence_record::log::{Done, Operation};
use ringfence_record::proof;
use ringfence_record::verify::{NO_KEY, NO_WITNESS, verify_dir, vkey_of};
use ringfence_record::{RecordError, Recorder};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn recorder(dir: &Path) -> Result<Recorder, RecordError> {
    Recorder::open(dir, clock(), entropy())
}

/// A log with leaves, settlements, gaps and an orderly end.
fn made(leaves: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = recorder(dir.path()).unwrap();
    for n in 0..leaves {
        recorder.append(leaf(n)).unwrap();
    }
    recorder.commit(vec![Operation::Reserve]).unwrap();
    recorder
        .commit(vec![Operation::Settle {
            sequence: 0,
            leaf: leaf(0),
        }])
        .unwrap();
    let gap = Gap {
        first: 1,
        count: 1022,
        reason: GapReason::Unused,
    };
    recorder.commit(vec![Operation::Close(gap)]).unwrap();
    recorder.close().unwrap();
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("log"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn an_untouched_log_passes_and_says_what_that_does_not_show() {
    let dir = made(5);
    let report = verify_dir(dir.path(), &[]).unwrap();
    // Five leaves, a settlement, the unused numbers, and the one number nobody filled.
    assert_eq!((report.size, report.checkpoint_size), (8, 8));
    assert_eq!((report.unaccounted, report.open_numbers), (1, 0));
    assert_eq!(report.root, report.checkpoint_root);
    assert_eq!(report.warnings, [NO_WITNESS, NO_KEY]);
    let known = verify_dir(dir.path(), &[vkey_of(dir.path()).unwrap()]).unwrap();
    assert_eq!(known.warnings, [NO_WITNESS]);
}

#[test]
fn a_copied_log_passes_without_its_keys() {
    let dir = made(2);
    let elsewhere = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), &elsewhere.path().join("log"));
    assert_eq!(
        verify_dir(elsewhere.path(), &[]).unwrap(),
        verify_dir(dir.path(), &[]).unwrap()
    );
}

#[test]
fn every_changed_octet_of_every_file_is_noticed() {
    let dir = made(3);
    assert_eq!(files(dir.path()).len(), 5);
    for path in files(dir.path()) {
        let kept = fs::read(&path).unwrap();
        for i in 0..kept.len() {
            let mut changed = kept.clone();
            changed[i] ^= 1 << (i % 8);
            fs::write(&path, &changed).unwrap();
            assert!(
                verify_dir(dir.path(), &[]).is_err(),
                "{} octet {i}",
                path.display()
            );
        }
        fs::write(&path, &kept).unwrap();
    }
    assert!(verify_dir(dir.path(), &[]).is_ok());
}

#[test]
fn every_changed_octet_keeps_the_recorder_from_going_on() {
    let dir = made(1);
    for path in files(dir.path()) {
        let kept = fs::read(&path).unwrap();
        let derived = path.ends_with("hashes.rfh");
        for i in (0..kept.len()).step_by(5) {
            let mut changed = kept.clone();
            changed[i] ^= 0x20;
            fs::write(&path, &changed).unwrap();
            match recorder(dir.path()) {
                Err(_) => assert!(!derived),
                // What is derived from the leaves is derived again.
                Ok(recorder) => assert!(
                    derived && recorder.recovery().hashes_rebuilt > 0,
                    "{} octet {i}",
                    path.display()
                ),
            }
        }
        fs::write(&path, &kept).unwrap();
    }
    assert_eq!(recorder(dir.path()).unwrap().recovery().hashes_rebuilt, 0);
}

#[test]
fn every_cut_and_removed_file_is_noticed() {
    let dir = made(2);
    for path in files(dir.path()) {
        let kept = fs::read(&path).unwrap();
        for length in 0..kept.len() {
            fs::write(&path, &kept[..length]).unwrap();
            assert!(
                verify_dir(dir.path(), &[]).is_err(),
                "{} at {length}",
                path.display()
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(
            verify_dir(dir.path(), &[]).is_err(),
            "{} removed",
            path.display()
        );
        fs::write(&path, &kept).unwrap();
    }
}

#[test]
fn a_rolled_back_write_ahead_log_is_fork_risk() {
    let dir = made(2);
    let old = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), old.path());
    let mut more = recorder(dir.path()).unwrap();
    more.append(leaf(7)).unwrap();
    more.close().unwrap();
    for name in ["wal-00000000.rfw", "hashes.rfh"] {
        fs::copy(old.path().join(name), dir.path().join("log").join(name)).unwrap();
    }
    assert_eq!(
        verify_dir(dir.path(), &[]).unwrap_err().code().0,
        "record/fork-risk"
    );
    assert_eq!(
        recorder(dir.path()).err().unwrap().code().0,
        "record/fork-risk"
    );
    // With the high-water mark and the checkpoint rolled back too, nothing inside shows it: this is
    // the attack that only an outside witness notices, and why every report warns.
    for name in ["state", "checkpoint"] {
        fs::copy(old.path().join(name), dir.path().join("log").join(name)).unwrap();
    }
    assert_eq!(
        verify_dir(dir.path(), &[]).unwrap().warnings,
        [NO_WITNESS, NO_KEY]
    );
}

#[test]
fn another_history_under_the_same_key_is_fork_risk() {
    let dir = made(2);
    let fork = tempfile::tempdir().unwrap();
    copy(&dir.path().join("keys"), &fork.path().join("keys"));
    let mut other = recorder(fork.path()).unwrap();
    for n in 10..20 {
        other.append(leaf(n)).unwrap();
    }
    other.close().unwrap();
    assert!(verify_dir(fork.path(), &[]).is_ok());
    for name in ["wal-00000000.rfw", "hashes.rfh"] {
        fs::copy(
            fork.path().join("log").join(name),
            dir.path().join("log").join(name),
        )
        .unwrap();
    }
    assert_eq!(
        verify_dir(dir.path(), &[]).unwrap_err().code().0,
        "record/fork-risk"
    );
    assert_eq!(
        recorder(dir.path()).err().unwrap().code().0,
        "record/fork-risk"
    );
}

#[test]
fn a_log_under_another_key_is_refused() {
    let dir = made(1);
    let other = made(1);
    let stranger: NoteKey = vkey_of(other.path()).unwrap();
    let own = vkey_of(dir.path()).unwrap();
    assert!(verify_dir(dir.path(), std::slice::from_ref(&stranger)).is_err());
    assert!(
        verify_dir(dir.path(), &[own, stranger]).is_err(),
        "every given key must have signed"
    );
    fs::copy(
        other.path().join("keys/log.key"),
        dir.path().join("keys/log.key"),
    )
    .unwrap();
    assert!(matches!(
        recorder(dir.path()),
        Err(RecordError::KeyMismatch)
    ));
    fs::remove_file(dir.path().join("keys/log.key")).unwrap();
    assert!(matches!(
        recorder(dir.path()),
        Err(RecordError::KeyMissing(_))
    ));
}

#[test]
fn a_file_that_is_not_part_of_the_log_is_mentioned() {
    let dir = made(1);
    fs::write(dir.path().join("log/extra"), b"").unwrap();
    let warnings = verify_dir(dir.path(), &[]).unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("not part of the log")),
        "{warnings:?}"
    );
}

#[test]
fn a_proof_is_checked_offline_and_every_change_of_it_is_noticed() {
    let dir = made(6);
    let key = vkey_of(dir.path()).unwrap();
    let mut recorder = recorder(dir.path()).unwrap();
    let text = recorder.prove(4).unwrap().to_string();
    let proof: proof::Proof = text.parse().unwrap();
    assert_eq!(proof.to_string(), text);
    let bytes = leaf(4).canonical().unwrap();
    let keys = [key];
    let proved = proof::verify(&proof, &bytes, &keys).unwrap();
    assert_eq!((proved.index, proved.size), (4, 9));
    assert!(proof::verify(&proof, &leaf(3).canonical().unwrap(), &keys).is_err());
    assert!(proof::verify(&proof, &bytes, &[]).is_err());
    for i in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[i] ^= 1;
        let accepted = String::from_utf8(changed)
            .ok()
            .and_then(|t| t.parse::<proof::Proof>().ok())
            .is_some_and(|p| proof::verify(&p, &bytes, &keys).is_ok());
        assert!(!accepted, "octet {i}");
    }
}

#[test]
fn a_new_leaf_is_proved_at_once_under_a_new_checkpoint() {
    let dir = made(1);
    let mut recorder = recorder(dir.path()).unwrap();
    let before = recorder.state().checkpoint_size;
    let receipt = recorder.append(leaf(77)).unwrap();
    let proof = recorder.prove(receipt.index).unwrap();
    assert!(recorder.state().checkpoint_size > before);
    let key = vkey_of(dir.path()).unwrap();
    assert!(proof::verify(&proof, &leaf(77).canonical().unwrap(), &[key]).is_ok());
    let end = recorder.state().size;
    assert!(matches!(recorder.prove(end), Err(RecordError::NoLeaf(_))));
}

#[test]
fn one_process_at_a_time_holds_the_log() {
    let dir = made(0);
    let first = recorder(dir.path()).unwrap();
    assert!(matches!(recorder(dir.path()), Err(RecordError::Busy(_))));
    drop(first);
    let mut next = recorder(dir.path()).unwrap();
    let done = next
        .commit(vec![Operation::Reserve])
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(
        done,
        Done::Reserved {
            first: 1024,
            count: 1024
        },
        "numbers are never given twice"
    );
}
