//! Forgetting a person through the binary: the payload is gone, and the log still proves the rest.

use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::Clock as _;
use ringfence_crypto::random::SystemEntropy;
use ringfence_e2e::Host;
use ringfence_record::Recorder;
use ringfence_sys::clock::SystemClock;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

const ALICE: &str = "alice@example.org";

/// A host whose log begins with a payload for one person, and the payload's file. Nothing in the
/// service keeps payloads yet, so the log is begun with the recorder's own library.
fn host_that_keeps() -> (Host, PathBuf) {
    let host = Host::prepare("");
    let record = host.state().join("record");
    let mut recorder =
        Recorder::open(&record, Arc::new(SystemClock), Arc::new(SystemEntropy)).unwrap();
    let kept = recorder.keep(ALICE, b"what she wrote").unwrap();
    let (now, project) = (SystemClock.now(), ProjectId::host());
    let mut leaf = Leaf::new(now, project, "service", LeafAction::CaseChange, "case:1")
        .with("subject", kept.subject.to_string());
    leaf.blob = Some(kept.digest);
    recorder.append(leaf).unwrap();
    recorder.close().unwrap();
    ringfence_e2e::open_to_all(&host.state());
    let owned = Command::new("chown")
        .args(["-R", "65101:65101"])
        .arg(&record)
        .status();
    assert!(owned.unwrap().success());
    let file = record.join("blob").join(kept.digest.hex());
    (host.started(), file)
}

#[test]
fn an_erased_person_is_gone_and_fsck_stays_green_while_a_lost_payload_is_a_loss() {
    let (host, file) = host_that_keeps();
    let payloads = || host.json(&["log", "fsck"])["payloads"].clone();
    assert_eq!(payloads()["sound"], 1);

    // The file removed, and nothing said: that is what fsck must notice.
    let aside = host.dir.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    let said = host.run(&["log", "fsck"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("record/payloads-lost"), "{said:?}");
    fs::rename(&aside, &file).unwrap();

    // Nobody is erased by a slip.
    let unasked = host
        .command(&["log", "erase", ALICE])
        .stdin(Stdio::null())
        .output();
    assert_eq!(unasked.unwrap().status.code(), Some(2));
    assert!(file.exists());

    let erased = host.json(&["log", "erase", ALICE, "--yes"]);
    assert_eq!(erased["payloads_left"], 0, "{erased}");
    assert!(!file.exists());
    let seen = payloads();
    assert_eq!((&seen["sound"], &seen["erased"]), (&0.into(), &1.into()));
    let leaves = host.leaves();
    let leaf = leaves
        .iter()
        .find(|l| l["action"] == "subject.erase")
        .unwrap();
    assert_eq!(leaf["detail"]["subject"], erased["pseudonym"], "{leaf}");
    assert!(leaves.iter().all(|l| !l.to_string().contains("alice")));

    // The same while no service runs: she is unknown now.
    host.run(&["down"]).ok();
    let again = host.run(&["log", "erase", ALICE, "--yes"]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("record/no-subject"), "{again:?}");
    host.run(&["log", "fsck"]).ok();
}
