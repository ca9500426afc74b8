//! The hosted assistant: its sandbox, its doors, what it prints, and what happens when it ends.

use crate::app::{App, broken};
use crate::config::{Assistant, RequestIsolation};
use crate::doors;
use crate::health;
use crate::instances::{self, Recipe};
use crate::output::Output;
use axum::Router;
use ringfence_core::error::Explained;
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ids::SandboxId;
use ringfence_core::isolation::{
    Access, Door, Ended, ExecRequest, Mount, Program, Spec, Strictness,
};
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::ports::{AdoptedExec, Isolation, Running, Sandbox};
use ringfence_gateway::Gateway;
use ringfence_sandbox::egress;
use ringfence_sandbox::exec_service::ExecPolicy;
use ringfence_watch::kinds;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// How the id of an assistant's sandbox begins: a server that comes back knows it by that.
pub const ID_PREFIX: &str = "app-";
/// Port of the gateway's door inside the sandbox.
const GATEWAY_DOOR: u16 = 8081;
/// Port of the exec service's door inside the sandbox.
const EXEC_DOOR: u16 = 8082;
/// Where the project stands inside.
const PROJECT_INSIDE: &str = "/project";
/// What stands in the place of an API key: the door identifies the assistant.
const PLACEHOLDER_KEY: &str = "ringfence-placeholder";
/// LIMIT: starts of an assistant that keeps ending, before it is left down.
pub const STARTS_MAX: u32 = 5;
/// Milliseconds between two looks whether an assistant listens.
const LISTEN_LOOK_MS: u64 = 100;
/// LIMIT: looks before the start goes on without it.
const LISTEN_LOOKS_MAX: u32 = 100;
/// Milliseconds between two samples of a sandbox.
const SAMPLE_MS: u64 = 2_000;
/// Milliseconds before an assistant that ended is started again, times the number of starts.
const RESTART_MS: u64 = 500;

/// What the doors lead to.
#[derive(Clone)]
pub struct Services {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The exec service.
    pub exec: Router,
}

/// Starts the sandbox of the assistant and everything that belongs to it, or the instances of one
/// that answers each request afresh.
pub async fn start(app: &Arc<App>, recipe: Recipe) -> Result<(), Explained> {
    let assistant = app.config.assistant.as_ref();
    if let Some(assistant) = assistant.filter(|a| a.isolation == RequestIsolation::Request) {
        let pool = instances::start(app, recipe, assistant);
        return app
            .pool
            .set(pool)
            .map_err(|_| broken("two pools were started"));
    }
    let id = fresh_id(app, ID_PREFIX)?;
    let spec = spec(app, id, &recipe.folder, recipe.strictness);
    let sandbox = begin(app, recipe.isolation.as_ref(), spec).await?;
    take_over(app, sandbox, &recipe.services, Begin::Fresh);
    Ok(())
}

/// Starts a sandbox and records what it found when it attacked itself.
pub async fn begin(
    app: &App,
    isolation: &dyn Isolation,
    spec: Spec,
) -> Result<Arc<dyn Sandbox>, Explained> {
    let sandbox = isolation.start(spec).await?;
    let missing: Vec<String> = sandbox
        .attestation()
        .missing()
        .map(|w| w.wall.as_str().to_owned())
        .collect();
    let standing = sandbox.attestation().walls.len() - missing.len();
    let leaf = app
        .leaf(
            "service",
            LeafAction::SandboxStart,
            format!("sandbox:{}", sandbox.id()),
        )
        .with("walls_standing", i64::try_from(standing).unwrap_or(0))
        .with("walls_missing", missing);
    if let Err(error) = app.record(leaf).await {
        // What cannot be recorded does not run.
        let _failed = sandbox.close().await;
        return Err(error);
    }
    app.learn(|facts| facts.walls.clone_from(&sandbox.attestation().walls));
    Ok(sandbox)
}

/// Whether the assistant's program is to be started or runs already.
pub enum Begin {
    /// Start it.
    Fresh,
    /// It outlived the previous server.
    Adopted(Vec<AdoptedExec>),
}

/// Serves the doors of a sandbox, samples it, and runs its program.
pub fn take_over(app: &Arc<App>, sandbox: Arc<dyn Sandbox>, services: &Services, begin: Begin) {
    app.learn(|facts| {
        facts.walls.clone_from(&sandbox.attestation().walls);
        facts.sandbox = Some(sandbox.id().to_string());
    });
    app.host(Some(Arc::clone(&sandbox)));
    for door in doors::all(app, &sandbox, services, &app.tasks.stopping()) {
        app.tasks.add(door);
    }
    let Some(assistant) = app.config.assistant.clone() else {
        return;
    };
    let running = match begin {
        Begin::Fresh => Vec::new(),
        Begin::Adopted(execs) => execs,
    };
    app.tasks
        .add(keep_running(Arc::clone(app), sandbox, assistant, running));
}

/// Waits until the assistant listens, or says that it does not yet, and begins to measure it. Only
/// then are its commands suggested: what is printed must work when it is pasted.
pub async fn settle(app: &Arc<App>) -> bool {
    if let Some(pool) = app.pool.get() {
        return pool.settled().await;
    }
    let Some(sandbox) = app.sandbox() else {
        return true;
    };
    let Some(assistant) = &app.config.assistant else {
        return true;
    };
    let mut listens = false;
    for _ in 0..LISTEN_LOOKS_MAX {
        listens = sandbox.connect(assistant.port).await.is_ok();
        if listens || *app.tasks.stopping().borrow() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(LISTEN_LOOK_MS)).await;
    }
    // Measured from here on: the looks above were refused connections of our own.
    app.tasks.add(sample(Arc::clone(app), sandbox));
    listens
}

/// An id that nobody can guess.
pub fn fresh_id(app: &App, prefix: &str) -> Result<SandboxId, Explained> {
    let token = ringfence_crypto::random::token_hex(app.entropy.as_ref(), 12)
        .map_err(|e| Explained::of(&e))?;
    format!("{prefix}{token}")
        .parse()
        .map_err(|_| broken("a sandbox id was not an id"))
}

/// What the sandbox of an assistant is asked to be.
pub fn spec(app: &App, id: SandboxId, folder: &Path, strictness: Strictness) -> Spec {
    let wanted = &app.config.sandbox;
    let mut spec = Spec::new(id, app.project.clone());
    spec.memory_bytes = wanted.memory.0;
    spec.processes = wanted.processes;
    spec.cpu_millis = Some(wanted.cpu_millis());
    spec.tmp_bytes = wanted.tmp.0;
    spec.strictness = strictness;
    spec.mounts.push(Mount {
        source: folder.to_owned(),
        target: PROJECT_INSIDE.into(),
        access: Access::ReadOnly,
    });
    spec.doors = vec![
        Door::stream("gateway", GATEWAY_DOOR),
        Door::stream("exec", EXEC_DOOR),
    ];
    spec.doors.extend(egress::doors(&app.config.egress));
    spec
}

/// What one code execution may use: the limits of the assistant itself, and a time.
pub fn exec_policy(app: &App, strictness: Strictness) -> ExecPolicy {
    let wanted = &app.config.sandbox;
    let mut policy = ExecPolicy::new(app.project.clone(), format!("sandbox:{}", app.project));
    policy.memory_bytes = wanted.memory.0;
    policy.processes = wanted.processes;
    policy.cpu_millis = wanted.cpu_millis();
    policy.tmp_bytes = wanted.tmp.0;
    policy.timeout_ms_default = wanted.exec_timeout_ms;
    policy.timeout_ms_max = wanted.exec_timeout_ms;
    policy.strictness = strictness;
    policy
}

/// The assistant's program, as it is started.
pub fn program(app: &App, assistant: &Assistant) -> ExecRequest {
    ExecRequest {
        program: Program::Command(assistant.command.clone()),
        env: environment(app, assistant),
        workdir: PROJECT_INSIDE.into(),
        wall_ms: None,
    }
}

fn environment(app: &App, assistant: &Assistant) -> Vec<(String, String)> {
    let model = app
        .config
        .models
        .first()
        .map_or("demo", |m| m.name.as_str());
    let fixed = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("HOME", "/tmp".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PORT", assistant.port.to_string()),
        (
            "OPENAI_BASE_URL",
            format!("http://127.0.0.1:{GATEWAY_DOOR}/v1"),
        ),
        ("OPENAI_API_KEY", PLACEHOLDER_KEY.to_owned()),
        ("OPENAI_MODEL", model.to_owned()),
        ("OLLAMA_HOST", format!("http://127.0.0.1:{GATEWAY_DOOR}")),
        (
            "RINGFENCE_EXEC_URL",
            format!("http://127.0.0.1:{EXEC_DOOR}"),
        ),
    ];
    let fixed = fixed
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let own = assistant
        .env
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    let way_out = egress::environment(&app.config.egress);
    fixed.chain(way_out).chain(own).collect()
}

/// Runs the program, and starts it again when it ends, a limited number of times.
async fn keep_running(
    app: Arc<App>,
    sandbox: Arc<dyn Sandbox>,
    assistant: Assistant,
    running: Vec<AdoptedExec>,
) {
    let output = Arc::clone(&app.output);
    // What runs already is followed to its end first; it stalls if nobody reads what it prints.
    for exec in running {
        let AdoptedExec {
            stdout,
            stderr,
            ended,
            ..
        } = exec;
        tokio::join!(pump(stdout, &output), pump(stderr, &output), ended);
        if *app.tasks.stopping().borrow() {
            return;
        }
    }
    for attempt in 1..=STARTS_MAX {
        let request = program(&app, &assistant);
        let ended = match sandbox.exec(request).await {
            Ok(running) => {
                let looking = health::watch(&app, &sandbox, assistant.port, running.exec_id);
                tokio::select! {
                    ended = follow(running, &output) => ended,
                    never = looking => match never {},
                }
            }
            Err(error) => {
                tracing::error!(code = error.code, "the assistant did not start");
                Ended::Lost
            }
        };
        if *app.tasks.stopping().borrow() || ended == Ended::Lost {
            break;
        }
        let target = Target::Sandbox(sandbox.id().clone());
        let occurrence = Occurrence::new(
            app.now(),
            app.project.clone(),
            target,
            "run.assistant.ended",
        )
        .with("ended", format!("{ended:?}"))
        .with("starts", attempt);
        app.events.emit(occurrence);
        let note = format!(
            "ringfence: the assistant ended ({ended:?}), start {attempt} of {STARTS_MAX}\n"
        );
        if output.append(note.as_bytes()).is_err() {
            tracing::error!("the assistant's output cannot be kept");
        }
        tokio::time::sleep(Duration::from_millis(RESTART_MS * u64::from(attempt))).await;
    }
    stopped(&app, &sandbox).await;
}

async fn stopped(app: &App, sandbox: &Arc<dyn Sandbox>) {
    if *app.tasks.stopping().borrow() {
        return;
    }
    app.host(None);
    let leaf = app
        .leaf(
            "service",
            LeafAction::SandboxStop,
            format!("sandbox:{}", sandbox.id()),
        )
        .outcome(Outcome::Failed);
    if let Err(error) = app.record(leaf).await {
        tracing::error!(code = error.code, "a stop was not recorded");
    }
}

/// Keeps what a program prints until it ends.
pub async fn follow(running: Running, output: &Arc<Output>) -> Ended {
    let Running {
        stdin,
        stdout,
        stderr,
        ended,
        ..
    } = running;
    drop(stdin);
    let ((), (), ended) = tokio::join!(pump(stdout, output), pump(stderr, output), ended);
    ended
}

async fn pump(fd: OwnedFd, output: &Arc<Output>) {
    let Ok(mut receiver) = pipe::Receiver::from_owned_fd(fd) else {
        return;
    };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = receiver.read(&mut buffer).await {
        let piece = buffer.get(..length).unwrap_or_default().to_vec();
        let output = Arc::clone(output);
        let kept = tokio::task::spawn_blocking(move || output.append(&piece)).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::error!("the assistant's output cannot be kept");
        }
    }
}

/// Measures a sandbox until it is gone.
async fn sample(app: Arc<App>, sandbox: Arc<dyn Sandbox>) {
    // What was refused before the first look is of the start: our own probes, and a server that
    // came back must not count twice.
    let mut refused_before = match sandbox.stats().await {
        Ok(stats) => stats.refused_connections,
        Err(_) => return,
    };
    loop {
        tokio::select! {
            () = app.tasks.stopped() => return,
            () = tokio::time::sleep(Duration::from_millis(SAMPLE_MS)) => {}
        }
        let Ok(stats) = sandbox.stats().await else {
            return;
        };
        let target = Target::Sandbox(sandbox.id().clone());
        let occurrence =
            Occurrence::new(app.now(), app.project.clone(), target, kinds::SANDBOX_STATS)
                .with("cpu_us", stats.cpu_us)
                .with("memory_bytes", stats.memory_bytes)
                .with("processes", stats.processes)
                .with("oom_kills", stats.oom_kills)
                .with("fork_denials", stats.fork_denials);
        app.events.emit(occurrence);
        let refused = stats.refused_connections.saturating_sub(refused_before);
        if refused > 0 {
            let target = Target::Sandbox(sandbox.id().clone());
            let occurrence = Occurrence::new(
                app.now(),
                app.project.clone(),
                target,
                kinds::SANDBOX_REFUSED,
            )
            .with("count", refused)
            .denied(None);
            app.events.emit(occurrence);
        }
        refused_before = stats.refused_connections;
    }
}
