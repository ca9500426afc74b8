//! Export to a bucket through the binary, against the strict double over loopback.

use ringfence_core::ports::Clock as _;
use ringfence_e2e::{Host, process, wait};
use ringfence_sys::clock::SystemClock;
use ringfence_testkit::clock::SetClock;
use ringfence_testkit::s3::{Identity, S3Double};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Stdio;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The recorder's user, which the exporter becomes.
const RECORDER: u32 = 65_101;

/// A host that exports to an address, with credentials that only the exporter can read.
fn host_for(address: SocketAddr) -> Host {
    let Identity {
        access_key,
        secret_key,
        region,
        bucket,
        ..
    } = Identity::default();
    let host = Host::prepare("");
    let file = host.dir.path().join("credentials");
    let text = format!("aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(RECORDER), Some(RECORDER)).unwrap();
    let toml = host.project().join("ringfence.toml");
    let table = format!(
        "\n[record.worm]\nendpoint = \"http://{address}\"\nregion = \"{region}\"\n\
         bucket = \"{bucket}\"\nprefix = \"logs/\"\npath_style = true\n\
         credentials = \"{}\"\n",
        file.display()
    );
    let before = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, before + &table).unwrap();
    let host = host.started();
    // Nothing leaves that was not signed, which happens once a second.
    wait::until("a checkpoint", 20, || {
        let report = host.json(&["log", "verify"]);
        (report["checkpoint_size"].as_u64() > Some(0)).then_some(())
    });
    host
}

fn last_export(host: &Host) -> Value {
    let leaves = host.leaves();
    let mut exports = leaves.into_iter().filter(|l| l["action"] == "log.export");
    exports.next_back().expect("a leaf of the export")
}

/// Keys of objects all of whose versions are locked, and of the others.
fn objects(double: &S3Double) -> (Vec<String>, Vec<String>) {
    let objects = double.objects();
    let keys = objects.keys().into_iter().map(|(key, _)| key);
    keys.partition(|key| objects.versions(key).iter().all(|v| v.retention.is_some()))
}

#[test]
fn the_log_is_exported_and_a_bucket_that_forgets_locks_is_a_finding() {
    let runtime = Runtime::new().unwrap();
    let clock = Arc::new(SetClock::at(SystemClock.now()));
    let double = S3Double::start(Identity::default(), true, clock);
    let double = runtime.block_on(double).unwrap();
    let host = host_for(double.address);

    let export = host.json(&["log", "worm"]);
    let report = &export["report"];
    assert!(report["checkpoint"].as_u64() > Some(0), "{export}");
    assert_eq!(report["checkpoint"], report["size"], "{export}");
    let (locked, open) = objects(&double);
    assert!(locked.contains(&"logs/checkpoint".to_owned()), "{locked:?}");
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(last_export(&host)["outcome"], "ok");
    assert_eq!(
        last_export(&host)["detail"]["checkpoint"],
        report["checkpoint"]
    );

    // A store that takes locks and forgets them looks like success to who does not ask.
    double.faults().ignore_locks = true;
    let cursor = host.state().join("exporter/cursor");
    let refused = wait::until("a refusal", 30, || {
        // Without a cursor no hour has to pass. What is there and locked is found so; the leaf of
        // each run makes a new checkpoint within a second.
        fs::remove_file(&cursor).ok();
        let said = host.run(&["log", "worm"]);
        (said.code != Some(0)).then_some(said)
    });
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("record/worm-not-locked"),
        "{refused:?}"
    );
    let leaf = last_export(&host);
    assert_eq!(leaf["outcome"], "failed", "{leaf}");
    assert_eq!(leaf["detail"]["finding"], true, "{leaf}");

    assert!(!objects(&double).1.is_empty(), "the store forgot no lock");

    // While no service runs it is put on record all the same.
    double.faults().ignore_locks = false;
    host.run(&["down"]).ok();
    let again = host.json(&["log", "worm"]);
    let name = format!(
        "logs/checkpoints/{:020}",
        again["report"]["size"].as_u64().unwrap()
    );
    assert!(objects(&double).0.contains(&name), "{again}");
    assert_eq!(last_export(&host)["outcome"], "ok");
    runtime.block_on(double.end());
}

#[test]
fn credentials_that_others_can_read_are_refused() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = host_for(silent.local_addr().unwrap());
    let file = host.dir.path().join("credentials");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let refused = host.run(&["log", "worm"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("record/worm-setting"), "{refused:?}");
    // Nor does a configuration have root open a file for it.
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    chown(&file, Some(0), Some(0)).unwrap();
    let refused = host.run(&["log", "worm"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("config/unreadable"), "{refused:?}");
}

#[test]
fn the_exporter_is_not_root_and_is_confined_while_it_talks() {
    // It accepts and never answers, so that there is time to look.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = host_for(silent.local_addr().unwrap());
    let mut command = host.command(&["log", "worm"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _connected = silent.accept().unwrap();
    let exporter = wait::until("an exporter", 20, || {
        let mut all = process::descendants(child.id()).into_iter();
        all.find(|p| p.arguments.iter().any(|a| a == "exporter"))
    });
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid)).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let user = RECORDER.to_string();
    assert_eq!(field("Uid:"), [user.as_str(); 4].join(" "));
    assert_eq!(field("Gid:"), [user.as_str(); 4].join(" "));
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(
        (field("Seccomp:"), field("NoNewPrivs:")),
        ("2".into(), "1".into())
    );
    process::signal(exporter.pid, "KILL");
    assert_eq!(
        child.wait().unwrap().code(),
        Some(2),
        "without a word is an error"
    );
}
