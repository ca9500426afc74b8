//! The pages. Each gathers what it shows through [`crate::service`] and hands it to a template.

use super::session::{self, SignedIn};
use crate::app::App;
use crate::service::{cases, is_missing, leaves, status};
use crate::text::neutral;
use askama::Template;
use axum::extract::{Extension, Form, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use ringfence_core::error::Explained;
use ringfence_core::finding::Finding;
use ringfence_core::isolation::WallState;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::verdict::Skip;
use serde::Deserialize;
use std::sync::Arc;

/// Rows of events and leaves on a page.
const ROWS: usize = 50;

/// Who looks at a page.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) person: SignedIn,
    pub(super) cookie: String,
}

type Shared = State<Arc<App>>;

/// A page that could not be made says why, as plain text.
pub(super) struct Broken(String);

impl From<Explained> for Broken {
    fn from(error: Explained) -> Self {
        Self(error.to_string())
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0).into_response()
    }
}

type Page = Result<Html<String>, Broken>;

fn show(template: &impl Template) -> Page {
    template
        .render()
        .map(|page| Html(neutral(&page)))
        .map_err(|e| Broken(e.to_string()))
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    failed: bool,
}

pub(super) async fn login() -> Page {
    show(&Login { failed: false })
}

#[derive(Deserialize)]
pub(super) struct SignIn {
    token: String,
}

pub(super) async fn sign_in(
    State(app): Shared,
    Form(form): Form<SignIn>,
) -> Result<Response, Broken> {
    let now = app.now();
    // The right token is never refused: whoever sends wrong ones must not lock the operator out.
    let recorded = app.door.records_wrong(now);
    let opened = {
        let app = Arc::clone(&app);
        tokio::task::spawn_blocking(move || {
            app.door
                .sign_in(&app.store, app.entropy.as_ref(), &form.token, now)
        })
        .await
        .map_err(|e| Broken(e.to_string()))??
    };
    if opened.is_none() && !recorded {
        let refused = "too many wrong tokens; wait a minute";
        return Ok((StatusCode::TOO_MANY_REQUESTS, refused).into_response());
    }
    let outcome = if opened.is_some() {
        Outcome::Ok
    } else {
        Outcome::Denied
    };
    let leaf = app
        .leaf("user:admin", LeafAction::LoginAttempt, "console")
        .outcome(outcome);
    app.record(leaf).await?;
    match opened {
        Some(cookie) => {
            let cookie = session::set_cookie(&cookie);
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
        }
        None => {
            let page = show(&Login { failed: true })?;
            Ok((StatusCode::FORBIDDEN, page).into_response())
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Csrf {
    csrf: String,
}

/// Whether a form carries its session's token.
fn ours(app: &App, visitor: &Visitor, form: &Csrf) -> bool {
    app.door.form_is_ours(&visitor.cookie, &form.csrf)
}

fn forged() -> Response {
    (StatusCode::FORBIDDEN, "this form is not from this session").into_response()
}

pub(super) async fn sign_out(
    State(app): Shared,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Csrf>,
) -> Result<Response, Broken> {
    if !ours(&app, &visitor, &form) {
        return Ok(forged());
    }
    let cookie = visitor.cookie;
    let ending = Arc::clone(&app);
    tokio::task::spawn_blocking(move || ending.door.sign_out(&ending.store, &cookie))
        .await
        .map_err(|e| Broken(e.to_string()))??;
    let cleared = [(header::SET_COOKIE, session::clear_cookie())];
    Ok((cleared, Redirect::to("/login")).into_response())
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    csrf: String,
    project: String,
    facts: Vec<(String, String)>,
    walls: Vec<WallState>,
    events: Vec<(String, String, String, String)>,
}

pub(super) async fn status(State(app): Shared, Extension(visitor): Extension<Visitor>) -> Page {
    let now = status::status(&app).await?;
    let facts = [
        (
            "Verdict",
            now.verdict.clone().unwrap_or_else(|| "none yet".to_owned()),
        ),
        ("Gateway", now.gateway.clone()),
        ("Answers come from", now.upstream.clone()),
        ("Assistant", now.assistant.clone()),
        (
            "Log",
            format!(
                "{} leaves, {} numbers unaccounted for",
                now.leaves, now.unaccounted
            ),
        ),
        ("Witness", now.anchor.clone()),
        ("Open cases", now.cases_open.to_string()),
    ];
    let events = app.watch.recent(&app.project, ROWS).into_iter().map(|e| {
        let rule = e.rule.map(|r| r.to_string()).unwrap_or_default();
        (e.time.to_string(), e.kind, format!("{:?}", e.verdict), rule)
    });
    show(&StatusPage {
        csrf: visitor.person.csrf,
        project: app.project.to_string(),
        facts: facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        walls: now.walls,
        events: events.collect(),
    })
}

#[derive(Template)]
#[template(path = "verdict.html")]
struct VerdictPage {
    csrf: String,
    decision: &'static str,
    reasons: Vec<String>,
    coverage: String,
    skips: Vec<Skip>,
    findings: Vec<Finding>,
}

pub(super) async fn verdict(State(app): Shared, Extension(visitor): Extension<Visitor>) -> Page {
    let csrf = visitor.person.csrf;
    let Some(report) = status::last_scan(&app).await? else {
        let reasons = vec!["nothing was scanned yet".to_owned()];
        let coverage = String::new();
        let (skips, findings) = (Vec::new(), Vec::new());
        let decision = "incomplete";
        return show(&VerdictPage {
            csrf,
            decision,
            reasons,
            coverage,
            skips,
            findings,
        });
    };
    let seen = &report.verdict.coverage;
    let coverage = format!(
        "{} octets seen, {} understood, {} skipped; {} items.",
        seen.bytes_seen,
        seen.bytes_understood,
        seen.bytes_skipped(),
        seen.items
    );
    show(&VerdictPage {
        csrf,
        decision: report.verdict.decision.as_str(),
        reasons: report.verdict.reasons,
        coverage,
        skips: report.verdict.coverage.skips,
        findings: report.findings,
    })
}

#[derive(Template)]
#[template(path = "cases.html")]
struct CasesPage {
    csrf: String,
    cases: Vec<cases::ShownCase>,
}

pub(super) async fn cases(State(app): Shared, Extension(visitor): Extension<Visitor>) -> Page {
    show(&CasesPage {
        csrf: visitor.person.csrf,
        cases: cases::list(&app).await?,
    })
}

#[derive(Template)]
#[template(path = "case.html")]
struct CasePage {
    csrf: String,
    case: cases::ShownCase,
    history: Vec<String>,
}

pub(super) async fn case(
    State(app): Shared,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Broken> {
    let Ok(id) = id.parse() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let file = match cases::show(&app, id).await {
        Err(error) if is_missing(&error.code) => {
            return Ok(StatusCode::NOT_FOUND.into_response());
        }
        other => other?,
    };
    let csrf = visitor.person.csrf;
    Ok(show(&CasePage {
        csrf,
        case: file.case,
        history: file.history,
    })?
    .into_response())
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    csrf: String,
    alerts: Vec<cases::ShownAlert>,
}

pub(super) async fn alerts(State(app): Shared, Extension(visitor): Extension<Visitor>) -> Page {
    let alerts = cases::alerts(&app).await?;
    show(&AlertsPage {
        csrf: visitor.person.csrf,
        alerts,
    })
}

pub(super) async fn unseen(
    State(app): Shared,
) -> Result<axum::Json<Vec<cases::ShownAlert>>, Broken> {
    let alerts = cases::alerts(&app).await?;
    let unseen = alerts.into_iter().filter(|a| !a.seen).map(|mut alert| {
        alert.what = neutral(&alert.what);
        alert.mitigation = neutral(&alert.mitigation);
        alert
    });
    Ok(axum::Json(unseen.collect()))
}

pub(super) async fn mark_seen(
    State(app): Shared,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Form(form): Form<Csrf>,
) -> Result<Response, Broken> {
    if !ours(&app, &visitor, &form) {
        return Ok(forged());
    }
    cases::mark_seen(&app, id).await?;
    Ok(Redirect::to("/alerts").into_response())
}

#[derive(Template)]
#[template(path = "leaves.html")]
struct LeavesPage {
    csrf: String,
    size: u64,
    root: String,
    anchor: String,
    leaves: Vec<(u64, String, &'static str, String, String, String)>,
}

pub(super) async fn leaves(State(app): Shared, Extension(visitor): Extension<Visitor>) -> Page {
    let page = leaves::page(&app, None, ROWS as u64).await?;
    let rows = page.leaves.into_iter().rev().map(|entry| {
        let leaf = entry.leaf;
        let outcome = format!("{:?}", leaf.outcome).to_lowercase();
        (
            entry.index,
            leaf.time.to_string(),
            leaf.action.as_str(),
            leaf.actor,
            leaf.object,
            outcome,
        )
    });
    show(&LeavesPage {
        csrf: visitor.person.csrf,
        size: page.size,
        root: page.root,
        anchor: page.anchor,
        leaves: rows.collect(),
    })
}

/// Metrics, for a console session or any valid API key.
pub(super) async fn metrics(State(app): Shared, headers: HeaderMap) -> Response {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let now = app.now();
    let by_key = bearer.is_some_and(|key| {
        ringfence_gateway::keys::verify(app.keys.as_ref(), &app.pepper, key, now).is_ok()
    });
    let cookie = session::cookie_of(&headers).map(str::to_owned);
    let by_session = match cookie {
        Some(cookie) => {
            let app = Arc::clone(&app);
            tokio::task::spawn_blocking(move || app.door.who(&app.store, &cookie, now))
                .await
                .is_ok_and(|looked| matches!(looked, Ok(Some(_))))
        }
        None => false,
    };
    if !(by_key || by_session) {
        return (
            StatusCode::UNAUTHORIZED,
            "send an API key as bearer token\n",
        )
            .into_response();
    }
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, status::metrics(&app).await).into_response()
}
