//! A log and its witness, as two programs: an administrator restores an older backup of the log,
//! which nothing on that machine can show.

use ringfence_e2e::{Host, Said, binary, free_port, wait};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running witness.
struct Witness(Child);

impl Drop for Witness {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            let _status = self.0.wait();
        }
    }
}

fn witness_command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("--state").arg(state);
    command.args(["--json", "witness"]).args(arguments);
    command
}

/// Starts it, and resolves when it has said where it listens.
fn start(state: &Path, port: u16, vkeys: &[String]) -> Witness {
    let said = state.join("said");
    let address = format!("127.0.0.1:{port}");
    let mut arguments = vec!["--listen", &address];
    for vkey in vkeys {
        arguments.extend(["--log", vkey]);
    }
    let child = witness_command(state, &arguments)
        .stdout(File::create(&said).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let witness = Witness(child);
    wait::until("a witness", 20, || {
        fs::read_to_string(&said)
            .ok()
            .filter(|s| s.contains(&address))
    });
    witness
}

fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    assert!(
        command
            .arg("-a")
            .arg(from)
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
}

fn anchor(host: &Host) -> String {
    host.json(&["status"])["anchor"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_restored_backup_of_the_log_is_refused_with_a_witness_and_starts_without_one() {
    let elsewhere = tempfile::tempdir().unwrap();
    let keys = Said::of(&witness_command(elsewhere.path(), &[]).output().unwrap()).ok();
    let port = free_port();
    let vkey = keys.json()["vkeys"][0].as_str().unwrap().to_owned();
    let table = format!(
        "[record]\nwitness = [{{ url = \"http://127.0.0.1:{port}\", vkey = \"{vkey}\" }}]\n"
    );
    let host = Host::prepare(&table);
    let project = host.project();
    let up = || host.run(&["up", "-d", project.to_str().unwrap()]);
    // The witness is not there yet: the service starts, and says that nobody has seen its log.
    up().ok();
    assert!(
        anchor(&host).contains("No quorum: 0 of 1"),
        "{}",
        anchor(&host)
    );
    let vkeys = host.json(&["log", "vkey"]);
    let vkeys: Vec<String> = serde_json::from_value(vkeys).unwrap();
    host.run(&["down"]).ok();
    let _witness = start(elsewhere.path(), port, &vkeys);
    up().ok();
    assert!(
        anchor(&host).contains("by 1 of 1 outside witnesses"),
        "{}",
        anchor(&host)
    );
    host.run(&["down"]).ok();
    let (record, backup) = (host.state().join("record"), host.dir.path().join("backup"));
    copy(&record, &backup);
    // The log goes on, the witness sees it, and then the backup is put back.
    for _ in 0..2 {
        up().ok();
        host.run(&["down"]).ok();
    }
    fs::remove_dir_all(&record).unwrap();
    copy(&backup, &record);
    let refused = up();
    assert_ne!(refused.code, Some(0), "{refused:?}");
    let log = fs::read_to_string(host.state().join("up.log")).unwrap_or_default();
    let said = format!("{}{}{log}", refused.out, refused.err);
    assert!(said.contains("record/rolled-back"), "{said}");
    wait::until("the end of everything", 20, || {
        host.processes().is_empty().then_some(())
    });
    // With the control off the same backup starts, and only the report says what is missing.
    fs::remove_dir_all(&record).unwrap();
    copy(&backup, &record);
    let config = project.join("ringfence.toml");
    let text = fs::read_to_string(&config).unwrap().replace(&table, "");
    fs::write(&config, text).unwrap();
    up().ok();
    assert!(
        anchor(&host).contains("No outside witness"),
        "{}",
        anchor(&host)
    );
}
