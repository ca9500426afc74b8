//! The exec API over a real Unix socket, before sandboxes made of pipes and threads.

mod fake;

use super::*;
use fake::{Fake, Wire};
use ringfence_core::leaf::{Leaf, LeafAction, Outcome};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn policy() -> ExecPolicy {
    let mut policy = ExecPolicy::new(ProjectId::host(), "sandbox:helpdesk");
    policy.sandboxes_max = 2;
    policy.output_bytes_max = 10;
    policy.timeout_ms_max = 5_000;
    policy
}

/// Runs a test against a served router, then stops the service.
fn serve<F: Future<Output = ()>>(policy: ExecPolicy, test: impl FnOnce(Wire, Fake) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fake = Fake::default();
        let service = ExecService::new(policy, fake.parts());
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("exec.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        let app = router(Arc::clone(&service));
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let mut driver = JoinSet::new();
        driver.spawn(service.run(async move {
            let _stopped_or_dropped = stopped.await;
        }));
        test(Wire { path }, fake.clone()).await;
        stop.send(()).unwrap();
        driver.join_next().await.unwrap().unwrap();
        assert_eq!(fake.live(), 0, "the service closed what it had opened");
        tasks.shutdown().await;
    });
}

/// The leaves of one kind.
fn leaves(fake: &Fake, action: LeafAction) -> Vec<Leaf> {
    fake.leaves
        .lock()
        .unwrap()
        .iter()
        .filter(|l| l.action == action)
        .cloned()
        .collect()
}

#[test]
fn a_program_runs_and_its_end_is_in_the_log_before_it_is_told() {
    serve(policy(), |wire, fake| async move {
        let id = wire.create().await;
        let events = wire
            .exec(&id, json!({"command": ["upper"], "stdin": "abc"}))
            .await;
        assert_eq!(
            events,
            [
                ("stdout".to_owned(), json!({"text": "ABC"})),
                ("exit".to_owned(), json!({"code": 0})),
            ]
        );
        let finish = leaves(&fake, LeafAction::ExecFinish).pop().unwrap();
        assert_eq!(
            (finish.object.as_str(), finish.outcome),
            (id.as_str(), Outcome::Ok)
        );
        assert_eq!(finish.actor, "sandbox:helpdesk");
        let text = serde_json::to_string(&finish).unwrap();
        assert!(
            !text.contains("upper") && !text.contains("abc"),
            "no code text: {text}"
        );
        assert!(text.contains(r#""command_bytes":5"#) && text.contains(r#""exit":"code 0""#));
        assert_eq!(wire.delete(&id).await.0, 204);
        assert_eq!(wire.delete(&id).await.0, 404);
        let stop = leaves(&fake, LeafAction::SandboxStop).pop().unwrap();
        assert_eq!(stop.object, id);
        let kinds: Vec<&str> = fake.events.lock().unwrap().iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["run.exec.finish"]);
    });
}

#[test]
fn ids_are_long_and_different_and_an_unknown_one_is_404() {
    serve(policy(), |wire, _fake| async move {
        let (first, second) = (wire.create().await, wire.create().await);
        assert_ne!(first, second);
        assert_eq!(first.len(), "sb-".len() + 32);
        for id in [
            "sb-ffffffffffffffffffffffffffffffff",
            "x",
            "%2e%2e",
            "a%2Fb",
        ] {
            let path = format!("/v1/sandboxes/{id}/exec");
            let (status, body) = wire.post(&path, r#"{"command":["upper"]}"#).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (404, &json!("run/exec-sandbox-unknown"))
            );
        }
    });
}

#[test]
fn everything_else_is_404_with_an_error_in_json() {
    serve(policy(), |wire, _fake| async move {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/v1/sandboxes"),
            ("PUT", "/v1/sandboxes/x"),
            ("POST", "/v1/sandboxes/"),
            ("GET", "/metrics"),
        ] {
            let (status, body) = wire.request(method, path, "").await;
            assert_eq!(status, 404, "{method} {path}");
            assert_eq!(body["error"]["code"], "run/exec-not-found");
            assert!(body["error"]["help"].is_string());
        }
    });
}

#[test]
fn bodies_that_two_readers_could_read_differently_are_refused() {
    serve(policy(), |wire, fake| async move {
        let id = wire.create().await;
        let path = format!("/v1/sandboxes/{id}/exec");
        for body in [
            r#"{"command":["upper"],"command":["rm"]}"#,
            r#"{"command":["upper"],"privileged":true}"#,
            r#"{"command":[]}"#,
            r#"{"command":"upper"}"#,
            r#"{"command":["a\u0000b"]}"#,
            r#"{"command":["upper"],"timeout_ms":0}"#,
            r#"{"command":["upper"],"timeout_ms":5001}"#,
            r#"{"command":["upper"]} {}"#,
            "",
        ] {
            let (status, answer) = wire.post(&path, body).await;
            assert_eq!(
                (status, &answer["error"]["code"]),
                (400, &json!("run/exec-body-malformed"))
            );
        }
        let (status, _) = wire.post("/v1/sandboxes", r#"{"memory":1}"#).await;
        assert_eq!(status, 400);
        assert_eq!(fake.started.load(Ordering::SeqCst), 0, "nothing ran");
        wire.exec(&id, json!({"command": ["upper"], "timeout_ms": 5000}))
            .await;
        assert_eq!(fake.started.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_body_is_read_at_the_limit_and_refused_one_above() {
    serve(policy(), |wire, _fake| async move {
        let id = wire.create().await;
        let path = format!("/v1/sandboxes/{id}/exec");
        let empty = json!({"command": ["true"], "stdin": ""}).to_string().len();
        let body = |n: usize| json!({"command": ["true"], "stdin": "x".repeat(n)}).to_string();
        assert_eq!(wire.post(&path, &body(BODY_BYTES_MAX - empty)).await.0, 200);
        let (status, answer) = wire.post(&path, &body(BODY_BYTES_MAX - empty + 1)).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (413, &json!("run/exec-body-too-large"))
        );
    });
}

#[test]
fn arguments_are_accepted_at_the_limit_and_refused_one_above() {
    serve(policy(), |wire, _fake| async move {
        let id = wire.create().await;
        let path = format!("/v1/sandboxes/{id}/exec");
        let body = |n: usize| json!({ "command": vec!["true"; n] }).to_string();
        assert_eq!(wire.post(&path, &body(ARGUMENTS_MAX)).await.0, 200);
        assert_eq!(wire.post(&path, &body(ARGUMENTS_MAX + 1)).await.0, 400);
    });
}

#[test]
fn output_is_shown_up_to_the_limit_and_cut_above_it() {
    serve(policy(), |wire, fake| async move {
        let id = wire.create().await;
        let run = |input: &'static str| wire.exec(&id, json!({"command":["upper"],"stdin":input}));
        let names = |events: &[(String, Value)]| {
            events
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&run("0123456789").await), ["stdout", "exit"]);
        let events = run("0123456789A").await;
        assert_eq!(names(&events), ["stdout", "truncated", "exit"]);
        assert_eq!(events[0].1, json!({"text": "0123456789"}));
        assert_eq!(events[1].1, json!({"limit_bytes": 10}));
        let detail = leaves(&fake, LeafAction::ExecFinish).pop().unwrap().detail;
        assert_eq!(detail["truncated"], true.into());
        assert_eq!(detail["output_bytes"], 11_i64.into());
    });
}

#[test]
fn a_client_that_goes_away_takes_its_program_with_it() {
    serve(policy(), |wire, fake| async move {
        let id = wire.create().await;
        let connection = wire
            .exec_and_leave(&id, json!({"command": ["forever"]}))
            .await;
        assert!(
            fake.killed().is_empty(),
            "it runs while the client is there"
        );
        drop(connection);
        fake.until(|f| !leaves(f, LeafAction::ExecFinish).is_empty())
            .await;
        assert_eq!(fake.killed(), [(1, 9)]);
        let finish = leaves(&fake, LeafAction::ExecFinish).pop().unwrap();
        assert_eq!(finish.detail["client_gone"], true.into());
        assert_eq!(finish.detail["exit"], "signal 9".into());
    });
}

#[test]
fn every_kind_of_end_has_its_event() {
    serve(policy(), |wire, _fake| async move {
        let id = wire.create().await;
        for (program, expected) in [
            ("fail", json!({"code": 3})),
            ("killed", json!({"signal": 11})),
            ("slow", json!({"timed_out": true})),
            ("fat", json!({"out_of_memory": true})),
            ("lost", json!({"lost": true})),
        ] {
            let events = wire.exec(&id, json!({ "command": [program] })).await;
            assert_eq!(events.last(), Some(&("exit".to_owned(), expected)));
        }
    });
}

#[test]
fn sandboxes_are_opened_up_to_the_limit_and_refused_one_above() {
    serve(policy(), |wire, fake| async move {
        let first = wire.create().await;
        wire.create().await;
        let (status, body) = wire.post("/v1/sandboxes", "").await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (429, &json!("run/exec-sandboxes-full"))
        );
        assert_eq!(
            fake.events.lock().unwrap().last().unwrap().kind,
            "run.sandbox.refuse"
        );
        wire.delete(&first).await;
        wire.create().await;
    });
}

#[test]
fn programs_run_up_to_the_limit_in_one_sandbox_and_are_refused_one_above() {
    serve(policy(), |wire, _fake| async move {
        let id = wire.create().await;
        let mut held = Vec::new();
        for _ in 0..EXECS_PER_SANDBOX_MAX {
            held.push(
                wire.exec_and_leave(&id, json!({"command": ["forever"]}))
                    .await,
            );
        }
        let path = format!("/v1/sandboxes/{id}/exec");
        let (status, body) = wire.post(&path, r#"{"command":["true"]}"#).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (429, &json!("run/exec-programs-full"))
        );
    });
}

#[test]
fn an_idle_sandbox_is_closed_and_a_busy_one_is_not() {
    let mut policy = policy();
    policy.idle_ms_max = 1_000;
    serve(policy, |wire, fake| async move {
        let (idle, busy) = (wire.create().await, wire.create().await);
        let held = wire
            .exec_and_leave(&busy, json!({"command": ["forever"]}))
            .await;
        fake.clock_ns.fetch_add(1_000_000_000, Ordering::SeqCst);
        fake.clock_ns.fetch_add(1, Ordering::SeqCst);
        fake.until(|f| !leaves(f, LeafAction::SandboxStop).is_empty())
            .await;
        let stopped = leaves(&fake, LeafAction::SandboxStop);
        assert_eq!(stopped.len(), 1);
        assert_eq!(
            (stopped[0].object.as_str(), &stopped[0].detail["why"]),
            (&*idle, &"idle".into())
        );
        assert_eq!(wire.delete(&busy).await.0, 204);
        drop(held);
    });
}

#[test]
fn what_cannot_be_recorded_does_not_run_and_is_not_reported_as_done() {
    serve(policy(), |wire, fake| async move {
        let id = wire.create().await;
        fake.log_fails.store(true, Ordering::SeqCst);
        let (status, body) = wire.post("/v1/sandboxes", "").await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (503, &json!("record/test"))
        );
        assert_eq!(fake.live(), 1, "the new one was closed again");
        let events = wire.exec(&id, json!({"command": ["true"]})).await;
        assert_eq!(events.last().unwrap().0, "error");
        assert!(!events.iter().any(|(name, _)| name == "exit"));
        fake.log_fails.store(false, Ordering::SeqCst);
    });
}

#[test]
fn a_cause_that_names_paths_of_the_host_stays_on_the_host() {
    serve(policy(), |wire, fake| async move {
        fake.start_fails.store(true, Ordering::SeqCst);
        let (status, body) = wire.post("/v1/sandboxes", "").await;
        assert_eq!((status, &body["error"]["code"]), (503, &json!("run/test")));
        assert!(!body.to_string().contains("/host/path"), "{body}");
    });
}
