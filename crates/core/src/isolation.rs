//! What a sandbox is asked to be, and what it says of itself.

use crate::ids::{ProjectId, SandboxId};
use crate::limits::{SANDBOX_MEMORY_BYTES, SANDBOX_PROCESSES};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One wall between a sandbox and its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// Own user ids: root inside is nobody outside.
    UserNamespace,
    /// Own file system tree.
    MountNamespace,
    /// Own processes.
    PidNamespace,
    /// Own network, loopback only.
    NetNamespace,
    /// Own System V and POSIX message objects.
    IpcNamespace,
    /// Own host name.
    UtsNamespace,
    /// Own view of control groups.
    CgroupNamespace,
    /// System calls are an allow-list.
    Seccomp,
    /// Paths are an allow-list, enforced by the Landlock LSM.
    Landlock,
    /// Memory is limited by a control group.
    MemoryLimit,
    /// Processes and threads are limited by a control group.
    ProcessLimit,
    /// Processor time is limited by a control group.
    CpuLimit,
    /// No capability is held and none can be gained.
    NoPrivileges,
}

impl Wall {
    /// Every wall, in the order they are shown.
    pub const ALL: [Self; 13] = [
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::Seccomp,
        Self::Landlock,
        Self::MemoryLimit,
        Self::ProcessLimit,
        Self::CpuLimit,
        Self::NoPrivileges,
    ];

    /// The name as in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::PidNamespace => "pid-namespace",
            Self::NetNamespace => "net-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::CgroupNamespace => "cgroup-namespace",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::MemoryLimit => "memory-limit",
            Self::ProcessLimit => "process-limit",
            Self::CpuLimit => "cpu-limit",
            Self::NoPrivileges => "no-privileges",
        }
    }
}

/// Whether a wall stands, how that is known, and what to do if not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallState {
    /// Which wall.
    pub wall: Wall,
    /// Whether it stands.
    pub stands: bool,
    /// How that is known: the probe and its answer.
    pub evidence: String,
    /// The exact remedy, when it does not stand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<String>,
}

/// What the sandbox found when it attacked itself, before anything hosted ran in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// One entry for each wall.
    pub walls: Vec<WallState>,
    /// Microseconds from the request to the end of the probes.
    pub start_us: u64,
}

impl Attestation {
    /// The walls that do not stand.
    pub fn missing(&self) -> impl Iterator<Item = &WallState> {
        self.walls.iter().filter(|w| !w.stands)
    }
}

/// Whether a mount can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read and execute only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A host path made visible inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the host, absolute.
    pub source: PathBuf,
    /// Inside, absolute.
    pub target: PathBuf,
    /// Whether it can be written.
    pub access: Access,
}

/// What the socket of a door is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum DoorKind {
    /// A TCP listener on 127.0.0.1.
    #[default]
    Stream,
    /// A UDP socket on 127.0.0.1.
    Datagram,
    /// A TCP listener for connections to any address whatever. A sandbox with such a door routes
    /// every destination to its own loopback, so a program that knows no proxy comes here too; the
    /// address it meant is the local address of the accepted connection.
    AnyStream,
}

impl DoorKind {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands it a reference"
    )]
    fn is_stream(&self) -> bool {
        *self == Self::Stream
    }
}

/// A socket that the host binds inside the network namespace. Whoever comes through it is
/// identified by the socket, not by anything it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// `gateway`, `exec`, …
    pub name: String,
    /// The port inside.
    pub port: u16,
    /// What the socket is.
    #[serde(default, skip_serializing_if = "DoorKind::is_stream")]
    pub kind: DoorKind,
}

impl Door {
    /// A TCP listener on 127.0.0.1.
    pub fn stream(name: impl Into<String>, port: u16) -> Self {
        Self::new(name, port, DoorKind::Stream)
    }

    /// A UDP socket on 127.0.0.1.
    pub fn datagram(name: impl Into<String>, port: u16) -> Self {
        Self::new(name, port, DoorKind::Datagram)
    }

    /// A TCP listener for every address.
    pub fn any_stream(name: impl Into<String>, port: u16) -> Self {
        Self::new(name, port, DoorKind::AnyStream)
    }

    fn new(name: impl Into<String>, port: u16, kind: DoorKind) -> Self {
        Self {
            name: name.into(),
            port,
            kind,
        }
    }
}

/// Whether a missing wall refuses the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strictness {
    /// Every wall must stand.
    #[default]
    Full,
    /// The operator said `--accept-weaker`: missing walls are named, recorded and accepted.
    AcceptWeaker,
}

/// What a sandbox is asked to be. It holds an init of ours; programs are started in it with
/// [`ExecRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its id.
    pub id: SandboxId,
    /// Whose project.
    pub project: ProjectId,
    /// What is visible beside the read-only system and private /proc, /dev and /tmp.
    pub mounts: Vec<Mount>,
    /// Sockets bound inside for it.
    pub doors: Vec<Door>,
    /// Octets of memory, all processes together.
    pub memory_bytes: u64,
    /// Processes and threads, all together.
    pub processes: u32,
    /// Thousandths of one processor; `None` is no limit.
    pub cpu_millis: Option<u32>,
    /// Octets of private /tmp.
    pub tmp_bytes: u64,
    /// Whether a missing wall refuses the start.
    pub strictness: Strictness,
}

impl Spec {
    /// A sandbox with the default limits, nothing mounted and no door.
    pub fn new(id: SandboxId, project: ProjectId) -> Self {
        Self {
            id,
            project,
            mounts: Vec::new(),
            doors: Vec::new(),
            memory_bytes: SANDBOX_MEMORY_BYTES,
            processes: SANDBOX_PROCESSES,
            cpu_millis: Some(1000),
            tmp_bytes: 64 * 1024 * 1024,
            strictness: Strictness::Full,
        }
    }
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A program of the sandbox's file system, looked up in `PATH` if it has no slash.
    Command(Vec<String>),
    /// This very binary, from a sealed copy in memory, with these arguments: an inspector worker.
    Ringfence(Vec<String>),
}

/// One program to start in a running sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// What to run.
    pub program: Program,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Working directory inside.
    pub workdir: PathBuf,
    /// Milliseconds after which all of its processes are killed.
    pub wall_ms: Option<u64>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// It was killed by this signal.
    Signaled(i32),
    /// Its time was up.
    TimedOut,
    /// The sandbox ran out of memory and the kernel killed it.
    OutOfMemory,
    /// The sandbox is gone.
    Lost,
}

/// Counters of a sandbox since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStats {
    /// Microseconds of processor time.
    pub cpu_us: u64,
    /// Octets of memory now.
    pub memory_bytes: u64,
    /// The highest it was.
    pub memory_peak_bytes: u64,
    /// Processes and threads now.
    pub processes: u32,
    /// Times the memory limit killed something.
    pub oom_kills: u64,
    /// Times a fork was refused by the process limit.
    pub fork_denials: u64,
    /// Connections and datagrams that found no way out, or no listener inside.
    pub refused_connections: u64,
}

/// State of one process of a frozen sandbox, for an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEvidence {
    /// As the host sees it.
    pub pid: u32,
    /// Its command line, arguments joined by spaces, at most 4 KiB.
    pub command: String,
    /// Kernel stack, if the host may read it.
    pub kernel_stack: Vec<String>,
}
