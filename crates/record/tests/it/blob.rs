//! Sealed payloads: kept, read, forgotten, and forgotten in spite of crashes.

use crate::sim::{SimDisk, Stop};
use crate::support::{Dice, StillClock, clock, entropy};
use ringfence_core::digest::{Digest, hex};
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::Clock as _;
use ringfence_crypto::aead::PLAINTEXT_BYTES_MAX;
use ringfence_record::RecordError;
use ringfence_record::blob::{Audit, Blobs, Erasure, Kept, audit, leaf};
use ringfence_record::log::disk::{Disk, RealDisk};
use std::sync::Arc;

fn open(disk: &SimDisk) -> Result<Blobs, RecordError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Blobs::open(Arc::clone(&disk), &disk, entropy())
}

fn kept_leaf(kept: &Kept) -> Leaf {
    let time = clock().now();
    let object = "request:1";
    let mut leaf = Leaf::new(
        time,
        ProjectId::host(),
        "service",
        LeafAction::RequestSettle,
        object,
    )
    .with("subject", kept.subject.to_string());
    leaf.blob = Some(kept.digest);
    leaf
}

fn erased_leaf(erasure: &Erasure) -> Leaf {
    let who = (StillClock.now(), ProjectId::host(), "service");
    leaf(erasure, LeafAction::CaseChange, who)
}

#[test]
fn a_payload_is_read_until_its_subject_is_erased_and_then_by_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = |name: &str| -> Arc<dyn Disk> {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Arc::new(RealDisk::writable(path))
    };
    let mut blobs = Blobs::open(disk("blob"), &disk("keys"), entropy()).unwrap();
    let alice = blobs.keep("alice@example.org", b"hers").unwrap();
    let again = blobs.keep("alice@example.org", b"hers").unwrap();
    let bob = blobs.keep("bob", b"his").unwrap();
    assert_eq!(alice.subject, again.subject);
    assert_ne!(
        alice.digest, again.digest,
        "the same content never seals alike"
    );
    assert_eq!(blobs.read(&alice.digest).unwrap().danger_expose(), b"hers");
    let mut log: Vec<Leaf> = [alice, again, bob].iter().map(kept_leaf).collect();
    for line in &log {
        let text = String::from_utf8(line.canonical().unwrap()).unwrap();
        assert!(!text.contains("alice") && !text.contains("bob"), "{text}");
    }
    let stolen = std::fs::read(scratch.path().join("blob").join(alice.digest.hex())).unwrap();

    // Without a leaf that says so, blobs that are gone are a loss.
    std::fs::remove_file(scratch.path().join("blob").join(again.digest.hex())).unwrap();
    let files = disk("blob");
    assert!(!audit(&*files, log.clone()).unwrap().is_sound());

    let erasure = blobs
        .erase("alice@example.org", &mut |erasure| {
            log.push(erased_leaf(erasure));
            Ok(())
        })
        .unwrap();
    assert_eq!((erasure.subject, erasure.left), (alice.subject, 0));
    let seen = audit(&*files, log.clone()).unwrap();
    let expected = Audit {
        sound: 1,
        erased: 2,
        ..Audit::default()
    };
    assert_eq!(seen, expected);
    assert!(matches!(
        blobs.read(&alice.digest),
        Err(RecordError::NoBlob(_))
    ));
    assert!(matches!(
        blobs.erase("alice@example.org", &mut |_| Ok(())),
        Err(RecordError::NoSubject)
    ));
    // A copy of the ciphertext that was kept elsewhere opens no more.
    std::fs::write(scratch.path().join("blob").join(alice.digest.hex()), stolen).unwrap();
    assert!(matches!(
        blobs.read(&alice.digest),
        Err(RecordError::Erased)
    ));
    assert_eq!(audit(&*files, log).unwrap().left, 1);
    assert_eq!(blobs.read(&bob.digest).unwrap().danger_expose(), b"his");
}

#[test]
fn a_payload_is_taken_at_the_limit_and_refused_one_octet_longer() {
    let mut blobs = open(&SimDisk::new(1)).unwrap();
    let kept = blobs.keep("s", &vec![7; PLAINTEXT_BYTES_MAX]).unwrap();
    assert_eq!(
        blobs.read(&kept.digest).unwrap().danger_expose().len(),
        PLAINTEXT_BYTES_MAX
    );
    assert!(blobs.keep("s", &vec![7; PLAINTEXT_BYTES_MAX + 1]).is_err());
}

#[test]
fn every_damaged_octet_of_a_blob_is_found() {
    let disk = SimDisk::new(1);
    let mut blobs = open(&disk).unwrap();
    let kept = blobs.keep("s", b"payload").unwrap();
    let name = kept.digest.hex();
    for offset in 0..disk.content(&name).unwrap().len() {
        disk.damage(&name, offset);
        assert!(matches!(
            blobs.read(&kept.digest),
            Err(RecordError::Corrupt { .. })
        ));
        let seen = audit(&disk, [kept_leaf(&kept)]).unwrap();
        assert_eq!((seen.damaged, seen.named), (1, vec![kept.digest]));
        disk.damage(&name, offset);
    }
    assert!(blobs.read(&kept.digest).is_ok());
}

#[test]
fn a_blob_moved_to_another_subject_does_not_open() {
    let disk = SimDisk::new(1);
    let mut blobs = open(&disk).unwrap();
    let alice = blobs.keep("alice", b"hers").unwrap();
    let bob = blobs.keep("bob", b"his").unwrap();
    let mut file = disk.content(&alice.digest.hex()).unwrap();
    file[4..36].copy_from_slice(&bob.subject.0);
    let forged: Digest = ringfence_crypto::hash::digest_of(&file);
    let target = disk.open(&forged.hex(), true).unwrap();
    target.write_at(&file, 0).unwrap();
    assert!(matches!(blobs.read(&forged), Err(RecordError::Crypto(_))));
}

/// What the log holds after a run: leaves are durable once `append` returned.
#[derive(Default)]
struct Ran {
    kept: Vec<(Kept, &'static str)>,
    leaves: Vec<Leaf>,
    erased: bool,
}

fn run(disk: &SimDisk, ran: &mut Ran) -> Result<(), RecordError> {
    let mut blobs = open(disk)?;
    for (subject, content) in [("alice", "one"), ("bob", "two"), ("alice", "three")] {
        let kept = blobs.keep(subject, content.as_bytes())?;
        ran.leaves.push(kept_leaf(&kept));
        ran.kept.push((kept, subject));
    }
    let leaves = &mut ran.leaves;
    blobs.erase("alice", &mut |e| {
        leaves.push(erased_leaf(e));
        Ok(())
    })?;
    ran.erased = true;
    Ok(())
}

/// Every file's content as text, to look for what must not be there.
fn everything(disk: &SimDisk) -> String {
    let names = disk.names("").unwrap();
    let all = names.iter().filter_map(|name| disk.content(name));
    all.map(|c| String::from_utf8_lossy(&c).into_owned())
        .collect::<Vec<_>>()
        .concat()
}

/// The secrets that stand in tables of keys, of whatever generation.
fn secrets(disk: &SimDisk) -> Vec<String> {
    let text = everything(disk);
    let octets = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let lines = text.lines().filter_map(|l| l.split_once(' '));
    lines
        .filter(|(code, secret)| octets(code) && octets(secret))
        .map(|(_, secret)| secret.to_owned())
        .collect()
}

fn crash_at(step: u64, seed: u64, stop: Stop) -> bool {
    let disk = SimDisk::new(seed);
    disk.stop_after(step);
    let mut ran = Ran::default();
    let whole = run(&disk, &mut ran).is_ok();
    let place = format!("step {step}, seed {seed}");
    // The second start may be cut as well; the third is not.
    let disk = disk.restart(stop);
    disk.stop_after(Dice(seed).below(12));
    let leaves = &mut ran.leaves;
    let mut append = |e: &Erasure| {
        leaves.push(erased_leaf(e));
        Ok(())
    };
    let second = open(&disk).and_then(|mut blobs| blobs.resume(&mut append));
    let disk = disk.restart(stop);
    let mut blobs = open(&disk).unwrap_or_else(|e| panic!("{place}: {e}"));
    blobs
        .resume(&mut append)
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    drop(second);

    let erased: Vec<&Leaf> = ran
        .leaves
        .iter()
        .filter(|l| l.detail.contains_key("erasure"))
        .collect();
    assert!(
        erased.windows(2).all(|w| w[0] == w[1]),
        "{place}: one erasure, one number"
    );
    assert!(
        !ran.erased || !erased.is_empty(),
        "{place}: erased without a leaf"
    );
    for (kept, subject) in &ran.kept {
        let opened = blobs.read(&kept.digest);
        if *subject == "bob" || erased.is_empty() {
            assert!(opened.is_ok(), "{place}: {subject} lost {opened:?}");
        } else {
            assert!(opened.is_err(), "{place}: {subject} was not forgotten");
        }
    }
    let seen = audit(&disk, ran.leaves.clone()).unwrap();
    assert!(seen.is_sound() && seen.left == 0, "{place}: {seen:?}");
    if !erased.is_empty() {
        // Bob's secret and nobody else's.
        let names = disk.names("").unwrap();
        assert_eq!(secrets(&disk).len(), 1, "{place}: {names:?}");
    }
    // What was begun anew works.
    blobs
        .keep("carol", b"four")
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    whole
}

#[test]
fn a_crash_at_any_step_loses_nothing_kept_and_forgets_what_was_to_be_forgotten() {
    for stop in [Stop::Kill, Stop::PowerCut] {
        let mut step = 0;
        loop {
            let whole = (0..8).all(|seed| crash_at(step, seed * 977 + step, stop));
            if whole {
                break;
            }
            step += 1;
        }
        assert!(step > 40, "only {step} steps were tried");
    }
}

#[test]
fn an_erasure_whose_leaf_cannot_be_written_stays_pending_and_ends_later() {
    let disk = SimDisk::new(1);
    let mut blobs = open(&disk).unwrap();
    let kept = blobs.keep("alice", b"hers").unwrap();
    let before = secrets(&disk);
    assert_eq!(before.len(), 1, "control: the secret is there to be found");
    let refused = blobs.erase("alice", &mut |_| Err(RecordError::DiskFull));
    assert!(matches!(refused, Err(RecordError::DiskFull)));
    assert!(
        !everything(&disk).contains(&before[0]),
        "the key went first"
    );
    assert!(matches!(
        blobs.keep("bob", b"x"),
        Err(RecordError::ErasurePending)
    ));
    let mut blobs = open(&disk).unwrap();
    let (subject, id) = blobs.pending().unwrap().unwrap();
    assert_eq!(subject, kept.subject);
    let ended = blobs.resume(&mut |_| Ok(())).unwrap().unwrap();
    assert_eq!(hex(&ended.id), hex(&id));
    assert_eq!(blobs.resume(&mut |_| Ok(())).unwrap(), None);
    blobs.keep("bob", b"x").unwrap();
}

#[test]
fn a_failing_disk_leaves_no_older_table_behind() {
    for fails_at in 0..40 {
        let disk = SimDisk::new(fails_at);
        let mut blobs = open(&disk).unwrap();
        blobs.keep("alice", b"hers").unwrap();
        let secret = secrets(&disk).remove(0);
        disk.stop_after(fails_at);
        let mut leaves = 0;
        let mut append = |_: &Erasure| {
            leaves += 1;
            Ok(())
        };
        let first = blobs.erase("alice", &mut append);
        disk.stop_after(u64::MAX);
        // The same process goes on once the disk works again.
        blobs.resume(&mut append).unwrap();
        let began = first.is_ok() || leaves > 0;
        let found = everything(&disk).contains(&secret);
        assert_eq!(found, !began, "failure at step {fails_at}");
    }
}
