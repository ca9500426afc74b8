//! From nothing to a running service, one step after the other.
//!
//! The order matters: the log first, so that everything after it can be recorded; the verdict
//! before anything of the project runs; the gateway before the assistant that needs it; the
//! listeners last, so that nobody reaches a half-built house.

use crate::admission::{self, Scan, ScanRequest};
use crate::app::{App, Facts, broken};
use crate::config::{self, Config};
use crate::console::session::Door;
use crate::hosted::{self, Begin, Services};
use crate::incidents;
use crate::output::Output;
use crate::tasks::TaskGroup;
use crate::wire::gateway::{HostedApp, KeyShelf};
use crate::wire::record::Sink;
use crate::{documents, web};
use ringfence_admit::{ActiveWaiver, ScanReport};
use ringfence_core::digest::Digest;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::Strictness;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::ports::{Clock, Entropy, EventSink, Isolation, LeafSink, Sandbox};
use ringfence_core::secret::Secret;
use ringfence_core::verdict::Decision;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::hmac::HmacKey;
use ringfence_gateway::config::{GatewayConfig, UpstreamConfig};
use ringfence_gateway::demo;
use ringfence_gateway::{DetectGuard, Gateway, GatewayParts, Peer, upstream};
use ringfence_net::listen::{Listener, Origin, ServeLimits, serve};
use ringfence_net::tls::LocalAuthority;
use ringfence_record::{Purpose, RecorderClient};
use ringfence_respond::Respond;
use ringfence_respond::dispatch::Terminal;
use ringfence_sandbox::exec_service::{self, ExecParts, ExecService};
use ringfence_store::{Store, StoreOptions, admissions, keys, projects, settings, waivers};
use ringfence_watch::{Watch, WatchConfig, WatchParts};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

/// LIMIT: octets of the configuration file that are read.
const CONFIG_READ_MAX: u64 = config::CONFIG_BYTES_MAX as u64 + 1;

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
    let (config, text) = read_config(&options)?;
    let app = foundation(&options, config, &text).await?;
    let folder = options.host_root.join(&app.config.project.directory);
    let adopted = isolation.adopt().await?;
    let came_back = !adopted.is_empty();
    let mut report = None;
    if came_back {
        app.record(app.leaf("service", LeafAction::ServiceRecover, "server"))
            .await?;
        say("took over the sandboxes of the previous server");
    } else {
        say("looking at the project");
        let fresh = admit(&app, &options, isolation.as_ref(), &folder).await?;
        let stop = options.check_only || fresh.verdict.decision == Decision::Deny;
        if stop {
            return Ok(Started::Decided(Box::new(fresh)));
        }
        report = Some(fresh);
        app.record(app.leaf("service", LeafAction::ServiceStart, "ringfence"))
            .await?;
    }
    let (gateway, hosted_app) = gateway(&app, &options, say).await?;
    hosted_app.connect(Arc::downgrade(&app));
    let exec = exec_service(&app, &isolation, options.strictness);
    let services = Services {
        gateway: Arc::clone(&gateway),
        exec,
    };
    if came_back {
        adopt(&app, adopted, &services).await;
    } else if app.config.assistant.is_some() {
        say("starting the assistant in its sandbox");
        hosted::start(
            &app,
            isolation.as_ref(),
            &folder,
            options.strictness,
            &services,
        )
        .await?;
    }
    let authority_pem = listen(&app, &options, gateway).await?;
    incidents::keep_watch(&app);
    let token = app.door.issue(app.entropy.as_ref())?;
    app.learn(|facts| facts.started = Some(app.now()));
    Ok(Started::Running(Box::new(Running {
        app,
        report,
        token,
        authority_pem,
    })))
}

fn read_config(options: &Options) -> Result<(Config, String), Explained> {
    use std::io::Read as _;
    let path = options.root.join("ringfence.toml");
    let shown = options.host_root.join("ringfence.toml");
    let read = || {
        let mut text = String::new();
        std::fs::File::open(&path)?
            .take(CONFIG_READ_MAX)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|e: std::io::Error| {
        Explained::new(
            ErrorCode("config/unreadable"),
            format!("{} cannot be read", shown.display()),
            "a project is hosted by a ringfence.toml that the service's user can read; \
             examples/helpdesk has one to copy",
        )
        .because(e)
    })?;
    let mut config =
        config::parse(&shown.to_string_lossy(), &text).map_err(|e| Explained::of(&e))?;
    if options.plain {
        config.gateway.tls = false;
        config::check(&shown.to_string_lossy(), &config).map_err(|e| Explained::of(&e))?;
    }
    Ok((config, text))
}

/// Log, state, watch: what everything else stands on.
async fn foundation(options: &Options, config: Config, text: &str) -> Result<Arc<App>, Explained> {
    let ground = TaskGroup::default();
    let (recorder, driver) = RecorderClient::connect(&options.recorder);
    ground.add(driver);
    recorder.ready().await.map_err(|e| Explained::of(&e))?;
    let leaves: Arc<dyn LeafSink> = Arc::new(Sink(recorder.clone()));
    let store = Store::open(
        &options.folder.join("state.sqlite"),
        StoreOptions::default(),
    )
    .map_err(|e| Explained::of(&e))?;
    let project = config.project.name.clone();
    let watch = Watch::new(WatchParts {
        config: WatchConfig {
            breaker: config.watch.clone(),
        },
        clock: Arc::clone(&options.clock),
        entropy: Arc::clone(&options.entropy),
        forward: None,
    })
    .map_err(|e| Explained::of(&e))?;
    let watch = Arc::new(watch);
    let pepper = sealed_key(&store, &recorder, options, &project, Purpose::GatewayPepper).await?;
    let clock = Arc::clone(&options.clock);
    let respond =
        Respond::new(store.clone(), clock, &config.alert).map_err(|e| Explained::of(&e))?;
    let mut webhooks = Vec::new();
    for webhook in &config.alert.webhooks {
        crate::wire::respond::parts(&webhook.url)?;
        let key = sealed_key(&store, &recorder, options, &project, Purpose::WebhookKey).await?;
        webhooks.push((webhook.clone(), key));
    }
    let rows = store
        .read(keys::of_all_projects)
        .map_err(|e: ringfence_store::StoreError| Explained::of(&e))?;
    let app = App {
        door: Door::new(project.clone(), options.entropy.as_ref())?,
        output: Arc::new(Output::open(&options.folder.join("assistant.log"))?),
        config_digest: Digest(sha256(text.as_bytes())),
        folder: options.folder.clone(),
        events: Arc::clone(&watch) as Arc<dyn EventSink>,
        clock: Arc::clone(&options.clock),
        entropy: Arc::clone(&options.entropy),
        keys: Arc::new(KeyShelf::of(rows)),
        terminal: Arc::clone(&options.terminal),
        respond,
        webhooks,
        facts: RwLock::new(Facts::default()),
        hosted: Mutex::new(None),
        project,
        config,
        store,
        recorder,
        leaves,
        watch,
        pepper,
        tasks: TaskGroup::default(),
        ground,
    };
    register(&app, options).await?;
    let digest = app.config_digest.to_string();
    app.record(app.leaf("service", LeafAction::ConfigApply, digest))
        .await?;
    if options.strictness == Strictness::AcceptWeaker {
        let leaf = app.leaf("user:operator", LeafAction::ControlWeaken, "accept-weaker");
        app.record(leaf).await?;
    }
    Ok(Arc::new(app))
}

async fn register(app: &App, options: &Options) -> Result<(), Explained> {
    let row = projects::Project {
        id: app.project.clone(),
        owner: app.config.project.owner.clone(),
        dir: options.host_root.to_string_lossy().into_owned(),
        stage: projects::Stage::Registered,
        admitted: None,
        created: app.now(),
    };
    app.state(move |store| store.write(move |tx| projects::register(tx, &row)))
        .await
}

/// A key that is made once and kept sealed by the recorder: the state database alone opens nothing.
async fn sealed_key(
    store: &Store,
    recorder: &RecorderClient,
    options: &Options,
    project: &ringfence_core::ids::ProjectId,
    purpose: Purpose,
) -> Result<HmacKey, Explained> {
    let name = format!("key.{purpose:?}");
    let held = store
        .read(|view| settings::find(view, project, &name))
        .map_err(|e: ringfence_store::StoreError| Explained::of(&e))?;
    if let Some(sealed) = held {
        let bytes = recorder
            .unseal(purpose, &sealed)
            .await
            .map_err(|e| Explained::of(&e))?;
        return HmacKey::from_bytes(bytes.danger_expose()).map_err(|e| Explained::of(&e));
    }
    let mut fresh = [0; HmacKey::BYTES];
    options.entropy.fill(&mut fresh)?;
    let fresh = Secret::new(fresh.to_vec());
    let key = HmacKey::from_bytes(fresh.danger_expose()).map_err(|e| Explained::of(&e))?;
    let sealed = recorder
        .seal(purpose, fresh.danger_expose())
        .await
        .map_err(|e| Explained::of(&e))?;
    let project = project.clone();
    store
        .write(move |tx| settings::put(tx, &project, &name, &sealed))
        .map_err(|e: ringfence_store::StoreError| Explained::of(&e))?;
    Ok(key)
}

/// Scans, decides, records, and opens cases.
async fn admit(
    app: &Arc<App>,
    options: &Options,
    isolation: &dyn Isolation,
    folder: &Path,
) -> Result<ScanReport, Explained> {
    let now = app.now();
    let project = app.project.clone();
    let active = app
        .state(move |store| store.read(|view| waivers::in_force(view, &project, now)))
        .await?;
    let waivers = active
        .into_iter()
        .map(|w| ActiveWaiver {
            rule: w.rule.to_string(),
            fingerprint: w.fingerprint,
            until: w.until,
        })
        .collect();
    let scan = Scan {
        project: &app.project,
        id: hosted::fresh_id(app, "scan")?,
        folder,
        advisories: options.advisories.clone(),
        request: ScanRequest {
            gate: app.config.gate.clone(),
            waivers,
            now,
        },
        strictness: options.strictness,
    };
    let report = admission::scan(isolation, scan).await?;
    let decision = report.verdict.decision;
    let outcome = if decision == Decision::Deny {
        Outcome::Denied
    } else {
        Outcome::Ok
    };
    let coverage = &report.verdict.coverage;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let leaf = app
        .leaf(
            "service",
            LeafAction::AdmissionDecide,
            report.project_digest.to_string(),
        )
        .outcome(outcome)
        .with("decision", decision.as_str())
        .with("findings", count(report.findings.len()))
        .with("skips", count(coverage.skips.len()));
    app.record(leaf).await?;
    let row = admissions::Admission {
        project: app.project.clone(),
        time: now,
        digest: report.project_digest,
        verdict: report.verdict.clone(),
        report: serde_json::to_value(&report)
            .map_err(|e| broken("a report cannot be written").because(e))?,
    };
    app.state(move |store| store.write(move |tx| admissions::add(tx, &row)))
        .await?;
    incidents::from_report(app, &report).await?;
    Ok(report)
}

async fn gateway(
    app: &Arc<App>,
    options: &Options,
    say: Progress<'_>,
) -> Result<(Arc<Gateway>, Arc<HostedApp>), Explained> {
    let mut library = documents::read(&options.root, &app.config.project.documents);
    if options.selftest {
        library.documents.push(crate::selftest::document());
    }
    for (path, why) in &library.skipped {
        say(&format!("document {path} is left out: {why}"));
    }
    let engine = Arc::new(demo::Engine::build(&library.documents));
    let mut upstreams = Vec::new();
    for model in &app.config.models {
        let address = if options.selftest {
            "demo"
        } else {
            model.upstream.as_str()
        };
        let wanted = UpstreamConfig {
            address: address.to_owned(),
            ..UpstreamConfig::default()
        };
        let (found, _) = upstream::discover(&wanted, Arc::clone(&engine))
            .await
            .map_err(|e| Explained::of(&e))?;
        upstreams.push(found);
    }
    if upstreams.is_empty() {
        upstreams.push(ringfence_gateway::Upstream::demo(engine));
    }
    let answering: Vec<String> = upstreams
        .iter()
        .map(|u| format!("{} ({})", u.place(), u.engine().as_str()))
        .collect();
    app.learn(|facts| facts.upstream = answering.join(", "));
    let text_key = sealed_key(
        &app.store,
        &app.recorder,
        options,
        &app.project,
        Purpose::TextDigestKey,
    )
    .await?;
    let pepper = sealed_key(
        &app.store,
        &app.recorder,
        options,
        &app.project,
        Purpose::GatewayPepper,
    )
    .await?;
    let config = GatewayConfig {
        guard: app.config.guard.clone(),
        limits: app.config.gateway.limits.clone(),
        ..GatewayConfig::default()
    };
    let hosted_app = Arc::new(HostedApp::default());
    let parts = GatewayParts {
        keys: Arc::clone(&app.keys) as _,
        leaves: Arc::clone(&app.leaves),
        events: Arc::clone(&app.events),
        breaker: app.watch.breakers(),
        clock: Arc::clone(&app.clock),
        entropy: Arc::clone(&app.entropy),
        key_pepper: pepper,
        text_key,
        guard: Arc::new(DetectGuard::new(&config.guard)?),
        upstreams,
        apps: Arc::clone(&hosted_app) as _,
    };
    Ok((Gateway::new(config, parts)?, hosted_app))
}

/// The exec service, running until the service stops.
fn exec_service(
    app: &Arc<App>,
    isolation: &Arc<dyn Isolation>,
    strictness: Strictness,
) -> axum::Router {
    let parts = ExecParts {
        isolation: Arc::clone(isolation),
        leaves: Arc::clone(&app.leaves),
        events: Arc::clone(&app.events),
        clock: Arc::clone(&app.clock),
        entropy: Arc::clone(&app.entropy),
    };
    let service = ExecService::new(hosted::exec_policy(app, strictness), parts);
    let (running, stopping) = (Arc::clone(&service), Arc::clone(app));
    app.tasks
        .add(running.run(async move { stopping.tasks.stopped().await }));
    exec_service::router(service)
}

/// Takes over what the previous server left: the assistant goes on, everything else is closed.
async fn adopt(app: &Arc<App>, sandboxes: Vec<Arc<dyn Sandbox>>, services: &Services) {
    for sandbox in sandboxes {
        let is_assistant = sandbox.id().as_str().starts_with("app-");
        if is_assistant && app.sandbox().is_none() {
            hosted::take_over(app, sandbox, services, Begin::Adopted);
        } else if let Err(error) = sandbox.close().await {
            tracing::error!(
                code = error.code,
                "a sandbox of the previous server was not closed"
            );
        }
    }
}

/// Opens gateway, console and control socket.
async fn listen(
    app: &Arc<App>,
    options: &Options,
    gateway: Arc<Gateway>,
) -> Result<Option<String>, Explained> {
    let explained = |e: ringfence_net::NetError| Explained::of(&e);
    let authority = LocalAuthority::open_or_create(
        &options.folder.join("tls"),
        app.clock.as_ref(),
        app.entropy.as_ref(),
    )
    .map_err(explained)?;
    let tls = authority.server_config().map_err(explained)?;
    let limits = ServeLimits::default();

    let front = Listener::bind(app.config.gateway.listen)
        .await
        .map_err(explained)?;
    let gateway_tls = app.config.gateway.tls.then(|| Arc::clone(&tls));
    let scheme = if gateway_tls.is_some() {
        "https"
    } else {
        "http"
    };
    let front_service = move |request, origin| {
        let gateway = Arc::clone(&gateway);
        let peer = match origin {
            Origin::Tcp(address) => Peer::Remote { address },
            Origin::Unix => Peer::Local,
        };
        async move { gateway.handle(request, peer).await }
    };
    let console = Listener::bind(app.config.console.listen)
        .await
        .map_err(explained)?;
    let socket = options.folder.join("control.sock");
    match std::fs::remove_file(&socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(broken("an old control socket cannot be removed").because(e));
        }
        _ => {}
    }
    let control = Listener::bind_unix(&socket).map_err(explained)?;

    app.tasks.add(serve(
        front,
        gateway_tls,
        limits,
        front_service,
        app.tasks.stopping(),
    ));
    let pages = web::service(crate::console::router(Arc::clone(app)));
    app.tasks.add(serve(
        console,
        Some(tls),
        limits,
        pages,
        app.tasks.stopping(),
    ));
    let api = web::service(crate::control::router(Arc::clone(app)));
    app.tasks
        .add(serve(control, None, limits, api, app.tasks.stopping()));
    app.learn(|facts| {
        facts.gateway_url = format!("{scheme}://{}", app.config.gateway.listen);
        facts.console_url = format!("https://{}", app.config.console.listen);
        facts.authority = app.config.gateway.tls.then(|| authority.authority_path());
    });
    Ok(app
        .config
        .gateway
        .tls
        .then(|| authority.authority_pem().to_owned()))
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
    app.recorder
        .checkpoint()
        .await
        .map_err(|e| Explained::of(&e))?;
    app.ground.abort().await;
    Ok(())
}
