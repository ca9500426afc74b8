//! The sandbox attacks itself: one or more probes for each wall, each with its answer.
//!
//! A layer counts as standing because an attack on it was refused in the way only that layer
//! refuses, not because a file says that it is configured.
//! INVARIANT: the probes run in a process that has every layer on, as a hosted program would.

use crate::init::Inherited;
use crate::zygote::wire::ProbeFinding;
use ringfence_core::isolation::Wall;
use ringfence_sys::attempt::{Attempt, errno_name};
use ringfence_sys::{ns, spawn};
use std::fs;
use std::io::{self, Read, Write, pipe};
use std::net::{SocketAddr, UdpSocket};

/// Forks a process for the probes and returns what it found.
pub(crate) fn attack(inherited: &Inherited) -> io::Result<Vec<ProbeFinding>> {
    let (mut receive, mut send) = pipe()?;
    match spawn::fork()? {
        None => {
            let findings = serde_json::to_vec(&all(inherited)).unwrap_or_default();
            let sent = send.write_all(&findings);
            spawn::exit_now(i32::from(sent.is_err()))
        }
        Some(pid) => {
            drop(send);
            let mut bytes = Vec::new();
            receive.read_to_end(&mut bytes)?;
            spawn::wait_for(pid)?;
            serde_json::from_slice(&bytes).map_err(io::Error::other)
        }
    }
}

fn all(inherited: &Inherited) -> Vec<ProbeFinding> {
    let mut findings = vec![
        refused(Wall::MountNamespace, Attempt::Mount, &["EPERM"]),
        network(),
        process_table(),
        host_name(),
        cgroup_view(),
        ipc_objects(),
        refused(Wall::Seccomp, Attempt::UnshareUser, &["EPERM"]),
        refused(Wall::Seccomp, Attempt::Clone3, &["ENOSYS"]),
        refused(Wall::Seccomp, Attempt::Ptrace, &["EPERM"]),
        refused(Wall::Seccomp, Attempt::Keyctl, &["EPERM"]),
        refused(Wall::Seccomp, Attempt::IoUring, &["ENOSYS"]),
        refused(Wall::Seccomp, Attempt::Bpf, &["EPERM"]),
        refused(Wall::Seccomp, Attempt::Netlink, &["EAFNOSUPPORT"]),
        refused(Wall::NoPrivileges, Attempt::RaiseCapability, &["EPERM"]),
        status(),
        user_map(),
        // Last of all: where it succeeds, the process is another user from here on. EINVAL says
        // that the user does not exist here; without a user namespace it would be EPERM.
        refused(Wall::UserNamespace, Attempt::SetUid(1), &["EINVAL"]),
    ];
    // A small number could be one of our own processes.
    if inherited.zygote_pid > 100 {
        let attempt = Attempt::FindProcess(inherited.zygote_pid);
        findings.push(refused(Wall::PidNamespace, attempt, &["ESRCH"]));
    }
    findings.extend(
        inherited
            .outside
            .iter()
            .filter_map(|(kind, outside)| elsewhere(kind, outside)),
    );
    findings
}

fn finding(wall: Wall, held: bool, evidence: String) -> ProbeFinding {
    ProbeFinding {
        wall,
        held,
        evidence,
    }
}

fn refused(wall: Wall, attempt: Attempt, expected: &[&str]) -> ProbeFinding {
    let answer = attempt
        .make()
        .map_or_else(|e| errno_name(&e), |()| "success".to_owned());
    let held = expected.contains(&answer.as_str());
    finding(wall, held, format!("{}: {answer}", attempt.name()))
}

/// The namespace of this kind is not the host's.
fn elsewhere(kind: &str, outside: &str) -> Option<ProbeFinding> {
    let wall = match kind {
        "user" => Wall::UserNamespace,
        "mnt" => Wall::MountNamespace,
        "pid" => Wall::PidNamespace,
        "net" => Wall::NetNamespace,
        "ipc" => Wall::IpcNamespace,
        "uts" => Wall::UtsNamespace,
        "cgroup" => Wall::CgroupNamespace,
        _ => return None,
    };
    let inside = ns::identity("self", kind).unwrap_or_else(|e| errno_name(&e));
    let held = inside != outside && inside.starts_with(kind);
    Some(finding(
        wall,
        held,
        format!("{inside}, the host has {outside}"),
    ))
}

/// No interface but loopback, and no way to an address outside (192.0.2.1 is for documentation,
/// RFC 5737): there is no route, or, with a door for any address, the route leads to this namespace
/// itself, which shows in the address that the kernel gives the socket.
fn network() -> ProbeFinding {
    let interfaces: Vec<String> = fs::read_to_string("/proc/self/net/dev")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
        .collect();
    let outside = SocketAddr::from(([192, 0, 2, 1], 9));
    let answer = UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect(outside).and_then(|()| socket.local_addr()))
        .map_or_else(
            |e| errno_name(&e),
            |own| {
                let itself = own.ip() == outside.ip();
                if itself { ITSELF } else { "success" }.to_owned()
            },
        );
    let held = interfaces == ["lo"] && ["ENETUNREACH", ITSELF].contains(&answer.as_str());
    let evidence = format!(
        "interfaces: {}; connect(192.0.2.1): {answer}",
        interfaces.join(" ")
    );
    finding(Wall::NetNamespace, held, evidence)
}

/// The address is one of this namespace's own.
const ITSELF: &str = "it is here";

/// LIMIT: processes visible to the first process of a sandbox: itself and at most its init.
const VISIBLE_MAX: usize = 2;

fn process_table() -> ProbeFinding {
    let visible = fs::read_dir("/proc").map_or(usize::MAX, |entries| {
        entries
            .flatten()
            .filter(|e| {
                e.file_name()
                    .to_string_lossy()
                    .bytes()
                    .all(|b| b.is_ascii_digit())
            })
            .count()
    });
    let own = std::process::id();
    let held = visible <= VISIBLE_MAX && own < 10;
    finding(
        Wall::PidNamespace,
        held,
        format!("/proc shows {visible} processes, own pid {own}"),
    )
}

fn host_name() -> ProbeFinding {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    finding(
        Wall::UtsNamespace,
        name == "sandbox",
        format!("the host name is {name}"),
    )
}

/// Every line of the own membership ends in the root: the real path on the host is hidden.
fn cgroup_view() -> ProbeFinding {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let seen: Vec<&str> = text
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .collect();
    let leaks = seen.iter().filter(|path| path.contains("/..")).count();
    let held = !seen.is_empty() && leaks == 0;
    let evidence = format!(
        "{} memberships, {leaks} show a path above the sandbox",
        seen.len()
    );
    finding(Wall::CgroupNamespace, held, evidence)
}

fn ipc_objects() -> ProbeFinding {
    let text = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let segments = text.lines().count().saturating_sub(1);
    let evidence = format!("{segments} shared memory segments are visible");
    finding(Wall::IpcNamespace, segments == 0, evidence)
}

fn user_map() -> ProbeFinding {
    let text = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let held = matches!(words.as_slice(), ["0", outside, "1"] if *outside != "0");
    finding(
        Wall::UserNamespace,
        held,
        format!("uid_map is {}", words.join(" ")),
    )
}

fn status() -> ProbeFinding {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map_or("", str::trim)
    };
    let empty = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .iter()
        .all(|set| u64::from_str_radix(value(set), 16) == Ok(0));
    let held = empty && value("NoNewPrivs") == "1";
    let evidence = format!(
        "CapEff {} CapBnd {} NoNewPrivs {}",
        value("CapEff"),
        value("CapBnd"),
        value("NoNewPrivs")
    );
    finding(Wall::NoPrivileges, held, evidence)
}
