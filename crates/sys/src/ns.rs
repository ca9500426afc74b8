//! Namespaces: their names, who is mapped in them, and small waits.
//!
//! Entering them is [`crate::spawn::clone_namespaces`]; this file only reads and writes what
//! describes them.
//! INVARIANT: an id map written here holds exactly one id, so no second user exists inside.

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Timespec;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The namespace kinds that a process has under `/proc/PID/ns`.
pub const KINDS: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

/// The identity of one namespace of a process, such as `net:[4026531840]`.
pub fn identity(process: &str, kind: &str) -> io::Result<String> {
    let link = fs::read_link(format!("/proc/{process}/ns/{kind}"))?;
    Ok(link.to_string_lossy().into_owned())
}

/// Maps root inside to one user and one group outside, and forbids `setgroups`.
pub fn map_single(pid: i32, uid: u32, gid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    fs::write(format!("/proc/{pid}/uid_map"), format!("0 {uid} 1"))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("0 {gid} 1"))
}

/// Like [`map_single`] but the id inside is free: for the map of a mount.
pub fn map_one(pid: i32, inside: (u32, u32), outside: (u32, u32)) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    fs::write(
        format!("/proc/{pid}/uid_map"),
        format!("{} {} 1", inside.0, outside.0),
    )?;
    fs::write(
        format!("/proc/{pid}/gid_map"),
        format!("{} {} 1", inside.1, outside.1),
    )
}

/// Moves this process into a new cgroup namespace rooted at its present cgroups.
pub fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: CLONE_NEWCGROUP changes only the view of cgroups, no memory and no descriptor.
    crate::spawn::check(libc::c_long::from(unsafe {
        libc::unshare(libc::CLONE_NEWCGROUP)
    }))
}

/// Kinds of namespaces of which no more may be made inside. Not `mnt`: the kernel counts each
/// detached mount as one, and mounts still come. Without a further user namespace nobody inside ever
/// has the capability to make one.
const NO_FURTHER: [&str; 7] = ["user", "pid", "net", "ipc", "uts", "cgroup", "time"];

/// Sets the limits of this process's own user namespace to nothing (namespaces(7),
/// `/proc/sys/user`), so that a new namespace is refused even where a system call filter would let it
/// pass. Those that stand were counted before. `proc` is where a writable /proc is.
///
/// The limits are the writer's namespace's: a process that sees more than one id may be in the
/// host's, and is refused.
pub fn forbid_further(proc: &Path) -> io::Result<()> {
    if maps_ids(0, 2) {
        return Err(io::Error::other("not in a user namespace of its own"));
    }
    for kind in NO_FURTHER {
        let limit = proc.join(format!("sys/user/max_{kind}_namespaces"));
        match fs::write(limit, "0") {
            // A kernel without this kind has none to make.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Waits until a descriptor is readable or at its end; `None` waits for ever.
pub fn readable(fd: BorrowedFd<'_>, timeout_ms: Option<i64>) -> io::Result<bool> {
    ready(fd, PollFlags::IN, timeout_ms)
}

/// Waits until a descriptor takes octets or has failed.
pub fn writable(fd: BorrowedFd<'_>, timeout_ms: i64) -> io::Result<bool> {
    ready(fd, PollFlags::OUT, Some(timeout_ms))
}

fn ready(fd: BorrowedFd<'_>, flags: PollFlags, timeout_ms: Option<i64>) -> io::Result<bool> {
    let limit = timeout_ms.map(span);
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
        match rustix::event::poll(&mut fds, limit.as_ref()) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn span(ms: i64) -> Timespec {
    Timespec {
        tv_sec: ms / 1000,
        tv_nsec: (ms % 1000) * 1_000_000,
    }
}

/// Waits until one of two descriptors is readable or at its end, or the time is up.
pub fn readable_of(fds: [BorrowedFd<'_>; 2], timeout_ms: Option<i64>) -> io::Result<[bool; 2]> {
    let limit = timeout_ms.map(span);
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match rustix::event::poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.map(|fd| !fd.revents().is_empty()))
}

/// Waits so long, for something that the kernel offers no descriptor to wait on.
pub fn wait_ms(ms: i64) {
    let pause = Timespec {
        tv_sec: ms / 1000,
        tv_nsec: ms % 1000 * 1_000_000,
    };
    // An interrupted wait is a shorter one.
    let _interrupted = rustix::event::poll(&mut [], Some(&pause)).is_err();
}

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// Room to write, or nobody who reads.
    Write,
}

/// Waits until one of these is ready.
pub fn wait_any(fds: &[(BorrowedFd<'_>, Interest)]) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, interest)| {
            let flags = match interest {
                Interest::Read => PollFlags::IN,
                Interest::Write => PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes reads and writes return instead of waiting.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(
        fd,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}

/// Files made from here on are writable by their owner only.
pub fn set_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// Whether this process is root of its user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this user namespace has all of these users and groups, so that a child's namespace can
/// be given one of them. A container may have fewer than its root believes.
pub fn maps_ids(first: u32, count: u32) -> bool {
    ["uid_map", "gid_map"].iter().all(|file| {
        fs::read_to_string(format!("/proc/self/{file}"))
            .is_ok_and(|text| covers(&text, u64::from(first), u64::from(count)))
    })
}

fn covers(map: &str, first: u64, count: u64) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        matches!(numbers.as_slice(),
            [from, _, length] if *from <= first && first + count <= from + length)
    })
}

/// The user of this process.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The group of this process.
pub fn own_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Gives up supplementary groups.
pub fn drop_groups() -> io::Result<()> {
    Ok(rustix::thread::set_thread_groups(&[])?)
}

/// Becomes root of this user namespace. For a process with one thread.
pub fn become_root() -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(
        Uid::ROOT,
        Uid::ROOT,
        Uid::ROOT,
    )?)
}

/// Ends a socket conversation in both directions, whoever else holds the socket.
pub fn hang_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
}

/// A keyring of its own for this session, so that no key of the host is reachable. A kernel without
/// keyrings has none to reach.
pub fn own_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is read or written in our memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    match crate::spawn::check(result) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Sets the host name of this UTS namespace.
pub fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`, which outlives the call.
    crate::spawn::check(libc::c_long::from(unsafe {
        libc::sethostname(name.as_ptr().cast(), name.len())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_covers_a_range_only_if_it_holds_both_ends() {
        assert!(covers("0 0 4294967295", 65_200, 300));
        assert!(covers("0 100000 65500\n", 65_200, 300));
        assert!(!covers("0 100000 65499\n", 65_200, 300));
        assert!(!covers("0 0 1\n", 65_200, 300));
        assert!(!covers("nonsense", 0, 1));
    }

    #[test]
    fn a_user_namespace_that_forbids_further_ones_refuses_them_without_any_filter() {
        let leave = || {
            // SAFETY: unshare changes only which namespaces this process is in.
            crate::spawn::check(libc::c_long::from(unsafe {
                libc::unshare(libc::CLONE_NEWUSER)
            }))
        };
        for forbidden in [false, true] {
            crate::testing::in_child(|| {
                let (uid, gid) = (crate::process::own_uid(), own_gid());
                leave().unwrap();
                map_single(std::process::id().cast_signed(), uid, gid).unwrap();
                if forbidden {
                    forbid_further(Path::new("/proc")).unwrap();
                }
                assert_eq!(leave().is_err(), forbidden);
            });
        }
    }

    #[test]
    fn the_hosts_own_limits_are_never_touched() {
        if maps_ids(0, 2) {
            let before = fs::read("/proc/sys/user/max_user_namespaces").ok();
            assert!(forbid_further(Path::new("/proc")).is_err());
            assert_eq!(fs::read("/proc/sys/user/max_user_namespaces").ok(), before);
        }
    }

    #[test]
    fn every_kind_of_namespace_has_an_identity_here() {
        for kind in KINDS {
            let name = identity("self", kind).unwrap();
            assert!(name.starts_with(&format!("{kind}:[")), "{name}");
        }
    }
}
