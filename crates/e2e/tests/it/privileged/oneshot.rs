//! `run -- CMD`: exit codes, limits, and nothing left behind.

use super::ringfence;
use ringfence_e2e::process::{self, Process};
use ringfence_e2e::{Said, binary, wait};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

fn run(arguments: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    ringfence(folder.path(), &[&["run"], arguments].concat())
}

fn python(options: &[&str], code: &str) -> Said {
    run(&[options, &["--", "/usr/bin/python3", "-c", code]].concat())
}

#[test]
fn the_code_of_the_command_is_the_code_of_run() {
    let said = run(&["--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (Some(3), "out\n", "err\n")
    );
    assert_eq!(run(&["--", "true"]).code, Some(0));
    assert_eq!(run(&["--", "sh", "-c", "kill -9 $$"]).code, Some(137));
    let said = run(&["--json", "--", "sh", "-c", "echo out; exit 3"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let report = said.json();
    assert_eq!(
        (&report["code"], &report["stdout"]),
        (&3.into(), &"out\n".into())
    );
    let walls = report["attestation"]["walls"].as_array().unwrap();
    assert!(walls.iter().all(|w| w["stands"] == true), "{report}");
}

#[test]
fn a_command_that_does_not_exist_is_127_and_one_that_cannot_be_run_126() {
    let said = run(&["--", "no-such-command"]);
    assert_eq!(said.code, Some(127), "{said:?}");
    assert!(
        said.err.contains("error[run/") && said.err.contains("help: "),
        "{said:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text"), "not a program").unwrap();
    ringfence_e2e::open_to_all(folder.path());
    let said = ringfence(folder.path(), &["run", "--", "./text"]);
    assert_eq!(said.code, Some(126), "{said:?}");
}

#[test]
fn a_failure_of_ringfence_itself_is_125() {
    for arguments in [
        &["--memory", "lots", "--", "true"][..],
        &["--timeout", "soon", "--", "true"],
    ] {
        let said = run(arguments);
        assert_eq!(said.code, Some(125), "{arguments:?}: {said:?}");
        assert!(said.err.contains("error[cli/value]"), "{said:?}");
    }
}

#[test]
fn time_is_limited() {
    let said = run(&["--timeout", "1s", "--", "sleep", "1000"]);
    assert_eq!(said.code, Some(124), "{said:?}");
    assert_eq!(run(&["--timeout", "60s", "--", "true"]).code, Some(0));
}

#[test]
fn memory_is_limited() {
    let bomb = "x = b'x' * (256 << 20); print(len(x))";
    let said = python(&["--memory", "64MiB"], bomb);
    assert_eq!((said.code, said.out.as_str()), (Some(137), ""), "{said:?}");
    assert!(said.err.contains("--memory"), "no next step: {said:?}");
    // The control: the same with enough.
    assert_eq!(python(&["--memory", "1GiB"], bomb).code, Some(0));
}

#[test]
fn processes_are_limited() {
    let bomb = "import os, time\nn = 0\ntry:\n  while n < 60:\n    if os.fork() == 0:\n      \
        time.sleep(1000)\n    n += 1\nexcept OSError:\n  pass\nprint(n)";
    let forks = |limit: &str| {
        python(&["--processes", limit, "--timeout", "30s"], bomb)
            .ok()
            .out
    };
    let few: u32 = forks("20").trim().parse().unwrap();
    assert!((10..20).contains(&few), "{few} forks with a limit of 20");
    // The control: the same with a limit that is far.
    assert_eq!(forks("100").trim(), "60");
}

#[test]
fn there_is_no_network_and_no_file_of_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reach = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 3)");
    let outside = Command::new("/usr/bin/python3")
        .args(["-c", &reach])
        .status()
        .unwrap();
    assert!(outside.success(), "the attack itself does not work");
    let said = python(&[], &reach);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("ConnectionRefusedError"), "{said:?}");

    let read = "print(open('/etc/shadow').read())";
    let outside = Command::new("/usr/bin/python3")
        .args(["-c", read])
        .output()
        .unwrap();
    assert!(outside.status.success(), "the attack itself does not work");
    let said = python(&[], read);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    let said = python(&[], "open('mark', 'w')");
    assert!(
        said.err.contains("Read-only file system") || said.err.contains("denied"),
        "{said:?}"
    );
}

#[test]
fn ctrl_c_ends_the_command_and_leaves_neither_process_nor_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary())
        .args(["run", "--", "sh", "-c", "sleep 1000 & echo ready; wait"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    // The shell says `ready` after it forked, which can be before the child has become `sleep`.
    let below = wait::settled(
        "the command runs",
        10,
        || process::descendants(child.id()),
        |below| below.iter().any(|p| p.says(&["sleep", "1000"])),
    );
    let name = format!("run-{}", child.id());
    assert!(
        !process::groups(&name).is_empty(),
        "the look itself sees no group"
    );

    process::signal(child.id(), "INT");
    let status = wait::until("run ends", 10, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130), "{status:?}");
    let left: Vec<&Process> = below.iter().filter(|p| p.runs()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        process::groups(&name),
        [""; 0].map(std::path::PathBuf::from)
    );
}

#[test]
fn killing_run_leaves_no_process_and_no_group() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary())
        .args(["run", "--", "sh", "-c", "sleep 1000 & echo ready; wait"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let below = process::descendants(child.id());
    let name = format!("run-{}", child.id());
    assert!(
        !process::groups(&name).is_empty(),
        "the look itself sees no group"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let left = || {
        below
            .iter()
            .filter(|p| p.runs())
            .cloned()
            .collect::<Vec<Process>>()
    };
    wait::settled("everything is gone", 10, left, Vec::is_empty);
    wait::settled(
        "its groups are gone",
        10,
        || process::groups(&name),
        Vec::is_empty,
    );
}
