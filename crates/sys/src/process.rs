//! What a role does to itself and to its children: giving up root for good, dying with its parent,
//! keeping only named descriptors, and waiting without races.
//!
//! INVARIANT: [`spawn_role`] forks only while its caller has one thread, and the child does nothing
//! but system calls before it executes.
#![expect(
    unsafe_code,
    reason = "fork, exec, signalfd, close_range and setresuid have no safe form"
)]

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getppid,
    pidfd_open, pidfd_send_signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit, waitid,
};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Where the named descriptors of a role begin.
const FIRST_FD: RawFd = 3;
/// LIMIT: descriptors handed to one role.
pub const ROLE_FDS_MAX: usize = 32;
/// Descriptors are first moved out of the way to here, above any final number.
const PARKING_FD: RawFd = 256;

/// Whether this process has the effective user id of root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The effective user id of this process.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Ends this process quietly when the reader of its output is gone, as every program of a shell
/// pipeline does. Rust ignores SIGPIPE, which turns `ringfence log show | head` into a panic. Not
/// for roles: a server must survive a client that hangs up.
pub fn end_with_the_reader() {
    // SAFETY: SIG_DFL is a valid disposition of SIGPIPE; no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Starts a command as leader of a session of its own, so that the terminal's signals and its end
/// do not reach it.
pub fn spawn_in_session(command: &mut std::process::Command) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe and
    // allocates nothing.
    unsafe { command.pre_exec(new_session) };
    command.spawn()
}

/// A user and group to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group; no other group is kept.
    pub gid: u32,
}

/// Becomes `identity` for good: no supplementary group, real, effective and saved ids alike. Fails
/// if the kernel lets it go back, so that a success is a proof.
pub fn drop_to(identity: Identity) -> io::Result<()> {
    let Identity { uid, gid } = identity;
    // SAFETY: no memory is passed; a length of 0 reads nothing.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: plain integers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: plain integers.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    if uid == 0 {
        return Ok(());
    }
    // SAFETY: plain integers; this is the attack that must fail now.
    let back_uid = unsafe { libc::setresuid(0, 0, 0) };
    // SAFETY: plain integers.
    let back_gid = unsafe { libc::setresgid(0, 0, 0) };
    let caps = rustix::thread::capabilities(None)?;
    let held = !(caps.permitted.is_empty() && caps.effective.is_empty());
    if back_uid == 0 || (gid != 0 && back_gid == 0) || held {
        return Err(io::Error::other(
            "privileges could be taken back after they were dropped",
        ));
    }
    Ok(())
}

/// Asks the kernel for SIGKILL when the parent dies, and fails if it is already another one than
/// `parent`: the parent may have died between fork and this call.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if i64::from(now) == i64::from(parent) {
        Ok(())
    } else {
        Err(io::Error::other("the parent process is gone"))
    }
}

/// No core dump, no ptrace by the same user, /proc/self owned by root: keys stay in this process.
pub fn set_not_dumpable() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Undoes the latter half, as no hosted process should: for the attack suite's weakened sandboxes.
pub fn set_dumpable() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// Starts a new session, so that the terminal's Ctrl-C reaches only the supervisor.
pub fn new_session() -> io::Result<()> {
    rustix::process::setsid()
        .map(|_| ())
        .map_err(io::Error::from)
}

/// Closes every descriptor from `first` on except those in `keep`.
///
/// The caller must not own any of them: in Rust an owned descriptor that was closed behind its back
/// can be reused. Meant for the first lines of a role's `main`.
pub fn close_all_except(first: RawFd, keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut from = first;
    for fd in kept {
        if fd > from {
            close_range(from, fd - 1, 0)?;
        }
        from = fd.saturating_add(1);
    }
    close_range(from, RawFd::MAX, 0)
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: integers only; which descriptors may go is the promise of the caller.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn check(outcome: libc::c_int) -> io::Result<()> {
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What to start.
#[derive(Debug)]
pub struct RoleProgram<'a> {
    /// The file to execute, usually `/proc/self/exe`.
    pub program: &'a Path,
    /// `argv[0]` and the arguments. `--fd NAME=N` is appended for each of `fds`.
    pub argv: Vec<OsString>,
    /// Whom to become; `None` keeps the ids of the caller.
    pub identity: Option<Identity>,
    /// Descriptors and the names under which the role finds them.
    pub fds: Vec<(&'a str, BorrowedFd<'a>)>,
}

/// A started child.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    /// Readable when it has ended; cannot be confused with a later process of the same id.
    pub pidfd: OwnedFd,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Child {
    /// Sends a signal; that it has already ended is not an error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How it ended, or `None` while it lives. Reaps it.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Waits until it has ended and reaps it.
    pub fn wait(&self) -> io::Result<Exit> {
        loop {
            match self.reap(WaitIdOptions::EXITED) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&self, options: WaitIdOptions) -> io::Result<Option<Exit>> {
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?;
        Ok(status.map(|s| match s.exit_status() {
            Some(code) => Exit::Code(code),
            None => Exit::Signal(s.terminating_signal().unwrap_or(0)),
        }))
    }
}

/// Forks and executes a role: own session, no signal blocked, stdin from /dev/null, an empty
/// environment, no core dumps, `no_new_privs`, killed when this process dies, and no descriptor but
/// stdout, stderr and the named ones, which get the numbers from 3 on.
///
/// Refuses when this process has more than one thread.
pub fn spawn_role(role: RoleProgram<'_>) -> io::Result<Child> {
    if role.fds.len() > ROLE_FDS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors for a role",
        ));
    }
    if thread_count()? != 1 {
        return Err(io::Error::other("a process with threads must not fork"));
    }
    let mut argv = role.argv;
    for ((name, _), number) in role.fds.iter().zip(FIRST_FD..) {
        argv.push("--fd".into());
        argv.push(format!("{name}={number}").into());
    }
    let program = c_string(role.program.as_os_str())?;
    let argv = argv
        .into_iter()
        .map(|a| c_string(&a))
        .collect::<io::Result<Vec<CString>>>()?;
    let mut pointers: Vec<*const libc::c_char> = argv.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let null = rustix::fs::open(
        c"/dev/null",
        rustix::fs::OFlags::RDWR,
        rustix::fs::Mode::empty(),
    )?;
    let raw: Vec<RawFd> = role.fds.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
    let (report_read, report_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let plan = ChildPlan {
        program: &program,
        argv: &pointers,
        identity: role.identity,
        fds: &raw,
        null: null.as_raw_fd(),
        report: report_write.as_raw_fd(),
        parent: std::process::id(),
    };
    // SAFETY: this process has one thread, so no lock can be held by a thread that the child lacks.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        plan.become_role();
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(report_write);
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process id"))?;
    let child = Child {
        pid: pid.as_raw_nonzero().get().unsigned_abs(),
        pidfd: pidfd_open(pid, PidfdFlags::empty())?,
    };
    let mut report = [0_u8; 4];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&report_read, &mut report))?;
    if length == 0 {
        return Ok(child);
    }
    child.wait()?;
    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(report)))
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes().to_vec()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "an argument holds a zero octet",
        )
    })
}

/// Threads of this process, as the kernel counts them.
pub fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// All that the child needs between fork and exec, made before the fork.
struct ChildPlan<'a> {
    program: &'a CString,
    argv: &'a [*const libc::c_char],
    identity: Option<Identity>,
    fds: &'a [RawFd],
    null: RawFd,
    report: RawFd,
    parent: u32,
}

impl ChildPlan<'_> {
    /// Executes the role, or reports the error number to the parent and ends.
    fn become_role(&self) -> ! {
        let report = park(self.report).unwrap_or(self.report);
        let error = self.prepare_and_exec();
        let number = error.raw_os_error().unwrap_or(libc::EPERM).to_ne_bytes();
        // SAFETY: the buffer is four octets that live through the call.
        let _written = unsafe { libc::write(report, number.as_ptr().cast(), number.len()) };
        // SAFETY: ends the child at once, without the parent's destructors and buffers.
        unsafe { libc::_exit(127) }
    }

    fn prepare_and_exec(&self) -> io::Error {
        if let Err(error) = self.prepare() {
            return error;
        }
        let environment: [*const libc::c_char; 1] = [std::ptr::null()];
        // SAFETY: program, argv and environment are zero-terminated and outlive the call.
        unsafe {
            libc::execve(
                self.program.as_ptr(),
                self.argv.as_ptr(),
                environment.as_ptr(),
            )
        };
        io::Error::last_os_error()
    }

    fn prepare(&self) -> io::Result<()> {
        self.place_descriptors()?;
        new_session()?;
        set_blocked(&[])?;
        setrlimit(
            Resource::Core,
            Rlimit {
                current: Some(0),
                maximum: Some(0),
            },
        )?;
        // New files are for their owner only.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        if let Some(identity) = self.identity {
            drop_to(identity)?;
        }
        rustix::thread::set_no_new_privs(true)?;
        // After the change of user: that change clears the request (prctl(2)).
        die_with_parent(self.parent)
    }

    /// Moves the descriptors to 3, 4, … and marks everything above them close-on-exec.
    fn place_descriptors(&self) -> io::Result<()> {
        let mut parked = [-1; ROLE_FDS_MAX];
        for (slot, fd) in parked.iter_mut().zip(self.fds) {
            *slot = park(*fd)?;
        }
        dup_to(self.null, 0)?;
        let mut next = FIRST_FD;
        for slot in parked.iter().take(self.fds.len()) {
            dup_to(*slot, next)?;
            next += 1;
        }
        close_range(next, RawFd::MAX, CLOSE_RANGE_CLOEXEC)
    }
}

/// `CLOSE_RANGE_CLOEXEC` of `close_range(2)`: mark instead of close.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// A duplicate out of the way of the final numbers, close-on-exec.
fn park(fd: RawFd) -> io::Result<RawFd> {
    // SAFETY: integers only; makes a new descriptor.
    let parked = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, PARKING_FD) };
    if parked < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(parked)
    }
}

fn dup_to(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: runs in the child only, which gives up whatever `to` was on purpose.
    let outcome = unsafe { libc::dup2(from, to) };
    if outcome < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The descriptors a role finds by name, from the `--fd NAME=N` arguments that [`spawn_role`] adds.
#[derive(Debug, Default)]
pub struct NamedFds {
    fds: Vec<(String, OwnedFd)>,
}

/// Splits a role's arguments into its descriptors and the rest. Each number is taken at most once,
/// is at least 3 and must be open.
pub fn named_fds(args: Vec<OsString>) -> io::Result<(NamedFds, Vec<OsString>)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let mut numbers: Vec<(String, RawFd)> = Vec::new();
    let mut rest = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg != "--fd" {
            rest.push(arg);
            continue;
        }
        let text = args
            .next()
            .map(OsString::into_vec)
            .and_then(|v| String::from_utf8(v).ok());
        let text = text.ok_or_else(|| bad("--fd needs NAME=NUMBER"))?;
        let (name, number) = text
            .split_once('=')
            .ok_or_else(|| bad("--fd needs NAME=NUMBER"))?;
        let number: RawFd = number.parse().map_err(|_| bad("--fd needs NAME=NUMBER"))?;
        if number < FIRST_FD || numbers.iter().any(|(n, f)| n == name || *f == number) {
            return Err(bad("--fd names a descriptor twice, or one below 3"));
        }
        numbers.push((name.to_owned(), number));
    }
    let mut fds = Vec::new();
    for (name, number) in numbers {
        // SAFETY: asks about a number; an unused one gives EBADF.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the number is open, named only once, and was handed to this process by its
        // parent for exactly this; nothing else in it owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        fds.push((name, fd));
    }
    Ok((NamedFds { fds }, rest))
}

impl NamedFds {
    /// The descriptor of this name, once.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let at = self.fds.iter().position(|(n, _)| n == name)?;
        Some(self.fds.swap_remove(at).1)
    }
}

/// Signals as messages: they are blocked and read from a descriptor, so that no handler runs.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks these signals in this thread and delivers them through the descriptor instead.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        let set = set_blocked(signals)?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set was made by sigemptyset and lives through the call.
        let fd = unsafe { libc::signalfd(-1, &raw const set, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// The next signal that arrived, if one did.
    pub fn next_signal(&self) -> io::Result<Option<i32>> {
        // struct signalfd_siginfo (signalfd(2)) has 128 octets and begins with the number.
        let mut info = [0_u8; 128];
        match rustix::io::read(&self.fd, &mut info) {
            Ok(128) => {
                let number = info
                    .first_chunk::<4>()
                    .map_or(0, |n| u32::from_ne_bytes(*n));
                Ok(i32::try_from(number).ok())
            }
            Ok(_) => Err(io::Error::other("a short read from signalfd")),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes exactly these signals blocked in this thread.
fn set_blocked(signals: &[i32]) -> io::Result<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: initialises the set.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: sigemptyset initialised it.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: an initialised set; a bad number gives EINVAL.
        check(unsafe { libc::sigaddset(&raw mut set, *signal) })?;
    }
    // SAFETY: an initialised set; the old one is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) }
    {
        0 => Ok(set),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
