//! RECORD through the binary: proofs that verify without it, copies that verify anywhere, damage
//! that is noticed, and a disk that is full.

use ringfence_e2e::process;
use ringfence_e2e::{Host, Said, python, wait, workspace};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Copies the log as a crash would leave it and verifies the copy, which holds no key.
pub(super) fn verify_copy(host: &Host) -> (tempfile::TempDir, Value) {
    let copy = tempfile::tempdir().unwrap();
    let recorder = wait::until("a recorder", 20, || host.role("recorder"));
    process::signal(recorder.pid, "STOP");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(log_of(&host.state()))
        .arg(copy.path())
        .status();
    process::signal(recorder.pid, "CONT");
    assert!(copied.unwrap().success());
    let said = verify(copy.path());
    assert_eq!(said.code, Some(0), "{said:?}");
    let report = said.json();
    (copy, report)
}

fn log_of(state: &Path) -> PathBuf {
    state.join("record/log")
}

/// Verifies a log directory with nothing at hand but the binary.
fn verify(directory: &Path) -> Said {
    let mut command = Command::new(ringfence_e2e::binary());
    command
        .args(["--state", "/nonexistent", "--json", "log", "verify"])
        .arg(directory);
    Said::of(&command.output().unwrap())
}

#[test]
fn a_copy_of_the_log_verifies_and_one_changed_octet_is_noticed() {
    let host = Host::up("");
    for _ in 0..5 {
        host.key();
    }
    host.run(&["down"]).ok();
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(log_of(&host.state()))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    let said = verify(copy.path()).ok();
    assert_eq!(
        said.json()["size"],
        said.json()["checkpoint_size"],
        "{said:?}"
    );
    let segment = copy.path().join("log/wal/00000000.rfw");
    let whole = fs::read(&segment).unwrap();
    // Ten places over the whole file; leaves, headers and checksums among them.
    for part in 1..=10 {
        let at = whole.len() * part / 11;
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&segment, &bytes).unwrap();
        let said = verify(copy.path());
        assert_eq!(
            said.code,
            Some(2),
            "octet {at} of {}: {said:?}",
            whole.len()
        );
        assert!(said.err.contains("error[record/"), "{said:?}");
    }
    // A log that was cut short is noticed too: the checkpoint has signed more.
    fs::write(&segment, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(verify(copy.path()).code, Some(2));
    fs::write(&segment, &whole).unwrap();
    verify(copy.path()).ok();
}

#[test]
fn a_proof_verifies_with_another_implementation_and_not_for_another_leaf() {
    let host = Host::up("");
    for _ in 0..6 {
        host.key();
    }
    let leaves = host.leaves();
    let key = host.state().join("record/log").join("vkey");
    let keys = fs::read_to_string(&key).unwrap_or_else(|e| panic!("{}: {e}", key.display()));
    // Ed25519 stands first; the script knows no other.
    let key = keys.lines().next().unwrap();
    for index in [0, 1, leaves.len() - 2] {
        let file = host.dir.path().join("proof.txt");
        let arguments = [
            "log",
            "prove",
            &index.to_string(),
            "--out",
            file.to_str().unwrap(),
        ];
        // A leaf is under a checkpoint a moment after it is in the log.
        let what = "the leaf is under a checkpoint";
        wait::settled(what, 10, || host.run(&arguments), |s| s.code == Some(0));
        let proof = fs::read_to_string(&file).unwrap();
        let judge = |leaf: &Value, proof: &str| {
            let input = serde_json::json!({"leaf": leaf, "proof": proof, "vkey": key});
            judged(&input)
        };
        let said = judge(&leaves[index], &proof);
        assert_eq!(said.code, Some(0), "leaf {index}: {said:?}\n{proof}");
        assert_eq!(
            judge(&leaves[index + 1], &proof).code,
            Some(1),
            "another leaf was proved"
        );
        let mut changed = leaves[index].clone();
        changed["actor"] = Value::from("somebody-else");
        assert_eq!(
            judge(&changed, &proof).code,
            Some(1),
            "a changed leaf was proved"
        );
        let size = proof.split("\n\n").nth(1).unwrap().lines().nth(1).unwrap();
        let forged = proof.replace(&format!("\n{size}\n"), &format!("\n{size}0\n"));
        assert_eq!(
            judge(&leaves[index], &forged).code,
            Some(1),
            "a forged checkpoint passed"
        );
    }
    let beyond = host.run(&["log", "prove", "1000000"]);
    assert_eq!(beyond.code, Some(2), "{beyond:?}");
    assert!(beyond.err.contains("record/no-leaf"), "{beyond:?}");
}

fn judged(input: &Value) -> Said {
    let mut child = Command::new(python())
        .arg(workspace().join("crates/e2e/scripts/verify_proof.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    Said::of(&child.wait_with_output().unwrap())
}

/// Request numbers that the server can have in hand: a block is fetched while one is left.
const RESERVED_MAX: u32 = 2 * 1024;

/// A small file system of its own for the state directory, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=0755", "ringfence-e2e"])
            .arg(at)
            .status();
        assert!(mounted.unwrap().success(), "mount {}", at.display());
        Self(at.to_owned())
    }

    /// Leaves not one free octet.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [64 * 1024, 512, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(std::thread::panicking() || status.unwrap().success());
        // The folder of the host could not be removed while this was mounted in it.
        for folder in self.0.ancestors().take(2) {
            drop(fs::remove_dir(folder));
        }
    }
}

#[test]
fn an_immutable_copy_can_be_neither_changed_nor_removed_until_the_flag_is_gone() {
    let host = Host::up("");
    host.run(&["down"]).ok();
    let aside = tempfile::tempdir().unwrap();
    let [kept, plain] = ["kept", "plain"].map(|n| aside.path().join(n));
    let export = ["--json", "log", "export"];
    let done = host
        .run(&[&export[..], &[kept.to_str().unwrap(), "--immutable"]].concat())
        .ok();
    host.run(&[&export[..], &[plain.to_str().unwrap()]].concat())
        .ok();
    let checkpoint = kept.join("checkpoint");
    let (write, remove) = (fs::write(&checkpoint, b"x"), fs::remove_file(&checkpoint));
    let verified = verify(&kept);
    let ended = Command::new("chattr")
        .arg("-R")
        .arg("-i")
        .arg(&kept)
        .status()
        .unwrap();
    assert!(done.json()["immutable"].as_u64().unwrap() >= 4, "{done:?}");
    assert!(write.is_err() && remove.is_err(), "{write:?} {remove:?}");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(ended.success());
    // The same two acts succeed on a copy without the flag.
    fs::write(plain.join("checkpoint"), b"x").unwrap();
    fs::remove_file(plain.join("checkpoint")).unwrap();
}

/// A web server that knows nothing of logs, on loopback; it ends with the test.
struct Web(std::process::Child, u16);

impl Web {
    fn of(folder: &Path) -> Self {
        let port = ringfence_e2e::free_port();
        let child = Command::new("/usr/bin/python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait::until("a web server", 20, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self(child, port)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A proof and its leaf, taken out of a running service, hold by themselves.
fn one_leaf_is_proved(host: &Host, vkeys: &[String]) {
    let aside = tempfile::tempdir().unwrap();
    let [proof, leaf] = ["proof", "leaf"].map(|n| aside.path().join(n).display().to_string());
    host.run(&["log", "prove", "1", "--out", &proof]).ok();
    let show = ["--json", "log", "show", "--from", "1", "--count", "1"];
    let page = host.run(&show).ok();
    fs::write(&leaf, page.json()["leaves"][0].to_string()).unwrap();
    let known: Vec<&str> = vkeys.iter().flat_map(|k| ["--vkey", k]).collect();
    let one = [
        "--json", "log", "verify", "--proof", &proof, "--leaf", &leaf,
    ];
    let proved = host.run(&[&one[..], &known].concat()).ok();
    assert_eq!(proved.json()["index"], 1);
}

#[test]
fn what_the_world_sees_verifies_from_a_folder_over_http_and_in_python() {
    let host = Host::up("");
    let early = tempfile::tempdir().unwrap();
    let vkeys: Vec<String> =
        serde_json::from_value(host.run(&["--json", "log", "vkey"]).ok().json()).unwrap();
    assert_eq!(vkeys.len(), 2, "Ed25519 and ML-DSA-44");
    let checkpoint = early.path().join("checkpoint");
    fs::copy(log_of(&host.state()).join("checkpoint"), &checkpoint).unwrap();
    for _ in 0..3 {
        host.key();
    }
    one_leaf_is_proved(&host, &vkeys);
    let known: Vec<&str> = vkeys.iter().flat_map(|k| ["--vkey", k]).collect();
    let aside = tempfile::tempdir().unwrap();
    host.run(&["down"]).ok();
    let fsck = host.run(&["--json", "log", "fsck"]).ok();
    assert_eq!(fsck.json()["fsck"], true);
    let shown = aside.path().join("shown");
    let shown = shown.to_str().unwrap();
    host.run(&["log", "export", shown]).ok();
    let web = Web::of(Path::new(shown));
    let address = format!("http://127.0.0.1:{}", web.1);
    let since = ["--since", checkpoint.to_str().unwrap()];
    let verify = |from: &str| {
        let start = ["--state", "/nonexistent", "--json", "log", "verify", from];
        let mut command = Command::new(ringfence_e2e::binary());
        Said::of(
            &command
                .args(start)
                .args(since)
                .args(&known)
                .output()
                .unwrap(),
        )
    };
    let independent = || {
        let mut command = Command::new("/usr/bin/python3");
        let program = workspace().join("tools/verify_log.py");
        command.arg(program).arg(shown).args(since).args(&known);
        command.output().unwrap().status.code()
    };
    let size = fsck.json()["size"].clone();
    for from in [shown, &address] {
        let report = verify(from).ok().json();
        assert_eq!(report["size"], size, "{report}");
        assert!(
            report["since"].as_u64() < report["size"].as_u64(),
            "{report}"
        );
        assert_eq!(report["warnings"], serde_json::json!([]), "{report}");
    }
    assert_eq!(independent(), Some(0));
    // One octet of one leaf, and all three notice.
    let bundles = Path::new(shown).join("tile/entries");
    let bundle = fs::read_dir(bundles.join("000.p"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut octets = fs::read(&bundle).unwrap();
    octets[40] ^= 1;
    fs::write(&bundle, octets).unwrap();
    for from in [shown, &address] {
        assert_eq!(verify(from).code, Some(2));
    }
    assert_eq!(independent(), Some(1));
}

#[test]
fn a_full_disk_refuses_clearly_loses_nothing_acknowledged_and_goes_on_when_there_is_room() {
    let host = Host::prepare(super::faults::PATIENT);
    let disk = SmallDisk::mount(&host.state());
    // Declared after the disk, so that it stops before the disk goes.
    let host = host.started();
    let caller = host.caller();
    assert_eq!(caller.chat("What is this?").status, 200);
    disk.fill();
    let mut made = Vec::new();
    // Pages that are begun still take some leaves.
    let refused = wait::until("a refusal", 30, || {
        let said = host.run(&["--json", "key", "create", "--name", "full"]);
        if said.code == Some(0) {
            made.push(said.json()["id"].as_str().unwrap().to_owned());
            return None;
        }
        Some(said)
    });
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.err.contains("-full]: ") && refused.err.contains("help: "),
        "{refused:?}"
    );
    // Requests whose number was reserved on disk before are answered; their leaves wait. What is
    // beyond is refused.
    let sent = RESERVED_MAX + 100;
    let counts = caller.chat_many("What is this?", sent);
    let answered = counts.get(&200).copied().unwrap_or_default();
    let refused = counts.get(&503).copied().unwrap_or_default();
    assert!(refused > 0 && answered + refused == sent, "{counts:?}");
    let reply = caller.chat("What is this?");
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.body.contains("could not be recorded"), "{reply:?}");

    disk.free();
    let what = "the service goes on when there is room";
    wait::settled(
        what,
        20,
        || host.run(&["key", "create", "--name", "room"]),
        |s| s.code == Some(0),
    );
    wait::settled(
        what,
        20,
        || caller.chat("What is this?"),
        |r| r.status == 200,
    );
    let leaves = host.leaves();
    for id in made {
        let object = Value::from(format!("key:{id}"));
        assert!(
            leaves.iter().any(|l| l["object"] == object),
            "key {id} was acknowledged and lost"
        );
    }
    let settled = |l: &&Value| l["action"] == "request.settle" && l["outcome"] == "ok";
    let settled = leaves.iter().filter(settled).count();
    assert!(
        settled > answered as usize,
        "{settled} leaves of more than {answered} requests"
    );
    let (_copy, report) = verify_copy(&host);
    assert_eq!(report["unaccounted"], 0, "{report}");
}
