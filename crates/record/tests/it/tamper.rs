//! Every octet of every file: changed, cut, removed, replaced. Verification fails, or says so.

use crate::support::{clock, entropy, leaf};
use ringfence_core::error::Explain as _;
use ringfence_crypto::note::NoteKey;
use ringfence_record::log::ledger::{Gap, GapReason};
use ringfence_record::log::{Done, Operation};
use ringfence_record::proof;
use ringfence_record::receipt::{self, ReceiptFile};
use ringfence_record::verify::{Demands, NO_KEY, NO_WITNESS, VerifyReport, verify_dir, vkeys_of};
use ringfence_record::{RecordError, Recorder};
use std::fs;
use std::path::{Path, PathBuf};
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

fn verify_with(dir: &Path, vkeys: Vec<NoteKey>) -> Result<VerifyReport, RecordError> {
    let demands = Demands { vkeys, since: None };
    verify_dir(dir, &demands)
}

fn verify(dir: &Path) -> Result<VerifyReport, RecordError> {
    verify_with(dir, Vec::new())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file of a log but the reserve, which holds nothing.
fn files(dir: &Path) -> Vec<PathBuf> {
    fn below(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, files);
            } else if !path.ends_with("reserve") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    below(&dir.join("log"), &mut files);
    files.sort();
    files
}

/// Puts the write-ahead log and the tiles of another log in place of those here.
fn replace_history(dir: &Path, from: &Path) {
    for folder in ["wal", "tile"] {
        fs::remove_dir_all(dir.join("log").join(folder)).unwrap();
        copy(&from.join(folder), &dir.join("log").join(folder));
    }
}

#[test]
fn an_untouched_log_passes_and_says_what_that_does_not_show() {
    let dir = made(5);
    let report = verify(dir.path()).unwrap();
    // Five leaves, a settlement, the unused numbers, and the one number nobody filled.
    assert_eq!((report.size, report.checkpoint_size), (8, 8));
    assert_eq!((report.unaccounted, report.open_numbers), (1, 0));
    assert_eq!(report.root, report.checkpoint_root);
    assert_eq!(report.warnings, [NO_KEY, NO_WITNESS]);
    let known = verify_with(dir.path(), vkeys_of(dir.path()).unwrap()).unwrap();
    assert_eq!(known.warnings, [NO_WITNESS]);
}

#[test]
fn a_copied_log_passes_without_its_keys() {
    let dir = made(2);
    let elsewhere = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), &elsewhere.path().join("log"));
    assert_eq!(
        verify(elsewhere.path()).unwrap(),
        verify(dir.path()).unwrap()
    );
}

#[test]
fn every_changed_octet_of_every_file_is_noticed() {
    let dir = made(3);
    // Checkpoint, keys, state, one segment, and the partial files of each checkpoint.
    let files = files(dir.path());
    assert!(files.len() >= 6);
    let mut changes = 0;
    for path in &files {
        let kept = fs::read(path).unwrap();
        for i in 0..kept.len() {
            let mut changed = kept.clone();
            changed[i] ^= 1 << (i % 8);
            fs::write(path, &changed).unwrap();
            assert!(verify(dir.path()).is_err(), "{} octet {i}", path.display());
            changes += 1;
        }
        fs::write(path, &kept).unwrap();
    }
    println!(
        "{changes} changes in {} files: fsck notices all",
        files.len()
    );
    assert!(verify(dir.path()).is_ok());
}

#[test]
fn a_clock_that_was_set_back_is_mentioned() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = recorder(dir.path()).unwrap();
    // A minute out of order is the order of writers; a day is a clock.
    for (n, ms) in (0..).zip([0, 60_000, 0, 86_400_000, 10, 86_400_000]) {
        let mut leaf = leaf(n);
        leaf.time = leaf.time.plus_ms(ms);
        log.append(leaf).unwrap();
    }
    log.close().unwrap();
    let warnings = verify(dir.path()).unwrap().warnings;
    let mentioned = warnings.iter().find(|w| w.contains("clock")).unwrap();
    assert!(mentioned.contains("set back 1 times"), "{mentioned}");
}

#[test]
fn every_changed_octet_keeps_the_recorder_from_going_on() {
    let dir = made(1);
    for path in files(dir.path()) {
        if path.components().any(|c| c.as_os_str() == "tile") {
            continue;
        }
        let kept = fs::read(&path).unwrap();
        for i in (0..kept.len()).step_by(5) {
            let mut changed = kept.clone();
            changed[i] ^= 0x20;
            fs::write(&path, &changed).unwrap();
            assert!(
                recorder(dir.path()).is_err(),
                "{} octet {i}",
                path.display()
            );
        }
        fs::write(&path, &kept).unwrap();
    }
    assert!(recorder(dir.path()).is_ok());
}

#[test]
fn tiles_that_the_write_ahead_log_still_covers_are_derived_again() {
    let dir = made(600);
    for name in ["entries/000", "0/001", "1/000.p/2"] {
        let path = dir.path().join("log/tile").join(name);
        let kept = fs::read(&path).unwrap();
        for damaged in [&kept[..kept.len() - 1], b"", &[7; 40]] {
            fs::write(&path, damaged).unwrap();
            assert!(verify(dir.path()).is_err(), "{name}");
            let opened = recorder(dir.path()).unwrap();
            assert_eq!(opened.recovery().mended, 1, "{name}");
            opened.close().unwrap();
            assert!(verify(dir.path()).is_ok(), "{name}");
            assert_eq!(fs::read(&path).unwrap(), kept, "{name}");
        }
    }
    assert_eq!(recorder(dir.path()).unwrap().recovery().mended, 0);
}

#[test]
fn a_superseded_partial_file_that_is_wrong_is_noticed() {
    let dir = made(3);
    let log = dir.path().join("log");
    let superseded = log.join("tile/entries/000.p/1");
    fs::create_dir_all(superseded.parent().unwrap()).unwrap();
    let now = fs::read(log.join("tile/entries/000.p/6")).unwrap();
    let first = usize::from(u16::from_be_bytes([now[0], now[1]])) + 2;
    fs::write(&superseded, &now[..first]).unwrap();
    assert!(verify(dir.path()).is_ok());
    fs::write(&superseded, &now[..=first]).unwrap();
    assert!(verify(dir.path()).is_err());
    fs::remove_file(&superseded).unwrap();
    // What a larger tree would have, and what no tree has.
    for strange in [
        "tile/entries/000.p/7",
        "tile/0/001",
        "tile/0/000.txt",
        "tile/9/000",
    ] {
        let path = log.join(strange);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &now).unwrap();
        assert!(verify(dir.path()).is_err(), "{strange}");
        fs::remove_file(&path).unwrap();
    }
    drop(fs::remove_dir(log.join("tile/9")));
    assert!(verify(dir.path()).is_ok());
}

#[test]
fn a_copy_of_what_the_world_may_see_verifies_without_anything_else() {
    let dir = made(300);
    let copied = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    copy(&log.join("tile"), &copied.path().join("tile"));
    fs::copy(log.join("checkpoint"), copied.path().join("checkpoint")).unwrap();
    assert!(
        verify(copied.path()).is_err(),
        "no key is given or lies there"
    );
    let keys = vkeys_of(dir.path()).unwrap();
    assert_eq!(keys.len(), 2);
    let report = verify_with(copied.path(), keys.clone()).unwrap();
    assert_eq!((report.size, report.fsck), (303, false));
    let whole = verify(dir.path()).unwrap();
    assert_eq!(
        (whole.root, whole.unaccounted),
        (report.root, report.unaccounted)
    );
    assert!(whole.fsck);
    for name in [
        "tile/entries/000",
        "tile/entries/001.p/47",
        "tile/0/000",
        "tile/1/000.p/1",
    ] {
        let path = copied.path().join(name);
        let kept = fs::read(&path).unwrap();
        for i in (0..kept.len()).step_by(97) {
            let mut changed = kept.clone();
            changed[i] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(
                verify_with(copied.path(), keys.clone()).is_err(),
                "{name} octet {i}"
            );
        }
        fs::write(&path, &kept).unwrap();
    }
}

#[test]
fn a_checkpoint_kept_elsewhere_shows_a_rollback_and_a_fork() {
    let dir = made(2);
    let old = tempfile::tempdir().unwrap();
    copy(dir.path(), old.path());
    let early = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
    let mut more = recorder(dir.path()).unwrap();
    more.append(leaf(7)).unwrap();
    more.close().unwrap();
    let late = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
    let since = |dir: &Path, since: &str| {
        let demands = Demands {
            vkeys: Vec::new(),
            since: Some(since.to_owned()),
        };
        verify_dir(dir, &demands)
    };
    let report = since(dir.path(), &early).unwrap();
    assert_eq!((report.since, report.warnings.len()), (Some(5), 1));
    // The old copy passes by itself: only the later checkpoint shows what it is.
    assert!(verify(old.path()).is_ok());
    let error = since(old.path(), &late).unwrap_err();
    assert_eq!(error.code().0, "record/fork-risk");
    // Another history under the same keys, at least as long.
    let mut fork = recorder(old.path()).unwrap();
    for n in 50..60 {
        fork.append(leaf(n)).unwrap();
    }
    fork.close().unwrap();
    assert!(verify(old.path()).is_ok());
    assert!(
        since(old.path(), &early).is_ok(),
        "it extends what was before the fork"
    );
    let error = since(old.path(), &late).unwrap_err();
    assert_eq!(error.code().0, "record/fork-risk");
}

#[test]
fn every_cut_and_removed_file_is_noticed() {
    let dir = made(2);
    for path in files(dir.path()) {
        let kept = fs::read(&path).unwrap();
        for length in 0..kept.len() {
            fs::write(&path, &kept[..length]).unwrap();
            assert!(
                verify(dir.path()).is_err(),
                "{} at {length}",
                path.display()
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(verify(dir.path()).is_err(), "{} removed", path.display());
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
    replace_history(dir.path(), old.path());
    assert!(verify(dir.path()).is_err());
    assert_eq!(
        recorder(dir.path()).err().unwrap().code().0,
        "record/fork-risk"
    );
    // With the high-water mark and the checkpoint rolled back too, nothing inside shows it: this is
    // the attack that only an outside witness notices, and why every report warns.
    for name in ["state", "checkpoint"] {
        fs::copy(old.path().join(name), dir.path().join("log").join(name)).unwrap();
    }
    assert_eq!(verify(dir.path()).unwrap().warnings, [NO_KEY, NO_WITNESS]);
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
    assert!(verify(fork.path()).is_ok());
    replace_history(dir.path(), &fork.path().join("log"));
    assert!(verify(dir.path()).is_err());
    assert_eq!(
        recorder(dir.path()).err().unwrap().code().0,
        "record/fork-risk"
    );
}

#[test]
fn a_log_under_another_key_is_refused() {
    let dir = made(1);
    let other = made(1);
    let stranger = vkeys_of(other.path()).unwrap();
    let own = vkeys_of(dir.path()).unwrap();
    assert!(verify_with(dir.path(), own.clone()).is_ok());
    assert!(verify_with(dir.path(), stranger.clone()).is_err());
    assert!(
        verify_with(dir.path(), [own, stranger].concat()).is_err(),
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
    let warnings = verify(dir.path()).unwrap().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("not part of the log")),
        "{warnings:?}"
    );
}

#[test]
fn a_proof_is_checked_offline_and_every_change_of_it_is_noticed() {
    let dir = made(6);
    let keys = vkeys_of(dir.path()).unwrap();
    let mut recorder = recorder(dir.path()).unwrap();
    let text = recorder.prove(4).unwrap().to_string();
    let proof: proof::Proof = text.parse().unwrap();
    assert_eq!(proof.to_string(), text);
    let bytes = leaf(4).canonical().unwrap();
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
fn a_receipt_is_checked_offline_and_every_change_of_it_is_noticed() {
    let dir = made(1);
    let keys = vkeys_of(dir.path()).unwrap();
    let mut recorder = recorder(dir.path()).unwrap();
    let group = (0..5).map(|n| Operation::Append(leaf(n))).collect();
    let mut done = recorder.commit(group).unwrap();
    let Ok(Done::Appended(appended)) = done.remove(3) else {
        panic!("not appended")
    };
    let receipt = appended.receipt();
    let text = receipt.promise;
    let promise: ReceiptFile = text.parse().unwrap();
    assert_eq!(promise.to_string(), text);
    let bytes = leaf(3).canonical().unwrap();
    let proved = receipt::verify(&promise, &bytes, &keys).unwrap();
    assert_eq!(proved.index, receipt.index);
    assert!(receipt::verify(&promise, &leaf(2).canonical().unwrap(), &keys).is_err());
    assert!(receipt::verify(&promise, &bytes, &[]).is_err());
    let other = vkeys_of(made(0).path()).unwrap();
    assert!(receipt::verify(&promise, &bytes, &other).is_err());
    // A receipt is no proof, and a proof no receipt.
    assert!(text.parse::<proof::Proof>().is_err());
    let proof = recorder.prove(3).unwrap().to_string();
    assert!(proof.parse::<ReceiptFile>().is_err());
    for i in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[i] ^= 1;
        let accepted = String::from_utf8(changed)
            .ok()
            .and_then(|t| t.parse::<ReceiptFile>().ok())
            .is_some_and(|p| receipt::verify(&p, &bytes, &keys).is_ok());
        assert!(!accepted, "octet {i}");
    }
}

#[test]
fn a_new_leaf_is_proved_at_once_under_a_new_checkpoint() {
    let dir = made(1);
    let mut recorder = recorder(dir.path()).unwrap();
    let before = recorder.state().checkpoint_size;
    let appended = recorder.append(leaf(77)).unwrap();
    let proof = recorder.prove(appended.index()).unwrap();
    assert!(recorder.state().checkpoint_size > before);
    let keys = vkeys_of(dir.path()).unwrap();
    assert!(proof::verify(&proof, &leaf(77).canonical().unwrap(), &keys).is_ok());
    let end = recorder.state().size;
    assert!(matches!(recorder.prove(end), Err(RecordError::NoLeaf(_))));
}

#[test]
fn a_log_of_the_unreleased_format_is_refused_by_name_and_left_as_it_is() {
    for name in ["hashes.rfh", "wal-00000000.rfw"] {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("log").join(name);
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(&old, b"before").unwrap();
        let error = recorder(dir.path()).err().unwrap();
        assert_eq!(error.code().0, "record/old-format");
        assert_eq!(fs::read(&old).unwrap(), b"before");
        fs::remove_file(&old).unwrap();
        assert!(recorder(dir.path()).is_ok());
    }
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
