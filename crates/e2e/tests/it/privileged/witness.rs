//! A log and its witness, as two programs: an administrator restores an older backup of the log,
//! which nothing on that machine can show.

use ringfence_e2e::{Host, Said, binary, free_port, wait};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
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

/// A host with a witness that has seen more of its log than the backup holds.
struct Scene {
    elsewhere: tempfile::TempDir,
    port: u16,
    vkeys: Vec<String>,
    table: String,
    host: Host,
}

impl Scene {
    fn set() -> (Self, Witness) {
        let elsewhere = tempfile::tempdir().unwrap();
        let keys = Said::of(&witness_command(elsewhere.path(), &[]).output().unwrap()).ok();
        let port = free_port();
        let vkey = keys.json()["vkeys"][0].as_str().unwrap().to_owned();
        let table = format!(
            "[record]\nwitness = [{{ url = \"http://127.0.0.1:{port}\", vkey = \"{vkey}\" }}]\n"
        );
        let host = Host::prepare(&table);
        let mut scene = Self {
            elsewhere,
            port,
            vkeys: Vec::new(),
            table,
            host,
        };
        // The witness is not there yet: the service starts, and says that nobody has seen its log.
        scene.up().ok();
        assert!(
            scene.anchor().contains("No quorum: 0 of 1"),
            "{}",
            scene.anchor()
        );
        let vkeys = scene.host.json(&["log", "vkey"]);
        scene.vkeys = serde_json::from_value(vkeys).unwrap();
        scene.down();
        let witness = scene.witness();
        scene.up().ok();
        let anchor = scene.anchor();
        assert!(anchor.contains("by 1 of 1 outside witnesses"), "{anchor}");
        scene.down();
        copy(&scene.record(), &scene.backup());
        // The log goes on, and the witness sees it.
        for _ in 0..2 {
            scene.up().ok();
            scene.down();
        }
        (scene, witness)
    }

    fn witness(&self) -> Witness {
        start(self.elsewhere.path(), self.port, &self.vkeys)
    }

    fn up(&self) -> Said {
        let project = self.host.project();
        self.host.run(&["up", "-d", project.to_str().unwrap()])
    }

    fn down(&self) {
        self.host.run(&["down"]).ok();
    }

    fn anchor(&self) -> String {
        let status = self.host.json(&["status"]);
        status["anchor"].as_str().unwrap().to_owned()
    }

    fn record(&self) -> PathBuf {
        self.host.state().join("record")
    }

    fn backup(&self) -> PathBuf {
        self.host.dir.path().join("backup")
    }

    /// What an administrator does.
    fn restore(&self) {
        fs::remove_dir_all(self.record()).unwrap();
        copy(&self.backup(), &self.record());
    }

    /// What the service said, and that nothing of it is left.
    fn refused(&self, more: &str) {
        wait::until("the end of everything", 30, || {
            self.host.processes().is_empty().then_some(())
        });
        let log = fs::read_to_string(self.host.state().join("up.log")).unwrap_or_default();
        let said = format!("{more}{log}");
        assert!(said.contains("record/rolled-back"), "{said}");
        assert!(said.contains("alert: the log was rolled back"), "{said}");
    }
}

#[test]
fn a_restored_backup_of_the_log_is_refused_with_a_witness_and_starts_without_one() {
    let (scene, _witness) = Scene::set();
    scene.restore();
    let refused = scene.up();
    assert_ne!(refused.code, Some(0), "{refused:?}");
    scene.refused(&format!("{}{}", refused.out, refused.err));
    // With the control off the same backup starts, and only the report says what is missing.
    scene.restore();
    let config = scene.host.project().join("ringfence.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&scene.table, "")).unwrap();
    scene.up().ok();
    assert!(
        scene.anchor().contains("No outside witness"),
        "{}",
        scene.anchor()
    );
}

#[test]
fn a_witness_that_comes_back_stops_a_service_whose_log_was_restored() {
    let (scene, witness) = Scene::set();
    scene.restore();
    drop(witness);
    // Nobody tells: the service starts, with an alert, and takes leaves.
    scene.up().ok();
    assert!(
        scene.anchor().contains("No quorum: 0 of 1"),
        "{}",
        scene.anchor()
    );
    scene.host.key();
    let _witness = scene.witness();
    scene.refused("");
}
