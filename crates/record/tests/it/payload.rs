//! Sealed payloads through the recorder, and `fsck` over log and payloads together.

use crate::support::{clock, entropy};
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Detail, Leaf, LeafAction};
use ringfence_record::blob::{Blobs, Kept};
use ringfence_record::log::disk::{Disk, RealDisk};
use ringfence_record::role::{RecorderOptions, serve};
use ringfence_record::verify::fsck_dir;
use ringfence_record::{RecordError, Recorder, RecorderClient};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::oneshot;

const ALICE: &str = "alice@example.org";

fn open(directory: &Path) -> Recorder {
    Recorder::open(directory, clock(), entropy()).unwrap()
}

/// The leaf that a payload belongs to.
fn kept_leaf(kept: &Kept) -> Leaf {
    let (now, project) = (clock().now(), ProjectId::host());
    let mut leaf = Leaf::new(now, project, "service", LeafAction::CaseChange, "case:1")
        .with("subject", kept.subject.to_string());
    leaf.blob = Some(kept.digest);
    leaf
}

fn keep(recorder: &mut Recorder, subject: &str) -> Kept {
    let kept = recorder.keep(subject, b"evidence").unwrap();
    recorder.append(kept_leaf(&kept)).unwrap();
    kept
}

fn erasures(recorder: &Recorder) -> Vec<Leaf> {
    let leaves = recorder.read(0, 100).unwrap();
    leaves
        .into_iter()
        .map(|(_, leaf)| leaf)
        .filter(|leaf| leaf.action == LeafAction::SubjectErase)
        .collect()
}

#[test]
fn payloads_go_through_the_socket_and_an_erased_one_comes_back_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let uid = fs::metadata(dir.path()).unwrap().uid();
    let options = RecorderOptions {
        socket_path: dir.path().join("recorder.sock"),
        dir: dir.path().join("record"),
        allowed_uids: vec![uid],
        clock: clock(),
        entropy: entropy(),
    };
    let (client, driver) = RecorderClient::connect(dir.path().join("recorder.sock"));
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let test = async move {
            client.ready().await.unwrap();
            let kept = client.keep(ALICE, b"evidence").await.unwrap();
            client.append(kept_leaf(&kept)).await.unwrap();
            let read = client.kept(kept.digest).await.unwrap();
            assert_eq!(read.danger_expose(), b"evidence");
            let project = ProjectId::host();
            let erasure = client
                .erase(ALICE, project.clone(), "user:operator")
                .await
                .unwrap();
            assert_eq!((erasure.subject, erasure.left), (kept.subject, 0));
            let told = |error| match error {
                RecordError::Remote(explained) => explained.code,
                other => panic!("{other}"),
            };
            let gone = client.kept(kept.digest).await.unwrap_err();
            assert_eq!(told(gone), "record/no-blob");
            let again = client.erase(ALICE, project, "user:operator").await;
            assert_eq!(told(again.unwrap_err()), "record/no-subject");
            client.close();
        };
        let served = serve(options, async { drop(stopped.await) });
        let both = async {
            tokio::join!(test, driver);
            stop.send(()).unwrap();
        };
        let (served, ()) = tokio::join!(served, both);
        served.unwrap();
    });
    let recorder = open(&dir.path().join("record"));
    let erased = erasures(&recorder);
    assert_eq!(erased.len(), 1);
    assert_eq!(erased[0].actor, "user:operator");
    let text = String::from_utf8(erased[0].canonical().unwrap()).unwrap();
    assert!(!text.contains("alice"), "{text}");
}

#[test]
fn fsck_counts_payloads_and_tells_one_that_was_erased_from_one_that_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = open(dir.path());
    let alice = keep(&mut recorder, ALICE);
    let bob = keep(&mut recorder, "bob");
    recorder.checkpoint().unwrap();
    let payloads = || fsck_dir(dir.path()).unwrap().payloads.unwrap();
    assert_eq!((payloads().sound, payloads().erased), (2, 0));

    // The same file goes away without a word, and in order.
    let file = dir.path().join("blob").join(alice.digest.hex());
    let copy = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let lost = fsck_dir(dir.path()).unwrap_err();
    assert!(
        matches!(&lost, RecordError::Payloads(a) if a.missing == 1 && a.named == [alice.digest]),
        "{lost}"
    );
    fs::write(&file, copy).unwrap();
    recorder
        .erase(ALICE, &ProjectId::host(), "user:operator")
        .unwrap();
    assert!(!file.exists());
    // Before and after a checkpoint covers the leaf that says so.
    assert_eq!((payloads().sound, payloads().erased), (1, 1));
    recorder.close().unwrap();
    assert_eq!((payloads().sound, payloads().erased), (1, 1));

    let file = dir.path().join("blob").join(bob.digest.hex());
    let mut damaged = fs::read(&file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&file, damaged).unwrap();
    let damaged = fsck_dir(dir.path()).unwrap_err();
    assert!(
        matches!(&damaged, RecordError::Payloads(a) if a.damaged == 1),
        "{damaged}"
    );
}

#[test]
fn an_erasure_that_a_crash_interrupted_ends_when_the_recorder_opens() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = open(dir.path());
    let kept = keep(&mut recorder, ALICE);
    recorder.close().unwrap();
    let disk =
        |name: &str| -> Arc<dyn Disk> { Arc::new(RealDisk::writable(dir.path().join(name))) };
    let mut blobs = Blobs::open(disk("blob"), &disk("subjects"), entropy()).unwrap();
    // The crash comes before the leaf.
    let crashed = blobs.erase(ALICE, &mut |_| Err(RecordError::Poisoned));
    assert!(crashed.is_err() && blobs.pending().unwrap().is_some());
    assert!(matches!(
        fsck_dir(dir.path()),
        Err(RecordError::Payloads(_))
    ));
    let recorder = open(dir.path());
    let erased = erasures(&recorder);
    assert_eq!(erased.len(), 1);
    let subject = Detail::Text(kept.subject.to_string());
    assert_eq!(erased[0].detail.get("subject"), Some(&subject));
    recorder.close().unwrap();
    assert_eq!(fsck_dir(dir.path()).unwrap().payloads.unwrap().erased, 1);
    assert!(erasures(&open(dir.path())).len() == 1, "it ended once");
}
