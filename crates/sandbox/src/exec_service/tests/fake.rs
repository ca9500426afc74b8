//! Sandboxes made of pipes, a log in memory, and a client that speaks HTTP by hand.

use super::super::ExecParts;
use ringfence_core::digest::Digest;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::event::Occurrence;
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{
    Attestation, Door, Ended, ExecRequest, ProcessEvidence, Program, SandboxStats, Spec,
};
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{
    Adopted, BoxFuture, Clock, Entropy, EventSink, Isolation, LeafSink, LeafSlot, Receipt, Running,
    Sandbox,
};
use ringfence_core::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};

/// Everything that the service is given, and what it did with it.
#[derive(Clone, Default)]
pub(super) struct Fake {
    pub(super) leaves: Arc<Mutex<Vec<Leaf>>>,
    pub(super) events: Arc<Mutex<Vec<Occurrence>>>,
    pub(super) clock_ns: Arc<AtomicU64>,
    pub(super) log_fails: Arc<AtomicBool>,
    pub(super) start_fails: Arc<AtomicBool>,
    pub(super) started: Arc<AtomicU64>,
    live: Arc<AtomicUsize>,
    killed: Arc<Mutex<Vec<(u64, i32)>>>,
    running: Arc<Mutex<BTreeMap<u64, Held>>>,
    random: Arc<AtomicU64>,
    changed: Arc<Notify>,
}

/// A program that runs until it is killed.
struct Held {
    _stdout: std::io::PipeWriter,
    ended: oneshot::Sender<Ended>,
}

impl Fake {
    pub(super) fn parts(&self) -> ExecParts {
        ExecParts {
            isolation: Arc::new(self.clone()),
            leaves: Arc::new(self.clone()),
            events: Arc::new(self.clone()),
            clock: Arc::new(self.clone()),
            entropy: Arc::new(self.clone()),
        }
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    pub(super) fn killed(&self) -> Vec<(u64, i32)> {
        self.killed.lock().unwrap().clone()
    }

    /// Waits until the log or the clock makes something true.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    fn kill(&self, exec_id: u64) {
        if let Some(held) = self.running.lock().unwrap().remove(&exec_id) {
            let _nobody_waits = held.ended.send(Ended::Signaled(9));
        }
    }

    fn run(&self, program: &str) -> Running {
        let exec_id = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let (mut input, stdin) = std::io::pipe().unwrap();
        let (stdout, mut output) = std::io::pipe().unwrap();
        let (stderr, errors) = std::io::pipe().unwrap();
        drop(errors);
        let (tell, ended) = oneshot::channel();
        match program {
            "forever" => {
                self.running.lock().unwrap().insert(
                    exec_id,
                    Held {
                        _stdout: output,
                        ended: tell,
                    },
                );
            }
            "upper" => {
                std::thread::spawn(move || {
                    let mut text = String::new();
                    input.read_to_string(&mut text).unwrap();
                    output.write_all(text.to_uppercase().as_bytes()).unwrap();
                    drop(output);
                    tell.send(Ended::Exited(0)).unwrap();
                });
            }
            other => {
                let end = match other {
                    "true" => Ended::Exited(0),
                    "fail" => Ended::Exited(3),
                    "killed" => Ended::Signaled(11),
                    "slow" => Ended::TimedOut,
                    "fat" => Ended::OutOfMemory,
                    _ => Ended::Lost,
                };
                tell.send(end).unwrap();
            }
        }
        let ended = Box::pin(async move { ended.await.unwrap_or(Ended::Lost) });
        let fds = [
            OwnedFd::from(stdin),
            OwnedFd::from(stdout),
            OwnedFd::from(stderr),
        ];
        let [stdin, stdout, stderr] = fds;
        Running {
            exec_id,
            stdin,
            stdout,
            stderr,
            ended,
        }
    }
}

struct FakeSandbox {
    fake: Fake,
    spec: Spec,
    attestation: Attestation,
}

impl Isolation for Fake {
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Arc<dyn Sandbox>, Explained>> {
        Box::pin(async move {
            if self.start_fails.load(Ordering::SeqCst) {
                let error = Explained::new(ErrorCode("run/test"), "no sandbox", "none");
                return Err(error.because("mount of /host/path failed"));
            }
            assert!(spec.mounts.is_empty() && spec.doors.is_empty());
            self.live.fetch_add(1, Ordering::SeqCst);
            let attestation = Attestation::default();
            Ok(Arc::new(FakeSandbox {
                fake: self.clone(),
                spec,
                attestation,
            }) as Arc<dyn Sandbox>)
        })
    }

    fn adopt(&self) -> BoxFuture<'_, Result<Vec<Adopted>, Explained>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl Sandbox for FakeSandbox {
    fn id(&self) -> &SandboxId {
        &self.spec.id
    }
    fn project(&self) -> &ProjectId {
        &self.spec.project
    }
    fn attestation(&self) -> &Attestation {
        &self.attestation
    }
    fn take_doors(&self) -> Vec<(Door, OwnedFd)> {
        Vec::new()
    }
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Running, Explained>> {
        let Program::Command(command) = request.program else {
            panic!("a command")
        };
        Box::pin(async move { Ok(self.fake.run(&command[0])) })
    }
    fn connect(&self, _port: u16) -> BoxFuture<'_, Result<OwnedFd, Explained>> {
        panic!("the exec service connects to nothing")
    }
    fn signal(&self, exec_id: u64, signal: i32) -> BoxFuture<'_, Result<(), Explained>> {
        self.fake.killed.lock().unwrap().push((exec_id, signal));
        self.fake.kill(exec_id);
        Box::pin(async { Ok(()) })
    }
    fn freeze(&self, _frozen: bool) -> BoxFuture<'_, Result<(), Explained>> {
        panic!("the exec service freezes nothing")
    }
    fn evidence(&self) -> BoxFuture<'_, Result<Vec<ProcessEvidence>, Explained>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn stats(&self) -> BoxFuture<'_, Result<SandboxStats, Explained>> {
        Box::pin(async { Ok(SandboxStats::default()) })
    }
    fn close(&self) -> BoxFuture<'_, Result<(), Explained>> {
        let ids: Vec<u64> = self.fake.running.lock().unwrap().keys().copied().collect();
        for id in ids {
            self.fake.kill(id);
        }
        self.fake.live.fetch_sub(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

impl LeafSink for Fake {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async move {
            if self.log_fails.load(Ordering::SeqCst) {
                return Err(Explained::new(ErrorCode("record/test"), "no log", "none"));
            }
            self.leaves.lock().unwrap().push(leaf);
            self.changed.notify_waiters();
            Ok(Receipt {
                index: 0,
                leaf_hash: Digest([0; 32]),
                promise: String::new(),
            })
        })
    }
    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        Err(Explained::new(ErrorCode("record/test"), "not used", "none"))
    }
}

impl EventSink for Fake {
    fn emit(&self, occurrence: Occurrence) {
        self.events.lock().unwrap().push(occurrence);
    }
}

impl Clock for Fake {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic_ns(&self) -> u64 {
        self.clock_ns.load(Ordering::SeqCst)
    }
}

impl Entropy for Fake {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        let n = self.random.fetch_add(1, Ordering::SeqCst).to_le_bytes();
        for (byte, value) in buffer.iter_mut().zip(n.iter().cycle()) {
            *byte = *value;
        }
        Ok(())
    }
}

/// A client of the served router. Each request has a connection of its own.
pub(super) struct Wire {
    pub(super) path: PathBuf,
}

impl Wire {
    async fn open(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: exec\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses a long body may close before it has read all of it.
        let _refused_early = stream.write_all(body.as_bytes()).await;
        stream
    }

    async fn text(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = self.open(method, path, body).await;
        let mut bytes = Vec::new();
        let _reset_after_answer = stream.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        (
            status,
            if chunked {
                unchunk(body)
            } else {
                body.to_owned()
            },
        )
    }

    pub(super) async fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.text(method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.request("POST", path, body).await
    }

    pub(super) async fn delete(&self, id: &str) -> (u16, Value) {
        self.request("DELETE", &format!("/v1/sandboxes/{id}"), "")
            .await
    }

    pub(super) async fn create(&self) -> String {
        let (status, body) = self.post("/v1/sandboxes", "").await;
        assert_eq!(status, 201, "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    /// Runs a program and returns its events.
    pub(super) async fn exec(&self, id: &str, body: Value) -> Vec<(String, Value)> {
        let path = format!("/v1/sandboxes/{id}/exec");
        let (status, text) = self.text("POST", &path, &body.to_string()).await;
        assert_eq!(status, 200, "{text}");
        text.split_terminator("\n\n").map(event).collect()
    }

    /// Starts a program and returns the open connection once the answer has begun.
    pub(super) async fn exec_and_leave(&self, id: &str, body: Value) -> UnixStream {
        let path = format!("/v1/sandboxes/{id}/exec");
        let mut stream = self.open("POST", &path, &body.to_string()).await;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        stream
    }
}

fn event(block: &str) -> (String, Value) {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .unwrap_or_default()
    };
    (
        field("event: ").to_owned(),
        serde_json::from_str(field("data: ")).unwrap(),
    )
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    body
}
