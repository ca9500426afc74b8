//! A program run to its end with what it said, for requests that answer once instead of streaming.

use super::ExecService;
use super::handlers::{Refused, unavailable};
use super::pump::{END_GRACE_MS, attend, exit_text, feed};
use ringfence_core::error::Explained;
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::{Ended, ExecRequest};
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::ports::{Running, Sandbox};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// What to run, and what of it to keep.
pub(super) struct Capture {
    /// Why, for the log.
    pub(super) purpose: &'static str,
    pub(super) request: ExecRequest,
    pub(super) stdin: Vec<u8>,
    /// LIMIT: octets kept of each stream; the rest is read and dropped.
    pub(super) bytes_max: usize,
}

/// One captured stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    /// Whether there was more.
    pub(super) cut: bool,
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) ended: Ended,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
}

impl ExecService {
    /// Runs a program in a sandbox of this service; its end is in the log before this resolves.
    pub(super) async fn run_captured(
        &self,
        id: &SandboxId,
        capture: Capture,
    ) -> Result<Said, Refused> {
        let entered = self.table.enter(id);
        let sandbox = entered.map_err(|refusal| self.refuse_program(refusal, id.clone()))?;
        let (purpose, stdin_bytes) = (capture.purpose, capture.stdin.len());
        let outcome = run(&*sandbox, capture).await;
        self.table.leave(id, self.parts.clock.monotonic_ns());
        let said = outcome.map_err(unavailable)?;
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let fine = matches!(said.ended, Ended::Exited(_) | Ended::Signaled(_));
        let leaf = self
            .leaf(self.parts.clock.now(), LeafAction::ExecFinish, id)
            .outcome(if fine { Outcome::Ok } else { Outcome::Denied })
            .with("purpose", purpose)
            .with("stdin_bytes", count(stdin_bytes))
            .with(
                "output_bytes",
                count(said.stdout.bytes.len() + said.stderr.bytes.len()),
            )
            .with("truncated", said.stdout.cut || said.stderr.cut)
            .with("exit", exit_text(said.ended));
        self.parts.leaves.append(leaf).await.map_err(unavailable)?;
        Ok(said)
    }
}

async fn run(sandbox: &dyn Sandbox, capture: Capture) -> Result<Said, Explained> {
    let Capture {
        request,
        stdin,
        bytes_max,
        ..
    } = capture;
    let wall_ms = request.wall_ms.unwrap_or(0);
    let Running {
        exec_id,
        stdin: input,
        stdout: out,
        stderr: err,
        mut ended,
    } = sandbox.exec(request).await?;
    let (mut stdout, mut stderr) = (Stream::default(), Stream::default());
    let work = async {
        let (_fed, (), ()) = tokio::join!(
            feed(input, stdin),
            stdout.keep(out, bytes_max),
            stderr.keep(err, bytes_max)
        );
    };
    let limit = Duration::from_millis(wall_ms.saturating_add(END_GRACE_MS));
    let nobody_leaves = std::future::pending();
    let (ended, _) = attend((sandbox, exec_id), work, &mut ended, nobody_leaves, limit).await;
    Ok(Said {
        ended,
        stdout,
        stderr,
    })
}

impl Stream {
    /// Reads to the end and keeps the beginning.
    async fn keep(&mut self, fd: OwnedFd, bytes_max: usize) {
        let Ok(mut pipe) = pipe::Receiver::from_owned_fd(fd) else {
            return;
        };
        let mut piece = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut piece).await {
            let room = bytes_max - self.bytes.len();
            let new = piece.get(..length).unwrap_or_default();
            self.cut |= length > room;
            self.bytes.extend_from_slice(new.get(..room).unwrap_or(new));
        }
    }
}
