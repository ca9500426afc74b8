//! The control API: every row of its table, and what is not in it.

use crate::bench::{Bench, control, in_days};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_record::worm::Report;
use ringfence_server::control::{BODY_BYTES_MAX, Operation, ROUTES, Route};
use ringfence_server::service::exports::VAULT_BYTES_MAX;
use serde_json::{Value, json};

struct Known {
    key: String,
    case: String,
}

/// Whom the recorder keeps something for.
const KEPT_FOR: &str = "alice@example.org";

/// An export that ended well.
fn export(vault: &str) -> String {
    json!({"vault": vault, "report": Report::default()}).to_string()
}

/// A request that the row must answer with 200.
fn good(route: &Route, known: &Known) -> (String, String) {
    let path = route
        .path
        .replace("/keys/{id}", &format!("/keys/{}", known.key))
        .replace("/cases/{id}", &format!("/cases/{}", known.case))
        .replace("{index}", "0");
    let body = match route.operation {
        Operation::CreateKey => json!({"name": "k"}).to_string(),
        Operation::Waive => {
            json!({"rule": "admit/other", "until": in_days(1), "reason": "known"}).to_string()
        }
        Operation::Erase => json!({"subject": KEPT_FOR}).to_string(),
        Operation::NoteExport => export("v"),
        _ => String::new(),
    };
    (path, body)
}

/// The key that an answer of this operation must have; none for a list or a text.
fn promised(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Status => Some("walls"),
        Operation::Stop => Some("stopping"),
        Operation::NewToken => Some("token"),
        Operation::Logs => Some("next"),
        Operation::CreateKey => Some("key"),
        Operation::RevokeKey => Some("revoked"),
        Operation::Case => Some("history"),
        Operation::Waive => Some("until"),
        Operation::Leaves => Some("root"),
        Operation::Verdict => Some("findings"),
        Operation::OpenApi => Some("openapi"),
        Operation::Erase => Some("pseudonym"),
        Operation::NoteExport => Some("index"),
        _ => None,
    }
}

/// A project with one finding that does not deny, so that there is a case.
fn with_a_case(bench: &Bench) {
    bench.configure("[gate]\ndeny_at = \"critical\"\n");
    bench.write(
        "app/server.py",
        b"import uvicorn\nuvicorn.run(app, host=\"0.0.0.0\", port=80)\n",
    );
}

#[tokio::test]
async fn every_row_answers_as_it_is_described() {
    let bench = Bench::new();
    with_a_case(&bench);
    let app = bench.running().await.app;
    app.recorder.keep(KEPT_FOR, b"hers").await.unwrap();
    let made = control(&app, "POST", "/v1/keys", "{\"name\":\"a\"}")
        .await
        .json();
    let cases = control(&app, "GET", "/v1/cases", "").await.json();
    let known = Known {
        key: made["id"].as_str().unwrap().to_owned(),
        case: cases[0]["id"].as_str().expect("a case").to_owned(),
    };
    let stop_last = |r: &&Route| r.operation == Operation::Stop;
    let rows = ROUTES.iter().filter(|r| !stop_last(r));
    for route in rows.chain(ROUTES.iter().filter(stop_last)) {
        let (path, body) = good(route, &known);
        let reply = control(&app, route.method, &path, &body).await;
        assert_eq!(reply.status, 200, "{} {path}: {}", route.method, reply.body);
        match (route.operation, promised(route.operation)) {
            (Operation::Metrics | Operation::Proof, _) => assert!(!reply.body.is_empty()),
            (_, Some(key)) => assert!(reply.json().get(key).is_some(), "{path}: {}", reply.body),
            (_, None) => {
                let json = reply.json();
                assert!(
                    json.is_array() || json.get("key").is_some(),
                    "{path}: {json}"
                );
            }
        }
    }
    assert!(*app.tasks.stopping().borrow(), "stop was only promised");
}

#[tokio::test]
async fn what_is_not_in_the_table_is_404_with_an_error_body() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/secrets",
        "/v2/status",
        "/v1/status/",
        "/v1/keys/a/b",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let reply = control(&app, method, path, "").await;
            assert_eq!(
                (reply.status, reply.error().as_str()),
                (404, "run/route-not-found"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_row_under_another_method_is_405_with_an_error_body() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    for route in ROUTES {
        let offered = |method: &str| {
            ROUTES
                .iter()
                .any(|r| r.path == route.path && r.method == method)
        };
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if offered(method) {
                continue;
            }
            let path = route.path.replace("{id}", "a").replace("{index}", "0");
            let reply = control(&app, method, &path, "").await;
            assert_eq!(
                (reply.status, reply.error().as_str()),
                (405, "run/route-method"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    for (method, path) in [
        ("DELETE", "/v1/keys/0123456789abcdef"),
        ("DELETE", "/v1/keys/%00"),
        ("GET", "/v1/cases/C-99"),
        ("GET", "/v1/cases/..%2f"),
        ("GET", "/v1/leaves/9999/proof"),
    ] {
        let reply = control(&app, method, path, "").await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.body);
        reply.error();
    }
}

#[tokio::test]
async fn a_person_is_erased_once_and_named_in_no_leaf() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let kept = app.recorder.keep(KEPT_FOR, b"hers").await.unwrap();
    let body = json!({"subject": KEPT_FOR}).to_string();
    let erase = async || control(&app, "POST", "/v1/subjects/erase", &body).await;
    assert!(app.recorder.kept(kept.digest).await.is_ok());
    let erased = erase().await.json();
    assert_eq!(erased["pseudonym"], kept.subject.to_string());
    assert!(app.recorder.kept(kept.digest).await.is_err());
    let again = erase().await;
    assert_eq!(
        (again.status, again.error().as_str()),
        (404, "record/no-subject")
    );
    let leaves = bench.leaves_of(LeafAction::SubjectErase).await;
    assert_eq!(leaves.len(), 1);
    assert_eq!(leaves[0].project, app.project);
    assert!(!format!("{leaves:?}").contains("alice"));
}

#[tokio::test]
async fn an_export_is_on_record_and_one_that_failed_says_why() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let note = async |body: &str| control(&app, "POST", "/v1/exports", body).await;
    let why = Explained::new(ErrorCode("record/test"), "not locked", "look");
    let failed = json!({"vault": "v", "failure": why, "finding": true}).to_string();
    assert_eq!(note(&failed).await.status, 200);
    assert_eq!(
        note(&export(&"v".repeat(VAULT_BYTES_MAX))).await.status,
        200
    );
    let leaves = bench.leaves_of(LeafAction::LogExport).await;
    assert_eq!(
        leaves.iter().map(|l| l.outcome).collect::<Vec<_>>(),
        [Outcome::Failed, Outcome::Ok]
    );
    assert_eq!(leaves[0].detail["error"], "record/test".into());
    let both = json!({"vault": "v", "report": Report::default(), "failure": why}).to_string();
    for refused in [
        export(&"v".repeat(VAULT_BYTES_MAX + 1)),
        json!({"vault": "v"}).to_string(),
        both,
    ] {
        assert_eq!(note(&refused).await.error(), "run/control-body");
    }
    assert_eq!(bench.leaves_of(LeafAction::LogExport).await.len(), 2);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused_in_words() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    for path in [
        "/v1/leaves?from=-1",
        "/v1/leaves?count=many",
        "/v1/leaves/-1/proof",
        "/v1/leaves/x/proof",
        "/v1/logs?from=x",
        "/v1/logs?tial=3",
        "/v1/leaves?form=0",
    ] {
        let reply = control(&app, "GET", path, "").await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.body);
        reply.error();
    }
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let until = in_days(1);
    let waiver =
        |extra: &str| format!("{{\"rule\":\"a/b\",\"until\":{until},\"reason\":\"r\"{extra}}}");
    assert_eq!(
        control(&app, "POST", "/v1/waivers", &waiver(""))
            .await
            .status,
        200
    );
    let bad = [
        ("/v1/keys", "{\"name\":\"a\",\"name\":\"b\"}".to_owned()),
        ("/v1/keys", "{\"name\":\"a\",\"admin\":true}".to_owned()),
        ("/v1/keys", "{\"name\":\"a\"} {}".to_owned()),
        ("/v1/keys", "{}".to_owned()),
        ("/v1/keys", String::new()),
        ("/v1/keys", "[]".to_owned()),
        ("/v1/keys", "{\"name\":1}".to_owned()),
        (
            "/v1/keys",
            format!(
                "{{\"name\":\"a\",\"reason\":{}1{}}}",
                "[".repeat(100),
                "]".repeat(100)
            ),
        ),
        ("/v1/waivers", waiver(",\"reason\":\"s\"")),
        ("/v1/waivers", waiver(",\"forever\":true")),
    ];
    for (path, body) in bad {
        let reply = control(&app, "POST", path, &body).await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (400, "run/control-body"),
            "{body}"
        );
    }
    assert!(bench.leaves_of(LeafAction::KeyCreate).await.is_empty());
}

#[tokio::test]
async fn a_body_is_read_at_the_limit_and_refused_one_octet_longer() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let padded = |length: usize| {
        let body = "{\"name\":\"a\"}";
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    let at = control(&app, "POST", "/v1/keys", &padded(BODY_BYTES_MAX)).await;
    assert_eq!(at.status, 200, "{}", at.body);
    let above = control(&app, "POST", "/v1/keys", &padded(BODY_BYTES_MAX + 1)).await;
    assert_eq!(
        (above.status, above.error().as_str()),
        (413, "run/control-body-too-long")
    );
}

#[tokio::test]
async fn pages_of_the_log_are_bounded_and_may_be_empty() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let page = async |query: &str| control(&app, "GET", &format!("/v1/leaves?{query}"), "").await;
    let count = |v: &Value| v["leaves"].as_array().map(Vec::len);
    let all = page("from=0&count=500").await.json();
    assert_eq!(count(&all), Some(4));
    assert_eq!(count(&page("count=1").await.json()), Some(1));
    assert_eq!(count(&page("count=0").await.json()), Some(0));
    assert_eq!(count(&page("from=4").await.json()), Some(0));
    let far = page(&format!("from={}&count={}", u64::MAX, u64::MAX)).await;
    assert_eq!(count(&far.json()), Some(0), "{}", far.body);
}

#[tokio::test]
async fn the_output_of_the_assistant_is_read_in_pieces() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    while app.output.piece(0).unwrap().text.is_empty() {
        tokio::task::yield_now().await;
    }
    let first = control(&app, "GET", "/v1/logs?from=0", "").await.json();
    assert_eq!(first["text"], "the assistant listens\n");
    app.output.append(b"more \x1b[31m\xff\n").unwrap();
    let next = first["next"].as_u64().unwrap();
    let more = control(&app, "GET", &format!("/v1/logs?from={next}"), "")
        .await
        .json();
    assert_eq!(more["text"], "more \u{1b}[31m\u{fffd}\n");
    let tail = control(&app, "GET", "/v1/logs?tail=1", "").await.json();
    assert_eq!(tail["text"], more["text"]);
    let far = control(&app, "GET", "/v1/logs?from=18446744073709551615", "")
        .await
        .json();
    assert_eq!(
        (far["text"].as_str(), &far["next"]),
        (Some(""), &more["next"])
    );
}

#[tokio::test]
async fn a_proof_is_of_the_leaf_and_verifies() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let text = control(&app, "GET", "/v1/leaves/1/proof", "").await.body;
    let proof: ringfence_record::proof::Proof = text.parse().unwrap();
    assert_eq!(proof.to_string(), text);
    let vkeys = app.recorder.state().await.unwrap().vkeys;
    let keys: Vec<_> = vkeys.iter().map(|k| k.parse().unwrap()).collect();
    let leaves = bench.leaves().await;
    let proved = |n: usize| {
        ringfence_record::proof::verify(&proof, &leaves[n].canonical().unwrap(), &keys).is_ok()
    };
    assert!(proved(1) && !proved(0) && !proved(2));
}

#[tokio::test]
async fn the_socket_serves_the_table_and_its_folder_guards_it() {
    let bench = Bench::new();
    let running = bench.running().await;
    let request = http::Request::builder()
        .uri("/v1/status")
        .body(ringfence_net::body::empty())
        .unwrap();
    let limits = ringfence_net::client::ClientLimits::default();
    let socket = running.app.folder.join("control.sock");
    let reply = ringfence_net::client::send_over_unix(&socket, request, limits)
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
}
