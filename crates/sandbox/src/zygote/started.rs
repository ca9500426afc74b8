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
        let mut stats = stats(&self.group);
        stats.refused_connections = spawn::pid_of(&self.pidfd).map_or(0, refused_connections);
        stats
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
        refused_connections: 0,
    }
}

/// What the kernel counted in the sandbox's own network: no route out (`OutNoRoutes` of RFC 4293,
/// for both protocols) and TCP attempts that failed (`AttemptFails` of RFC 4022), such as a connect
/// to a port where nothing listens.
fn refused_connections(init: i32) -> u64 {
    let read =
        |name: &str| fs::read_to_string(format!("/proc/{init}/net/{name}")).unwrap_or_default();
    let (first, second) = (read("snmp"), read("snmp6"));
    column(&first, "Ip:", "OutNoRoutes")
        .saturating_add(column(&first, "Tcp:", "AttemptFails"))
        .saturating_add(row(&second, "Ip6OutNoRoutes"))
}

/// A value of /proc/net/snmp, where a line of names is followed by a line of values.
fn column(text: &str, group: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(group));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(n, _)| *n == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// A value of /proc/net/snmp6, where each line is a name and its value.
fn row(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .find(|(n, _)| *n == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::{column, row};

    #[test]
    fn counters_are_found_by_name_not_by_place() {
        let text = "Ip: Forwarding OutNoRoutes X\nIp: 1 7 9\nTcp: A AttemptFails\nTcp: 0 3\n";
        assert_eq!(column(text, "Ip:", "OutNoRoutes"), 7);
        assert_eq!(column(text, "Tcp:", "AttemptFails"), 3);
        assert_eq!(column(text, "Udp:", "OutNoRoutes"), 0);
        assert_eq!(column("Ip: OutNoRoutes\n", "Ip:", "OutNoRoutes"), 0);
        assert_eq!(
            row("Ip6InReceives  0\nIp6OutNoRoutes   5\n", "Ip6OutNoRoutes"),
            5
        );
    }
}
