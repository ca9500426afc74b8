//! The life of a service as its operator sees it: starting, looking, stopping, and every start
//! that must not happen.

use ringfence_e2e::process::Process;
use ringfence_e2e::{Host, Said, wait};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn up(host: &Host) -> Said {
    host.run(&["up", host.project().to_str().unwrap()])
}

/// The refusal has this code and a next step, and left nothing running.
fn refused(host: &Host, said: &Said, code: &str) {
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains(&format!("error[{code}]")), "{said:?}");
    assert!(said.err.contains("help: "), "no next step: {said:?}");
    assert_eq!(host.processes(), [], "something was left running");
}

#[test]
fn up_shows_what_runs_and_down_ends_all_of_it() {
    let host = Host::prepare("");
    let before = host.run(&["ps"]);
    assert_eq!(before.code, Some(2), "{before:?}");
    assert!(before.err.contains("error[cli/not-running]"), "{before:?}");
    let project = host.project();
    let said = host.run(&["up", "-d", project.to_str().unwrap()]).ok();
    for part in [
        "verdict: ",
        "walls that stand: ",
        "gateway: https://",
        "console: https://",
        "token",
    ] {
        assert!(said.out.contains(part), "no {part:?} in {said:?}");
    }
    let sandbox = host.json(&["ps"])[0]["id"].as_str().unwrap().to_owned();
    let shown = host.run(&["ps"]).ok();
    assert!(
        shown.out.contains(&sandbox) && shown.out.contains("assistant"),
        "{shown:?}"
    );
    let printed = |s: &Said| s.out.contains("helpdesk listens on 8090");
    wait::settled(
        "the assistant's output",
        10,
        || host.run(&["logs"]).ok(),
        printed,
    );
    let status = host.json(&["status"]);
    assert_eq!(
        (&status["project"], &status["verdict"]),
        (&"helpdesk".into(), &"allow".into())
    );

    let running = host.processes();
    assert!(running.len() >= 5, "{running:?}");
    host.run(&["down"]).ok();
    let left: Vec<&Process> = running.iter().filter(|p| p.runs()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        ringfence_e2e::process::groups(&sandbox).is_empty(),
        "a control group is left"
    );
    let again = host.run(&["down"]);
    assert_eq!(again.code, Some(2), "{again:?}");
    let report = host.json(&["log", "verify"]);
    assert_eq!(
        report["unaccounted"], 0,
        "an orderly end left requests unaccounted for: {report}"
    );
}

#[test]
fn the_three_commands_to_try_next_work_when_pasted() {
    let host = Host::prepare("");
    let project = host.project();
    let said = host.run(&["up", "-d", project.to_str().unwrap()]).ok();
    let after = said.out.split("try next:\n").nth(1).unwrap();
    let lines: Vec<&str> = after.lines().map_while(|l| l.strip_prefix("  ")).collect();
    assert_eq!(lines.len(), 3, "{said:?}");
    for line in lines {
        // A newcomer's shell does not know the binary by its bare name. Pasted once, it works.
        let shell = Command::new("sh")
            .args(["-c", line])
            .current_dir("/")
            .output()
            .unwrap();
        let said = Said::of(&shell).ok();
        assert!(
            !said.out.is_empty() && !said.out.contains("error"),
            "{line}: {said:?}"
        );
    }
}

#[test]
fn a_second_up_on_the_same_state_is_refused_and_names_the_first() {
    let host = Host::up("");
    let first = host.supervisor().expect("a supervisor");
    for arguments in [&["up"][..], &["up", "-d"], &["up", "--selftest"]] {
        let project = host.project();
        let said = host.run(&[arguments, &[project.to_str().unwrap()]].concat());
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(
            said.err.contains("error[run/state-locked]"),
            "{arguments:?}: {said:?}"
        );
        assert!(
            said.err.contains(&first.pid.to_string()),
            "{arguments:?}: {said:?}"
        );
    }
    assert!(first.runs());
    host.run(&["status"]).ok();
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_running() {
    for of_the_console in [false, true] {
        let host = Host::prepare("");
        let port = if of_the_console {
            host.console
        } else {
            host.gateway
        };
        let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let said = up(&host);
        refused(&host, &said, "run/port-taken");
        assert!(said.err.contains(&port.to_string()), "{said:?}");
        drop(taken);
        host.started().run(&["status"]).ok();
    }
}

#[test]
fn an_unknown_key_is_shown_where_it_stands_with_the_nearest_known_one() {
    let host = Host::prepare("[watch]\ndenials_mx = 3");
    let file = host.project().join("ringfence.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .position(|l| l.starts_with("denials_mx"))
        .unwrap()
        + 1;
    let place = format!("{}:{line}:1", file.display());
    let project = host.project();
    for arguments in [
        &["up"][..],
        &["up", "-d"],
        &["config", "explain"],
        &["check"],
    ] {
        let said = host.run(&[arguments, &[project.to_str().unwrap()]].concat());
        refused(&host, &said, "config/unknown-key");
        assert!(
            said.err.contains(&place),
            "{arguments:?}: no {place} in {said:?}"
        );
        assert!(
            said.err.contains("did you mean `denials_max`?"),
            "{arguments:?}: {said:?}"
        );
    }
}

#[test]
fn a_folder_without_a_configuration_is_refused() {
    let host = Host::prepare("");
    std::fs::remove_file(host.project().join("ringfence.toml")).unwrap();
    refused(&host, &up(&host), "config/unreadable");
    let said = host.run(&["up", "/nonexistent"]);
    refused(&host, &said, "config/unreadable");
}

#[test]
fn sigterm_ends_everything_in_order() {
    let host = Host::up("");
    let running = host.processes();
    let supervisor = host.supervisor().expect("a supervisor");
    ringfence_e2e::process::signal(supervisor.pid, "TERM");
    wait::until("the supervisor ends", 15, || {
        (!supervisor.runs()).then_some(())
    });
    let left: Vec<&Process> = running.iter().filter(|p| p.runs()).collect();
    assert!(left.is_empty(), "{left:?}");
    let report = host.json(&["log", "verify"]);
    assert_eq!(
        report["size"], report["checkpoint_size"],
        "the end is not signed: {report}"
    );
    assert_eq!(report["unaccounted"], 0, "{report}");
}

#[test]
fn ctrl_c_in_the_terminal_ends_everything_in_order() {
    let host = Host::prepare("");
    let mut command = host.command(&["up", host.project().to_str().unwrap()]);
    // As in a terminal: every process of the foreground job gets the signal.
    let output = std::fs::File::create(host.dir.path().join("output")).unwrap();
    command
        .process_group(0)
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    let mut child = command.spawn().unwrap();
    wait::settled(
        "it runs",
        20,
        || host.run(&["status"]),
        |s| s.code == Some(0),
    );
    let running = host.processes();
    let group = format!("-{}", child.id());
    let sent = Command::new("kill")
        .args(["-INT", "--", &group])
        .status()
        .unwrap();
    assert!(sent.success());
    let status = wait::until("it ends", 15, || child.try_wait().unwrap());
    let said = std::fs::read_to_string(host.dir.path().join("output")).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    let left: Vec<&Process> = running.iter().filter(|p| p.runs()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        !said.contains("died"),
        "an orderly end was taken for a crash: {said}"
    );
    let report = host.json(&["log", "verify"]);
    assert_eq!(
        report["size"], report["checkpoint_size"],
        "the end is not signed: {report}"
    );
    let host = host.started();
    let stops = host
        .leaves()
        .iter()
        .filter(|l| l["action"] == "service.stop")
        .count();
    assert_eq!(stops, 1, "the end has no leaf");
}
