//! From nothing to a running service, one step after the other.
//!
//! The order matters: the log first, so that everything after it can be recorded; the verdict
//! before anything of the project runs; the gateway before the assistant that needs it; the
//! listeners last, so that nobody reaches a half-built house.

mod front;
mod ground;
mod verdict;

use crate::app::App;
use crate::hosted::{self, Services};
use crate::instances::Recipe;
use crate::{incidents, space, witnesses};
use ringfence_admit::ScanReport;
use ringfence_core::error::Explained;
use ringfence_core::isolation::Strictness;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::ports::{Clock, Entropy, Isolation};
use ringfence_core::secret::Secret;
use ringfence_core::verdict::Decision;
use ringfence_respond::dispatch::Terminal;
use ringfence_store::keys;
use std::path::PathBuf;
use std::sync::Arc;

/// What the server role is handed.
pub struct Options {
    /// The server's own folder in the state directory.
    pub folder: PathBuf,
    /// The recorder's socket.
    pub recorder: PathBuf,
    /// The folder of the configuration, as this process can read it.
    pub root: PathBuf,
    /// The same folder as the host names it, for mounting it into sandboxes.
    pub host_root: PathBuf,
    /// Imported advisory data, as the host names it, if there is any.
    pub advisories: Option<PathBuf>,
    /// Whether missing walls are accepted.
    pub strictness: Strictness,
    /// Serve plain HTTP, on loopback only.
    pub plain: bool,
    /// Only scan and decide.
    pub check_only: bool,
    /// Answer from the built-in responder with the self-test's document.
    pub selftest: bool,
    /// Takes lines for the operator's terminal; must not wait.
    pub terminal: Terminal,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// How far the start came.
pub enum Started {
    /// Everything runs.
    Running(Box<Running>),
    /// The gate said no, or nothing more was asked for.
    Decided(Box<ScanReport>),
}

/// A running service.
pub struct Running {
    /// The shared state.
    pub app: Arc<App>,
    /// The verdict of this start; none when the service came back after a crash.
    pub report: Option<ScanReport>,
    /// The first one-time token for the console.
    pub token: Secret<String>,
    /// The authority that clients trust, as PEM; none without TLS.
    pub authority_pem: Option<String>,
}

/// What is said while starting.
pub type Progress<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Starts everything.
pub async fn start(
    options: Options,
    isolation: Arc<dyn Isolation>,
    say: Progress<'_>,
) -> Result<Started, Explained> {
    let app = prepare(&options).await?;
    let started = Box::pin(begin(&app, &options, isolation, say)).await;
    if started.is_err() {
        // A failed start leaves neither sandbox nor listener, and a start in the log has its stop.
        let begun = app.facts().started.is_some();
        let ended = if app.halted.get().is_some() {
            abandon(&app).await
        } else if begun {
            stop(&app).await
        } else {
            close(&app).await
        };
        if let Err(error) = ended {
            tracing::error!(code = error.code, "a failed start was not cleared away");
        }
    }
    started
}

/// Under which configuration, and with which walls missed on purpose.
async fn record_terms(app: &App, options: &Options) -> Result<(), Explained> {
    let digest = app.config_digest.to_string();
    app.record(app.leaf("service", LeafAction::ConfigApply, digest))
        .await?;
    if options.strictness == Strictness::AcceptWeaker {
        let leaf = app.leaf("user:operator", LeafAction::ControlWeaken, "accept-weaker");
        app.record(leaf).await?;
    }
    Ok(())
}

async fn begin(
    app: &Arc<App>,
    options: &Options,
    isolation: Arc<dyn Isolation>,
    say: Progress<'_>,
) -> Result<Started, Explained> {
    // Before anything is written on: a log that was taken back must stay as it was found.
    let witnesses = witnesses::first_contact(app).await?;
    record_terms(app, options).await?;
    let folder = options.host_root.join(&app.config.project.directory);
    let mut adopted = isolation.adopt().await?;
    // What was left of a scan or an execution is no verdict: only an assistant was let in.
    let came_back = adopted.iter().any(front::is_assistant);
    if !came_back {
        front::discard(adopted.drain(..)).await;
    }
    let mut report = None;
    if came_back {
        app.record(app.leaf("service", LeafAction::ServiceRecover, "server"))
            .await?;
        say("took over the sandboxes of the previous server");
    } else {
        say("looking at the project");
        let fresh = verdict::reach(app, options, isolation.as_ref(), &folder).await?;
        let stop = options.check_only || fresh.verdict.decision == Decision::Deny;
        if stop {
            close(app).await?;
            return Ok(Started::Decided(Box::new(fresh)));
        }
        report = Some(fresh);
        app.record(app.leaf("service", LeafAction::ServiceStart, "ringfence"))
            .await?;
    }
    app.learn(|facts| facts.started = Some(app.now()));
    let (gateway, hosted_app) = front::gateway(app, options, say).await?;
    hosted_app.connect(Arc::downgrade(app));
    let exec = front::exec_service(app, &isolation, options.strictness);
    let services = Services {
        gateway: Arc::clone(&gateway),
        exec,
    };
    if came_back {
        front::adopt(app, adopted, &services).await;
    } else if app.config.assistant.is_some() {
        say("starting the assistant in its sandbox");
        let recipe = Recipe {
            isolation: Arc::clone(&isolation),
            folder,
            strictness: options.strictness,
            services,
        };
        hosted::start(app, recipe).await?;
    }
    let authority_pem = front::listen(app, options, gateway).await?;
    if !hosted::settle(app).await {
        say("the assistant does not listen yet: ringfence logs shows what it says");
    }
    incidents::keep_watch(app);
    witnesses::keep_asking(app, witnesses);
    space::keep_looking(app);
    let token = app.door.issue(app.entropy.as_ref())?;
    Ok(Started::Running(Box::new(Running {
        app: Arc::clone(app),
        report,
        token,
        authority_pem,
    })))
}

/// Only what everything else stands on: for a command while no service runs.
pub async fn prepare(options: &Options) -> Result<Arc<App>, Explained> {
    let (config, text) = ground::read_config(options)?;
    ground::lay(options, config, &text).await
}

/// The end of what [`prepare`] began.
pub async fn close(app: &Arc<App>) -> Result<(), Explained> {
    app.tasks.end().await;
    app.recorder
        .checkpoint()
        .await
        .map_err(|e| Explained::of(&e))?;
    app.recorder.close();
    app.ground.end().await;
    Ok(())
}

/// Ends everything without one more leaf, since the log is not the one that was seen.
pub async fn abandon(app: &Arc<App>) -> Result<(), Explained> {
    app.tasks.stop();
    let sandbox = app.sandbox();
    app.host(None);
    let closed = match sandbox {
        Some(sandbox) => sandbox.close().await,
        None => Ok(()),
    };
    app.tasks.end().await;
    app.recorder.close();
    app.ground.end().await;
    closed
}

/// Ends everything in order; resolves when the last leaf is durable.
pub async fn stop(app: &Arc<App>) -> Result<(), Explained> {
    app.tasks.stop();
    if let Some(sandbox) = app.sandbox() {
        let id = sandbox.id().to_string();
        app.host(None);
        let closed = sandbox.close().await;
        let outcome = if closed.is_ok() {
            Outcome::Ok
        } else {
            Outcome::Failed
        };
        let leaf = app
            .leaf("service", LeafAction::SandboxStop, format!("sandbox:{id}"))
            .outcome(outcome);
        app.record(leaf).await?;
        closed?;
    }
    app.tasks.end().await;
    app.record(app.leaf("service", LeafAction::ServiceStop, "ringfence"))
        .await?;
    let uses = app.keys.take_uses();
    app.state(move |store| store.write(move |tx| keys::touch(tx, &uses)))
        .await?;
    close(app).await
}
