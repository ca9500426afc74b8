//! From start to end: handles, doors, freezing, owners that vanish, and nothing left behind.

use crate::support::{Scratch, exec, options, privileged, spec, started, unique};
use ringfence_core::error::Explain;
use ringfence_core::isolation::{Door, Ended, ExecRequest, Program, Strictness, Wall, WallState};
use ringfence_sandbox::host;
use ringfence_sandbox::zygote::{ANSWER_MS_MAX, InitHandle, InitNotice, Started, Zygote};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn ended(init: &mut InitHandle) -> (u64, Ended) {
    loop {
        if let Some(InitNotice::Ended { exec_id, ended }) = init.next_notice().unwrap() {
            return (exec_id, ended);
        }
        ringfence_sys::ns::readable(init.fd(), None).unwrap();
    }
}

fn line(fd: OwnedFd) -> String {
    let mut line = String::new();
    BufReader::new(File::from(fd)).read_line(&mut line).unwrap();
    line
}

fn blocking(fd: OwnedFd) -> TcpStream {
    let stream = TcpStream::from(fd);
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Directories of our groups that still exist, in any controller.
fn groups(parent: &str) -> Vec<String> {
    let output = Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-type",
            "d",
            "-path",
            &format!("*/{parent}*"),
        ])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Processes of the host that are in a group of ours.
fn members(parent: &str) -> usize {
    let in_group = |entry: fs::DirEntry| {
        fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|text| text.contains(parent))
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(in_group)
        .filter(|hit| *hit)
        .count()
}

#[test]
fn thirty_sandboxes_leave_nothing_behind() {
    if !privileged() {
        return;
    }
    let parent = options().cgroup_parent;
    let mounts = || {
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .count()
    };
    let before = mounts();
    let zygote = Zygote::launch(options()).unwrap();
    let mut start_us = Vec::new();
    for round in 0..30 {
        let mut started = zygote.start(&spec()).unwrap();
        start_us.push(started.attestation.start_us);
        started
            .init
            .exec(&exec(&["sh", "-c", "sleep 1000 & sleep 1001"]))
            .unwrap();
        assert!(members(&parent) >= 2, "round {round}");
        started.kill_and_wait().unwrap();
        assert_eq!(members(&parent), 0, "round {round}");
    }
    drop(zygote);
    start_us.sort_unstable();
    println!(
        "microseconds to start and attest: least {}, median {}",
        start_us[0], start_us[15]
    );
    assert_eq!(groups(&parent), Vec::<String>::new());
    assert_eq!(mounts(), before);
}

#[test]
fn a_door_is_reached_from_inside_and_tells_sandboxes_apart() {
    if !privileged() {
        return;
    }
    let zygote = Zygote::launch(options()).unwrap();
    let mut with_door = spec();
    with_door.doors = vec![Door::stream("gateway", 8080)];
    let mut first = zygote.start(&with_door).unwrap();
    with_door.id = unique("test").parse().unwrap();
    let mut second = zygote.start(&with_door).unwrap();
    for (started, word) in [(&mut first, "one"), (&mut second, "two")] {
        let script = format!(
            "import socket; s = socket.create_connection(('127.0.0.1', 8080)); s.send(b'{word}\\n'); \
             print(s.recv(9).decode(), flush=True)"
        );
        let (_, [_, stdout, _]) = started
            .init
            .exec(&exec(&["python3", "-c", &script]))
            .unwrap();
        let (door, fd) = started.doors.pop().unwrap();
        assert_eq!((door.name.as_str(), door.port), ("gateway", 8080));
        assert!(ringfence_sys::ns::readable(fd.as_fd(), None).unwrap());
        let (mut peer, _) = TcpListener::from(fd).accept().unwrap();
        peer.set_nonblocking(false).unwrap();
        let mut said = [0; 4];
        peer.read_exact(&mut said).unwrap();
        assert_eq!(&said, format!("{word}\n").as_bytes());
        peer.write_all(b"heard").unwrap();
        assert_eq!(line(stdout), "heard\n");
    }
    first.kill_and_wait().unwrap();
    second.kill_and_wait().unwrap();
}

#[test]
fn a_server_inside_is_reached_by_connect() {
    if !privileged() {
        return;
    }
    let (_zygote, mut started) = started(&spec());
    let refused = started.init.connect(9000).map(drop).map_err(|e| e.code().0);
    assert_eq!(refused, Err("run/connect-refused"));
    let server = "import socket; s = socket.create_server(('127.0.0.1', 9000)); \
                  print('up', flush=True); c, _ = s.accept(); c.send(c.recv(9).upper())";
    let (id, [_, stdout, _]) = started
        .init
        .exec(&exec(&["python3", "-c", server]))
        .unwrap();
    assert_eq!(line(stdout), "up\n");
    let mut stream = blocking(started.init.connect(9000).unwrap());
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "HELLO");
    assert_eq!(ended(&mut started.init), (id, Ended::Exited(0)));
    started.kill_and_wait().unwrap();
}

#[test]
fn a_frozen_sandbox_stands_still_and_goes_on() {
    if !privileged() {
        return;
    }
    let (_zygote, mut started) = started(&spec());
    let (_, [stdin, stdout, _]) = started.init.exec(&exec(&["cat"])).unwrap();
    started.freeze(true).unwrap();
    File::from(stdin.try_clone().unwrap())
        .write_all(b"echo\n")
        .unwrap();
    assert!(!ringfence_sys::ns::readable(stdout.as_fd(), Some(200)).unwrap());
    let evidence = started.evidence();
    assert!(evidence.iter().any(|p| p.command == "cat"), "{evidence:?}");
    assert!(
        evidence.iter().all(|p| !p.kernel_stack.is_empty()),
        "{evidence:?}"
    );
    started.freeze(false).unwrap();
    assert_eq!(line(stdout), "echo\n");
    started.kill_and_wait().unwrap();
}

#[test]
fn a_frozen_sandbox_can_be_ended() {
    if !privileged() {
        return;
    }
    let (_zygote, mut started) = started(&spec());
    started.init.exec(&exec(&["sleep", "1000"])).unwrap();
    started.freeze(true).unwrap();
    started.kill_and_wait().unwrap();
}

#[test]
fn two_programs_at_once_have_their_own_ends_and_signals() {
    if !privileged() {
        return;
    }
    let (_zygote, mut started) = started(&spec());
    let (first, _a) = started.init.exec(&exec(&["sleep", "1000"])).unwrap();
    let (second, _b) = started.init.exec(&exec(&["sleep", "1000"])).unwrap();
    started.init.signal(first, 15).unwrap();
    assert_eq!(ended(&mut started.init), (first, Ended::Signaled(15)));
    started.init.signal(second, 9).unwrap();
    assert_eq!(ended(&mut started.init), (second, Ended::Signaled(9)));
    started.init.signal(second, 9).unwrap();
    started.kill_and_wait().unwrap();
}

/// Stops every other process of its namespace, for ever.
const STOPPER: &str = r"
import os
print('up', flush=True)
while True:
    try: os.kill(-1, 19)
    except OSError: pass
";

/// LIMIT: programs started beside the stopper; it meets one between fork and exec long before.
const STARTS_MAX: usize = 60;

#[test]
fn a_program_that_stops_the_start_of_others_costs_its_own_sandbox_only() {
    if !privileged() {
        return;
    }
    let mut wide = spec();
    wide.cpu_millis = None;
    let (zygote, mut started) = started(&wide);
    let (stopper, [_in, stdout, _err]) = started
        .init
        .exec(&exec(&["python3", "-c", STOPPER]))
        .unwrap();
    assert_eq!(line(stdout), "up\n");
    let mut streams = Vec::new();
    let mut worst = Duration::ZERO;
    let code = (0..STARTS_MAX).find_map(|_| {
        let asked = Instant::now();
        let outcome = started.init.exec(&exec(&["sleep", "1000"]));
        worst = worst.max(asked.elapsed());
        outcome
            .map(|kept| streams.push(kept))
            .err()
            .map(|e| e.code().0)
    });
    assert_eq!(code, Some("run/exec-stalled"));
    let limit = Duration::from_millis(ANSWER_MS_MAX + 1_000);
    assert!(worst < limit, "{worst:?}");
    // Nothing is asked of it again, every program in it is lost, and it can be ended.
    let again = Instant::now();
    let refused = started.init.exec(&exec(&["true"])).map_err(|e| e.code().0);
    assert_eq!(refused.map(drop), Err("run/exec-stalled"));
    assert!(again.elapsed() < Duration::from_secs(1));
    let mut lost = Vec::new();
    let last = loop {
        match started.init.next_notice() {
            Ok(Some(InitNotice::Ended { exec_id, ended })) => lost.push((exec_id, ended)),
            Ok(other) => panic!("{other:?} where the end was due"),
            Err(error) => break error.code().0,
        }
    };
    assert_eq!(last, "run/exec-stalled");
    assert!(lost.contains(&(stopper, Ended::Lost)), "{lost:?}");
    started.kill_and_wait().unwrap();
    // The next sandbox is none the worse for it.
    let mut next = zygote.start(&spec()).unwrap();
    let (id, _streams) = next.init.exec(&exec(&["true"])).unwrap();
    assert_eq!(ended(&mut next.init), (id, Ended::Exited(0)));
    next.kill_and_wait().unwrap();
}

#[test]
fn a_child_that_is_stopped_before_its_exec_says_nothing_until_it_is_killed() {
    // The control: what a reader without a limit would wait for.
    let script = "import os, select\n\
         r, w = os.pipe()\n\
         child = os.fork()\n\
         if child == 0:\n os.kill(os.getpid(), 19); os.execv('/bin/true', ['true'])\n\
         os.close(w)\n\
         os.waitpid(child, os.WUNTRACED)\n\
         before = select.select([r], [], [], 1)[0]\n\
         os.kill(child, 9)\n\
         print(len(before), os.read(r, 1))";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0 b''\n");
}

#[test]
fn an_init_that_does_not_answer_is_given_up_and_no_late_answer_is_believed() {
    if !privileged() {
        return;
    }
    let (_zygote, mut started) = started(&spec());
    let (id, _streams) = started.init.exec(&exec(&["sleep", "1000"])).unwrap();
    let init = ringfence_sys::spawn::pid_of(&started.pidfd)
        .unwrap()
        .to_string();
    let kill = |signal: &str| Command::new("kill").args([signal, &init]).status().unwrap();
    assert!(kill("-STOP").success());
    let asked = Instant::now();
    let silent = started.init.connect(9000).map(drop).map_err(|e| e.code().0);
    assert_eq!(silent, Err("run/sandbox-silent"));
    assert!(asked.elapsed() < Duration::from_millis(ANSWER_MS_MAX * 2));
    // Its answer to the connect comes now, and is not taken for one to this.
    assert!(kill("-CONT").success());
    assert!(ringfence_sys::ns::readable(started.init.fd(), None).unwrap());
    let next = started.init.exec(&exec(&["true"])).map(drop);
    assert_eq!(next.map_err(|e| e.code().0), Err("run/sandbox-silent"));
    assert_eq!(ended(&mut started.init), (id, Ended::Lost));
    started.kill_and_wait().unwrap();
}

#[test]
fn programs_of_a_sandbox_that_is_killed_are_reported_lost() {
    if !privileged() {
        return;
    }
    let (_zygote, started) = started(&spec());
    let Started {
        mut init,
        pidfd,
        group,
        ..
    } = started;
    let (id, _streams) = init.exec(&exec(&["sleep", "1000"])).unwrap();
    ringfence_sandbox::zygote::end(&pidfd, &group).unwrap();
    assert_eq!(ended(&mut init), (id, Ended::Lost));
    assert_eq!(
        init.next_notice().map_err(|e| e.code().0),
        Err("run/sandbox-lost")
    );
}

#[test]
fn this_very_binary_runs_from_its_sealed_copy() {
    if !privileged() {
        return;
    }
    let (_zygote, mut started) = started(&spec());
    let request = ExecRequest {
        program: Program::Ringfence(vec!["no-such-role".to_owned()]),
        ..exec(&["unused"])
    };
    let (id, _streams) = started.init.exec(&request).unwrap();
    assert_eq!(ended(&mut started.init), (id, Ended::Exited(2)));
    started.kill_and_wait().unwrap();
}

/// A process of its own that owns a sandbox with one shell in it.
fn owner(parent: &str, script: &str) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_sandbox-probe"))
        .args(["run", parent, "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

#[test]
fn when_the_owner_is_killed_everything_inside_dies_and_is_cleaned_up() {
    if !privileged() {
        return;
    }
    let parent = unique("ringfence-test-owner");
    let mut child = owner(&parent, "echo up; setsid sleep 1000 & sleep 1001");
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    assert_eq!(said, "up\n");
    assert!(members(&parent) >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    // The end of this pipe is the death of the last process inside that held it.
    stdout.read_line(&mut said).unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    while !groups(&parent).is_empty() {
        assert!(Instant::now() < limit, "{:?}", groups(&parent));
        std::thread::yield_now();
    }
    assert_eq!(members(&parent), 0);
}

#[test]
fn a_signal_to_the_owner_reaches_the_command() {
    if !privileged() {
        return;
    }
    let parent = unique("ringfence-test-signal");
    let mut child = owner(
        &parent,
        "trap 'exit 5' INT; echo up; sleep 1000 & wait; wait",
    );
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    // To the whole process group, as a terminal does for Ctrl-C.
    let group = format!("-{}", child.id());
    let status = Command::new("kill")
        .args(["-INT", "--", &group])
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(groups(&parent), Vec::<String>::new());
}

#[test]
fn a_full_sandbox_refuses_a_host_without_limits_and_a_weaker_one_says_so() {
    if !privileged() {
        return;
    }
    // A parent that is a file, not a directory, is a host on which no group can be made.
    let mut options = options();
    options.cgroup_parent = "cgroup.procs".to_owned();
    let zygote = Zygote::launch(options).unwrap();
    let refused = zygote
        .start(&spec())
        .map(drop)
        .map_err(|e| (e.code().0, e.help()));
    let Err((code, Some(help))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(code, "run/walls-missing");
    assert!(
        help.contains("systemd-run") && help.contains("--accept-weaker"),
        "{help}"
    );
    let mut weaker = spec();
    weaker.strictness = Strictness::AcceptWeaker;
    let started = zygote.start(&weaker).unwrap();
    let missing: Vec<Wall> = started.attestation.missing().map(|w| w.wall).collect();
    assert_eq!(
        missing,
        [Wall::MemoryLimit, Wall::ProcessLimit, Wall::CpuLimit]
    );
    assert!(started.attestation.missing().all(|w| w.remedy.is_some()));
    started.kill_and_wait().unwrap();
}

/// Runs the probe binary as a user without any privilege.
fn unprivileged(scratch: &Path, words: &[&str]) -> Command {
    // The build directory may be closed to other users.
    let program = scratch.join("sandbox-probe");
    fs::copy(env!("CARGO_BIN_EXE_sandbox-probe"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "64999", "--regid", "64999", "--clear-groups"]);
    command.arg(program).args(words);
    command
}

#[test]
fn without_root_the_limits_are_missing_by_name_and_the_rest_stands() {
    if !privileged() {
        return;
    }
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
    let parent = unique("ringfence-test-rootless");
    let output = unprivileged(&scratch.0, &["walls", &parent])
        .output()
        .unwrap();
    let walls: Vec<WallState> = serde_json::from_slice(&output.stdout).unwrap();
    let missing: Vec<Wall> = walls.iter().filter(|w| !w.stands).map(|w| w.wall).collect();
    assert_eq!(
        missing,
        [Wall::MemoryLimit, Wall::ProcessLimit, Wall::CpuLimit],
        "{walls:#?}"
    );
    // Without the operator's word nothing runs; with it the command does.
    let refused = unprivileged(&scratch.0, &["run", &parent, "true"])
        .status()
        .unwrap();
    assert_eq!(refused.code(), Some(125));
    let accepted = unprivileged(&scratch.0, &["run-weaker", &parent, "id", "-u"])
        .output()
        .unwrap();
    assert_eq!(
        (accepted.status.code(), accepted.stdout.as_slice()),
        (Some(0), &b"0\n"[..])
    );
}

#[test]
fn a_host_without_user_namespaces_is_refused_with_the_remedy() {
    if !privileged() {
        return;
    }
    // The limit holds for this one user namespace only, not for the host.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" walls x";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_sandbox-probe"))
        .output()
        .unwrap();
    let walls: Vec<WallState> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(walls.iter().all(|w| !w.stands), "{walls:#?}");
    let remedy = walls[0].remedy.as_deref().unwrap();
    assert!(remedy.contains("user.max_user_namespaces"), "{remedy}");
}

#[test]
fn the_host_report_has_every_wall_with_evidence() {
    if !privileged() {
        return;
    }
    let walls = host::walls_with(options());
    let names: Vec<Wall> = walls.iter().map(|w| w.wall).collect();
    assert_eq!(names, Wall::ALL);
    for wall in &walls {
        assert!(
            wall.stands && !wall.evidence.is_empty() && wall.remedy.is_none(),
            "{wall:?}"
        );
    }
    assert!(!Path::new("/sys/fs/cgroup/ringfence-doctor").exists());
}
