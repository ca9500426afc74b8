//! The verifier in plain Python, which shares no code with this one, agrees: on logs that stand, and
//! on each change of each kind of file.

use crate::support::{clock, entropy, leaf};
use ringfence_core::leaf::Leaf;
use ringfence_crypto::note::NoteKey;
use ringfence_record::Recorder;
use ringfence_record::verify::{Demands, export_dir, verify_dir, vkeys_of};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the other verifier says: 0 it holds, 1 refused, 2 it could not look.
fn python(arguments: &[&str], vkeys: &[NoteKey]) -> i32 {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/verify_log.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(program).args(arguments);
    for vkey in vkeys {
        command.args(["--vkey", &vkey.to_string()]);
    }
    let output = command.output().unwrap();
    output.status.code().unwrap()
}

fn recorder(dir: &Path) -> Recorder {
    Recorder::open(dir, clock(), entropy()).unwrap()
}

/// What the world may see of a log with a full tile, checkpoints in between, and a partial end.
fn shown(record: &Path) -> tempfile::TempDir {
    let mut log = recorder(record);
    for n in 0..300 {
        log.append(leaf(n)).unwrap();
        if n % 90 == 0 {
            log.checkpoint().unwrap();
        }
    }
    log.close().unwrap();
    let shown = tempfile::tempdir().unwrap();
    export_dir(record, shown.path()).unwrap();
    shown
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if !path.ends_with("vkey") {
            found.push(path);
        }
    }
}

#[test]
fn both_verifiers_agree_on_a_log_and_on_every_kind_of_damage() {
    let record = tempfile::tempdir().unwrap();
    let shown = shown(record.path());
    let vkeys = vkeys_of(record.path()).unwrap();
    let demands = Demands {
        vkeys: vkeys.clone(),
        since: None,
    };
    let folder = shown.path().to_str().unwrap();
    let both = |what: &str, holds: bool| {
        assert_eq!(verify_dir(shown.path(), &demands).is_ok(), holds, "{what}");
        assert_eq!(python(&[folder], &vkeys), i32::from(!holds), "{what}");
    };
    both("untouched", true);
    let mut all = Vec::new();
    files(shown.path(), &mut all);
    all.sort();
    let mut changes = 0;
    for path in &all {
        let kept = fs::read(path).unwrap();
        let middle = kept.len() / 2;
        let mut damaged: Vec<Vec<u8>> = [0, 1, middle, kept.len() - 1]
            .into_iter()
            .map(|at| {
                let mut changed = kept.clone();
                changed[at] ^= 1 << (at % 8);
                changed
            })
            .collect();
        damaged.push(kept[..kept.len() - 1].to_vec());
        damaged.push([kept.as_slice(), b"\n"].concat());
        for damaged in damaged {
            fs::write(path, damaged).unwrap();
            both(&path.display().to_string(), false);
            changes += 1;
        }
        fs::remove_file(path).unwrap();
        both(&format!("{} removed", path.display()), false);
        fs::write(path, &kept).unwrap();
        changes += 1;
    }
    let beyond = shown.path().join("tile/entries/002");
    fs::write(&beyond, b"").unwrap();
    both("a file beyond the checkpoint", false);
    fs::remove_file(beyond).unwrap();
    both("as it was", true);
    println!(
        "{} files, {changes} changes: both verifiers notice all",
        all.len()
    );
}

#[test]
fn both_verifiers_agree_on_a_proof_and_on_a_checkpoint_kept_elsewhere() {
    let record = tempfile::tempdir().unwrap();
    let shown = shown(record.path());
    let vkeys = vkeys_of(record.path()).unwrap();
    let text = |name: &str| shown.path().join(name).to_str().unwrap().to_owned();
    fs::copy(text("checkpoint"), record.path().join("early")).unwrap();
    let early = record.path().join("early").to_str().unwrap().to_owned();
    let mut log = recorder(record.path());
    let proof = log.prove(7).unwrap().to_string();
    let leaves: Vec<Leaf> = log
        .read(7, 2)
        .unwrap()
        .into_iter()
        .map(|(_, l)| l)
        .collect();
    log.close().unwrap();
    let aside = tempfile::tempdir().unwrap();
    let write = |name: &str, octets: &[u8]| {
        let path = aside.path().join(name);
        fs::write(&path, octets).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let proof_file = write("proof", proof.as_bytes());
    for (leaf, code) in leaves.iter().zip([0, 1]) {
        let file = write("leaf", &leaf.canonical().unwrap());
        let arguments = ["--proof", &proof_file, "--leaf", &file];
        assert_eq!(python(&arguments, &vkeys), code);
    }
    // The log went on: it extends what was noted, and what was noted does not extend it.
    let later = tempfile::tempdir().unwrap();
    let mut log = recorder(record.path());
    log.append(leaf(1000)).unwrap();
    log.close().unwrap();
    export_dir(record.path(), later.path()).unwrap();
    let folder = later.path().to_str().unwrap();
    assert_eq!(python(&[folder, "--since", &early], &vkeys), 0);
    let late = later.path().join("checkpoint").to_str().unwrap().to_owned();
    assert_eq!(python(&[&text(""), "--since", &late], &vkeys), 1);
}
