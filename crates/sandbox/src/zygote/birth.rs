//! The owner's part of making a sandbox: limits before, cgroups and attestation after the clone.

use super::START_MS_MAX;
use super::handle::InitHandle;
use super::started::{self, Started};
use super::wire::{self, InitReply, InitRequest, ProbeFinding};
use crate::error::{SandboxError, doing};
use crate::host;
use ringfence_core::isolation::{Attestation, Door, Spec, Strictness, Wall, WallState};
use ringfence_sys::cgroup::{Controller, Group, Limits};
use ringfence_sys::seqpacket::SeqPacket;
use ringfence_sys::{ns, spawn};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// Sets the limits of a group that is still empty.
pub(super) fn limit(group: &Group, spec: &Spec) -> Result<(), SandboxError> {
    let limits = Limits {
        memory_bytes: spec.memory_bytes,
        processes: spec.processes,
        cpu_millis: spec.cpu_millis,
    };
    group
        .limit(limits)
        .map_err(doing("setting the limits of the sandbox"))
}

/// Puts a cloned init into its cgroups, lets it build the rest, and judges what it found.
pub(super) fn raise(
    spec: &Spec,
    group: &Group,
    pidfd: OwnedFd,
    channel: SeqPacket,
    began: Instant,
) -> Result<Started, SandboxError> {
    let outcome = settle(spec, group, &pidfd, &channel);
    match outcome {
        Ok((walls, doors)) => {
            let start_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            Ok(Started {
                attestation: Attestation { walls, start_us },
                doors,
                init: InitHandle::new(channel, group.clone()),
                group: group.clone(),
                pidfd,
            })
        }
        Err(error) => {
            drop(started::end(&pidfd, group));
            Err(error)
        }
    }
}

type Settled = (Vec<WallState>, Vec<(Door, OwnedFd)>);

fn settle(
    spec: &Spec,
    group: &Group,
    pidfd: &OwnedFd,
    channel: &SeqPacket,
) -> Result<Settled, SandboxError> {
    let pid = spawn::pid_of(pidfd).map_err(|_| SandboxError::InitLost)?;
    group
        .attach(pid)
        .map_err(doing("moving the sandbox into its cgroups"))?;
    channel
        .send(&wire::encode(&InitRequest::Go)?, &[])
        .map_err(|_| SandboxError::InitLost)?;
    if !ns::readable(channel.as_fd(), Some(START_MS_MAX)).map_err(doing("poll"))? {
        return Err(SandboxError::InitSilent(START_MS_MAX));
    }
    let mut buffer = Vec::new();
    let fds = channel
        .recv(&mut buffer)
        .map_err(|_| SandboxError::InitLost)?;
    let findings = match wire::decode(&buffer) {
        Some(InitReply::Ready { findings }) => findings,
        Some(InitReply::Failed(failure)) => return Err(failure.into()),
        _ => return Err(SandboxError::InitLost),
    };
    if fds.len() != spec.doors.len() {
        return Err(SandboxError::InitLost);
    }
    let walls = judge(spec, group, pid, &findings);
    let missing: Vec<WallState> = walls.iter().filter(|w| !w.stands).cloned().collect();
    if spec.strictness == Strictness::Full && !missing.is_empty() {
        return Err(SandboxError::WallsMissing(missing));
    }
    channel.set_nonblocking(true).map_err(doing("fcntl"))?;
    Ok((walls, spec.doors.iter().cloned().zip(fds).collect()))
}

/// One state for each wall: those the sandbox attacked from inside, and the three that only the
/// host can read back. A wall nobody spoke of does not stand.
fn judge(spec: &Spec, group: &Group, pid: i32, findings: &[ProbeFinding]) -> Vec<WallState> {
    Wall::ALL
        .into_iter()
        .map(|wall| {
            let (stands, evidence) = match wall {
                Wall::MemoryLimit => limit_state(
                    group,
                    pid,
                    Controller::Memory,
                    &spec.memory_bytes.to_string(),
                ),
                Wall::ProcessLimit => limit_state(
                    group,
                    pid,
                    Controller::Processes,
                    &spec.processes.to_string(),
                ),
                Wall::CpuLimit => cpu_state(spec, group, pid),
                probed => from_inside(probed, findings),
            };
            let remedy = (!stands).then(|| host::remedy(wall));
            WallState {
                wall,
                stands,
                evidence,
                remedy,
            }
        })
        .collect()
}

fn from_inside(wall: Wall, findings: &[ProbeFinding]) -> (bool, String) {
    let about: Vec<&ProbeFinding> = findings.iter().filter(|f| f.wall == wall).collect();
    let held = !about.is_empty() && about.iter().all(|f| f.held);
    let evidence: Vec<&str> = about.iter().map(|f| f.evidence.as_str()).collect();
    if evidence.is_empty() {
        return (false, "no probe answered".to_owned());
    }
    (held, evidence.join("; "))
}

/// The kernel rounds a memory limit down to whole pages.
const PAGE_BYTES: u64 = 4096;

fn limit_state(group: &Group, pid: i32, controller: Controller, wanted: &str) -> (bool, String) {
    let Some((file, value)) = group.limit_evidence(controller) else {
        return (false, "no cgroup of ours has this controller".to_owned());
    };
    let page = |text: &str| text.parse::<u64>().ok().map(|n| n / PAGE_BYTES);
    let right =
        value == wanted || (controller == Controller::Memory && page(&value) == page(wanted));
    let inside = group.holds(pid);
    let member = if inside {
        "the sandbox is in it"
    } else {
        "the sandbox is NOT in it"
    };
    (
        right && inside,
        format!("{} reads {value}, {member}", file.display()),
    )
}

fn cpu_state(spec: &Spec, group: &Group, pid: i32) -> (bool, String) {
    let Some(millis) = spec.cpu_millis else {
        return (true, "no limit was asked for".to_owned());
    };
    let Some((file, value)) = group.limit_evidence(Controller::Cpu) else {
        return (false, "no cgroup of ours has this controller".to_owned());
    };
    let quota = value.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    let right = quota == Some((u64::from(millis) * 100).max(1000));
    let evidence = format!("{} reads {value} for periods of 100000", file.display());
    (right && group.holds(pid), evidence)
}
