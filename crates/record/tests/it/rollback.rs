//! A log that is taken back, as an administrator would: its folder restored from an older copy.

use crate::support::{clock, entropy, leaf};
use ringfence_core::error::Explain as _;
use ringfence_crypto::note::{Note, NoteKey};
use ringfence_record::verify::{Demands, verify_dir, vkeys_of};
use ringfence_record::witness::{AddCheckpoint, Judgement, Policy, Witness, judge};
use ringfence_record::{RecordError, Recorder};
use std::fs;
use std::path::Path;

fn open(folder: &Path) -> Recorder {
    Recorder::open(folder, clock(), entropy()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn grow(recorder: &mut Recorder, from: u64, to: u64) {
    for n in from..to {
        recorder.append(leaf(n)).unwrap();
    }
}

/// Asks until the witness has said yes or no, as the server does. The checkpoint that it cosigned,
/// and the lines.
fn contact(
    recorder: &mut Recorder,
    witness: &mut Witness,
) -> Result<(String, String), RecordError> {
    let key = witness.vkeys().unwrap().remove(0);
    let mut old = 0;
    loop {
        let (note, mut proofs) = recorder.extend(&[old]).unwrap();
        let request = AddCheckpoint {
            old,
            proof: proofs.remove(0),
            note: Note::parse(&note).unwrap(),
        };
        let (status, body) = match witness.add_checkpoint(request.to_string().as_bytes()) {
            Ok(lines) => (
                200,
                lines
                    .iter()
                    .map(|l| format!("{l}\n"))
                    .collect::<Vec<_>>()
                    .concat(),
            ),
            Err(refusal) => (refusal.status(), refusal.to_string()),
        };
        match judge(&request, &key, status, &body)? {
            Judgement::Cosigned(_) => return Ok((request.note.text().to_owned(), body)),
            Judgement::AskFrom(size) => old = size,
        }
    }
}

fn witness_of(folder: &Path, log: &Path) -> Witness {
    Witness::open(folder, vkeys_of(log).unwrap(), clock(), &*entropy()).unwrap()
}

#[test]
fn an_older_copy_of_the_log_opens_alone_and_is_found_out_by_its_witness() {
    let scratch = tempfile::tempdir().unwrap();
    let [record, backup, elsewhere] =
        ["record", "backup", "elsewhere"].map(|n| scratch.path().join(n));
    let mut recorder = open(&record);
    grow(&mut recorder, 0, 5);
    drop(recorder);
    copy(&record, &backup);
    let mut recorder = open(&record);
    grow(&mut recorder, 5, 9);
    let mut witness = witness_of(&elsewhere, &record);
    contact(&mut recorder, &mut witness).unwrap();
    drop(recorder);
    fs::remove_dir_all(&record).unwrap();
    copy(&backup, &record);
    // Without the witness nothing tells: the log opens, verifies, and takes another sixth leaf.
    let mut recorder = open(&record);
    assert_eq!(recorder.state().size, 5);
    let demands = Demands {
        vkeys: vkeys_of(&record).unwrap(),
        since: None,
    };
    assert!(verify_dir(&record, &demands).is_ok());
    let error = contact(&mut recorder, &mut witness).unwrap_err();
    assert_eq!(error.code().0, "record/rolled-back");
    // Nor does it help to write on until the log is longer than what was seen.
    grow(&mut recorder, 100, 104);
    let error = contact(&mut recorder, &mut witness).unwrap_err();
    assert_eq!(error.code().0, "record/forked");
    grow(&mut recorder, 104, 120);
    let error = contact(&mut recorder, &mut witness).unwrap_err();
    assert_eq!(error.code().0, "record/forked");
    assert_eq!(witness.size_of(&recorder.state().origin), 9);
}

#[test]
fn cosignatures_are_published_with_the_checkpoint_that_they_are_of() {
    let scratch = tempfile::tempdir().unwrap();
    let [record, elsewhere] = ["record", "elsewhere"].map(|n| scratch.path().join(n));
    let mut recorder = open(&record);
    grow(&mut recorder, 0, 3);
    let mut witness = witness_of(&elsewhere, &record);
    let keys = witness.vkeys().unwrap();
    let vkeys: Vec<String> = keys.iter().map(NoteKey::to_string).collect();
    let (text, lines) = contact(&mut recorder, &mut witness).unwrap();
    // Lines that verify nothing are refused, and those of strangers are left out.
    let changed = |line: &str| {
        let mut octets = line.as_bytes().to_vec();
        let at = octets.len() - 20;
        octets[at] = if octets[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(octets).unwrap() + "\n"
    };
    let other: String = lines.lines().map(changed).collect();
    assert!(recorder.cosign(&text, &other, &vkeys).is_err());
    assert!(!recorder.cosign(&text, &lines, &[]).unwrap());
    assert!(recorder.cosign(&text, &lines, &vkeys).unwrap());
    assert!(!recorder.cosign(&text, &lines, &vkeys).unwrap());
    let published = fs::read_to_string(record.join("log/checkpoint")).unwrap();
    assert_eq!(published, recorder.checkpoint().unwrap());
    let policy = Policy::threshold(keys, 2).unwrap();
    assert_eq!(
        policy
            .cosigned(&Note::parse(&published).unwrap())
            .unwrap()
            .len(),
        2
    );
    // Proofs under this checkpoint bear them, and so does the log when it is opened again.
    assert_eq!(recorder.prove(1).unwrap().checkpoint, published);
    drop(recorder);
    let mut recorder = open(&record);
    assert_eq!(recorder.checkpoint().unwrap(), published);
    assert!(verify_dir(&record, &Demands::default()).is_ok());
    // What came after it is another checkpoint, and waits for its own.
    grow(&mut recorder, 3, 4);
    recorder.checkpoint().unwrap();
    assert!(!recorder.cosign(&text, &lines, &vkeys).unwrap());
}
