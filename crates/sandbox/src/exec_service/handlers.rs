//! The routes of sandboxes and programs, and how all routes refuse.

use super::pump::{EVENTS_WAITING_MAX, Measures, Pump, refused_connections};
use super::table::{Closing, Refusal};
use super::{ARGUMENTS_MAX, BODY_BYTES_MAX, ExecService, files, mcp};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post, put};
use futures_util::{Stream, stream};
use ringfence_core::digest::hex;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::{ExecRequest, Program, Spec};
use ringfence_core::json::parse_strict;
use ringfence_core::leaf::{Leaf, LeafAction, Outcome};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Octets of randomness in a sandbox id: as hard to guess as a key.
const ID_BYTES: usize = 16;

/// The routes. Whatever is not one of them is 404.
pub fn router(service: Arc<ExecService>) -> Router {
    Router::new()
        .route("/v1/sandboxes", post(create))
        .route("/v1/sandboxes/{id}/exec", post(exec))
        .route("/v1/sandboxes/{id}", delete(remove))
        .route(
            "/v1/sandboxes/{id}/files/{*path}",
            put(files::put).get(files::get),
        )
        .route("/v1/sandboxes/{id}/snapshot", post(files::snapshot))
        .route("/mcp", post(mcp::post).fallback(mcp::no_stream))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .with_state(service)
}

/// A refusal as JSON.
pub(super) struct Refused(pub(super) StatusCode, pub(super) Box<Explained>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = error_body(&self.1).to_string();
        (self.0, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// `{"error":{"code","what","help"}}`; the cause stays on the host, it may name paths.
pub(super) fn error_body(error: &Explained) -> Value {
    json!({ "error": { "code": error.code, "what": error.what, "help": error.help } })
}

pub(super) fn refused(
    status: StatusCode,
    code: &'static str,
    what: impl Into<String>,
    help: &str,
) -> Refused {
    Refused(
        status,
        Box::new(Explained::new(ErrorCode(code), what, help)),
    )
}

async fn not_found() -> Refused {
    refused(
        StatusCode::NOT_FOUND,
        "run/exec-not-found",
        "there is nothing here",
        "see docs/exec-api.md: POST /v1/sandboxes, then POST /v1/sandboxes/{id}/exec",
    )
}

pub(super) fn unknown_sandbox() -> Refused {
    refused(
        StatusCode::NOT_FOUND,
        "run/exec-sandbox-unknown",
        "there is no such sandbox",
        "make one with POST /v1/sandboxes; idle ones are closed",
    )
}

/// A failure behind the service: 503, with its cause kept on the host.
pub(super) fn unavailable(error: Explained) -> Refused {
    Refused(StatusCode::SERVICE_UNAVAILABLE, Box::new(error))
}

/// The body of `POST /v1/sandboxes`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    /// Whose files it begins with.
    #[serde(default)]
    snapshot: Option<String>,
}

/// The body of `POST …/exec`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecBody {
    command: Vec<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

pub(super) async fn read_json<T: DeserializeOwned>(
    body: Body,
    empty: Option<T>,
) -> Result<T, Refused> {
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "run/exec-body-too-large",
            format!("a body has at most {BODY_BYTES_MAX} octets"),
            "send less input; write large data to a file inside in several steps",
        )
    })?;
    if let (true, Some(value)) = (bytes.is_empty(), empty) {
        return Ok(value);
    }
    let value = parse_strict(&bytes).map_err(|e| malformed(e.to_string()))?;
    serde_json::from_value(value).map_err(|e| malformed(e.to_string()))
}

fn malformed(what: String) -> Refused {
    refused(
        StatusCode::BAD_REQUEST,
        "run/exec-body-malformed",
        what,
        "send {\"command\":[\"program\",\"argument\"],\"stdin\":\"\",\"timeout_ms\":10000}",
    )
}

async fn create(State(service): State<Arc<ExecService>>, body: Body) -> Result<Response, Refused> {
    let CreateBody { snapshot } = read_json(body, Some(CreateBody::default())).await?;
    let files = snapshot
        .map(|name| service.snapshot_of(&name))
        .transpose()?;
    let id = in_driver(&service, Arc::clone(&service).start_sandbox(files)).await??;
    let body = json!({ "id": id }).to_string();
    Ok((
        StatusCode::CREATED,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response())
}

async fn exec(
    State(service): State<Arc<ExecService>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    let body: ExecBody = read_json(body, None).await?;
    let timeout_ms = checked(&service, &body)?;
    let id: SandboxId = id.parse().map_err(|_| unknown_sandbox())?;
    let (started, answer) = oneshot::channel();
    let job = Arc::clone(&service).start_program(id, body, timeout_ms, started);
    service.submit(Box::pin(job)).map_err(unavailable)?;
    let receiver = answer.await.map_err(|_| stopping())??;
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok(event), receiver))
    });
    Ok(Sse::new(events))
}

async fn remove(
    State(service): State<Arc<ExecService>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let id: SandboxId = id.parse().map_err(|_| unknown_sandbox())?;
    let closing = service.table.take(&id).ok_or_else(unknown_sandbox)?;
    let work = Arc::clone(&service).finish_close(closing, "asked");
    in_driver(&service, work).await?.map_err(unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Runs `work` as a task of the service and waits for it. A client that goes away drops only the
/// waiting: what was begun is finished, so no sandbox is ever forgotten.
pub(super) async fn in_driver<T: Send + 'static>(
    service: &ExecService,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Refused> {
    let (done, answer) = oneshot::channel();
    let job = async move {
        // Nobody waits any more: the outcome stands without being told.
        let _told = done.send(work.await);
    };
    service.submit(Box::pin(job)).map_err(unavailable)?;
    answer.await.map_err(|_| stopping())
}

fn stopping() -> Refused {
    refused(
        StatusCode::SERVICE_UNAVAILABLE,
        "run/exec-stopping",
        "the exec service is stopping",
        "try again when the service is up",
    )
}

/// Checks a request against the limits and returns its time in milliseconds.
fn checked(service: &ExecService, body: &ExecBody) -> Result<u64, Refused> {
    if body.command.is_empty() || body.command.len() > ARGUMENTS_MAX {
        return Err(malformed(format!(
            "command has 1 to {ARGUMENTS_MAX} arguments"
        )));
    }
    if body.command.iter().any(|a| a.contains('\0')) {
        return Err(malformed(
            "an argument cannot hold a zero character".to_owned(),
        ));
    }
    let limit = service.policy.timeout_ms_max;
    let timeout_ms = body
        .timeout_ms
        .unwrap_or(service.policy.timeout_ms_default.min(limit));
    if timeout_ms == 0 || timeout_ms > limit {
        return Err(malformed(format!("timeout_ms is 1 to {limit}")));
    }
    Ok(timeout_ms)
}

pub(super) fn exec_request(command: Vec<String>, timeout_ms: u64) -> ExecRequest {
    let env = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
    ];
    ExecRequest {
        program: Program::Command(command),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        workdir: "/tmp".into(),
        wall_ms: Some(timeout_ms),
    }
}

impl ExecService {
    fn new_id(&self) -> Result<SandboxId, Explained> {
        let mut bytes = [0; ID_BYTES];
        self.parts.entropy.fill(&mut bytes)?;
        format!("sb-{}", hex(&bytes)).parse().map_err(|e| {
            Explained::new(
                ErrorCode("run/exec-id"),
                "no id could be made",
                "report this",
            )
            .because(e)
        })
    }

    fn spec(&self, id: SandboxId) -> Spec {
        let mut spec = Spec::new(id, self.policy.project.clone());
        spec.memory_bytes = self.policy.memory_bytes;
        spec.processes = self.policy.processes;
        spec.cpu_millis = Some(self.policy.cpu_millis);
        spec.tmp_bytes = self.policy.tmp_bytes;
        spec.strictness = self.policy.strictness;
        spec
    }

    pub(super) fn leaf(
        &self,
        now: ringfence_core::time::Timestamp,
        action: LeafAction,
        id: &SandboxId,
    ) -> Leaf {
        let project = self.policy.project.clone();
        Leaf::new(now, project, self.policy.actor.clone(), action, id.as_str())
    }

    fn emit_denied(&self, kind: &'static str, target: Target) {
        let (now, project) = (self.parts.clock.now(), self.policy.project.clone());
        self.parts
            .events
            .emit(Occurrence::new(now, project, target, kind).denied(None));
    }

    /// A fresh sandbox, with the files of a snapshot if there is one.
    pub(super) async fn start_sandbox(
        self: Arc<Self>,
        files: Option<Arc<Vec<u8>>>,
    ) -> Result<SandboxId, Refused> {
        let place = self.table.reserve().map_err(|_| {
            self.emit_denied("run.sandbox.refuse", Target::Host);
            refused(
                StatusCode::TOO_MANY_REQUESTS,
                "run/exec-sandboxes-full",
                format!(
                    "{} sandboxes are open, the most allowed",
                    self.policy.sandboxes_max
                ),
                "close one with DELETE /v1/sandboxes/{id}",
            )
        })?;
        let id = self.new_id().map_err(unavailable)?;
        let sandbox = self.parts.isolation.start(self.spec(id.clone())).await;
        let sandbox = sandbox.map_err(unavailable)?;
        let missing: Vec<String> = sandbox
            .attestation()
            .missing()
            .map(|w| w.wall.as_str().to_owned())
            .collect();
        let leaf = self
            .leaf(self.parts.clock.now(), LeafAction::SandboxStart, &id)
            .with("purpose", "exec")
            .with("walls_missing", missing);
        if let Err(error) = self.parts.leaves.append(leaf).await {
            // What cannot be recorded does not run.
            let _failed = sandbox.close().await;
            return Err(unavailable(error));
        }
        place.fill(sandbox, self.parts.clock.monotonic_ns());
        if let Some(files) = files
            && let Err(refusal) = self.restore(&id, &files).await
        {
            if let Some(closing) = self.table.take(&id) {
                let _logged = Arc::clone(&self)
                    .finish_close(closing, "not restored")
                    .await;
            }
            return Err(refusal);
        }
        Ok(id)
    }

    /// Starts a program, hands its events to the waiting client and pumps until it has ended.
    async fn start_program(
        self: Arc<Self>,
        id: SandboxId,
        body: ExecBody,
        timeout_ms: u64,
        started: oneshot::Sender<Result<mpsc::Receiver<Event>, Refused>>,
    ) {
        let sandbox = match self.table.enter(&id) {
            Ok(sandbox) => sandbox,
            Err(refusal) => {
                let _told = started.send(Err(self.refuse_program(refusal, id)));
                return;
            }
        };
        let measures = Measures {
            arguments: body.command.len(),
            command_bytes: body.command.iter().map(String::len).sum(),
            stdin_bytes: body.stdin.len(),
            timeout_ms,
        };
        let refused_before = refused_connections(&*sandbox).await;
        let started_ns = self.parts.clock.monotonic_ns();
        let running = match sandbox.exec(exec_request(body.command, timeout_ms)).await {
            Ok(running) => running,
            Err(error) => {
                self.table.leave(&id, started_ns);
                let _told = started.send(Err(unavailable(error)));
                return;
            }
        };
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        // If the client is gone already the receiver is dropped here, and the pump ends the program.
        let _told = started.send(Ok(receiver));
        let stdin = body.stdin.into_bytes();
        let pump = Pump {
            id,
            sandbox,
            running,
            stdin,
            measures,
            refused_before,
            started_ns,
            events,
        };
        pump.run(&self).await;
    }

    pub(super) fn refuse_program(&self, refusal: Refusal, id: SandboxId) -> Refused {
        if refusal == Refusal::Unknown {
            return unknown_sandbox();
        }
        self.emit_denied("run.exec.refuse", Target::Sandbox(id));
        refused(
            StatusCode::TOO_MANY_REQUESTS,
            "run/exec-programs-full",
            "too many programs run in this sandbox",
            "wait for one to end, or make another sandbox",
        )
    }

    /// Closes a sandbox that is out of the table, and records it.
    pub(super) async fn finish_close(
        self: Arc<Self>,
        closing: Closing,
        why: &'static str,
    ) -> Result<(), Explained> {
        let outcome = closing.sandbox.close().await;
        let now = self.parts.clock.now();
        let ended = if outcome.is_ok() {
            Outcome::Ok
        } else {
            Outcome::Failed
        };
        let leaf = self
            .leaf(now, LeafAction::SandboxStop, &closing.id)
            .outcome(ended)
            .with("purpose", "exec")
            .with("why", why);
        self.parts.leaves.append(leaf).await?;
        outcome
    }
}
