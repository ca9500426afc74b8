//! One command in a sandbox of its own, without server, state or configuration.
//!
//! It is what `ringfence run -- CMD` does: make the sandbox, run the command, pass signals on,
//! take everything away again. It renders nothing and decides no exit code.
//! INVARIANT: when [`run`] returns, with or without an error, nothing of the sandbox is left.

use crate::error::{SandboxError, doing};
use crate::zygote::{InitHandle, InitNotice, Started, Zygote, ZygoteOptions};
use ringfence_core::isolation::{Attestation, Ended, ExecRequest, SandboxStats, Spec};
use ringfence_sys::{ns, spawn};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// LIMIT: octets kept of each captured stream; the rest is read and dropped, and counted.
pub const CAPTURE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the command's standard streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Streams {
    /// To those of this process.
    Inherit,
    /// Input from these octets, output and errors into the report.
    Capture {
        /// The whole input.
        stdin: Vec<u8>,
    },
}

/// What to run, and in what.
#[derive(Clone, Debug)]
pub struct OneShot {
    /// The sandbox.
    pub spec: Spec,
    /// The command.
    pub exec: ExecRequest,
    /// Its standard streams.
    pub streams: Streams,
    /// How to run the zygote.
    pub zygote: ZygoteOptions,
}

/// What is kept of one captured stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// At most [`CAPTURE_BYTES_MAX`] octets from the start.
    pub bytes: Vec<u8>,
    /// Octets that came after those and were dropped.
    pub dropped: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct OneShotReport {
    /// How the command ended.
    pub ended: Ended,
    /// What it used.
    pub stats: SandboxStats,
    /// What the sandbox found when it attacked itself before the command ran.
    pub attestation: Attestation,
    /// Captured output; empty when inherited.
    pub stdout: Captured,
    /// Captured errors; empty when inherited.
    pub stderr: Captured,
}

/// Runs a command to its end. SIGINT and SIGTERM are passed on to it once; the second one ends the
/// sandbox.
pub fn run(job: &OneShot) -> Result<OneShotReport, SandboxError> {
    let zygote = Zygote::launch(job.zygote.clone())?;
    let mut started = zygote.start(&job.spec)?;
    let outcome = attend(&mut started, job);
    let stats = started.stats();
    let attestation = started.attestation.clone();
    let gone = started.kill_and_wait();
    let (ended, stdout, stderr) = outcome?;
    gone?;
    Ok(OneShotReport {
        ended,
        stats,
        attestation,
        stdout,
        stderr,
    })
}

type Outcome = (Ended, Captured, Captured);

fn attend(started: &mut Started, job: &OneShot) -> Result<Outcome, SandboxError> {
    let signals = Signals::take()?;
    match &job.streams {
        Streams::Inherit => {
            let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
            let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
            let id = started.init.exec_with(&job.exec, streams)?;
            let ended = wait(&mut started.init, id, &signals, &mut [])?;
            Ok((ended, Captured::default(), Captured::default()))
        }
        Streams::Capture { stdin } => {
            let (id, [input, output, errors]) = started.init.exec(&job.exec)?;
            let mut pumps = [
                Pump::feed(input, stdin.clone())?,
                Pump::drain(output)?,
                Pump::drain(errors)?,
            ];
            let ended = wait(&mut started.init, id, &signals, &mut pumps)?;
            let [_, stdout, stderr] = pumps;
            Ok((ended, stdout.captured, stderr.captured))
        }
    }
}

/// One end of a pipe to or from the command.
struct Pump {
    pipe: Option<File>,
    feeds: Option<Vec<u8>>,
    captured: Captured,
}

impl Pump {
    fn feed(pipe: OwnedFd, bytes: Vec<u8>) -> Result<Self, SandboxError> {
        ns::set_nonblocking(pipe.as_fd()).map_err(doing("fcntl"))?;
        let pipe = (!bytes.is_empty()).then(|| File::from(pipe));
        Ok(Self {
            pipe,
            feeds: Some(bytes),
            captured: Captured::default(),
        })
    }

    fn drain(pipe: OwnedFd) -> Result<Self, SandboxError> {
        ns::set_nonblocking(pipe.as_fd()).map_err(doing("fcntl"))?;
        Ok(Self {
            pipe: Some(File::from(pipe)),
            feeds: None,
            captured: Captured::default(),
        })
    }

    fn interest(&self) -> Option<(BorrowedFd<'_>, ns::Interest)> {
        let interest = if self.feeds.is_some() {
            ns::Interest::Write
        } else {
            ns::Interest::Read
        };
        self.pipe.as_ref().map(|pipe| (pipe.as_fd(), interest))
    }

    /// Moves what can be moved without waiting. The end of either side closes the pipe.
    fn turn(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let open = match &mut self.feeds {
            Some(bytes) => match pipe.write(bytes) {
                Ok(n) => {
                    bytes.drain(..n);
                    !bytes.is_empty()
                }
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            },
            None => {
                let mut chunk = [0; 8 * 1024];
                match pipe.read(&mut chunk) {
                    Ok(0) => false,
                    Ok(n) => {
                        self.captured.keep(chunk.get(..n).unwrap_or_default());
                        true
                    }
                    Err(error) => error.kind() == io::ErrorKind::WouldBlock,
                }
            }
        };
        if !open {
            self.pipe = None;
        }
    }

    /// Reads what is still in the pipe once nobody writes any more.
    fn empty(&mut self) {
        while self.feeds.is_none() && self.pipe.is_some() {
            let before = self.captured.total();
            self.turn();
            if self.captured.total() == before {
                break;
            }
        }
    }
}

impl Captured {
    fn keep(&mut self, chunk: &[u8]) {
        let room = CAPTURE_BYTES_MAX
            .saturating_sub(self.bytes.len())
            .min(chunk.len());
        let (kept, dropped) = chunk.split_at(room);
        self.bytes.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
    }

    fn total(&self) -> u64 {
        self.bytes.len() as u64 + self.dropped
    }
}

/// SIGINT and SIGTERM as something to wait for, while this lives.
struct Signals(OwnedFd);

const PASSED_ON: [i32; 2] = [spawn::SIGINT, spawn::SIGTERM];

impl Signals {
    fn take() -> Result<Self, SandboxError> {
        spawn::signal_fd(&PASSED_ON)
            .map(Self)
            .map_err(doing("signalfd"))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        spawn::unblock(&PASSED_ON);
    }
}

/// Waits for the end of one program, moving its streams meanwhile.
fn wait(
    init: &mut InitHandle,
    exec_id: u64,
    signals: &Signals,
    pumps: &mut [Pump],
) -> Result<Ended, SandboxError> {
    let mut told = false;
    loop {
        while let Some(notice) = init.next_notice()? {
            let InitNotice::Ended { exec_id: id, ended } = notice;
            if id == exec_id {
                pumps.iter_mut().for_each(Pump::empty);
                return Ok(ended);
            }
        }
        let mut watched = vec![
            (init.fd(), ns::Interest::Read),
            (signals.0.as_fd(), ns::Interest::Read),
        ];
        watched.extend(pumps.iter().filter_map(Pump::interest));
        ns::wait_any(&watched).map_err(doing("poll"))?;
        pumps.iter_mut().for_each(Pump::turn);
        while let Some(signal) = spawn::read_signal(signals.0.as_fd()).map_err(doing("signalfd"))? {
            if told {
                return Ok(Ended::Signaled(signal));
            }
            told = true;
            init.signal(exec_id, signal)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_stream_keeps_the_limit_and_counts_the_rest() {
        let mut captured = Captured::default();
        captured.keep(&vec![b'x'; CAPTURE_BYTES_MAX]);
        assert_eq!(
            (captured.bytes.len(), captured.dropped),
            (CAPTURE_BYTES_MAX, 0)
        );
        captured.keep(b"y");
        assert_eq!(
            (captured.bytes.len(), captured.dropped),
            (CAPTURE_BYTES_MAX, 1)
        );
    }
}
