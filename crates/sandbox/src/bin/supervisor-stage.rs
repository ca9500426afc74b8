//! A supervisor with two roles that do nothing but hand what they hold to the test that started
//! it. The tests of the supervisor need a process of one thread that can be killed.
//!
//! `supervisor-stage supervise STATE SOCKET IDENTITIES` supervises; each role connects to SOCKET,
//! says `NAME PID UID` with its descriptors beside it, and then ends with the code that it reads.
#![forbid(unsafe_code)]

use ringfence_core::error::Explain;
use ringfence_core::isolation::Access;
use ringfence_sandbox::supervisor::{
    CHANNEL_FD_NAME, RoleCommand, StateDirectory, StateSocket, SupervisorConfig, run,
};
use ringfence_sandbox::zygote::{self, ZygoteOptions};
use ringfence_sys::process::{Identity, named_fds};
use ringfence_sys::seqpacket::SeqPacket;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let code = match words.as_slice() {
        ["role", "zygote", ..] => zygote::main(args.get(2..).unwrap_or(&[])),
        ["role", name, socket, ..] => role(name, socket).unwrap_or(101),
        ["supervise", state, socket, identities] => supervise(state, socket, identities == &"own"),
        _ => 2,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn role(name: &str, socket: &str) -> io::Result<i32> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let (mut fds, _rest) = named_fds(args)?;
    let held = [fds.take(CHANNEL_FD_NAME), fds.take("listener")];
    let held: Vec<OwnedFd> = held.into_iter().flatten().collect();
    let stage = UnixStream::connect(socket)?;
    let mut control = stage.try_clone()?;
    let uid = rustix::process::geteuid().as_raw();
    let word = format!("{name} {} {uid}", std::process::id());
    let beside: Vec<_> = held.iter().map(AsFd::as_fd).collect();
    SeqPacket::new(stage.into()).send(word.as_bytes(), &beside)?;
    let mut code = [0];
    control.read_exact(&mut code)?;
    Ok(code.first().copied().map_or(0, i32::from))
}

fn supervise(state: &str, socket: &str, own_identities: bool) -> i32 {
    let identity = |id: u32| own_identities.then_some(Identity { uid: id, gid: id });
    let (recorder, server) = (identity(65_101), identity(65_102));
    let command = |name: &str, identity, channel| RoleCommand {
        name: name.to_owned(),
        args: vec![socket.into()],
        identity,
        fds: Vec::new(),
        restart: true,
        channel,
    };
    let mut config = SupervisorConfig::new(state.into());
    config.directories = vec![
        StateDirectory {
            name: "record".into(),
            owner: recorder,
        },
        StateDirectory {
            name: "server".into(),
            owner: server,
        },
    ];
    config.sockets = vec![StateSocket {
        name: "recorder.sock".into(),
        connects: server,
        role: "recorder".to_owned(),
        fd_name: "listener".to_owned(),
    }];
    config.roles = vec![
        command("recorder", recorder, false),
        command("server", server, true),
    ];
    config.permits.mounts = vec![(Path::new(state).join("mountable"), Access::ReadOnly)];
    config.zygote = ZygoteOptions {
        cgroup_parent: format!("ringfence-stage-{}", std::process::id()),
        ..ZygoteOptions::default()
    };
    config.announce = Box::new(|what| {
        // A test that is gone hears nothing more.
        drop(writeln!(io::stderr(), "{what:?}"));
    });
    run(config).unwrap_or_else(|error| {
        drop(writeln!(
            io::stderr(),
            "error[{}]: {error}: {:?}",
            error.code(),
            error.why()
        ));
        100
    })
}
