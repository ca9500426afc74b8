//! The owner's side of an init: start programs, connect, signal, hear of ends.

use super::wire::{self, InitReply, InitRequest};
use crate::error::{SandboxError, doing};
use ringfence_core::isolation::{Ended, ExecRequest, Program};
use ringfence_sys::cgroup::Group;
use ringfence_sys::ns;
use ringfence_sys::seqpacket::SeqPacket;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// LIMIT: milliseconds for an init to answer. It is our code and answers at once, or after the two
/// seconds that it gives a program to start. The owner serves every other sandbox too and stands
/// still meanwhile, so there is no second chance: an answer that comes later would be taken for the
/// next one.
pub const ANSWER_MS_MAX: u64 = 3_000;

/// What an init says unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitNotice {
    /// A program ended.
    Ended {
        /// Which.
        exec_id: u64,
        /// How.
        ended: Ended,
    },
}

/// Why an init is not spoken to any more.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Gone,
    Silent,
    Stalled,
    Overdue(u64),
}

impl Loss {
    fn error(self) -> SandboxError {
        match self {
            Self::Gone => SandboxError::InitLost,
            Self::Silent => SandboxError::InitSilent(ANSWER_MS_MAX.cast_signed()),
            Self::Stalled => SandboxError::ExecStalled,
            Self::Overdue(ms) => SandboxError::ProgramOverdue(ms),
        }
    }
}

/// The socket to pid 1 of a sandbox. Dropping it ends the sandbox.
///
/// No call waits longer than [`ANSWER_MS_MAX`], whatever runs inside.
/// INVARIANT: after one answer was missed nothing is sent and no answer is believed; the owner ends
/// the sandbox.
#[derive(Debug)]
pub struct InitHandle {
    channel: SeqPacket,
    group: Group,
    oom_seen: u64,
    next_id: u64,
    running: BTreeSet<u64>,
    waiting: VecDeque<InitNotice>,
    lost: Option<Loss>,
}

impl InitHandle {
    /// The channel is non-blocking.
    pub(super) fn new(channel: SeqPacket, group: Group) -> Self {
        Self {
            channel,
            group,
            oom_seen: 0,
            next_id: 1,
            running: BTreeSet::new(),
            waiting: VecDeque::new(),
            lost: None,
        }
    }

    /// Pollable: readable when [`InitHandle::next_notice`] has something to say. Notices that came
    /// in while another answer was awaited are kept, so drain after every other call too.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Starts a program with pipes: its number and our ends of its stdin, stdout and stderr.
    pub fn exec(&mut self, request: &ExecRequest) -> Result<(u64, [OwnedFd; 3]), SandboxError> {
        let (stdin, our_stdin): (PipeReader, PipeWriter) = pipe().map_err(doing("pipe"))?;
        let (our_stdout, stdout) = pipe().map_err(doing("pipe"))?;
        let (our_stderr, stderr) = pipe().map_err(doing("pipe"))?;
        let id = self.exec_with(request, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        Ok((id, [our_stdin.into(), our_stdout.into(), our_stderr.into()]))
    }

    /// Starts a program with these standard streams.
    pub fn exec_with(
        &mut self,
        request: &ExecRequest,
        stdio: [BorrowedFd<'_>; 3],
    ) -> Result<u64, SandboxError> {
        check_program(&request.program)?;
        let exec_id = self.next_id;
        let message = InitRequest::Exec {
            exec_id,
            request: request.clone(),
        };
        match self.ask(&message, &stdio)? {
            (InitReply::Executed, _) => {
                self.next_id += 1;
                self.running.insert(exec_id);
                Ok(exec_id)
            }
            (InitReply::NotExecuted(failure), _) if failure.step == wire::STALLED => {
                Err(self.lose(Loss::Stalled))
            }
            (InitReply::NotExecuted(failure), _) => Err(not_executed(&request.program, &failure)),
            _ => Err(self.lose(Loss::Gone)),
        }
    }

    /// A TCP socket connected (or, with a full backlog, connecting) to 127.0.0.1:`port` inside;
    /// it is non-blocking.
    pub fn connect(&mut self, port: u16) -> Result<OwnedFd, SandboxError> {
        match self.ask(&InitRequest::Connect { port }, &[])? {
            (InitReply::Connected, mut fds) => fds.pop().ok_or(SandboxError::InitLost),
            (InitReply::NotConnected(failure), _) => Err(SandboxError::ConnectRefused {
                port,
                reason: failure.reason,
            }),
            _ => Err(self.lose(Loss::Gone)),
        }
    }

    /// Sends a signal to a program and what it started; one that has ended is no error.
    pub fn signal(&mut self, exec_id: u64, signal: i32) -> Result<(), SandboxError> {
        let message = wire::encode(&InitRequest::Signal { exec_id, signal })?;
        self.send(&message, &[])
    }

    /// A program outlived its time by so many milliseconds: every program is lost, and
    /// [`InitHandle::next_notice`] says so. The owner ends the sandbox.
    pub(crate) fn give_up_overdue(&mut self, ms: u64) {
        self.lose(Loss::Overdue(ms));
    }

    fn send(&mut self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        if let Some(loss) = self.lost {
            return Err(loss.error());
        }
        match self.channel.send(message, fds) {
            Ok(()) => Ok(()),
            // Our code inside reads at once; one that leaves so much unread does not run.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(self.lose(Loss::Silent)),
            // Its end may have left last words; they are heard by the next notice.
            Err(_) => Err(SandboxError::InitLost),
        }
    }

    /// The next notice, without waiting. After the sandbox is gone, every program that still ran is
    /// reported as [`Ended::Lost`] (or [`Ended::OutOfMemory`]), then the error.
    pub fn next_notice(&mut self) -> Result<Option<InitNotice>, SandboxError> {
        if let Some(notice) = self.waiting.pop_front() {
            return Ok(Some(notice));
        }
        if let Some(loss) = self.lost {
            return Err(loss.error());
        }
        if !ns::readable(self.channel.as_fd(), Some(0)).map_err(doing("poll"))? {
            return Ok(None);
        }
        self.take();
        self.next_notice()
    }

    fn ask(
        &mut self,
        message: &InitRequest,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(InitReply, Vec<OwnedFd>), SandboxError> {
        let bytes = wire::encode(message)?;
        self.send(&bytes, fds)?;
        let until = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
        loop {
            let left = until.saturating_duration_since(Instant::now()).as_millis();
            let left = i64::try_from(left).unwrap_or(i64::MAX);
            if !ns::readable(self.channel.as_fd(), Some(left)).map_err(doing("poll"))? {
                return Err(self.lose(Loss::Silent));
            }
            if let Some(answer) = self.take() {
                return Ok(answer);
            }
            if let Some(loss) = self.lost {
                return Err(loss.error());
            }
        }
    }

    /// Speaks to this init no more: its programs are lost.
    fn lose(&mut self, loss: Loss) -> SandboxError {
        self.lost = Some(loss);
        let ended = self.blame_memory(Ended::Lost);
        for exec_id in std::mem::take(&mut self.running) {
            self.waiting.push_back(InitNotice::Ended { exec_id, ended });
        }
        loss.error()
    }

    /// Receives one message: an end goes to the queue, an answer is returned.
    fn take(&mut self) -> Option<(InitReply, Vec<OwnedFd>)> {
        let mut buffer = Vec::new();
        let fds = match self.channel.recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            received => received.unwrap_or_default(),
        };
        match wire::decode::<InitReply>(&buffer) {
            Some(InitReply::Ended { exec_id, ended }) => {
                self.running.remove(&exec_id);
                let ended = self.blame_memory(ended);
                self.waiting.push_back(InitNotice::Ended { exec_id, ended });
                None
            }
            Some(reply) => Some((reply, fds)),
            None => {
                self.lose(Loss::Gone);
                None
            }
        }
    }

    /// A death by SIGKILL (or the shell's code for one) while the kernel counted an out-of-memory
    /// kill in this group is that kill.
    fn blame_memory(&mut self, ended: Ended) -> Ended {
        const SIGKILL: i32 = 9;
        let kills = self.group.oom_kills();
        let counted = kills > self.oom_seen;
        self.oom_seen = kills;
        match ended {
            Ended::Signaled(SIGKILL) | Ended::Lost if counted => Ended::OutOfMemory,
            Ended::Exited(code) if counted && code == 128 + SIGKILL => Ended::OutOfMemory,
            other => other,
        }
    }
}

fn name(program: &Program) -> String {
    match program {
        Program::Command(argv) => argv.first().cloned().unwrap_or_default(),
        Program::Ringfence(_) => "ringfence".to_owned(),
    }
}

fn check_program(program: &Program) -> Result<(), SandboxError> {
    match program {
        Program::Command(argv) if argv.first().is_none_or(String::is_empty) => {
            Err(SandboxError::Spec("no program is named".to_owned()))
        }
        _ => Ok(()),
    }
}

fn not_executed(program: &Program, failure: &wire::Failure) -> SandboxError {
    const ENOENT: i32 = 2;
    let program = name(program);
    if failure.step == "exec" && failure.errno == Some(ENOENT) {
        return SandboxError::CommandNotFound { program };
    }
    SandboxError::CommandNotExecutable {
        program,
        reason: format!("{}: {}", failure.step, failure.reason),
    }
}
