//! The console's doors: sessions, forms, cookies, headers.

use crate::bench::{Bench, Reply, call, control};
use axum::body::Body;
use http::Request;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_server::app::App;
use ringfence_server::console::session::SESSION_MS;
use ringfence_server::console::{POLICY, router};
use ringfence_server::startup::Running;
use std::sync::Arc;

/// Its own source, so that no route can be added without these tests asking for it.
const SOURCE: &str = include_str!("../../src/console/mod.rs");
/// What is served to anybody; `/metrics` asks for itself and has its own tests.
const OPEN: [&str; 4] = [
    "/login",
    "/assets/console.css",
    "/assets/console.js",
    "/metrics",
];

/// Every (method, path) of the console.
fn routes() -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for row in SOURCE.split(".route(\"").skip(1) {
        let (path, rest) = row.split_once('"').unwrap();
        let methods = rest.lines().next().unwrap();
        for (word, method) in [
            ("get(", "GET"),
            ("post(", "POST"),
            ("delete(", "DELETE"),
            ("put(", "PUT"),
        ] {
            if methods.contains(word) {
                found.push((method, path));
            }
        }
    }
    found
}

fn concrete(path: &str) -> String {
    path.replace("{id}", "C-1")
}

/// One request to the console.
pub(crate) async fn page(
    app: &Arc<App>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    form: &str,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    if method == "POST" {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(form.to_owned())).unwrap();
    call(router(Arc::clone(app)), request).await
}

/// A person who signed in.
pub(crate) struct Session {
    app: Arc<App>,
    /// The header's value.
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Session {
    pub(crate) async fn open(running: &Running) -> Self {
        Self::with(&running.app, running.token.danger_expose()).await
    }

    async fn with(app: &Arc<App>, token: &str) -> Self {
        let reply = page(app, "POST", "/login", &[], &format!("token={token}")).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        let cookie = reply
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let mut session = Self {
            app: Arc::clone(app),
            cookie,
            csrf: String::new(),
        };
        let home = session.get("/").await;
        let (_, rest) = home.body.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"')
            .next()
            .unwrap()
            .clone_into(&mut session.csrf);
        session
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        page(&self.app, "GET", path, &[("cookie", &self.cookie)], "").await
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Reply {
        page(&self.app, "POST", path, &[("cookie", &self.cookie)], form).await
    }
}

#[test]
fn the_list_of_routes_is_whole() {
    let found = routes();
    assert_eq!(
        found.len(),
        SOURCE.matches("get(").count() + SOURCE.matches("post(").count()
    );
    for (method, path) in [
        ("GET", "/"),
        ("POST", "/login"),
        ("POST", "/alerts/{id}/seen"),
    ] {
        assert!(found.contains(&(method, path)), "{method} {path}");
    }
}

#[tokio::test]
async fn nothing_is_shown_without_a_session() {
    let bench = Bench::new();
    let running = bench.running().await;
    let session = Session::open(&running).await;
    let forged = "__Host-ringfence=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let renamed = session.cookie.replace("__Host-", "");
    for (method, path) in routes() {
        if OPEN.contains(&path) {
            continue;
        }
        let path = concrete(path);
        for cookie in ["", forged, "__Host-ringfence=", renamed.as_str()] {
            let form = format!("csrf={}", session.csrf);
            let reply = page(&running.app, method, &path, &[("cookie", cookie)], &form).await;
            assert_eq!(
                (reply.status, reply.header("location")),
                (303, "/login"),
                "{method} {path}"
            );
            assert!(reply.body.is_empty(), "{method} {path}: {}", reply.body);
        }
        if method == "GET" {
            let shown = session.get(&path).await;
            assert!(matches!(shown.status, 200 | 404), "{path}: {shown:?}");
        }
    }
    assert_eq!(
        session.get("/").await.status,
        200,
        "a forged sign-out worked"
    );
}

#[tokio::test]
async fn every_form_needs_the_token_of_its_own_session() {
    let bench = Bench::new();
    let running = bench.running().await;
    let session = Session::open(&running).await;
    let token = control(&running.app, "POST", "/v1/console/token", "")
        .await
        .json();
    let other = Session::with(&running.app, token["token"].as_str().unwrap()).await;
    assert_ne!(session.csrf, other.csrf);
    let posts = routes()
        .into_iter()
        .filter(|(m, p)| *m == "POST" && *p != "/login");
    for (_, path) in posts {
        let path = concrete(path);
        for form in [
            String::new(),
            "csrf=".to_owned(),
            "csrf=zz".to_owned(),
            format!("csrf={}", other.csrf),
            format!("csrf={}", &session.csrf[1..]),
            format!("csrf={}&csrf={}", other.csrf, session.csrf),
            format!("token={}", session.csrf),
        ] {
            let reply = session.post(&path, &form).await;
            assert!(
                matches!(reply.status, 400 | 403 | 422),
                "{path} {form}: {reply:?}"
            );
        }
    }
    assert_eq!(session.get("/").await.status, 200);
    let left = session
        .post("/logout", &format!("csrf={}", session.csrf))
        .await;
    assert_eq!((left.status, left.header("location")), (303, "/login"));
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(
        session.get("/").await.status,
        303,
        "the old cookie still opens"
    );
    assert_eq!(other.get("/").await.status, 200);
}

#[tokio::test]
async fn a_token_is_worth_one_sign_in() {
    let bench = Bench::new();
    let running = bench.running().await;
    let form = format!("token={}", running.token.danger_expose());
    let sign_in = async |form: &str| page(&running.app, "POST", "/login", &[], form).await;
    assert_eq!(sign_in("token=wrong").await.status, 403);
    assert_eq!(sign_in("token=").await.status, 403);
    assert_eq!(sign_in(&form).await.status, 303);
    let again = sign_in(&form).await;
    assert_eq!(again.status, 403);
    assert!(again.headers.get("set-cookie").is_none());
    assert!(
        !again.body.contains(running.token.danger_expose()),
        "the page repeats the token"
    );
    let attempts = bench.leaves_of(LeafAction::LoginAttempt).await;
    let outcomes: Vec<Outcome> = attempts.iter().map(|l| l.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Denied,
            Outcome::Denied,
            Outcome::Ok,
            Outcome::Denied
        ]
    );
}

#[tokio::test]
async fn a_newer_token_voids_an_unused_one() {
    let bench = Bench::new();
    let running = bench.running().await;
    let newer = control(&running.app, "POST", "/v1/console/token", "")
        .await
        .json();
    let old = format!("token={}", running.token.danger_expose());
    assert_eq!(
        page(&running.app, "POST", "/login", &[], &old).await.status,
        403
    );
    Session::with(&running.app, newer["token"].as_str().unwrap()).await;
}

#[tokio::test]
async fn two_at_once_cannot_spend_one_token() {
    let bench = Bench::new();
    let running = bench.running().await;
    let form = format!("token={}", running.token.danger_expose());
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (app, form) = (Arc::clone(&running.app), form.clone());
        tries.spawn(async move { page(&app, "POST", "/login", &[], &form).await.status });
    }
    let statuses = tries.join_all().await;
    assert_eq!(
        statuses.iter().filter(|s| **s == 303).count(),
        1,
        "{statuses:?}"
    );
}

#[tokio::test]
async fn the_cookie_is_for_this_host_over_https_and_for_no_script() {
    let bench = Bench::new();
    let running = bench.running().await;
    let form = format!("token={}", running.token.danger_expose());
    let reply = page(&running.app, "POST", "/login", &[], &form).await;
    let cookie = reply.header("set-cookie");
    let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
    for wanted in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(attributes.contains(&wanted), "{cookie}");
    }
    assert!(
        cookie.starts_with("__Host-") && !cookie.contains("Domain"),
        "{cookie}"
    );
    let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
    assert!(value.len() >= 43, "less than 256 bits: {value}");
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let bench = Bench::new();
    let running = bench.running().await;
    let session = Session::open(&running).await;
    bench.clock.advance(SESSION_MS - 1);
    assert_eq!(session.get("/").await.status, 200);
    bench.clock.advance(1);
    assert_eq!(session.get("/").await.status, 303);
}

#[tokio::test]
async fn every_answer_carries_the_policy_errors_included() {
    let bench = Bench::new();
    let running = bench.running().await;
    let session = Session::open(&running).await;
    let mut asked: Vec<(&str, String)> = Vec::new();
    for (method, path) in routes() {
        asked.push((method, concrete(path)));
        asked.push(("DELETE", concrete(path)));
    }
    for path in [
        "/nothing",
        "/assets/../secret",
        "/cases/%00",
        "/cases/%ff",
        "/assets/",
        "//",
        "/%2e%2e/",
    ] {
        asked.push(("GET", path.to_owned()));
    }
    let long = "x".repeat(64 * 1024);
    for (method, path) in asked.iter().filter(|(_, p)| p != "/logout") {
        for (cookie, form) in [
            ("", ""),
            (&session.cookie, ""),
            (&session.cookie, long.as_str()),
        ] {
            let reply = page(&running.app, method, path, &[("cookie", cookie)], form).await;
            assert_eq!(
                reply.header("content-security-policy"),
                POLICY,
                "{method} {path}: {reply:?}"
            );
            assert_eq!(reply.header("x-content-type-options"), "nosniff");
            assert_eq!(reply.header("cache-control"), "no-store");
            assert_eq!(reply.header("referrer-policy"), "no-referrer");
            let kind = reply.header("content-type");
            assert!(
                reply.body.is_empty()
                    || kind.contains("charset=utf-8")
                    || kind == "application/json",
                "{kind}"
            );
        }
    }
    assert!(!POLICY.contains("unsafe") && !POLICY.contains('*') && !POLICY.contains("http"));
}

#[tokio::test]
async fn pages_hold_no_script_or_style_of_their_own() {
    let bench = Bench::new();
    let running = bench.running().await;
    let session = Session::open(&running).await;
    for (method, path) in routes() {
        if method != "GET" || path.starts_with("/assets") || path == "/metrics" {
            continue;
        }
        let body = session.get(&concrete(path)).await.body;
        assert_eq!(
            body.matches("<script").count(),
            body.matches("<script src=\"/assets/console.js\" defer></script>")
                .count(),
            "{path}"
        );
        for refused in [
            "<style",
            " style=",
            "javascript:",
            "http://www",
            "https://cdn",
        ] {
            assert!(!body.contains(refused), "{path}: {refused}");
        }
    }
}

#[tokio::test]
async fn an_alert_stops_popping_up_when_it_was_seen() {
    let bench = Bench::new();
    bench.write("app/model.pkl", b"cposix\nsystem\n(S'true'\ntR.");
    bench
        .fence
        .inspect_with(crate::fence::Inspection::Altered(Box::new(|report| {
            report.verdict.decision = ringfence_core::verdict::Decision::Allow;
        })));
    let running = bench.running().await;
    let session = Session::open(&running).await;
    let unseen = session.get("/alerts/unseen").await.json();
    let id = unseen[0]["id"].as_str().unwrap();
    let path = format!("/alerts/{id}/seen");
    let seen = session.post(&path, &format!("csrf={}", session.csrf)).await;
    assert_eq!((seen.status, seen.header("location")), (303, "/alerts"));
    let left = session.get("/alerts/unseen").await.json();
    assert!(left.as_array().unwrap().iter().all(|a| a["id"] != id));
    assert!(session.get("/alerts").await.body.contains("<article>"));
    let case = session.get("/cases").await.body;
    assert!(case.contains("href=\"/cases/"), "{case}");
    let none = session
        .post("/alerts/A-999/seen", &format!("csrf={}", session.csrf))
        .await;
    assert!(matches!(none.status, 303 | 404), "{none:?}");
}

#[tokio::test]
async fn the_console_speaks_tls_only() {
    // The authority vouches for 127.0.0.1; the port is this process's own, below those that the
    // system gives away.
    let mut bench = Bench::new();
    let port = 20_000 + std::process::id() % 10_000;
    bench.console = ([127, 0, 0, 1], u16::try_from(port).unwrap()).into();
    bench.configure("");
    let running = bench.running().await;
    let request = || {
        Request::builder()
            .uri("/login")
            .body(ringfence_net::body::empty())
            .unwrap()
    };
    let limits = ringfence_net::client::ClientLimits::default();
    let address = ringfence_net::client::Address::of(bench.console);
    let plain = ringfence_net::client::Client::new(address, limits)
        .send(request())
        .await;
    assert!(plain.is_err(), "the sign-in page is served in the clear");
    let pem = std::fs::read_dir(running.app.folder.join("tls"))
        .unwrap()
        .filter_map(|e| std::fs::read_to_string(e.unwrap().path()).ok())
        .filter(|text| text.contains("BEGIN CERTIFICATE"));
    let mut served = false;
    for authority in pem {
        let reply =
            ringfence_net::client::send_over_tls(bench.console, &authority, request(), limits)
                .await;
        served |= reply.is_ok_and(|r| r.status() == 200);
    }
    assert!(served, "no authority of the folder opens the console");
}
