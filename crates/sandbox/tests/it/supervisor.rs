//! The supervisor as a process: roles die, it dies, and what must live or end does.

use crate::support::{Scratch, exec, privileged, unique};
use ringfence_core::isolation::{Access, Door, Ended, ExecRequest, Mount, Spec, Strictness};
use ringfence_core::ports::{Isolation, Sandbox};
use ringfence_sandbox::client::SupervisorClient;
use ringfence_sandbox::supervisor::{EXECS_MAX, RESTARTING, RESTARTS_MAX, SANDBOX_PROCESSES_MAX};
use ringfence_sys::seqpacket::SeqPacket;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A supervisor under test and what its roles handed over.
struct Stage {
    process: Child,
    listener: UnixListener,
    scratch: Scratch,
}

/// A role as the test holds it: its process, and what it was given.
struct Held {
    pid: Pid,
    uid: u32,
    fd: OwnedFd,
    control: UnixStream,
}

impl Stage {
    fn start(identities: &str) -> (Self, Held, Held) {
        let scratch = Scratch::new();
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o711)).unwrap();
        let socket = scratch.0.join("stage.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_supervisor-stage"))
            .arg("supervise")
            .args([scratch.0.join("state"), socket])
            .arg(identities)
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stage = Self {
            process,
            listener,
            scratch,
        };
        let (first, second) = (stage.report(), stage.report());
        let (recorder, server) = if first.0 == "recorder" {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!((&*recorder.0, &*server.0), ("recorder", "server"));
        (stage, recorder.1, server.1)
    }

    fn state(&self) -> std::path::PathBuf {
        self.scratch.0.join("state")
    }

    /// The next role that reports, which must be this one.
    fn next(&self, expected: &str) -> Held {
        let (name, held) = self.report();
        assert_eq!(name, expected);
        held
    }

    /// The next role that reports, with its name.
    fn report(&self) -> (String, Held) {
        let (control, _) = self.listener.accept().unwrap();
        let mut word = Vec::new();
        let packet = SeqPacket::new(control.try_clone().unwrap().into());
        let mut fds = packet.recv(&mut word).unwrap();
        let word = String::from_utf8(word).unwrap();
        let parts: Vec<&str> = word.split(' ').collect();
        let [name, pid, uid] = parts[..] else {
            panic!("{word}")
        };
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        let (uid, fd) = (uid.parse().unwrap(), fds.pop().unwrap());
        (
            name.to_owned(),
            Held {
                pid,
                uid,
                fd,
                control,
            },
        )
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn wait(mut self) -> (ExitStatus, Scratch) {
        (self.process.wait().unwrap(), self.scratch)
    }

    /// Directories of this supervisor's groups, in any controller.
    fn groups(pid: Pid) -> Vec<String> {
        let pattern = format!("*/ringfence-stage-{}*", pid.as_raw_nonzero());
        let find = ["/sys/fs/cgroup", "-type", "d", "-path", &pattern];
        let output = Command::new("find").args(find).output().unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// Runs a client of a server's channel for as long as `test` takes.
fn with_client<T, F: Future<Output = T>>(
    server: &Held,
    test: impl FnOnce(SupervisorClient) -> F,
) -> T {
    let channel = server.fd.try_clone().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, driver) = SupervisorClient::new(channel);
        let mut driven = JoinSet::new();
        driven.spawn(driver);
        let outcome = test(client).await;
        driven.shutdown().await;
        outcome
    })
}

fn spec() -> Spec {
    let mut spec = Spec::new(unique("stage").parse().unwrap(), "tests".parse().unwrap());
    spec.doors.push(Door::stream("gateway", 8080));
    spec
}

/// A program inside that asks its door and prints the answer's first line, again and again, when
/// it is given a connection: the test steps it through its port.
const ASKER: &str = r"
import socket
listener = socket.create_server(('127.0.0.1', 9000))
print('ready', flush=True)
while True:
    step, _ = listener.accept()
    door = socket.create_connection(('127.0.0.1', 8080))
    door.sendall(b'POST /v1/x HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}')
    data = b''
    while True:
        piece = door.recv(65536)
        if not piece: break
        data += piece
    step.sendall(data)
    step.close()
    print('stepped', flush=True)
";

fn asker() -> ExecRequest {
    let mut request = exec(&["python3", "-c", ASKER]);
    request.wall_ms = None;
    request
}

async fn step(sandbox: &Arc<dyn Sandbox>) -> TcpStream {
    let stream = TcpStream::from(sandbox.connect(9000).await.unwrap());
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Plays the server behind a door for one request, which ends with its body `{}`.
fn answer(door: &TcpListener, text: &str) {
    let (mut inside, _) = door.accept().unwrap();
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"{}") {
        inside.read_exact(&mut byte).unwrap();
        request.extend_from_slice(&byte);
    }
    inside
        .write_all(format!("HTTP/1.1 200 OK\r\n\r\n{text}").as_bytes())
        .unwrap();
}

fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn line(fd: OwnedFd) -> (String, OwnedFd) {
    let mut file = fs::File::from(fd);
    let mut text = Vec::new();
    let mut byte = [0];
    while file.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    (String::from_utf8(text).unwrap(), file.into())
}

/// Waits until the kernel says that this process has ended.
fn await_end(pidfd: &OwnedFd) {
    ringfence_sys::ns::readable(std::os::fd::AsFd::as_fd(pidfd), None).unwrap();
}

fn pidfd(pid: Pid) -> OwnedFd {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

/// The processes of the host whose group is one of this supervisor's.
fn members(supervisor: Pid) -> Vec<Pid> {
    let name = format!("ringfence-stage-{}/", supervisor.as_raw_nonzero());
    let inside = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&name))
    };
    let names = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|e| e.file_name());
    let pids = names
        .filter_map(|n| n.to_str().and_then(|n| n.parse().ok()))
        .filter(inside);
    pids.filter_map(Pid::from_raw).collect()
}

#[test]
fn a_killed_server_costs_no_sandbox_and_the_next_one_adopts_it() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    let spec = spec();
    let (stdout, sandbox_id) = with_client(&server, |client| {
        let spec = spec.clone();
        async move {
            let sandbox = client.start(spec).await.unwrap();
            let running = sandbox.exec(asker()).await.unwrap();
            let (text, stdout) = line(running.stdout);
            assert_eq!(text, "ready");
            // Control off: with a server behind it, the door is answered by the server.
            let (_, door) = sandbox.take_doors().pop().unwrap();
            let door = TcpListener::from(door);
            door.set_nonblocking(false).unwrap();
            let waiting = step(&sandbox).await;
            answer(&door, "served");
            assert!(read_all(waiting).ends_with("served"));
            (stdout, sandbox.id().clone())
        }
    });
    // The test's own copies of the server's ends go with the server.
    drop(stdout);
    kill_process(server.pid, Signal::KILL).unwrap();
    drop(server);
    let server = stage.next("server");
    with_client(&server, |client| async move {
        // Not adopted yet: sandboxes can be asked by id only after adoption, so a second client of
        // the same channel looks at the door first, through the program inside.
        let mut adopted = client.adopt().await.unwrap();
        assert_eq!(adopted.len(), 1);
        let one = adopted.pop().unwrap();
        assert_eq!(one.sandbox.id(), &sandbox_id);
        assert_eq!(one.spec, spec);
        assert!(one.sandbox.attestation().walls.iter().all(|w| w.stands));
        let exec = one.execs.into_iter().next().unwrap();
        let (text, _stdout) = line(exec.stdout);
        assert_eq!(
            text, "stepped",
            "the program went on printing while no server read it"
        );
        assert!(client.adopt().await.unwrap().is_empty(), "adopted once");
        let (_, door) = one.sandbox.take_doors().pop().unwrap();
        let door = TcpListener::from(door);
        door.set_nonblocking(false).unwrap();
        let waiting = step(&one.sandbox).await;
        answer(&door, "again");
        assert!(read_all(waiting).ends_with("again"));
        one.sandbox.signal(exec.exec_id, 15).await.unwrap();
        assert_eq!(exec.ended.await, Ended::Signaled(15));
        one.sandbox.close().await.unwrap();
    });
    stop(stage, server);
}

#[test]
fn a_door_without_a_server_answers_503_and_the_supervisor_reads_nothing() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    let sandbox = with_client(&server, |client| async move {
        let sandbox = client.start(spec()).await.unwrap();
        let running = sandbox.exec(asker()).await.unwrap();
        assert_eq!(line(running.stdout).0, "ready");
        // A step that was begun before the server dies is answered after its death.
        (sandbox.take_doors(), step(&sandbox).await)
    });
    let (doors, waiting) = sandbox;
    kill_process(server.pid, Signal::KILL).unwrap();
    drop((server, doors));
    let server = stage.next("server");
    assert_eq!(read_all(waiting), RESTARTING);
    stop(stage, server);
}

/// Ends a supervisor in order and checks that nothing is left of it.
fn stop(stage: Stage, server: Held) {
    let pid = stage.pid();
    kill_process(pid, Signal::TERM).unwrap();
    let (status, scratch) = stage.wait();
    drop(server);
    assert_eq!(status.code(), Some(0));
    nothing_left(pid, &scratch.0);
}

fn nothing_left(pid: Pid, scratch: &Path) {
    assert_eq!(Stage::groups(pid), Vec::<String>::new());
    assert_eq!(members(pid), Vec::new());
    let needle = scratch.to_str().unwrap().as_bytes();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let found = command.windows(needle.len()).any(|w| w == needle);
        assert!(!found, "{} still runs", entry.path().display());
    }
    ringfence_sys::lock::DirLock::acquire(&scratch.join("state")).unwrap();
}

#[test]
fn an_orderly_stop_leaves_no_process_no_group_and_no_lock() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    with_client(&server, |client| async move {
        let sandbox = client.start(spec()).await.unwrap();
        sandbox.exec(asker()).await.unwrap();
    });
    assert!(!members(stage.pid()).is_empty() && !Stage::groups(stage.pid()).is_empty());
    let second = Command::new(env!("CARGO_BIN_EXE_supervisor-stage"))
        .arg("supervise")
        .args([stage.state(), stage.scratch.0.join("stage.sock")])
        .arg("same")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    let holder = format!("is in use by process {}", stage.pid().as_raw_nonzero());
    assert!(
        text.contains("error[run/state-locked]") && text.contains(&holder),
        "{text}"
    );
    stop(stage, server);
}

#[test]
fn ctrl_c_in_the_terminal_reaches_only_the_supervisor_which_then_ends_everything() {
    if !privileged() {
        return;
    }
    let (stage, recorder, server) = Stage::start("same");
    with_client(&server, |client| async move {
        client.start(spec()).await.unwrap();
    });
    for role in [&recorder, &server] {
        let group = rustix::process::getpgid(Some(role.pid)).unwrap();
        assert_eq!(group, role.pid, "a role is not in the terminal's group");
    }
    let pid = stage.pid();
    kill_process_group(pid, Signal::INT).unwrap();
    let (status, scratch) = stage.wait();
    assert_eq!(status.code(), Some(0));
    nothing_left(pid, &scratch.0);
}

#[test]
fn a_killed_supervisor_takes_every_role_and_sandbox_with_it() {
    if !privileged() {
        return;
    }
    let (stage, recorder, server) = Stage::start("own");
    with_client(&server, |client| async move {
        let sandbox = client.start(spec()).await.unwrap();
        let running = sandbox.exec(asker()).await.unwrap();
        assert_eq!(line(running.stdout).0, "ready");
    });
    let pid = stage.pid();
    let mut watched: Vec<OwnedFd> = members(pid).into_iter().map(pidfd).collect();
    assert!(watched.len() >= 2, "an init and a program");
    watched.extend([pidfd(recorder.pid), pidfd(server.pid)]);
    kill_process(pid, Signal::KILL).unwrap();
    stage.wait();
    watched.iter().for_each(await_end);
}

#[test]
fn a_server_that_ends_by_itself_ends_the_service_with_its_code() {
    if !privileged() {
        return;
    }
    for code in [1_u8, 3] {
        let (stage, _recorder, mut server) = Stage::start("same");
        server.control.write_all(&[code]).unwrap();
        let (status, _scratch) = stage.wait();
        assert_eq!(status.code(), Some(i32::from(code)));
    }
}

#[test]
fn a_role_that_dies_too_often_ends_everything_with_a_clear_error() {
    if !privileged() {
        return;
    }
    let (stage, mut recorder, server) = Stage::start("same");
    for _ in 0..RESTARTS_MAX {
        kill_process(recorder.pid, Signal::KILL).unwrap();
        recorder = stage.next("recorder");
    }
    kill_process(recorder.pid, Signal::KILL).unwrap();
    let pid = stage.pid();
    let (status, scratch) = stage.wait();
    drop(server);
    assert_eq!(status.code(), Some(100));
    nothing_left(pid, &scratch.0);
}

#[test]
fn roles_run_as_their_own_users_and_own_their_directories_only() {
    if !privileged() {
        return;
    }
    let (stage, recorder, server) = Stage::start("own");
    assert_eq!((recorder.uid, server.uid), (65_101, 65_102));
    let state = stage.state();
    let owner = |name: &str| {
        let found = fs::metadata(state.join(name)).unwrap();
        (found.uid(), found.mode() & 0o777)
    };
    assert_eq!(owner("record"), (65_101, 0o700));
    assert_eq!(owner("server"), (65_102, 0o700));
    assert_eq!(owner("recorder.sock"), (65_102, 0o600));
    assert_eq!(owner(""), (0, 0o711));
    for role in [&recorder, &server] {
        let status = fs::read_to_string(format!("/proc/{}/status", role.pid.as_raw_nonzero()));
        let status = status.unwrap();
        for line in [
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line}: {status}");
        }
    }
    // The socket was made by the supervisor: what is written to it arrives at the recorder.
    let listener = UnixListener::from(recorder.fd.try_clone().unwrap());
    let mut writer = UnixStream::connect(state.join("recorder.sock")).unwrap();
    writer.write_all(b"x").unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
    stop(stage, server);
}

#[test]
fn a_taken_over_server_cannot_mount_the_host_or_weaken_the_walls() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    let mountable = stage.state().join("mountable");
    fs::create_dir(&mountable).unwrap();
    fs::set_permissions(&mountable, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(mountable.join("file"), "hosted").unwrap();
    with_client(&server, |client| async move {
        let mounting = |source: &Path| {
            let mut spec = spec();
            let target = "/project".into();
            let access = Access::ReadOnly;
            spec.mounts = vec![Mount {
                source: source.to_owned(),
                target,
                access,
            }];
            spec
        };
        let refused = client
            .start(mounting(Path::new("/etc")))
            .await
            .err()
            .unwrap();
        assert_eq!(refused.code, "run/mount-not-allowed");
        let mut weak = spec();
        weak.strictness = Strictness::AcceptWeaker;
        let refused = client.start(weak).await.err().unwrap();
        assert_eq!(refused.code, "run/weaker-not-accepted");
        for take in [
            (|spec: &mut Spec| spec.memory_bytes = u64::MAX) as fn(&mut Spec),
            |spec| spec.processes = SANDBOX_PROCESSES_MAX + 1,
            |spec| spec.cpu_millis = Some(u32::MAX),
            |spec| spec.tmp_bytes = u64::MAX,
        ] {
            let mut greedy = spec();
            take(&mut greedy);
            let refused = client.start(greedy).await.err().unwrap();
            assert_eq!(refused.code, "run/limit-too-high");
        }
        let sandbox = client.start(mounting(&mountable)).await.unwrap();
        let running = sandbox.exec(exec(&["cat", "/project/file"])).await.unwrap();
        assert_eq!(running.ended.await, Ended::Exited(0));
        assert_eq!(line(running.stdout).0, "hosted");
    });
    stop(stage, server);
}

#[test]
fn limits_freezing_and_unknown_names_are_answered_through_the_channel() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    with_client(&server, |client| async move {
        let sandbox = client.start(spec()).await.unwrap();
        let mut slow = exec(&["sleep", "1000"]);
        slow.wall_ms = Some(100);
        let running = sandbox.exec(slow).await.unwrap();
        assert_eq!(running.ended.await, Ended::TimedOut);
        let missing = sandbox.exec(exec(&["/nonexistent"])).await.err().unwrap();
        assert_eq!(missing.code, "run/command-not-found");
        sandbox.freeze(true).await.unwrap();
        let refused = sandbox.exec(exec(&["true"])).await.err().unwrap();
        assert_eq!(refused.code, "run/sandbox-frozen");
        assert!(!sandbox.evidence().await.unwrap().is_empty());
        sandbox.freeze(false).await.unwrap();
        let running = sandbox.exec(exec(&["true"])).await.unwrap();
        assert_eq!(running.ended.await, Ended::Exited(0));
        assert!(sandbox.stats().await.unwrap().memory_peak_bytes > 0);
        let again = sandbox.exec(asker()).await.unwrap();
        sandbox.close().await.unwrap();
        assert_eq!(again.ended.await, Ended::Lost);
        assert_eq!(
            sandbox.stats().await.unwrap_err().code,
            "run/sandbox-unknown"
        );
    });
    stop(stage, server);
}

/// Whether the supervisor has no such sandbox any more.
async fn is_gone(sandbox: &Arc<dyn Sandbox>) -> bool {
    let code = sandbox.stats().await.map(drop).map_err(|e| e.code);
    code == Err("run/sandbox-unknown".to_owned())
}

#[test]
fn a_program_that_outlives_its_time_costs_its_sandbox_and_no_other() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    let supervisor = stage.pid();
    with_client(&server, |client| async move {
        let sandbox = client.start(spec()).await.unwrap();
        let init = members(supervisor).pop().unwrap();
        let gone = pidfd(init);
        let mut request = exec(&["sleep", "1000"]);
        request.wall_ms = Some(500);
        let running = sandbox.exec(request).await.unwrap();
        // The control: who should kill the program cannot.
        kill_process(init, Signal::STOP).unwrap();
        let other = client.start(spec()).await.unwrap();
        assert_eq!(running.ended.await, Ended::TimedOut);
        assert!(is_gone(&sandbox).await);
        await_end(&gone);
        let fine = other.exec(exec(&["true"])).await.unwrap();
        assert_eq!(fine.ended.await, Ended::Exited(0));
        other.close().await.unwrap();
    });
    stop(stage, server);
}

#[test]
fn a_program_that_stops_the_start_of_others_ends_with_its_sandbox() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    with_client(&server, |client| async move {
        let other = client.start(spec()).await.unwrap();
        let mut wide = spec();
        wide.cpu_millis = None;
        let sandbox = client.start(wide).await.unwrap();
        let stopper = "import os\nprint('up', flush=True)\nwhile True:\n try: os.kill(-1, 19)\n \
                       except OSError: pass";
        let running = sandbox.exec(exec(&["python3", "-c", stopper])).await;
        let running = running.unwrap();
        assert_eq!(line(running.stdout).0, "up");
        let mut code = None;
        for _ in 1..EXECS_MAX {
            match sandbox.exec(exec(&["sleep", "1000"])).await {
                Ok(_) => {}
                Err(error) => {
                    code = Some(error.code);
                    break;
                }
            }
        }
        assert_eq!(code.as_deref(), Some("run/exec-stalled"));
        assert_eq!(running.ended.await, Ended::Lost);
        assert!(is_gone(&sandbox).await);
        let fine = other.exec(exec(&["true"])).await.unwrap();
        assert_eq!(fine.ended.await, Ended::Exited(0));
        other.close().await.unwrap();
    });
    stop(stage, server);
}

#[test]
fn a_server_that_breaks_the_protocol_is_replaced() {
    if !privileged() {
        return;
    }
    let (stage, _recorder, server) = Stage::start("same");
    let channel = SeqPacket::new(server.fd.try_clone().unwrap());
    channel
        .send(br#"{"v":0,"id":1,"ask":"adopt","extra":1}"#, &[])
        .unwrap();
    let next = stage.next("server");
    assert_ne!(next.pid, server.pid);
    stop(stage, next);
}
