//! Everything that faces somebody: gateway, exec service, console, control socket.

use super::{Options, Progress};
use crate::app::{App, broken};
use crate::hosted::{self, Begin, Services};
use crate::web::Answer;
use crate::wire::gateway::HostedApp;
use crate::{documents, web};
use http::Request;
use ringfence_core::error::Explained;
use ringfence_core::isolation::Strictness;
use ringfence_core::ports::{Adopted, Isolation};
use ringfence_gateway::config::{GatewayConfig, UpstreamConfig};
use ringfence_gateway::{DetectGuard, Gateway, GatewayParts, Peer, Upstream, demo, upstream};
use ringfence_net::body::Body;
use ringfence_net::listen::{Listener, Origin, ServeLimits, serve};
use ringfence_net::tls::LocalAuthority;
use ringfence_record::Purpose;
use ringfence_sandbox::exec_service::{self, ExecParts, ExecService};
use std::sync::Arc;

/// The gateway, and where it looks for the hosted assistant.
pub(super) async fn gateway(
    app: &Arc<App>,
    options: &Options,
    say: Progress<'_>,
) -> Result<(Arc<Gateway>, Arc<HostedApp>), Explained> {
    let upstreams = upstreams(app, options, say).await?;
    let sealed = app.sealed();
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
        key_pepper: sealed.key(Purpose::GatewayPepper).await?,
        text_key: sealed.key(Purpose::TextDigestKey).await?,
        guard: Arc::new(DetectGuard::new(&config.guard)?),
        upstreams,
        apps: Arc::clone(&hosted_app) as _,
    };
    Ok((Gateway::new(config, parts)?, hosted_app))
}

/// What answers prompts: the configured models, or the built-in responder over the documents.
async fn upstreams(
    app: &App,
    options: &Options,
    say: Progress<'_>,
) -> Result<Vec<Upstream>, Explained> {
    let mut library = documents::read(&options.root, &app.config.project.documents);
    if options.selftest {
        library.documents.push(crate::selftest::document());
    }
    for (path, why) in &library.skipped {
        say(&format!("document {path} is left out: {why}"));
    }
    let engine = Arc::new(demo::Engine::build(&library.documents));
    let mut found = Vec::new();
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
        let (upstream, _) = upstream::discover(&wanted, Arc::clone(&engine))
            .await
            .map_err(|e| Explained::of(&e))?;
        found.push(upstream);
    }
    if found.is_empty() {
        found.push(Upstream::demo(engine));
    }
    let places: Vec<String> = found
        .iter()
        .map(|u| format!("{} ({})", u.place(), u.engine().as_str()))
        .collect();
    app.learn(|facts| facts.upstream = places.join(", "));
    Ok(found)
}

/// The exec service, running until the service stops.
pub(super) fn exec_service(
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

/// Whether this holds a hosted assistant, which only a verdict lets in.
pub(super) fn is_assistant(adopted: &Adopted) -> bool {
    adopted.sandbox.id().as_str().starts_with(hosted::ID_PREFIX)
}

/// Closes what the previous server left and nobody needs any more.
pub(super) async fn discard(left: impl Iterator<Item = Adopted>) {
    for adopted in left {
        if let Err(error) = adopted.sandbox.close().await {
            tracing::error!(
                code = error.code,
                "a sandbox of the previous server was not closed"
            );
        }
    }
}

/// Takes over what the previous server left: the assistant goes on, everything else is closed.
pub(super) async fn adopt(app: &Arc<App>, left: Vec<Adopted>, services: &Services) {
    let (mut assistants, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_assistant);
    if !assistants.is_empty() {
        let first = assistants.remove(0);
        hosted::take_over(app, first.sandbox, services, Begin::Adopted(first.execs));
    }
    discard(assistants.into_iter().chain(others)).await;
}

/// Opens gateway, console and control socket; returns the authority that clients trust.
pub(super) async fn listen(
    app: &Arc<App>,
    options: &Options,
    gateway: Arc<Gateway>,
) -> Result<Option<String>, Explained> {
    let explained = |e: ringfence_net::NetError| Explained::of(&e);
    let folder = options.folder.join("tls");
    let authority =
        LocalAuthority::open_or_create(&folder, app.clock.as_ref(), app.entropy.as_ref())
            .map_err(explained)?;
    let tls = authority.server_config().map_err(explained)?;
    // All three are bound before one is served: a taken port leaves nothing half open.
    let front = Listener::bind(app.config.gateway.listen)
        .await
        .map_err(explained)?;
    let console = Listener::bind(app.config.console.listen)
        .await
        .map_err(explained)?;
    let control = control_socket(options)?;

    let limits = ServeLimits::default();
    let front_tls = app.config.gateway.tls.then(|| Arc::clone(&tls));
    let scheme = if front_tls.is_some() { "https" } else { "http" };
    let stopping = || app.tasks.stopping();
    app.tasks
        .add(serve(front, front_tls, limits, remote(gateway), stopping()));
    let pages = web::service(crate::console::router(Arc::clone(app)));
    app.tasks
        .add(serve(console, Some(tls), limits, pages, stopping()));
    let api = web::service(crate::control::router(Arc::clone(app)));
    app.tasks.add(serve(control, None, limits, api, stopping()));
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

/// The gateway for callers from outside any sandbox: they need a key.
fn remote(gateway: Arc<Gateway>) -> impl Fn(Request<Body>, Origin) -> Answer + Clone + Send + Sync {
    move |request, origin| {
        let gateway = Arc::clone(&gateway);
        let peer = match origin {
            Origin::Tcp(address) => Peer::Remote { address },
            Origin::Unix => Peer::Local,
        };
        Box::pin(async move { gateway.handle(request, peer).await })
    }
}

/// The Unix socket of the commands. A stale one of a server that was killed is replaced: the state
/// directory's lock says that nobody else serves it.
fn control_socket(options: &Options) -> Result<Listener, Explained> {
    let socket = options.folder.join("control.sock");
    match std::fs::remove_file(&socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(broken("an old control socket cannot be removed").because(e));
        }
        _ => {}
    }
    Listener::bind_unix(&socket).map_err(|e| Explained::of(&e))
}
