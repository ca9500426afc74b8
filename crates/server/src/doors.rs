//! What stands behind the doors of a sandbox: the gateway, the exec service and the way out.

use crate::app::App;
use crate::hosted::Services;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::isolation::Door;
use ringfence_core::ports::{BoxFuture, Breaker as _, Sandbox};
use ringfence_gateway::Peer;
use ringfence_gateway::limit::Limiter;
use ringfence_net::listen::{Listener, ServeLimits, serve};
use ringfence_sandbox::egress;
use ringfence_watch::kinds;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::watch;

/// What serves each door of a sandbox, until `stop` becomes true or its sender is gone.
pub fn all(
    app: &Arc<App>,
    sandbox: &Arc<dyn Sandbox>,
    services: &Services,
    stop: &watch::Receiver<bool>,
) -> Vec<BoxFuture<'static, ()>> {
    let way_out = app.way_out.of_sandbox(app, sandbox.as_ref());
    let doors = sandbox.take_doors().into_iter();
    let served = doors.filter_map(|(door, socket)| {
        if egress::is_door(&door) {
            let serving = Arc::clone(&way_out).serve(door, socket, stop.clone());
            let serving: BoxFuture<'static, ()> = Box::pin(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "a door of the way out cannot be served");
                }
            });
            return Some(serving);
        }
        one(app, sandbox, &door, socket, services, stop.clone())
    });
    served.collect()
}

/// Serves one door. Who comes through it is known by the socket.
fn one(
    app: &Arc<App>,
    sandbox: &Arc<dyn Sandbox>,
    door: &Door,
    socket: OwnedFd,
    services: &Services,
    stop: watch::Receiver<bool>,
) -> Option<BoxFuture<'static, ()>> {
    let Ok(listener) = Listener::adopt_tcp(socket) else {
        tracing::error!(door = door.name, "a door cannot be served");
        return None;
    };
    let limits = ServeLimits::default();
    if door.name == "gateway" {
        let gateway = Arc::clone(&services.gateway);
        let (project, id) = (sandbox.project().clone(), sandbox.id().clone());
        let service = move |request, _origin| {
            let gateway = Arc::clone(&gateway);
            let peer = Peer::Door {
                project: project.clone(),
                sandbox: id.clone(),
            };
            async move { gateway.handle(request, peer).await }
        };
        return Some(Box::pin(serve(listener, None, limits, service, stop)));
    }
    let gate = ExecGate {
        app: Arc::clone(app),
        target: Target::Sandbox(sandbox.id().clone()),
        limiter: Arc::default(),
    };
    let guarded = middleware::from_fn_with_state(gate, admit_exec);
    let service = crate::web::service(services.exec.clone().layer(guarded));
    Some(Box::pin(serve(listener, None, limits, service, stop)))
}

/// What stands before the exec service: the breaker and the limit of the sandbox that asks. Each
/// execution is a sandbox and leaves in the log, so an unbounded caller could fill both.
#[derive(Clone)]
struct ExecGate {
    app: Arc<App>,
    target: Target,
    limiter: Arc<Limiter>,
}

async fn admit_exec(State(gate): State<ExecGate>, request: Request, next: Next) -> Response {
    let app = &gate.app;
    let per_minute = app.config.gateway.limits.door_requests_per_minute;
    let now_ns = app.clock.monotonic_ns();
    let open = app.watch.breakers().admit(&gate.target);
    let limited = gate.limiter.admit(&gate.target, per_minute, now_ns);
    let (status, code, what) = match (open, limited) {
        (true, Ok(())) => return next.run(request).await,
        (false, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "run/breaker-open",
            "the breaker is open",
        ),
        (true, Err(_)) => (
            StatusCode::TOO_MANY_REQUESTS,
            "run/rate-limited",
            "too many requests",
        ),
    };
    let kind = if open {
        "run.limit.refused"
    } else {
        kinds::BREAKER_REFUSED
    };
    let occurrence =
        Occurrence::new(app.now(), app.project.clone(), gate.target.clone(), kind).denied(None);
    app.events.emit(occurrence);
    let body = json!({"error": {"code": code, "what": what, "help": "wait a minute"}});
    (status, axum::Json(body)).into_response()
}
