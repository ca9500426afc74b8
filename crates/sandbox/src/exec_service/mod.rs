//! The exec API: a hosted assistant runs code in a fresh sandbox of its own.
//!
//! `POST /v1/sandboxes` makes one, `POST /v1/sandboxes/{id}/exec` runs a command and streams its
//! output as server-sent events, `PUT` and `GET …/files/{path}` carry files in and out, `POST
//! …/snapshot` keeps all of them for another sandbox, `DELETE /v1/sandboxes/{id}` ends it. `POST
//! /mcp` offers the same as a tool of the Model Context Protocol. Whoever may speak to this router is decided by the door in front of it; one router serves one caller.
//!
//! It is not a shell on the host: nothing is mounted, there is no network, the limits come from
//! [`ExecPolicy`] and never from the request.
//! INVARIANT: a program's end is in the log before its `exit` event is sent, and a client that
//! goes away takes its program with it.

mod capture;
mod files;
mod handlers;
mod mcp;
mod output;
mod pump;
mod table;

pub use files::{FILE_BYTES_MAX, PATH_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOTS_MAX};
pub use handlers::router;

use ringfence_core::error::Explained;
use ringfence_core::ids::ProjectId;
use ringfence_core::isolation::Strictness;
use ringfence_core::limits::{SANDBOX_MEMORY_BYTES, SANDBOX_PROCESSES};
use ringfence_core::ports::{BoxFuture, Clock, Entropy, EventSink, Isolation, LeafSink};
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// LIMIT: octets of a request body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: arguments of a command.
pub const ARGUMENTS_MAX: usize = 256;
/// LIMIT: programs at the same time in one sandbox.
pub const EXECS_PER_SANDBOX_MAX: usize = 4;
/// LIMIT: work that waits for the driver; more is refused with 503.
const JOBS_WAITING_MAX: usize = 64;
/// How often idle sandboxes are looked for.
const SWEEP_MS: u64 = 1_000;

/// What code may use here. Every number is a limit.
#[derive(Clone, Debug)]
pub struct ExecPolicy {
    /// Whose project.
    pub project: ProjectId,
    /// Who the log says did it, for example `sandbox:helpdesk`.
    pub actor: String,
    /// LIMIT: octets of memory of one sandbox.
    pub memory_bytes: u64,
    /// LIMIT: processes and threads of one sandbox.
    pub processes: u32,
    /// LIMIT: thousandths of a processor for one sandbox.
    pub cpu_millis: u32,
    /// LIMIT: octets of its private /tmp.
    pub tmp_bytes: u64,
    /// Milliseconds of one program when the request does not say.
    pub timeout_ms_default: u64,
    /// LIMIT: milliseconds of one program.
    pub timeout_ms_max: u64,
    /// LIMIT: sandboxes at the same time.
    pub sandboxes_max: usize,
    /// LIMIT: octets of output of one program, stdout and stderr together.
    pub output_bytes_max: usize,
    /// LIMIT: milliseconds a sandbox may stay without a program.
    pub idle_ms_max: u64,
    /// Whether a missing wall refuses the start.
    pub strictness: Strictness,
}

impl ExecPolicy {
    /// The default limits.
    pub fn new(project: ProjectId, actor: impl Into<String>) -> Self {
        Self {
            project,
            actor: actor.into(),
            memory_bytes: SANDBOX_MEMORY_BYTES,
            processes: SANDBOX_PROCESSES,
            cpu_millis: 1000,
            tmp_bytes: 64 * 1024 * 1024,
            timeout_ms_default: 10_000,
            timeout_ms_max: 60_000,
            sandboxes_max: 8,
            output_bytes_max: 1024 * 1024,
            idle_ms_max: 300_000,
            strictness: Strictness::Full,
        }
    }
}

/// What the service needs of others.
pub struct ExecParts {
    /// Starts sandboxes.
    pub isolation: Arc<dyn Isolation>,
    /// The log.
    pub leaves: Arc<dyn LeafSink>,
    /// Events for WATCH.
    pub events: Arc<dyn EventSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For ids that cannot be guessed.
    pub entropy: Arc<dyn Entropy>,
}

/// The state behind a [`router`]; its [`run`](Self::run) does the work.
pub struct ExecService {
    policy: ExecPolicy,
    parts: ExecParts,
    table: Table,
    snapshots: files::Snapshots,
    jobs: mpsc::Sender<Job>,
    waiting: Mutex<mpsc::Receiver<Job>>,
}

/// Something that must be finished even if the client is gone.
type Job = BoxFuture<'static, ()>;

impl ExecService {
    /// A service without sandboxes. Nothing runs until [`run`](Self::run) is awaited.
    pub fn new(policy: ExecPolicy, parts: ExecParts) -> Arc<Self> {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let table = Table::new(policy.sandboxes_max);
        Arc::new(Self {
            policy,
            parts,
            table,
            snapshots: files::Snapshots::default(),
            jobs,
            waiting: Mutex::new(waiting),
        })
    }

    /// Pumps the output of programs and closes idle sandboxes until `shutdown` resolves; then
    /// closes every sandbox and returns. The owner of the service awaits it.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        let mut tasks = JoinSet::new();
        let mut waiting = self.waiting.lock().await;
        let mut sweep = tokio::time::interval(Duration::from_millis(SWEEP_MS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(job) = waiting.recv() => { tasks.spawn(job); }
                Some(_finished) = tasks.join_next(), if !tasks.is_empty() => {}
                _ = sweep.tick() => self.sweep(&mut tasks),
            }
        }
        waiting.close();
        // Closing a sandbox ends its programs, which ends their pumps.
        while let Ok(job) = waiting.try_recv() {
            tasks.spawn(job);
        }
        loop {
            for closing in self.table.take_all() {
                tasks.spawn(Arc::clone(&self).close_unasked(closing, "service stops"));
            }
            if tasks.join_next().await.is_none() {
                break;
            }
        }
    }

    fn sweep(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let now_ns = self.parts.clock.monotonic_ns();
        let idle_ns = self.policy.idle_ms_max.saturating_mul(1_000_000);
        for closing in self.table.take_idle(now_ns, idle_ns) {
            tasks.spawn(Arc::clone(self).close_unasked(closing, "idle"));
        }
    }

    async fn close_unasked(self: Arc<Self>, closing: table::Closing, why: &'static str) {
        // A failure stands in the log as the outcome; there is nobody else to tell.
        let _logged = self.finish_close(closing, why).await;
    }

    /// Hands work to the driver, or refuses.
    fn submit(&self, job: Job) -> Result<(), Explained> {
        self.jobs.try_send(job).map_err(|_| {
            Explained::new(
                ringfence_core::error::ErrorCode("run/exec-busy"),
                "the exec service has too much waiting",
                "try again in a moment",
            )
        })
    }
}

#[cfg(test)]
mod tests;
