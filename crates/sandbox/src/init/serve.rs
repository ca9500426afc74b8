//! The loop of an init: one question or one death at a time.

use super::{Inherited, exec, tell};
use crate::weakness::Weakness;
use crate::zygote::wire::{self, Failure, InitReply, InitRequest};
use ringfence_core::isolation::Ended;
use ringfence_sys::seqpacket::SeqPacket;
use ringfence_sys::{netns, ns, spawn};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;

/// One program that runs.
struct Running {
    exec_id: u64,
    deadline: Option<Instant>,
    timed_out: bool,
}

/// All that run, by pid. A program leads its own session and process group.
struct Programs {
    running: BTreeMap<i32, Running>,
    /// Whether this is pid 1, as in every sandbox but some that the attack suite weakens.
    first: bool,
}

impl Programs {
    /// Signals a program and what it started. When it is the only one, everything except the init
    /// is its tree and the kernel signals it as one; otherwise its process group.
    fn signal(&self, pid: i32, signal: i32) -> io::Result<()> {
        if self.running.len() == 1 && self.first {
            spawn::signal_all_but_init(signal)
        } else {
            spawn::signal_group(pid, signal)
        }
    }

    fn next_deadline_ms(&self, now: Instant) -> Option<i64> {
        let next = self
            .running
            .values()
            .filter(|p| !p.timed_out)
            .filter_map(|p| p.deadline)
            .min()?;
        let wait = next.saturating_duration_since(now).as_millis();
        // One more, so that the deadline has passed when the wait is over.
        Some(i64::try_from(wait).unwrap_or(i64::MAX - 1) + 1)
    }

    fn end_overdue(&mut self, now: Instant) -> io::Result<()> {
        let overdue: Vec<i32> = self
            .running
            .iter()
            .filter(|(_, p)| !p.timed_out && p.deadline.is_some_and(|d| d <= now))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in overdue {
            if let Some(program) = self.running.get_mut(&pid) {
                program.timed_out = true;
            }
            self.signal(pid, SIGKILL)?;
        }
        Ok(())
    }
}

/// Until the owner is gone.
pub(super) fn serve(channel: &SeqPacket, inherited: &Inherited) -> io::Result<()> {
    let deaths = spawn::signal_fd(&[spawn::SIGCHLD])?;
    let mut programs = Programs {
        running: BTreeMap::new(),
        first: !inherited.weakened.lacks(Weakness::PidNamespace),
    };
    loop {
        let timeout = programs.next_deadline_ms(Instant::now());
        let [asked, died] = ns::readable_of([channel.as_fd(), deaths.as_fd()], timeout)?;
        programs.end_overdue(Instant::now())?;
        if died {
            while spawn::read_signal(deaths.as_fd())?.is_some() {}
            bury(channel, &mut programs)?;
        }
        if asked && !answer(channel, inherited, &mut programs)? {
            return Ok(());
        }
    }
}

/// Collects the dead, also those that others left behind, and reports the programs among them.
fn bury(channel: &SeqPacket, programs: &mut Programs) -> io::Result<()> {
    while let Some((pid, exit)) = spawn::reap()? {
        let Some(program) = programs.running.remove(&pid) else {
            continue;
        };
        if programs.running.is_empty() && programs.first {
            // What a program left running ends with it: nothing stays behind in a sandbox that
            // nobody accounts for.
            spawn::signal_all_but_init(SIGKILL)?;
            spawn::reap_all()?;
        }
        let ended = match exit {
            _ if program.timed_out => Ended::TimedOut,
            spawn::Exit::Code(code) => Ended::Exited(code),
            spawn::Exit::Signal(signal) => Ended::Signaled(signal),
        };
        tell(
            channel,
            &InitReply::Ended {
                exec_id: program.exec_id,
                ended,
            },
            &[],
        )?;
    }
    Ok(())
}

/// `false`: the owner is gone.
fn answer(channel: &SeqPacket, inherited: &Inherited, programs: &mut Programs) -> io::Result<bool> {
    let mut buffer = Vec::new();
    let fds = channel.recv(&mut buffer)?;
    match wire::decode(&buffer) {
        Some(InitRequest::Exec { exec_id, request }) => {
            let stdio: [OwnedFd; 3] = match fds.try_into() {
                Ok(three) => three,
                Err(_) => return Ok(false),
            };
            let deadline = request
                .wall_ms
                .map(|ms| Instant::now() + Duration::from_millis(ms));
            match exec::start(&request, &stdio, inherited) {
                Ok(pid) => {
                    let running = Running {
                        exec_id,
                        deadline,
                        timed_out: false,
                    };
                    programs.running.insert(pid, running);
                    tell(channel, &InitReply::Executed, &[])?;
                }
                Err(failure) => tell(channel, &InitReply::NotExecuted(failure), &[])?,
            }
        }
        Some(InitRequest::Connect { port }) => match netns::connect_loopback(port) {
            Ok(socket) => tell(channel, &InitReply::Connected, &[socket.as_fd()])?,
            Err(error) => {
                tell(
                    channel,
                    &InitReply::NotConnected(Failure::new("connect", &error)),
                    &[],
                )?;
            }
        },
        Some(InitRequest::Signal { exec_id, signal }) => {
            let pid = programs
                .running
                .iter()
                .find(|(_, p)| p.exec_id == exec_id)
                .map(|(pid, _)| *pid);
            if let Some(pid) = pid {
                drop(programs.signal(pid, signal));
            }
        }
        Some(InitRequest::Go) | None => return Ok(false),
    }
    Ok(true)
}
