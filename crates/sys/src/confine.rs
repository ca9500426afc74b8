//! A role shuts itself in: Landlock for paths, seccomp for system calls, `no_new_privs` for both.
//!
//! Called at the start of a role's `main`, before any thread exists and before hostile input is
//! read. It is a deny-list: what these programs need is most of the kernel's ordinary calls, and
//! what they never need is short. Sandboxes of hosted programs use the allow-list of
//! [`crate::seccomp`] instead.
//! INVARIANT: nothing here can be undone by the process that called it.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use ringfence_core::error::{ErrorCode, Explain};
use ringfence_core::isolation::Strictness;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A place in the file system, by name or by an open descriptor.
#[derive(Debug)]
pub enum Place {
    /// By name; must exist.
    Path(PathBuf),
    /// By name; left out if it does not exist.
    IfPresent(PathBuf),
    /// An open file or directory (`O_PATH` is enough).
    Fd(OwnedFd),
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<&str> for Place {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

/// Which new sockets a role may make. Sockets it already has keep working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkRule {
    /// None of any kind.
    None,
    /// Unix sockets only.
    Unix,
    /// Unix sockets and TCP.
    Tcp,
    /// Unix sockets, TCP, and UDP for the resolver.
    TcpAndNames,
}

impl NetworkRule {
    /// The word for tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::TcpAndNames => "tcp-and-names",
        }
    }
}

/// What is left to a role.
#[derive(Debug)]
pub struct Confinement {
    /// Files and trees it may read.
    pub read: Vec<Place>,
    /// Files and trees it may read, write, make and remove in.
    pub write: Vec<Place>,
    /// Which sockets it may make.
    pub network: NetworkRule,
    /// Whether it may execute programs (from `read` and `write`).
    pub exec: bool,
    /// Whether a missing Landlock refuses the start.
    pub strictness: Strictness,
}

impl Confinement {
    /// The server role: listed paths, TCP and Unix sockets, no program.
    pub fn server(read: Vec<Place>, write: Vec<Place>) -> Self {
        Self {
            read,
            write,
            network: NetworkRule::Tcp,
            exec: false,
            strictness: Strictness::Full,
        }
    }

    /// The recorder role: its directory, Unix sockets only, no program.
    pub fn recorder(directory: Place) -> Self {
        Self {
            read: vec![Place::IfPresent("/dev/urandom".into())],
            write: vec![directory],
            network: NetworkRule::Unix,
            exec: false,
            strictness: Strictness::Full,
        }
    }

    /// An inspector worker or a stand-alone `check`: reads one tree, nothing else.
    pub fn inspector(tree: Place) -> Self {
        Self {
            read: vec![tree],
            write: Vec::new(),
            network: NetworkRule::None,
            exec: false,
            strictness: Strictness::Full,
        }
    }

    /// The same, going on without Landlock where the kernel has none.
    #[must_use]
    pub fn with_strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }
}

/// What holds from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Version of the Landlock interface that is enforced; `None` if the kernel has none.
    pub landlock_abi: Option<u32>,
    /// System calls that are refused always or for some arguments.
    pub calls_denied: usize,
    /// Which sockets can be made.
    pub network: NetworkRule,
    /// Why Landlock is not enforced, with the remedy.
    pub missing: Option<String>,
}

/// Why a process could not be confined. It must not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfineError {
    /// The kernel has no Landlock, and weaker was not accepted.
    #[error("this process cannot be confined to its files: the kernel has no Landlock")]
    LandlockMissing,
    /// A place cannot be opened.
    #[error("the place {} cannot be opened for confinement", .path.display())]
    Place {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Landlock refused the rules.
    #[error("the Landlock rules were refused")]
    Landlock(#[from] RulesetError),
    /// The filter could not be built or installed.
    #[error("the system call filter was refused: {0}")]
    Seccomp(String),
    /// Threads that already run would stay free.
    #[error("a process is confined before it has threads, this one has {0}")]
    Threads(usize),
    /// /proc could not be read.
    #[error("the threads of this process cannot be counted")]
    Proc(#[source] io::Error),
}

/// The remedy for a kernel without Landlock.
pub const LANDLOCK_REMEDY: &str =
    "boot Linux 5.13 or later with landlock in the lsm= list, or say --accept-weaker";

impl Explain for ConfineError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::LandlockMissing => ErrorCode("run/landlock-missing"),
            _ => ErrorCode("run/confine-failed"),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::LandlockMissing => LANDLOCK_REMEDY.to_owned(),
            Self::Place { .. } => "create it or make it readable for the role's user".to_owned(),
            _ => "run `ringfence doctor`; it names what this kernel lacks".to_owned(),
        })
    }
}

/// Confines the calling process for the rest of its life.
pub fn apply(confinement: Confinement) -> Result<Applied, ConfineError> {
    let threads = crate::process::thread_count().map_err(ConfineError::Proc)?;
    if threads != 1 {
        return Err(ConfineError::Threads(threads));
    }
    let (network, exec) = (confinement.network, confinement.exec);
    let strictness = confinement.strictness;
    let landlock_abi = restrict_paths(confinement)?;
    if landlock_abi.is_none() && strictness == Strictness::Full {
        return Err(ConfineError::LandlockMissing);
    }
    let calls_denied = restrict_calls(network, exec)?;
    let missing = landlock_abi.is_none().then(|| LANDLOCK_REMEDY.to_owned());
    Ok(Applied {
        landlock_abi,
        calls_denied,
        network,
        missing,
    })
}

/// The newest interface whose rights are asked for; an older kernel enforces what it knows.
const LANDLOCK_ABI: ABI = ABI::V6;

fn restrict_paths(confinement: Confinement) -> Result<Option<u32>, ConfineError> {
    let mut read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    if confinement.exec {
        read |= AccessFs::Execute;
    }
    // Never device nodes: mknod is not for a role, even as root in a rootless test.
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let write = read | (AccessFs::from_write(LANDLOCK_ABI) & !devices);
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    if matches!(confinement.network, NetworkRule::None | NetworkRule::Unix) {
        ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
    }
    let mut rules = ruleset.create()?;
    let read_places = confinement.read.into_iter().map(|p| (p, read));
    let write_places = confinement.write.into_iter().map(|p| (p, write));
    for (place, access) in read_places.chain(write_places) {
        let Some((fd, directory)) = open_place(place)? else {
            continue;
        };
        let access = if directory {
            access
        } else {
            access & AccessFs::from_file(LANDLOCK_ABI)
        };
        rules = rules.add_rule(PathBeneath::new(fd.as_fd(), access))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as u32),
        _ => None,
    })
}

/// Opens a place; the flag says whether it is a directory. `None`: optional and absent.
fn open_place(place: Place) -> Result<Option<(OwnedFd, bool)>, ConfineError> {
    use rustix::fs::{FileType, Mode, OFlags, fstat, open};
    let failed = |path: &Path, error: rustix::io::Errno| ConfineError::Place {
        path: path.to_owned(),
        source: error.into(),
    };
    let (fd, path) = match place {
        Place::Fd(fd) => (fd, PathBuf::from("(open descriptor)")),
        Place::Path(path) => {
            let fd = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            (fd.map_err(|e| failed(&path, e))?, path)
        }
        Place::IfPresent(path) => {
            match open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Ok(fd) => (fd, path),
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(error) => return Err(failed(&path, error)),
            }
        }
    };
    let kind = fstat(&fd).map_err(|e| failed(&path, e))?.st_mode;
    Ok(Some((
        fd,
        FileType::from_raw_mode(kind) == FileType::Directory,
    )))
}

/// Calls that no role needs: other processes' memory, mounts, namespaces, kernel code, keys,
/// identities, clocks, devices, and the two interfaces (`io_uring`, `userfaultfd`) whose history of
/// kernel exploits is longest.
const NEVER: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    libc::SYS_personality,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
];

/// `open_tree_attr` (Linux 6.15), younger than the constants of the C library.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Flags of clone(2) that make a namespace. clone3 hides them behind a pointer and is answered
/// with "no such call", after which the C library uses clone.
const NAMESPACE_FLAGS: [libc::c_int; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

fn restrict_calls(network: NetworkRule, exec: bool) -> Result<usize, ConfineError> {
    let rules = denied(network, exec).map_err(|e| ConfineError::Seccomp(e.to_string()))?;
    // clone3 is the one more.
    let count = rules.len() + 1;
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|e| ConfineError::Seccomp(e.to_string()))?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let main: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        .and_then(TryInto::try_into)
        .map_err(|e| ConfineError::Seccomp(e.to_string()))?;
    for program in [edges(), main] {
        seccompiler::apply_filter(&program).map_err(|e| ConfineError::Seccomp(e.to_string()))?;
    }
    Ok(count)
}

/// What a list of call numbers cannot say: clone3 does not exist here (`ENOSYS`, so that libraries
/// fall back), and on `x86_64` the x32 aliases (numbers with bit 30 set) of every denied call are
/// refused with it.
fn edges() -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const X32_BIT: u32 = 0x4000_0000;
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    let errno = |number: i32| libc::SECCOMP_RET_ERRNO | number.unsigned_abs();
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, 0),
        step(AT_LEAST, 2, 0, X32_BIT),
        step(EQUAL, 2, 0, clone3),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, errno(libc::EPERM)),
        step(RETURN, 0, 0, errno(libc::ENOSYS)),
    ]
}

fn denied(network: NetworkRule, exec: bool) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    if !exec {
        rules.insert(libc::SYS_execve, Vec::new());
        rules.insert(libc::SYS_execveat, Vec::new());
    }
    let mut namespaces = Vec::new();
    for flag in NAMESPACE_FLAGS {
        let flag = u64::from(flag.unsigned_abs());
        namespaces.push(all(&[(0, Len::Qword, Op::MaskedEq(flag), flag)])?);
    }
    rules.insert(libc::SYS_clone, namespaces);
    // A role shares the operator's terminal for its messages; these two type into it.
    let mut terminal = Vec::new();
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        terminal.push(all(&[(1, Len::Dword, Op::Eq, request)])?);
    }
    rules.insert(libc::SYS_ioctl, terminal);
    rules.insert(libc::SYS_socket, sockets(network)?);
    if network == NetworkRule::None {
        for call in [
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
        ] {
            rules.insert(call, Vec::new());
        }
    }
    Ok(rules)
}

/// Which socket(2) calls are refused. An empty list refuses all.
fn sockets(network: NetworkRule) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let constant = |number: i32| u64::from(number.unsigned_abs());
    let (unix, v4, v6) = (
        constant(libc::AF_UNIX),
        constant(libc::AF_INET),
        constant(libc::AF_INET6),
    );
    let not_unix = (0, Len::Dword, Op::Ne, unix);
    match network {
        NetworkRule::None => return Ok(Vec::new()),
        NetworkRule::Unix => return Ok(vec![all(&[not_unix])?]),
        NetworkRule::Tcp | NetworkRule::TcpAndNames => {}
    }
    let v4 = (0, Len::Dword, Op::Ne, v4);
    let v6 = (0, Len::Dword, Op::Ne, v6);
    let mut rules = vec![all(&[not_unix.clone(), v4, v6])?];
    // Of the types the kernel knows (socket(2); SOCK_MAX is 11) all but the allowed ones.
    let mut types = vec![libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, 6, 10];
    let mut protocols = vec![constant(libc::IPPROTO_TCP)];
    if network == NetworkRule::Tcp {
        types.push(libc::SOCK_DGRAM);
    } else {
        protocols.push(constant(libc::IPPROTO_UDP));
    }
    for kind in types {
        let kind = (1, Len::Dword, Op::MaskedEq(0xf), constant(kind));
        rules.push(all(&[not_unix.clone(), kind])?);
    }
    // Protocol 0 is the default of the type: TCP or UDP. Others (SCTP, MPTCP) are refused.
    let mut others = vec![not_unix, (2, Len::Dword, Op::Ne, 0)];
    others.extend(protocols.into_iter().map(|p| (2, Len::Dword, Op::Ne, p)));
    rules.push(all(&others)?);
    Ok(rules)
}

/// A rule that matches when every condition (argument, width, operation, value) holds.
fn all(conditions: &[(u8, Len, Op, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .iter()
        .map(|(n, len, op, value)| SeccompCondition::new(*n, len.clone(), op.clone(), *value))
        .collect::<Result<Vec<_>, _>>()?;
    SeccompRule::new(conditions)
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
