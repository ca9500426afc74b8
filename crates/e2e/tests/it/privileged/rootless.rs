//! Without root, and on a host that lacks a wall: refused with the reason, or accepted and recorded.

use ringfence_e2e::{Host, Said, binary, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user who owns nothing; as everywhere, its name is `nobody`.
const NOBODY: &str = "65534";

/// A host whose files belong to nobody, and a copy of the binary that nobody can reach.
struct Rootless {
    host: Host,
    binary: PathBuf,
}

impl Rootless {
    fn prepare() -> Self {
        let host = Host::prepare("");
        let copy = host.dir.path().join("ringfence");
        std::fs::copy(binary(), &copy).unwrap();
        let owner = format!("{NOBODY}:{NOBODY}");
        let owned = Command::new("chown")
            .args(["-R", &owner])
            .arg(host.dir.path())
            .status();
        assert!(owned.unwrap().success());
        Self { host, binary: copy }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command
            .arg(&self.binary)
            .arg("--state")
            .arg(self.host.state())
            .args(arguments);
        command
            .current_dir(self.host.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        Said::of(&command.output().unwrap())
    }

    fn project(&self) -> String {
        self.host.project().to_str().unwrap().to_owned()
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        drop(self.run(&["down"]));
    }
}

/// What doctor finds missing, as nobody.
fn missing(rootless: &Rootless) -> Vec<String> {
    let said = rootless.run(&["--json", "doctor"]);
    let report = said.json();
    let walls = report["walls"].as_array().unwrap();
    assert_eq!(
        said.code == Some(0),
        walls.iter().all(|w| w["stands"] == true),
        "{said:?}"
    );
    let missing = walls.iter().filter(|w| w["stands"] == false);
    missing
        .map(|w| {
            assert!(
                w["remedy"].as_str().is_some_and(|r| !r.is_empty()),
                "no remedy: {w}"
            );
            w["wall"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn without_root_up_refuses_with_the_missing_walls_and_their_remedies() {
    let rootless = Rootless::prepare();
    let missing = missing(&rootless);
    assert!(
        !missing.is_empty(),
        "nobody gets all walls here: this test needs another host"
    );
    let said = rootless.run(&["up", &rootless.project()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("error[run/walls-missing]"), "{said:?}");
    assert!(said.err.contains("--accept-weaker"), "{said:?}");
    for wall in &missing {
        assert!(
            said.err.contains(wall.as_str()),
            "{wall} is not named: {said:?}"
        );
        assert!(
            said.out.contains(&format!("help: {wall}: ")),
            "{wall} has no remedy: {said:?}"
        );
    }
    assert_eq!(rootless.host.processes(), []);
    // `run` refuses for the same reason.
    let said = rootless.run(&["run", "--", "true"]);
    assert_eq!(said.code, Some(125), "{said:?}");
    assert!(said.err.contains(missing[0].as_str()), "{said:?}");
}

#[test]
fn without_root_accept_weaker_runs_says_what_is_missing_and_records_it() {
    let rootless = Rootless::prepare();
    let missing = missing(&rootless);
    let said = rootless.run(&["up", "-d", "--accept-weaker", &rootless.project()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for wall in &missing {
        assert!(
            said.out
                .contains(&format!("wall that does NOT stand: {wall}")),
            "{wall}: {said:?}"
        );
    }
    for name in ["server", "recorder"] {
        let role = rootless.host.role(name).expect("a role");
        assert!(role.status("Uid").starts_with(NOBODY), "{name}");
        assert_eq!(role.status("CapEff"), "0000000000000000", "{name}");
        assert_eq!(role.status("NoNewPrivs"), "1", "{name}");
        assert_eq!(role.status("Seccomp"), "2", "{name}");
    }
    let page = rootless
        .run(&["--json", "log", "show", "--count", "500"])
        .ok()
        .json();
    let leaves = page["leaves"].as_array().unwrap();
    let find = |action: &str| {
        leaves
            .iter()
            .map(|l| &l["leaf"])
            .find(|l| l["action"] == action)
    };
    let weaker = find("control.weaken").expect("accepting less is a leaf");
    assert_eq!(weaker["object"], "accept-weaker");
    let start = find("sandbox.start").expect("the start is a leaf");
    let named: Vec<&Value> = start["detail"]["walls_missing"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(named, missing.iter().collect::<Vec<_>>());
}

#[test]
fn a_missing_kernel_feature_is_refused_by_name_even_for_root() {
    // Root in a container whose control groups cannot be written: an ordinary place to try this.
    let host = Host::prepare("");
    let hide = |command: &str| {
        let script = format!("mount -t tmpfs -o ro none /sys/fs/cgroup && {command}");
        Said::of(
            &Command::new("unshare")
                .args(["--mount", "sh", "-c", &script])
                .output()
                .unwrap(),
        )
    };
    let line = |arguments: &str| {
        let (binary, state) = (binary(), host.state());
        format!(
            "{} --state {} {arguments}",
            binary.display(),
            state.display()
        )
    };
    let said = hide(&line(&format!("up {}", host.project().display())));
    assert_eq!(said.code, Some(2), "{said:?}");
    for wall in ["memory-limit", "process-limit"] {
        assert!(said.err.contains(wall), "{said:?}");
        assert!(said.out.contains(&format!("help: {wall}: ")), "{said:?}");
    }
    assert_eq!(host.processes(), []);
    assert!(
        !Path::new(&host.state().join("record/log")).exists(),
        "a log was begun"
    );
}

#[test]
fn plain_http_is_refused_off_loopback() {
    let host = Host::prepare("");
    let file = host.project().join("ringfence.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let everywhere = format!("listen = \"0.0.0.0:{}\"", host.gateway);
    let here = format!("listen = \"127.0.0.1:{}\"", host.gateway);
    std::fs::write(&file, text.replace(&here, &everywhere)).unwrap();
    let project = host.project();
    let said = host.run(&["up", "--plain", project.to_str().unwrap()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("error[config/refused]"), "{said:?}");
    // The control: on loopback it is served.
    std::fs::write(&file, text).unwrap();
    host.run(&["up", "-d", "--plain", project.to_str().unwrap()])
        .ok();
    let url = format!("http://127.0.0.1:{}/v1/models", host.gateway);
    let fetch = || {
        Command::new("curl")
            .args(["-s", "-w", "%{http_code}", &url])
            .output()
            .unwrap()
    };
    let answered = |s: &Said| s.out.ends_with("401");
    wait::settled("plain HTTP", 5, || Said::of(&fetch()), answered);
}

#[test]
fn a_file_that_cannot_be_read_is_a_gap_and_not_a_pass() {
    let rootless = Rootless::prepare();
    let check = || rootless.run(&["--json", "check", "--accept-weaker", &rootless.project()]);
    assert_eq!(check().code, Some(0));
    let closed = rootless.host.project().join("closed.py");
    std::fs::write(&closed, "print(1)").unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let said = check();
    assert_eq!(said.code, Some(3), "{said:?}");
    let report = said.json();
    let skips = &report["verdict"]["coverage"]["skips"];
    let named = skips
        .as_array()
        .unwrap()
        .iter()
        .any(|s| s["path"] == "closed.py");
    assert!(named, "{skips}");
}
