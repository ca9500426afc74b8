//! Making processes: clone3, fork, exec and pidfds.
//!
//! Not a job manager: it starts one process and says what it is. A forked child continues in Rust,
//! which is sound only where the parent has one thread; [`clone_namespaces`] and [`fork`] check
//! that and refuse otherwise.
//! INVARIANT: a child is never signalled by number from its owner, always through its pidfd.

use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Bit 33, which does not fit the type that `libc` gives its constant.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The interrupt of a terminal.
pub const SIGINT: i32 = libc::SIGINT;
/// The polite request to end.
pub const SIGTERM: i32 = libc::SIGTERM;
/// A child has ended.
pub const SIGCHLD: i32 = libc::SIGCHLD;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The one that called; holds the child's number and pidfd.
    Parent {
        /// As the caller's pid namespace sees it.
        pid: i32,
        /// Refers to exactly this child, for ever.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Whether this process has exactly one thread.
pub fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|entries| entries.count() == 1)
}

fn require_single_thread() -> io::Result<()> {
    if is_single_threaded() {
        return Ok(());
    }
    Err(io::Error::other(
        "a process with several threads must not fork without exec",
    ))
}

/// clone3 into new namespaces (`CLONE_NEW*` bits), optionally straight into a cgroup of version 2.
///
/// Refuses when the caller has more than one thread.
pub fn clone_namespaces(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    require_single_thread()?;
    let mut pidfd: RawFd = -1;
    let into = cgroup.map_or(0, |_| CLONE_INTO_CGROUP);
    let mut args = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | into,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: `args` is a valid clone_args of the size given and outlives the call; without
    // CLONE_VM the child has its own copy of all memory, and there is no second thread whose locks
    // it could have copied half-way.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    };
    finish_fork(pid, pidfd)
}

fn finish_fork(pid: libc::c_long, pidfd: RawFd) -> io::Result<Forked> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).map_err(io::Error::other)?;
            Ok(Forked::Parent { pid, pidfd })
        }
    }
}

/// Forks a process that continues here, without new namespaces. Works under our own seccomp
/// filter, which refuses clone3. Refuses when the caller has more than one thread, unless
/// `/proc` cannot be read (inside a sandbox our init is the only caller and has one thread).
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the callers (zygote, init) are single-threaded by construction: they never start a
    // thread, so the child inherits no lock that another thread held.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process at once, without destructors: for a forked child that must not unwind into
/// its parent's code.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// What to exec.
#[derive(Debug, Clone, Copy)]
pub enum Executable<'a> {
    /// An absolute path.
    Path(&'a CString),
    /// An open file, by `execveat` with `AT_EMPTY_PATH`.
    Fd(BorrowedFd<'a>),
}

/// Replaces this process. Returns only on failure.
pub fn exec(program: Executable<'_>, argv: &[CString], envp: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let envp = pointers(envp);
    match program {
        Executable::Path(path) => {
            // SAFETY: path, argv and envp are NUL-terminated and outlive the call; both arrays end
            // in a null pointer.
            unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        }
        Executable::Fd(fd) => {
            // SAFETY: as above; the empty path with AT_EMPTY_PATH means the descriptor itself.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    fd.as_raw_fd(),
                    c"".as_ptr(),
                    argv.as_ptr(),
                    envp.as_ptr(),
                    libc::AT_EMPTY_PATH,
                )
            };
        }
    }
    io::Error::last_os_error()
}

fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts
        .iter()
        .map(|t| t.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Takes standard input away as a descriptor above 2 and puts `/dev/null` in its place, so that no
/// later child inherits it by accident.
pub fn take_standard_input() -> io::Result<OwnedFd> {
    let taken = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = rustix::io::fcntl_dupfd_cloexec(std::fs::File::open("/dev/null")?, 3)?;
    // SAFETY: dup2 has no memory effect; descriptor 0 belongs to the process as a whole and its
    // old meaning has just been kept in `taken`.
    if unsafe { libc::dup2(null.as_raw_fd(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(taken)
}

/// Has the kernel kill this process when its parent ends. The tie is cut by every change of ids, so
/// it is renewed after one; a parent that ended before is noticed by other means (its sockets).
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(
        Signal::KILL,
    ))?)
}

/// Does nothing until someone kills this process, or its parent ends.
pub fn wait_to_be_killed() -> ! {
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        exit_now(1);
    }
    loop {
        // SAFETY: pause has no preconditions.
        unsafe { libc::pause() };
    }
}

/// Puts three descriptors in the places 0, 1 and 2.
///
/// All three must be above 2, or one could overwrite another.
pub fn set_stdio(fds: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    for (place, fd) in (0..).zip(fds) {
        if fd.as_raw_fd() <= 2 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        // SAFETY: dup2 on two descriptors numbers has no memory effect; whoever owned the old
        // 0, 1 or 2 in this just-forked child uses them only as standard streams.
        if unsafe { libc::dup2(fd.as_raw_fd(), place) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Marks every descriptor from `first` on to be closed at the next exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from 3 on except those kept. For a fresh process that owns none of them.
pub fn close_all_except(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    numbers.sort_unstable();
    let mut from = 3;
    for number in numbers.into_iter().filter(|n| *n >= 3) {
        if number > from {
            close_range(from, number - 1, 0)?;
        }
        from = number + 1;
    }
    close_range(from, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: the callers run in a process of their own whose Rust owners of these descriptors
    // are never dropped (it ends by exec or _exit).
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
}

/// Gives every signal its default action and blocks none: what a program expects at its start.
pub fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: setting a default action needs no handler; SIGKILL and SIGSTOP just fail.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_mask(&[], libc::SIG_SETMASK);
}

/// Lets the kernel reap children of this process by itself.
pub fn ignore_children() {
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

fn set_mask(signals: &[i32], how: i32) {
    // SAFETY: all-zero bytes are a valid sigset_t to be initialised below.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place for a signal set.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: `set` was initialised by sigemptyset.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    // SAFETY: `set` is initialised; the old mask is not asked for.
    unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) };
}

/// Blocks these signals and returns a descriptor that becomes readable when one arrives.
pub fn signal_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    set_mask(signals, libc::SIG_BLOCK);
    // SAFETY: all-zero bytes are a valid sigset_t to be initialised below.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place for a signal set.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: `set` was initialised by sigemptyset.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    // SAFETY: `set` is initialised and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Undoes the blocking of [`signal_fd`].
pub fn unblock(signals: &[i32]) {
    set_mask(signals, libc::SIG_UNBLOCK);
}

/// Reads one signal number from a descriptor of [`signal_fd`]; `None` when none is waiting.
pub fn read_signal(fd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut record = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut record) {
        Ok(n) if n == record.len() => {
            let (number, _) = record.split_at(4);
            Ok(number
                .try_into()
                .ok()
                .map(u32::from_ne_bytes)
                .map(u32::cast_signed))
        }
        Ok(_) => Ok(None),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends a signal to every process of this pid namespace except pid 1, which must be the caller.
///
/// Exact: the kernel holds the task list while it signals, and a fork with a signal pending fails.
pub fn signal_all_but_init(signal: i32) -> io::Result<()> {
    if rustix::process::getpid().as_raw_pid() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // SAFETY: kill has no memory effect; -1 spares pid 1, which the check above says we are.
    let done = unsafe { libc::kill(-1, signal) };
    match check(libc::c_long::from(done)) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Sends a signal to a process group of this namespace.
pub fn signal_group(group: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill has no memory effect.
    match check(libc::c_long::from(unsafe { libc::kill(-group, signal) })) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Collects one dead child of any number; `None` when none is dead.
pub fn reap() -> io::Result<Option<(i32, Exit)>> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => {
            let exit = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => return Ok(None),
            };
            Ok(Some((pid.as_raw_pid(), exit)))
        }
        Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until this process has no child left. For an init that has just killed them all.
pub fn reap_all() -> io::Result<()> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for one particular child.
pub fn wait_for(pid: i32) -> io::Result<Exit> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))?;
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                if let Some(code) = status.exit_status() {
                    return Ok(Exit::Code(code));
                }
                if let Some(signal) = status.terminating_signal() {
                    return Ok(Exit::Signal(signal));
                }
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends SIGKILL through a pidfd; a process that is already gone is no error.
pub fn kill(pidfd: impl AsFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sends SIGKILL to an own child that has not been waited for, so that its number is still its own.
pub fn kill_child(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    kill(rustix::process::pidfd_open(
        pid,
        rustix::process::PidfdFlags::empty(),
    )?)
}

/// Whether the process of a pidfd has ended, waiting at most so long (`None`: for ever).
pub fn has_ended(pidfd: impl AsFd, timeout_ms: Option<i64>) -> io::Result<bool> {
    crate::ns::readable(pidfd.as_fd(), timeout_ms)
}

/// The pid that this process's own namespace has for the process of a pidfd.
pub fn pid_of(pidfd: impl AsFd) -> io::Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .and_then(|n| n.trim().parse().ok())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

pub(crate) fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_may_not_clone() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let second = std::thread::spawn(move || receive.recv().is_err());
        let answer = clone_namespaces(0, None);
        drop(send);
        assert!(second.join().unwrap());
        assert!(matches!(answer, Err(e) if e.to_string().contains("several threads")));
    }

    #[test]
    fn a_pidfd_knows_its_pid_and_its_end() {
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        assert_eq!(pid_of(&pidfd).unwrap(), pid.as_raw_pid());
        assert!(!has_ended(&pidfd, Some(0)).unwrap());
        kill(&pidfd).unwrap();
        assert!(has_ended(&pidfd, None).unwrap());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn signalling_everything_is_refused_outside_pid_one() {
        assert!(signal_all_but_init(libc::SIGKILL).is_err());
    }
}
