//! A live sandbox as its owner on the host holds it.

use super::handle::InitHandle;
use crate::error::{SandboxError, doing};
use ringfence_core::isolation::{Attestation, Door, ProcessEvidence, SandboxStats};
use ringfence_sys::{cgroup, spawn};
use std::fs;
use std::os::fd::OwnedFd;

/// LIMIT: milliseconds for a killed sandbox to be gone.
const GONE_MS_MAX: i64 = 10_000;
/// LIMIT: octets of a command line in evidence.
const COMMAND_BYTES_MAX: usize = 4096;
/// LIMIT: processes described in one piece of evidence.
const EVIDENCE_PROCESSES_MAX: usize = 256;

/// A live sandbox.
#[derive(Debug)]
pub struct Started {
    /// What it found when it attacked itself.
    pub attestation: Attestation,
    /// The listening sockets bound inside, in the order of the spec.
    pub doors: Vec<(Door, OwnedFd)>,
    /// The socket to its pid 1; dropping it ends the sandbox.
    pub init: InitHandle,
    /// Its cgroup.
    pub group: cgroup::Group,
    /// Refers to its pid 1.
    pub pidfd: OwnedFd,
}

impl Started {
    /// Stops (`true`) or continues (`false`) every process. While frozen, the init does not answer
    /// either: do not exec or connect then.
    pub fn freeze(&self, frozen: bool) -> Result<(), SandboxError> {
        self.group
            .freeze(frozen)
            .map_err(doing("freezing the sandbox"))
    }

    /// Counters since the start.
    pub fn stats(&self) -> SandboxStats {
        stats(&self.group)
    }

    /// The processes with command line and kernel stack; freeze first for a consistent picture.
    pub fn evidence(&self) -> Vec<ProcessEvidence> {
        self.group
            .processes()
            .into_iter()
            .take(EVIDENCE_PROCESSES_MAX)
            .map(describe)
            .collect()
    }

    /// Ends it. When this returns without error nothing is left: every process of the pid namespace
    /// has ended before its pid 1 is reported to have, mounts go with the last process, and the
    /// cgroups are removed.
    pub fn kill_and_wait(self) -> Result<(), SandboxError> {
        end(&self.pidfd, &self.group)
    }
}

/// What [`Started::kill_and_wait`] does, for a holder that has taken the parts apart.
pub fn end(pidfd: &OwnedFd, group: &cgroup::Group) -> Result<(), SandboxError> {
    spawn::kill(pidfd).map_err(doing("killing the sandbox"))?;
    // With version 1 a frozen process dies only once it is thawed.
    if group.has(cgroup::Controller::Freezer) {
        drop(group.freeze(false));
    }
    if !spawn::has_ended(pidfd, Some(GONE_MS_MAX)).map_err(doing("poll"))? {
        return Err(SandboxError::InitSilent(GONE_MS_MAX));
    }
    group
        .remove()
        .map_err(doing("removing the cgroups of the sandbox"))
}

/// The counters of a group as statistics of a sandbox.
pub fn stats(group: &cgroup::Group) -> SandboxStats {
    let counters = group.counters();
    SandboxStats {
        cpu_us: counters.cpu_us,
        memory_bytes: counters.memory_bytes,
        memory_peak_bytes: counters.memory_peak_bytes,
        processes: counters.processes,
        oom_kills: counters.oom_kills,
        fork_denials: counters.fork_denials,
    }
}

fn describe(pid: i32) -> ProcessEvidence {
    let mut command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    while command.last() == Some(&0) {
        command.pop();
    }
    command.truncate(COMMAND_BYTES_MAX);
    for byte in &mut command {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    let kernel_stack = fs::read_to_string(format!("/proc/{pid}/stack"))
        .map(|text| text.lines().map(str::to_owned).collect())
        .unwrap_or_default();
    ProcessEvidence {
        pid: pid.unsigned_abs(),
        command: String::from_utf8_lossy(&command).into_owned(),
        kernel_stack,
    }
}
