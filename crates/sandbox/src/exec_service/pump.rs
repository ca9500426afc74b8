//! One running program: its input goes in, its output comes out as events, its end is recorded.
//!
//! It runs as a task of the service, not of the client's connection: the client may go away at any
//! point and the program is still ended, awaited and recorded.

use super::ExecService;
use super::output::{Budget, Decoder};
use axum::response::sse::Event;
use ringfence_core::error::Explained;
use ringfence_core::event::{Layer, Occurrence, Target};
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::Ended;
use ringfence_core::leaf::{Leaf, LeafAction, Outcome};
use ringfence_core::ports::{BoxFuture, Running, Sandbox};
use serde_json::json;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// LIMIT: milliseconds that a client may leave an event unread before it counts as gone.
const CLIENT_STALL_MS: u64 = 30_000;
/// LIMIT: events that wait for a client; after them the program waits.
pub(super) const EVENTS_WAITING_MAX: usize = 16;
/// Octets read of a pipe at once.
const PIECE_BYTES: usize = 16 * 1024;
/// LIMIT: milliseconds past the program's own limit for its end to be told.
pub(super) const END_GRACE_MS: u64 = 15_000;
/// LIMIT: milliseconds after a program's end in which processes it left behind may keep its output
/// open.
const DRAIN_GRACE_MS: u64 = 2_000;
const SIGKILL: i32 = 9;

/// Facts about a program that the log may hold: sizes, never its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    pub(super) arguments: usize,
    pub(super) command_bytes: usize,
    pub(super) stdin_bytes: usize,
    pub(super) timeout_ms: u64,
}

/// A started program and where its events go.
pub(super) struct Pump {
    pub(super) id: SandboxId,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) running: Running,
    pub(super) stdin: Vec<u8>,
    pub(super) measures: Measures,
    /// Connections that the sandbox was refused before this program.
    pub(super) refused_before: u64,
    pub(super) started_ns: u64,
    pub(super) events: mpsc::Sender<Event>,
}

/// Where the client is.
struct Client {
    events: mpsc::Sender<Event>,
    gone: bool,
}

impl Client {
    /// Sends an event; notices when nobody takes it.
    async fn send(&mut self, event: Event) {
        if self.gone {
            return;
        }
        let sending = self
            .events
            .send_timeout(event, Duration::from_millis(CLIENT_STALL_MS));
        self.gone = sending.await.is_err();
    }

    async fn tell(&mut self, name: &str, data: &serde_json::Value) {
        self.send(Event::default().event(name).data(data.to_string()))
            .await;
    }
}

impl Pump {
    /// Runs until the program has ended and its end is recorded.
    pub(super) async fn run(self, service: &ExecService) {
        let Self {
            id,
            sandbox,
            running,
            stdin,
            measures,
            refused_before,
            started_ns,
            events,
        } = self;
        let Running {
            exec_id,
            stdin: input,
            stdout,
            stderr,
            mut ended,
        } = running;
        let mut client = Client {
            events,
            gone: false,
        };
        let mut budget = Budget::new(service.policy.output_bytes_max);
        let watch = client.events.clone();
        let limit = Duration::from_millis(measures.timeout_ms.saturating_add(END_GRACE_MS));
        let cap = service.policy.output_bytes_max;
        let work = async {
            let (_fed, ()) = tokio::join!(
                feed(input, stdin),
                relay([stdout, stderr], &mut budget, &mut client, cap)
            );
        };
        let program = (&*sandbox, exec_id);
        let (end, killed) = attend(program, work, &mut ended, watch.closed(), limit).await;
        let now_ns = service.parts.clock.monotonic_ns();
        let finish = Finish {
            id: &id,
            measures,
            end,
            output_bytes: budget.seen(),
            truncated: budget.truncated(),
            client_gone: killed || client.gone,
            wall_ms: now_ns.saturating_sub(started_ns) / 1_000_000,
        };
        let refused = refused_connections(&*sandbox)
            .await
            .saturating_sub(refused_before);
        service.report_refused(&id, refused);
        let recorded = service.record_finish(&finish).await;
        service.table.leave(&id, now_ns);
        let (name, data) = match recorded {
            Ok(()) => ("exit", exit_data(end)),
            Err(error) => ("error", super::handlers::error_body(&error)),
        };
        client.tell(name, &data).await;
    }
}

/// Connections that a sandbox was refused since its start; none if it is gone.
pub(super) async fn refused_connections(sandbox: &dyn Sandbox) -> u64 {
    sandbox
        .stats()
        .await
        .map_or(0, |stats| stats.refused_connections)
}

/// Stays with a program until it has ended and its output is relayed: how it ended, and whether it
/// was killed because its client had gone.
pub(super) async fn attend(
    (sandbox, exec_id): (&dyn Sandbox, u64),
    work: impl Future<Output = ()>,
    ended: &mut BoxFuture<'static, Ended>,
    gone: impl Future<Output = ()>,
    limit: Duration,
) -> (Ended, bool) {
    let (mut work, mut gone) = (std::pin::pin!(work), std::pin::pin!(gone));
    let mut deadline = std::pin::pin!(tokio::time::sleep(limit));
    let (mut drained, mut killed, mut end) = (false, false, None);
    while !(drained && end.is_some()) {
        tokio::select! {
            biased;
            () = &mut work, if !drained => { drained = true; }
            how = &mut *ended, if end.is_none() => {
                end = Some(how);
                let grace = Duration::from_millis(DRAIN_GRACE_MS);
                deadline.as_mut().reset(tokio::time::Instant::now() + grace);
            }
            () = &mut gone, if !killed && end.is_none() => {
                killed = true;
                // If it cannot be signalled it is gone, and `ended` says so.
                let _told = sandbox.signal(exec_id, SIGKILL).await;
            },
            () = &mut deadline => {
                if end.is_none() {
                    let _told = sandbox.signal(exec_id, SIGKILL).await;
                }
                break;
            }
        }
    }
    (end.unwrap_or(Ended::Lost), killed)
}

/// How a program ended, for the log.
pub(super) fn exit_text(end: Ended) -> String {
    match end {
        Ended::Exited(code) => format!("code {code}"),
        Ended::Signaled(signal) => format!("signal {signal}"),
        Ended::TimedOut => "timed out".to_owned(),
        Ended::OutOfMemory => "out of memory".to_owned(),
        Ended::Lost => "lost".to_owned(),
    }
}

/// The `data` of an `exit` event.
fn exit_data(end: Ended) -> serde_json::Value {
    match end {
        Ended::Exited(code) => json!({ "code": code }),
        Ended::Signaled(signal) => json!({ "signal": signal }),
        Ended::TimedOut => json!({ "timed_out": true }),
        Ended::OutOfMemory => json!({ "out_of_memory": true }),
        Ended::Lost => json!({ "lost": true }),
    }
}

/// The end of a program, for the log.
struct Finish<'a> {
    id: &'a SandboxId,
    measures: Measures,
    end: Ended,
    output_bytes: u64,
    truncated: bool,
    client_gone: bool,
    wall_ms: u64,
}

impl ExecService {
    /// Tells WATCH of connections that found no way out of the sandbox.
    fn report_refused(&self, id: &SandboxId, count: u64) {
        if count == 0 {
            return;
        }
        let (now, project) = (self.parts.clock.now(), self.policy.project.clone());
        let target = Target::Sandbox(id.clone());
        let event = Occurrence::new(now, project, target, "run.sandbox.refused")
            .with("count", count)
            .denied(None);
        self.parts.events.emit(event);
    }

    async fn record_finish(&self, finish: &Finish<'_>) -> Result<(), Explained> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let now = self.parts.clock.now();
        let exit = exit_text(finish.end);
        let outcome = match finish.end {
            Ended::Exited(_) | Ended::Signaled(_) => Outcome::Ok,
            Ended::TimedOut | Ended::OutOfMemory => Outcome::Denied,
            Ended::Lost => Outcome::Failed,
        };
        let project = self.policy.project.clone();
        let target = Target::Sandbox(finish.id.clone());
        let mut event = Occurrence::new(now, project.clone(), target, "run.exec.finish")
            .with("exit", exit.as_str())
            .with("wall_ms", finish.wall_ms)
            .with("output_bytes", finish.output_bytes)
            .with("client_gone", finish.client_gone);
        if outcome == Outcome::Denied {
            event = event.denied(None);
        } else {
            event.layer = Layer::Sample;
        }
        self.parts.events.emit(event);
        let actor = self.policy.actor.clone();
        let leaf = Leaf::new(
            now,
            project,
            actor,
            LeafAction::ExecFinish,
            finish.id.as_str(),
        )
        .outcome(outcome)
        .with("arguments", count(finish.measures.arguments))
        .with("command_bytes", count(finish.measures.command_bytes))
        .with("stdin_bytes", count(finish.measures.stdin_bytes))
        .with("output_bytes", number(finish.output_bytes))
        .with("truncated", finish.truncated)
        .with("client_gone", finish.client_gone)
        .with("wall_ms", number(finish.wall_ms))
        .with("exit", exit);
        self.parts.leaves.append(leaf).await.map(|_receipt| ())
    }
}

/// Writes all of `bytes` and closes. A program that does not read its input is no error.
pub(super) async fn feed(input: OwnedFd, bytes: Vec<u8>) -> std::io::Result<()> {
    pipe::Sender::from_owned_fd(input)?.write_all(&bytes).await
}

/// Relays both streams until both have ended.
async fn relay(streams: [OwnedFd; 2], budget: &mut Budget, client: &mut Client, limit: usize) {
    let [out, err] = streams;
    let mut out = Source::new(out, "stdout");
    let mut err = Source::new(err, "stderr");
    loop {
        let (source, piece) = tokio::select! {
            piece = out.read(), if out.open => (&mut out, piece),
            piece = err.read(), if err.open => (&mut err, piece),
            else => return,
        };
        let (text, cut) = match piece {
            Some(bytes) => {
                let (shown, cut) = budget.admit(&bytes);
                (source.decoder.push(shown), cut)
            }
            None => {
                source.open = false;
                (source.decoder.finish(), false)
            }
        };
        if !text.is_empty() {
            client.tell(source.name, &json!({ "text": text })).await;
        }
        if cut {
            client
                .tell("truncated", &json!({ "limit_bytes": limit }))
                .await;
        }
    }
}

/// One output stream of the program.
struct Source {
    pipe: Option<pipe::Receiver>,
    name: &'static str,
    decoder: Decoder,
    open: bool,
}

impl Source {
    fn new(fd: OwnedFd, name: &'static str) -> Self {
        let pipe = pipe::Receiver::from_owned_fd(fd).ok();
        Self {
            pipe,
            name,
            decoder: Decoder::default(),
            open: true,
        }
    }

    /// The next piece; `None` at the end. An error is the end too. Cancel safe: a piece is read
    /// only in the poll that returns it.
    async fn read(&mut self) -> Option<Vec<u8>> {
        let mut piece = vec![0; PIECE_BYTES];
        let length = self.pipe.as_mut()?.read(&mut piece).await.ok()?;
        piece.truncate(length);
        (length > 0).then_some(piece)
    }
}
