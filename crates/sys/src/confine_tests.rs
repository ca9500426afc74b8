//! Each refusal is tried twice in a forked child: before, where the attack must succeed, and after.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "calls with integer arguments only"
)]

use super::*;
use crate::testing::in_child;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};

fn refused<T>(outcome: io::Result<T>) -> bool {
    matches!(outcome, Err(e) if e.kind() == ErrorKind::PermissionDenied)
}

fn scratch() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (inside, outside) = (root.path().join("inside"), root.path().join("outside"));
    for dir in [&inside, &outside] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "x").unwrap();
    }
    (root, inside, outside)
}

/// Runs /bin/true by fork and exec; the code says whether exec was refused.
fn executes() -> bool {
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let argv = [c"true".as_ptr(), std::ptr::null()];
        unsafe { libc::execv(c"/bin/true".as_ptr(), argv.as_ptr()) };
        unsafe { libc::_exit(99) };
    }
    let mut status = 0;
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    status == 0
}

#[test]
fn an_inspector_reads_its_tree_and_can_do_nothing_else() {
    let (_root, inside, outside) = scratch();
    in_child(|| {
        // Control off.
        assert!(UnixStream::pair().is_ok() && UdpSocket::bind("127.0.0.1:0").is_ok());
        assert!(fs::read(outside.join("file")).is_ok() && executes());
        assert!(fs::write(inside.join("new"), "x").is_ok());
        let applied = apply(Confinement::inspector(inside.as_path().into())).unwrap();
        assert!(applied.landlock_abi >= Some(1) && applied.missing.is_none());
        assert!(applied.calls_denied > NEVER.len());
        // Control on.
        assert_eq!(fs::read_to_string(inside.join("file")).unwrap(), "x");
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 2);
        assert!(refused(fs::read(outside.join("file"))));
        assert!(refused(fs::write(inside.join("more"), "x")));
        assert!(refused(fs::remove_file(inside.join("file"))));
        assert!(refused(TcpListener::bind("127.0.0.1:0")));
        assert!(refused(UdpSocket::bind("127.0.0.1:0")));
        assert!(refused(UnixStream::pair()));
        assert!(!executes());
    });
}

#[test]
fn a_recorder_writes_its_directory_and_serves_unix_sockets_but_no_network() {
    let (_root, inside, outside) = scratch();
    in_child(|| {
        assert!(TcpListener::bind("127.0.0.1:0").is_ok());
        assert!(fs::write(outside.join("off"), "x").is_ok());
        apply(Confinement::recorder(inside.as_path().into())).unwrap();
        fs::write(inside.join("log"), "x").unwrap();
        fs::rename(inside.join("log"), inside.join("log2")).unwrap();
        fs::remove_file(inside.join("log2")).unwrap();
        UnixListener::bind(inside.join("socket")).unwrap();
        assert!(refused(fs::write(outside.join("on"), "x")));
        assert!(refused(fs::write("/dev/null", "x")));
        assert!(refused(TcpListener::bind("127.0.0.1:0")));
        assert!(refused(TcpListener::bind("[::1]:0")));
        assert!(!executes());
    });
}

#[test]
fn a_server_has_tcp_and_unix_sockets_but_no_other_family_or_type() {
    let (_root, inside, outside) = scratch();
    let netlink = || {
        let flags = SocketFlags::empty();
        socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).map_err(io::Error::from)
    };
    let mptcp = || {
        let kind = Some(ipproto::MPTCP);
        let flags = SocketFlags::empty();
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, kind).map_err(io::Error::from)
    };
    in_child(|| {
        assert!(netlink().is_ok() && UdpSocket::bind("127.0.0.1:0").is_ok());
        assert!(!refused(mptcp()));
        let read = vec![
            outside.as_path().into(),
            Place::IfPresent("/nonexistent".into()),
        ];
        apply(Confinement::server(read, vec![inside.as_path().into()])).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        UnixStream::pair().unwrap();
        assert!(fs::read(outside.join("file")).is_ok());
        assert!(refused(fs::write(outside.join("file"), "y")));
        assert!(refused(netlink()) && refused(mptcp()));
        assert!(refused(UdpSocket::bind("127.0.0.1:0")));
        std::thread::spawn(|| ()).join().unwrap();
        assert!(!executes());
    });
}

#[test]
fn names_can_be_resolved_when_the_rule_says_so() {
    in_child(|| {
        let mut confinement = Confinement::server(Vec::new(), Vec::new());
        confinement.network = NetworkRule::TcpAndNames;
        apply(confinement).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap();
        let raw = socket_with(
            AddressFamily::INET,
            SocketType::RAW,
            SocketFlags::empty(),
            None,
        );
        assert!(refused(raw.map_err(io::Error::from)));
    });
}

/// The error number of a system call made with zeros.
fn errno_of(call: libc::c_long, first: u64) -> i32 {
    let outcome = unsafe { libc::syscall(call, first, 0, 0, 0, 0, 0) };
    if outcome >= 0 {
        0
    } else {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}

#[test]
fn dangerous_calls_give_eperm_and_clone3_does_not_exist() {
    in_child(|| {
        assert_eq!(
            errno_of(libc::SYS_unshare, 0),
            0,
            "control off: a no-op succeeds"
        );
        assert_eq!(errno_of(libc::SYS_clone3, 0), libc::EINVAL);
        apply(Confinement::inspector("/usr".into())).unwrap();
        for call in NEVER {
            assert_eq!(errno_of(*call, 0), libc::EPERM, "call {call}");
        }
        let namespace = u64::from((libc::CLONE_NEWUSER | libc::SIGCHLD).unsigned_abs());
        assert_eq!(errno_of(libc::SYS_clone, namespace), libc::EPERM);
        assert_eq!(errno_of(libc::SYS_clone3, 0), libc::ENOSYS);
        let type_into_terminal = unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) };
        let error = io::Error::last_os_error().raw_os_error();
        assert_eq!((type_into_terminal, error), (-1, Some(libc::EPERM)));
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_x32_alias_of_a_denied_call_is_denied_with_it() {
    in_child(|| {
        apply(Confinement::inspector("/usr".into())).unwrap();
        // On a kernel without x32 the alias is ENOSYS before; after, the filter answers first.
        assert_eq!(errno_of(libc::SYS_unshare | 0x4000_0000, 0), libc::EPERM);
    });
}

#[test]
fn a_process_with_threads_is_refused_because_they_would_stay_free() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let outcome = apply(Confinement::inspector("/usr".into()));
    assert!(
        matches!(outcome, Err(ConfineError::Threads(n)) if n >= 2),
        "{outcome:?}"
    );
    drop(go);
    assert!(other.join().unwrap().is_err());
}

#[test]
fn a_place_that_does_not_exist_is_named() {
    in_child(|| {
        let error = apply(Confinement::inspector("/nonexistent".into())).unwrap_err();
        assert_eq!(error.code().0, "run/confine-failed");
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    });
}

#[test]
fn a_missing_landlock_names_its_remedy() {
    let error = ConfineError::LandlockMissing;
    assert_eq!(error.code().0, "run/landlock-missing");
    assert!(
        error
            .help()
            .is_some_and(|h| h.contains("lsm=") && h.contains("--accept-weaker"))
    );
}
