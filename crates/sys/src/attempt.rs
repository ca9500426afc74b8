//! Attacks that a sandbox makes on itself, to show that its walls hold.
//!
//! Each is a real system call with arguments that would do harm, or at least succeed, without the
//! wall it tests. None leaves anything behind if it does succeed.
//! INVARIANT: an attempt returns what the kernel said, it never judges.

use std::io;

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Mount a tmpfs on /tmp.
    Mount,
    /// Leave into a new user namespace, where all capabilities would be back.
    UnshareUser,
    /// clone3, whose flags no filter can read.
    Clone3,
    /// Be traced by the parent.
    Ptrace,
    /// Ask for the session keyring.
    Keyctl,
    /// Set up an `io_uring`, which does system calls without a filter.
    IoUring,
    /// Load a BPF program.
    Bpf,
    /// Open a netlink socket.
    Netlink,
    /// Become another user.
    SetUid(u32),
    /// Take the capability to administrate back.
    RaiseCapability,
    /// Ask whether a process exists.
    FindProcess(i32),
}

impl Attempt {
    /// The call as it is written in evidence.
    pub fn name(self) -> String {
        match self {
            Self::Mount => "mount(tmpfs)".to_owned(),
            Self::UnshareUser => "unshare(CLONE_NEWUSER)".to_owned(),
            Self::Clone3 => "clone3()".to_owned(),
            Self::Ptrace => "ptrace(PTRACE_TRACEME)".to_owned(),
            Self::Keyctl => "keyctl(GET_KEYRING_ID)".to_owned(),
            Self::IoUring => "io_uring_setup()".to_owned(),
            Self::Bpf => "bpf(PROG_LOAD)".to_owned(),
            Self::Netlink => "socket(AF_NETLINK)".to_owned(),
            Self::SetUid(uid) => format!("setuid({uid})"),
            Self::RaiseCapability => "capset(CAP_SYS_ADMIN)".to_owned(),
            Self::FindProcess(pid) => format!("kill({pid}, 0)"),
        }
    }

    /// Tries it. `Ok` means that the wall is not there.
    pub fn make(self) -> io::Result<()> {
        match self {
            Self::Mount => Ok(rustix::mount::mount(
                "tmpfs",
                "/tmp",
                "tmpfs",
                rustix::mount::MountFlags::empty(),
                None,
            )?),
            Self::RaiseCapability => {
                let wanted = rustix::thread::CapabilitySet::SYS_ADMIN;
                let sets = rustix::thread::CapabilitySets {
                    effective: wanted,
                    permitted: wanted,
                    inheritable: rustix::thread::CapabilitySet::empty(),
                };
                Ok(rustix::thread::set_capabilities(None, sets)?)
            }
            Self::SetUid(uid) => Ok(rustix::thread::set_thread_uid(
                rustix::process::Uid::from_raw(uid),
            )?),
            Self::FindProcess(pid) => {
                let pid = rustix::process::Pid::from_raw(pid)
                    .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
                Ok(rustix::process::test_kill_process(pid)?)
            }
            Self::UnshareUser => raw(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0]),
            // Null arguments: without the filter the answer is EINVAL or EFAULT, never ENOSYS.
            Self::Clone3 => raw(libc::SYS_clone3, [0, 0, 0]),
            Self::Ptrace => raw(libc::SYS_ptrace, [0, 0, 0]),
            // The session keyring, -3.
            Self::Keyctl => raw(libc::SYS_keyctl, [0, -3, 0]),
            Self::IoUring => raw(libc::SYS_io_uring_setup, [1, 0, 0]),
            Self::Bpf => raw(libc::SYS_bpf, [5, 0, 0]),
            Self::Netlink => raw(
                libc::SYS_socket,
                [
                    i64::from(libc::AF_NETLINK),
                    i64::from(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC),
                    0,
                ],
            ),
        }
    }
}

fn raw(number: libc::c_long, arguments: [i64; 3]) -> io::Result<()> {
    let [first, second, third] = arguments;
    // SAFETY: only numbers and null pointers are passed, for calls that take numbers or answer
    // EFAULT for a null pointer; none writes to our memory.
    crate::spawn::check(unsafe { libc::syscall(number, first, second, third) })
}

/// The name of an error number as in errno(3), for evidence.
pub fn errno_name(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM",
        Some(libc::EACCES) => "EACCES",
        Some(libc::ENOSYS) => "ENOSYS",
        Some(libc::EINVAL) => "EINVAL",
        Some(libc::ESRCH) => "ESRCH",
        Some(libc::EFAULT) => "EFAULT",
        Some(libc::ENOENT) => "ENOENT",
        Some(libc::ENETUNREACH) => "ENETUNREACH",
        Some(libc::EAFNOSUPPORT) => "EAFNOSUPPORT",
        Some(libc::EROFS) => "EROFS",
        Some(libc::EAGAIN) => "EAGAIN",
        Some(libc::EBADF) => "EBADF",
        Some(libc::ECONNREFUSED) => "ECONNREFUSED",
        Some(libc::EDQUOT) => "EDQUOT",
        Some(libc::EIO) => "EIO",
        Some(libc::EMFILE) => "EMFILE",
        Some(libc::ENODEV) => "ENODEV",
        Some(libc::ENOMEM) => "ENOMEM",
        Some(libc::ENOSPC) => "ENOSPC",
        Some(libc::ENOTTY) => "ENOTTY",
        Some(libc::ENXIO) => "ENXIO",
        Some(libc::EPROTONOSUPPORT) => "EPROTONOSUPPORT",
        Some(libc::ESOCKTNOSUPPORT) => "ESOCKTNOSUPPORT",
        Some(libc::EXDEV) => "EXDEV",
        _ => return error.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_walls_harmless_attempts_succeed_or_fail_differently() {
        assert!(Attempt::Netlink.make().is_ok());
        let own = std::process::id().cast_signed();
        assert!(Attempt::FindProcess(own).make().is_ok());
        let clone3 = errno_name(&Attempt::Clone3.make().unwrap_err());
        assert!(["EINVAL", "EFAULT"].contains(&clone3.as_str()), "{clone3}");
    }
}
