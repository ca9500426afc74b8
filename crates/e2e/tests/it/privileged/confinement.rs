//! What each role of `up` holds and may do, as the kernel tells it.

use ringfence_e2e::Host;
use ringfence_e2e::process::Process;
use std::process::Command;

/// Every bit of these is off in a process without privileges.
const CAPABILITY_SETS: [&str; 4] = ["CapEff", "CapPrm", "CapInh", "CapAmb"];

/// What T10 of the threat model promises.
pub(super) fn of_every_role() {
    let host = Host::up("");
    let supervisor = host.supervisor().expect("a supervisor");
    let server = host.role("server").expect("a server");
    let recorder = host.role("recorder").expect("a recorder");

    without_privileges(&server);
    without_privileges(&recorder);
    let uid = |p: &Process| p.status("Uid").split(' ').next().map(str::to_owned);
    assert_ne!(uid(&server), uid(&recorder), "two roles share a user");

    // The key of the log and that of the secrets are out of the server's reach.
    let record = host.state().join("record").to_string_lossy().into_owned();
    let below = |p: &Process| {
        p.holds()
            .into_iter()
            .filter(|h| h.starts_with(&record))
            .collect()
    };
    let seen: Vec<String> = below(&recorder);
    assert!(!seen.is_empty(), "the look itself sees nothing");
    let seen: Vec<String> = below(&server);
    assert_eq!(seen, [""; 0], "the server holds files of the recorder");
    let key = host.state().join("record/keys/log.key");
    assert!(key.exists(), "there is no such key");
    assert!(can_read(&key, None), "the look itself does not work");
    assert!(
        !can_read(&key, uid(&server).as_deref()),
        "the server's user reads the log key"
    );

    // Only the server has a socket of a network family.
    assert!(
        !server.network_sockets().is_empty(),
        "the look itself sees no socket"
    );
    assert_eq!(
        recorder.network_sockets(),
        [""; 0],
        "the recorder is on the network"
    );
    assert_eq!(
        supervisor.network_sockets(),
        [""; 0],
        "the supervisor is on the network"
    );
    assert_eq!(
        supervisor.status("Threads"),
        "1",
        "the supervisor has threads"
    );
}

fn without_privileges(role: &Process) {
    let name = &role.arguments;
    for id in role
        .status("Uid")
        .split(' ')
        .chain(role.status("Gid").split(' '))
    {
        assert_ne!(id, "0", "{name:?} is root");
    }
    assert_eq!(role.status("Groups"), "", "{name:?} is in further groups");
    for set in CAPABILITY_SETS {
        assert_eq!(role.status(set), "0000000000000000", "{name:?}: {set}");
    }
    assert_eq!(role.status("NoNewPrivs"), "1", "{name:?}");
    assert_eq!(role.status("Seccomp"), "2", "{name:?}");
    assert_eq!(environment(role), "", "{name:?} got an environment");
}

fn environment(role: &Process) -> String {
    std::fs::read_to_string(format!("/proc/{}/environ", role.pid)).unwrap()
}

fn can_read(path: &std::path::Path, uid: Option<&str>) -> bool {
    let mut command = match uid {
        Some(uid) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", uid, "--regid", uid, "--clear-groups", "cat"]);
            command
        }
        None => Command::new("cat"),
    };
    command.arg(path).output().unwrap().status.success()
}

#[test]
fn another_user_of_the_host_reads_nothing_of_the_state() {
    let host = Host::up("");
    let attempt = |uid: &str| {
        let script = format!(
            "find {0} -type f -exec cat {{}} + ; ls {0}",
            host.state().display()
        );
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            uid,
            "--regid",
            uid,
            "--clear-groups",
            "sh",
            "-c",
            &script,
        ]);
        let output = command.current_dir("/").output().unwrap();
        let known = host.state().join("up.log");
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", uid, "--regid", uid, "--clear-groups", "cat"])
            .arg(known);
        let named = command.current_dir("/").output().unwrap();
        [output.stdout, named.stdout].concat()
    };
    // The control: root reads plenty.
    assert!(String::from_utf8_lossy(&attempt("0")).contains("one-time admin token"));
    let seen = attempt("65534");
    assert_eq!(String::from_utf8_lossy(&seen), "", "readable for everybody");
}
