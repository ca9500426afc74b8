//! What roles do to themselves, tried in forked children: giving up root cannot be tried in the
//! process that must report about it.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "calls with integer arguments, in a forked child"
)]

use super::*;
use crate::testing::{in_child, needs_root};
use std::io::Read;
use std::os::unix::net::UnixStream;

const NOBODY: Identity = Identity {
    uid: 65_301,
    gid: 65_302,
};

#[test]
fn root_is_given_up_for_good() {
    if !needs_root("root_is_given_up_for_good") {
        return;
    }
    in_child(|| {
        // Control off: root can change its ids at will.
        assert_eq!(unsafe { libc::setresuid(0, 65_301, 0) }, 0);
        assert_eq!(unsafe { libc::setresuid(0, 0, 0) }, 0);
        drop_to(NOBODY).unwrap();
        assert_ne!(unsafe { libc::setresuid(0, 0, 0) }, 0);
        assert_ne!(unsafe { libc::setresgid(0, 0, 0) }, 0);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(
            status.contains("Uid:\t65301\t65301\t65301\t65301"),
            "{status}"
        );
        assert!(
            status.contains("Gid:\t65302\t65302\t65302\t65302"),
            "{status}"
        );
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        let groups = status.lines().find(|l| l.starts_with("Groups:")).unwrap();
        assert_eq!(groups.trim_end(), "Groups:");
    });
}

#[test]
fn an_undumpable_process_hides_its_memory_from_its_own_user() {
    if !needs_root("an_undumpable_process_hides_its_memory_from_its_own_user") {
        return;
    }
    in_child(|| {
        drop_to(NOBODY).unwrap();
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        let own = std::process::id();
        let peek = move || std::fs::File::open(format!("/proc/{own}/environ"));
        assert!(
            in_fork(move || peek().is_ok()),
            "control off: a sibling reads it"
        );
        set_not_dumpable().unwrap();
        assert!(in_fork(move || peek().is_err()), "control on: refused");
    });
}

/// Whether `check` holds in another process of the same user.
fn in_fork(check: impl FnOnce() -> bool) -> bool {
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = i32::from(!check());
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    status == 0
}

#[test]
fn only_the_kept_descriptors_survive() {
    in_child(|| {
        let (a, _b) = UnixStream::pair().unwrap();
        let kept = park(a.as_raw_fd()).unwrap();
        let gone = park(a.as_raw_fd()).unwrap();
        close_all_except(PARKING_FD, &[kept]).unwrap();
        assert!(unsafe { libc::fcntl(kept, libc::F_GETFD) } >= 0);
        assert!(unsafe { libc::fcntl(gone, libc::F_GETFD) } < 0);
    });
}

/// Runs a shell command as a role from a process with one thread and returns what it printed.
fn spawn_shell(script: &str, identity: Option<Identity>, extra: &[(&str, BorrowedFd<'_>)]) -> Exit {
    let program = Path::new("/bin/sh");
    let argv = ["sh", "-c", script, "role"].map(OsString::from).to_vec();
    let child = spawn_role(RoleProgram {
        program,
        argv,
        identity,
        fds: extra.to_vec(),
    })
    .unwrap();
    child.wait().unwrap()
}

#[test]
fn a_role_has_an_empty_environment_its_named_descriptor_and_nothing_else() {
    in_child(|| {
        let (mut near, far) = UnixStream::pair().unwrap();
        let leak = park_open(&far);
        let script = "echo \"$1 $2\" >&3; tr '\\0' '\\n' </proc/self/environ | \
                      grep -cv -e '^PWD' -e '^OLDPWD' -e '^_=' >&3; \
                      for n in /proc/self/fd/*; do echo \"${n##*/}\"; done | tr '\\n' ' ' >&3";
        let exit = spawn_shell(script, None, &[("report", far.as_fd())]);
        assert_eq!(exit, Exit::Code(0));
        drop((far, leak));
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("--fd report=3"));
        assert_eq!(lines.next(), Some("0"), "environment entries");
        let fds: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert!(
            !fds.iter()
                .any(|n| n.parse::<i32>().is_ok_and(|n| n >= PARKING_FD)),
            "{fds:?}"
        );
    });
}

/// A descriptor without close-on-exec, as careless code would leave it.
fn park_open(fd: &UnixStream) -> OwnedFd {
    let raw = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, PARKING_FD) };
    unsafe { OwnedFd::from_raw_fd(raw) }
}

#[test]
fn a_role_runs_as_its_own_user_without_new_privileges() {
    if !needs_root("a_role_runs_as_its_own_user_without_new_privileges") {
        return;
    }
    in_child(|| {
        let script = "test \"$(id -u):$(id -g):$(id -G)\" = 65301:65302:65302 && \
                      grep -q 'NoNewPrivs:.1' /proc/self/status && test $(umask) = 0077";
        assert_eq!(spawn_shell(script, Some(NOBODY), &[]), Exit::Code(0));
    });
}

#[test]
fn a_role_dies_with_the_process_that_started_it() {
    let (mut near, far) = UnixStream::pair().unwrap();
    in_child(|| {
        let program = Path::new("/bin/sh");
        // The shell itself holds the socket; `read` on an empty pipe would end, so it stops itself.
        let argv = ["sh", "-c", "kill -STOP $$", "role"]
            .map(OsString::from)
            .to_vec();
        let fds = vec![("held", far.as_fd())];
        let child = spawn_role(RoleProgram {
            program,
            argv,
            identity: None,
            fds,
        })
        .unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        // This process ends here without ending the child.
    });
    drop(far);
    let mut rest = Vec::new();
    near.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "end of file: the kernel ended the role");
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_of_the_spawn() {
    in_child(|| {
        let program = Path::new("/nonexistent");
        let role = RoleProgram {
            program,
            argv: vec!["x".into()],
            identity: None,
            fds: Vec::new(),
        };
        assert_eq!(
            spawn_role(role).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    });
}

#[test]
fn a_process_with_threads_does_not_fork_roles() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let program = Path::new("/bin/true");
    let role = RoleProgram {
        program,
        argv: vec!["true".into()],
        identity: None,
        fds: Vec::new(),
    };
    let error = spawn_role(role).unwrap_err();
    assert_eq!(error.to_string(), "a process with threads must not fork");
    drop(go);
    assert!(other.join().unwrap().is_err());
}

#[test]
fn descriptors_are_found_by_name_once_and_bad_ones_are_refused() {
    in_child(|| {
        let (a, _b) = UnixStream::pair().unwrap();
        let number = park(a.as_raw_fd()).unwrap();
        let args = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let given = args(&format!("server --fd channel={number} --verbose"));
        let (mut fds, rest) = named_fds(given).unwrap();
        assert_eq!(rest, args("server --verbose"));
        assert!(fds.take("other").is_none());
        assert_eq!(fds.take("channel").map(|fd| fd.as_raw_fd()), Some(number));
        assert!(fds.take("channel").is_none());
        for bad in [
            "--fd",
            "--fd a",
            "--fd a=x",
            "--fd a=1",
            "--fd a=900",
            "--fd a=9 --fd a=9",
        ] {
            assert!(named_fds(args(bad)).is_err(), "{bad}");
        }
    });
}

#[test]
fn a_blocked_signal_arrives_as_a_message() {
    in_child(|| {
        let signals = SignalFd::block(&[libc::SIGTERM]).unwrap();
        assert_eq!(signals.next_signal().unwrap(), None);
        let own = Pid::from_raw(unsafe { libc::getpid() }).unwrap();
        rustix::process::kill_process(own, Signal::TERM).unwrap();
        assert_eq!(signals.next_signal().unwrap(), Some(libc::SIGTERM));
        assert_eq!(signals.next_signal().unwrap(), None);
    });
}
