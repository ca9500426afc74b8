//! Drives the whole binary as a person would: starts it, types commands, reads what it prints.
//!
//! The binary under test is named by `RINGFENCE_BIN` (set by `cargo xtask test`), else the release
//! binary of this workspace. A test that lacks what it needs fails; it never passes by default.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::return_self_not_must_use,
    reason = "a test harness ends the test when something is wrong"
)]

pub mod caller;
pub mod process;
pub mod wait;

use caller::Caller;
use process::Process;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("a root")
        .to_owned()
}

/// The binary under test.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("RINGFENCE_BIN").map_or_else(
        || workspace().join("target/release/ringfence"),
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is missing: cargo build --release",
        path.display()
    );
    path
}

/// The Python of the tests' environment, with the client libraries.
pub fn python() -> PathBuf {
    let path = workspace().join("target/test-venv/bin/python");
    assert!(
        path.exists(),
        "{} is missing: cargo xtask setup",
        path.display()
    );
    path
}

/// A TCP port that is free at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Said {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// From a finished process.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The same, after a check that the command succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// A copy of the helpdesk example with free ports and a state directory of its own.
pub struct Host {
    /// Holds project and state.
    pub dir: tempfile::TempDir,
    /// The gateway's port.
    pub gateway: u16,
    /// The console's port.
    pub console: u16,
}

impl Host {
    /// Prepares the folders; starts nothing. `extra` is appended to the configuration.
    pub fn prepare(extra: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ringfence-e2e-")
            .tempdir()
            .unwrap();
        let host = Self {
            gateway: free_port(),
            console: free_port(),
            dir,
        };
        let project = host.project();
        std::fs::create_dir(&project).unwrap();
        let example = workspace().join("examples/helpdesk");
        for name in ["assistant.py", "README.md"] {
            std::fs::copy(example.join(name), project.join(name)).unwrap();
        }
        let Self {
            gateway, console, ..
        } = &host;
        let text = format!(
            "[project]\nname = \"helpdesk\"\ndocuments = [\"README.md\"]\n\n\
             [assistant]\ncommand = [\"python3\", \"assistant.py\"]\nport = 8090\n\n\
             [sandbox]\nmemory = \"256MiB\"\nprocesses = 50\n\n\
             [gateway]\nlisten = \"127.0.0.1:{gateway}\"\n\n\
             [console]\nlisten = \"127.0.0.1:{console}\"\n\n{extra}\n"
        );
        std::fs::write(project.join("ringfence.toml"), text).unwrap();
        // The server role runs as a user of its own and must reach the project.
        open_to_all(host.dir.path());
        host
    }

    /// Prepares and starts in the background.
    pub fn up(extra: &str) -> Self {
        Self::prepare(extra).started()
    }

    /// The same host, started in the background.
    pub fn started(self) -> Self {
        let project = self.project();
        self.run(&["up", "-d", project.to_str().unwrap()]).ok();
        self
    }

    /// The project's folder.
    pub fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A command with this state directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("--state")
            .arg(self.state())
            .args(arguments)
            .current_dir(self.dir.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(arguments).output().unwrap())
    }

    /// Runs a command with `--json`, which must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        self.run(&all).ok().json()
    }

    /// A fresh API key.
    pub fn key(&self) -> String {
        let made = self.json(&["key", "create", "--name", "e2e"]);
        made["key"].as_str().expect("a key").to_owned()
    }

    /// The certificate that clients trust.
    pub fn authority(&self) -> PathBuf {
        let status = self.json(&["status"]);
        PathBuf::from(
            status["authority"]
                .as_str()
                .expect("a certificate authority"),
        )
    }

    /// POSTs JSON to the gateway with curl; returns the status and the body.
    pub fn post(&self, key: &str, path: &str, body: &Value) -> (u16, String) {
        let url = format!("https://127.0.0.1:{}{path}", self.gateway);
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--no-buffer",
                "--max-time",
                "60",
                "--cacert",
            ])
            .arg(self.authority())
            .args(["-H", &format!("Authorization: Bearer {key}")])
            .args(["-H", "Content-Type: application/json"])
            .args(["-d", &body.to_string(), "-w", "\n%{http_code}", &url])
            .output()
            .unwrap();
        let said = Said::of(&output);
        let (body, status) = said
            .out
            .rsplit_once('\n')
            .unwrap_or_else(|| panic!("{said:?}"));
        (
            status.parse().unwrap_or_else(|_| panic!("{said:?}")),
            body.to_owned(),
        )
    }

    /// A client of the gateway with a fresh key that may send as often as it likes.
    pub fn caller(&self) -> Caller {
        let made = self.json(&[
            "key",
            "create",
            "--name",
            "e2e",
            "--requests-per-minute",
            "60000",
        ]);
        let key = made["key"].as_str().expect("a key").to_owned();
        let base = format!("https://127.0.0.1:{}", self.gateway);
        Caller {
            base,
            authority: self.authority(),
            key,
        }
    }

    /// The process that holds the state directory.
    pub fn supervisor(&self) -> Option<Process> {
        let pid = std::fs::read_to_string(self.state().join("lock"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let state = self.state().to_string_lossy().into_owned();
        Process::of(pid).filter(|p| p.runs() && p.says(&["--state", &state]))
    }

    /// The process of a role of this host.
    pub fn role(&self, name: &str) -> Option<Process> {
        let below = process::descendants(self.supervisor()?.pid);
        below
            .into_iter()
            .find(|p| p.says(&["role", name]) && p.runs())
    }

    /// The hosted assistant.
    pub fn assistant(&self) -> Option<Process> {
        let below = process::descendants(self.supervisor()?.pid);
        below
            .into_iter()
            .find(|p| p.says(&["python3", "assistant.py"]) && p.runs())
    }

    /// Everything of this host that runs: whatever names its state directory, and what that
    /// started.
    pub fn processes(&self) -> Vec<Process> {
        let state = self.state().to_string_lossy().into_owned();
        let named = process::all()
            .into_iter()
            .filter(|p| p.runs() && p.arguments.iter().any(|a| a.starts_with(&state)));
        let mut found: Vec<Process> = named
            .flat_map(|p| [process::descendants(p.pid), vec![p]].concat())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// All leaves of the log, in order.
    pub fn leaves(&self) -> Vec<Value> {
        let mut leaves: Vec<Value> = Vec::new();
        loop {
            let from = leaves.len().to_string();
            let page = self.json(&["log", "show", "--count", "500", "--from", &from]);
            let entries = page["leaves"].as_array().expect("leaves").clone();
            let (size, got) = (page["size"].as_u64().expect("a size"), entries.len());
            for entry in entries {
                assert_eq!(
                    entry["index"].as_u64(),
                    Some(leaves.len() as u64),
                    "a hole in the log"
                );
                leaves.push(entry["leaf"].clone());
            }
            if leaves.len() as u64 >= size || got == 0 {
                assert!(
                    leaves.len() as u64 >= size,
                    "{} of {size} leaves",
                    leaves.len()
                );
                return leaves;
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let supervisor = self.supervisor();
        let said = self.run(&["down"]);
        if let Some(left) = supervisor.filter(Process::runs) {
            // Whatever went wrong, nothing of this test outlives it.
            process::signal(left.pid, "KILL");
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.state().join("up.log")).unwrap_or_default();
            eprintln!("down: {said:?}\nup.log:\n{log}");
        }
    }
}

/// Lets every user enter a folder.
pub fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
