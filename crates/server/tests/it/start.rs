//! From nothing to a running service, and every way it refuses to become one.

use crate::bench::{Bench, START, through};
use crate::fence::Inspection;
use ringfence_core::isolation::{Ended, Program, Strictness};
use ringfence_core::leaf::{Detail, LeafAction, Outcome};
use ringfence_core::verdict::{Decision, Skip};
use ringfence_server::admission::REPORT_BYTES_MAX;
use ringfence_server::startup::{self, Started};
use std::net::TcpListener;

/// A program written to be unpickled that would run a command: a global that is not on the list.
const HOSTILE_PICKLE: &[u8] = b"cposix\nsystem\n(S'true'\ntR.";

async fn actions(bench: &Bench) -> Vec<LeafAction> {
    bench.leaves().await.iter().map(|l| l.action).collect()
}

#[tokio::test]
async fn a_clean_project_starts_and_each_step_is_a_leaf() {
    let bench = Bench::new();
    let running = bench.running().await;
    assert_eq!(
        actions(&bench).await,
        [
            LeafAction::ConfigApply,
            LeafAction::AdmissionDecide,
            LeafAction::ServiceStart,
            LeafAction::SandboxStart
        ]
    );
    let leaves = bench.leaves().await;
    let start = leaves.last().unwrap();
    assert_eq!(start.action, LeafAction::SandboxStart, "{leaves:?}");
    assert_eq!(
        start.detail.get("walls_missing"),
        Some(&Detail::List(vec!["landlock".to_owned()]))
    );
    assert!(
        leaves
            .iter()
            .all(|l| l.config == Some(running.app.config_digest))
    );
    assert_eq!(running.report.unwrap().verdict.decision, Decision::Allow);

    let [assistant] = &bench.fence.open()[..] else {
        panic!("more than the assistant is left open")
    };
    assert!(assistant.spec.id.as_str().starts_with("app-"));
    let asked = bench.gateway("", "GET", "/v1/models", "").await;
    assert_eq!(asked.status, 401);
    let through_door = through(
        assistant.door("gateway"),
        "anything",
        "GET",
        "/v1/models",
        "",
    )
    .await;
    assert_eq!(through_door.status, 200, "{through_door:?}");
}

#[tokio::test]
async fn the_assistant_gets_a_placeholder_and_no_secret() {
    let bench = Bench::new();
    let running = bench.running().await;
    let cell = bench.fence.open().remove(0);
    while cell.execs.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let exec = cell.execs.lock().unwrap().remove(0);
    assert_eq!(
        exec.program,
        Program::Command(vec!["python3".into(), "assistant.py".into()])
    );
    let key = exec
        .env
        .iter()
        .find(|(n, _)| n == "OPENAI_API_KEY")
        .unwrap();
    assert_eq!(key.1, "ringfence-placeholder");
    assert!(
        exec.env
            .iter()
            .all(|(_, v)| v != running.token.danger_expose())
    );
}

#[tokio::test]
async fn stopping_closes_the_sandbox_and_ends_the_log_with_its_own_leaf() {
    let bench = Bench::new();
    let running = bench.running().await;
    startup::stop(&running.app).await.unwrap();
    assert!(bench.fence.open().is_empty());
    let tail = actions(&bench).await;
    let end = [LeafAction::SandboxStop, LeafAction::ServiceStop];
    assert!(tail.ends_with(&end), "{tail:?}");
    TcpListener::bind(bench.gateway).unwrap();
    TcpListener::bind(bench.console).unwrap();
}

#[tokio::test]
async fn a_denied_project_starts_nothing_but_its_inspector() {
    let bench = Bench::new();
    bench.write("app/model.pkl", HOSTILE_PICKLE);
    let Started::Decided(report) = bench.start().await.unwrap() else {
        panic!("a denied project runs")
    };
    assert_eq!(report.verdict.decision, Decision::Deny);
    assert!(bench.fence.named("app-").is_empty());
    assert!(
        bench.fence.open().is_empty(),
        "the inspector's sandbox is left"
    );
    let decided = bench.leaves_of(LeafAction::AdmissionDecide).await;
    assert_eq!(decided[0].outcome, Outcome::Denied);
    assert!(bench.leaves_of(LeafAction::ServiceStart).await.is_empty());
    TcpListener::bind(bench.gateway).unwrap();
}

#[tokio::test]
async fn the_same_project_runs_when_the_gate_is_opened() {
    let bench = Bench::new();
    bench.write("app/model.pkl", HOSTILE_PICKLE);
    bench
        .fence
        .inspect_with(Inspection::Altered(Box::new(|report| {
            report.verdict.decision = Decision::Allow;
        })));
    let running = bench.running().await;
    assert!(!running.report.unwrap().findings.is_empty());
}

#[tokio::test]
async fn check_only_decides_and_starts_nothing() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.check_only = true;
    let Started::Decided(report) = bench.start_with(options).await.unwrap() else {
        panic!("check-only runs the service")
    };
    assert_eq!(report.verdict.decision, Decision::Allow);
    assert!(bench.fence.named("app-").is_empty());
    assert!(bench.leaves_of(LeafAction::ServiceStart).await.is_empty());
}

#[tokio::test]
async fn an_incomplete_look_goes_on_and_keeps_its_reasons() {
    let bench = Bench::new();
    bench
        .fence
        .inspect_with(Inspection::Altered(Box::new(|report| {
            report.verdict.decision = Decision::Incomplete;
            report.verdict.reasons = vec!["a file was unreadable".to_owned()];
            report.verdict.coverage.skips.push(Skip {
                path: "x".to_owned(),
                reason: "unreadable".to_owned(),
                bytes: 5,
            });
        })));
    let running = bench.running().await;
    let report = running.report.unwrap();
    assert_eq!(report.verdict.reasons, ["a file was unreadable"]);
    let leaf = bench.leaves_of(LeafAction::AdmissionDecide).await.remove(0);
    assert_eq!(
        leaf.detail.get("decision"),
        Some(&Detail::from("incomplete"))
    );
    assert_eq!(leaf.detail.get("skips"), Some(&Detail::Integer(1)));
}

#[tokio::test]
async fn an_inspector_that_does_not_do_its_work_denies() {
    let says = |out: &[u8], ended| Inspection::Says(out.to_vec(), b"stack\n".to_vec(), ended);
    let flood = vec![b' '; usize::try_from(REPORT_BYTES_MAX).unwrap() + 1];
    let faults = [
        ("crash", says(b"{", Ended::Signaled(11))),
        ("exit", says(b"", Ended::Exited(2))),
        ("time", says(b"", Ended::TimedOut)),
        ("memory", says(b"", Ended::OutOfMemory)),
        ("lost", says(b"", Ended::Lost)),
        ("nonsense", says(b"hello", Ended::Exited(0))),
        ("nothing", says(b"", Ended::Exited(0))),
        ("half", says(b"{\"v\":0", Ended::Exited(0))),
        ("unknown key", says(b"{\"allow\":true}", Ended::Exited(0))),
        ("too much", says(&flood, Ended::Exited(0))),
        ("deaf", Inspection::Deaf),
    ];
    let bench = Bench::new();
    let count = faults.len();
    for (name, fault) in faults {
        bench.fence.inspect_with(fault);
        let error = bench.refusal().await;
        assert_eq!(error.code, "admit/inspector-failed", "{name}: {error}");
        assert!(error.help.is_some() && error.why.is_some(), "{name}");
        assert!(bench.fence.open().is_empty(), "{name}: its sandbox is left");
    }
    bench.fence.inspect_with(Inspection::Absent);
    assert_eq!(bench.refusal().await.code, "run/gone");
    assert!(bench.fence.open().is_empty());
    assert!(bench.fence.named("app-").is_empty());
    // That nobody could look is a decision too, and the log knows of each.
    let decided = bench.leaves_of(LeafAction::AdmissionDecide).await;
    assert_eq!(decided.len(), count + 1);
    assert!(decided.iter().all(|l| l.outcome == Outcome::Failed));
    for action in [LeafAction::ServiceStart, LeafAction::ServiceStop] {
        assert!(bench.leaves_of(action).await.is_empty());
    }
}

#[tokio::test]
async fn a_report_at_the_limit_is_read() {
    let bench = Bench::new();
    let limit = usize::try_from(REPORT_BYTES_MAX).unwrap();
    let probe = Bench::new();
    let Started::Running(running) = probe.start().await.unwrap() else {
        panic!()
    };
    let mut bytes = serde_json::to_vec(&running.report.unwrap()).unwrap();
    bytes.resize(limit, b' ');
    startup::stop(&running.app).await.unwrap();
    bench
        .fence
        .inspect_with(Inspection::Says(bytes, Vec::new(), Ended::Exited(0)));
    assert!(bench.start().await.is_ok());
}

#[tokio::test]
async fn a_taken_port_is_named_and_nothing_is_left_running() {
    let bench = Bench::new();
    for port in [bench.gateway, bench.console] {
        let taken = TcpListener::bind(port).unwrap();
        let error = bench.refusal().await;
        assert_eq!(error.code, "run/port-taken", "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        drop(taken);
        assert!(bench.fence.open().is_empty(), "a sandbox is left behind");
        TcpListener::bind(bench.gateway).unwrap();
        TcpListener::bind(bench.console).unwrap();
    }
    let stops = bench.leaves_of(LeafAction::SandboxStop).await;
    let starts = bench.leaves_of(LeafAction::SandboxStart).await;
    assert_eq!(starts.len(), stops.len());
    let begun = bench.leaves_of(LeafAction::ServiceStart).await;
    let ended = bench.leaves_of(LeafAction::ServiceStop).await;
    assert_eq!((begun.len(), ended.len()), (2, 2));
    assert!(
        bench.start().await.is_ok(),
        "the next start is not in the way of the last"
    );
}

#[tokio::test]
async fn walls_that_do_not_stand_refuse_the_start() {
    let bench = Bench::new();
    *bench.fence.broken.lock().unwrap() = true;
    assert_eq!(bench.refusal().await.code, "run/gone");
    assert!(bench.fence.open().is_empty());
    TcpListener::bind(bench.gateway).unwrap();
}

#[tokio::test]
async fn accepting_weaker_walls_is_recorded() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.strictness = Strictness::AcceptWeaker;
    let Started::Running(_running) = bench.start_with(options).await.unwrap() else {
        panic!()
    };
    let weak = bench.leaves_of(LeafAction::ControlWeaken).await;
    assert_eq!((weak.len(), weak[0].actor.as_str()), (1, "user:operator"));
    let spec = &bench.fence.named("app-")[0].spec;
    assert_eq!(spec.strictness, Strictness::AcceptWeaker);
}

/// A server whose process is gone without a word: its runtime ends with everything in it.
fn crash(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let _running = bench.running().await;
        let cell = bench.fence.open().remove(0);
        while cell.execs.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    drop(runtime);
}

#[test]
fn a_new_server_takes_the_assistant_over_and_closes_the_rest() {
    let outside = tokio::runtime::Runtime::new().unwrap();
    let bench = outside.block_on(async { Bench::new() });
    crash(&bench);
    let assistant = bench.fence.open().remove(0);
    let stray = bench.fence.leave_behind("exec-1", "bench");
    outside.block_on(async {
        let running = bench.running().await;
        assert!(running.report.is_none(), "nothing was scanned again");
        assert!(!assistant.is_closed() && stray.is_closed());
        assert_eq!(bench.fence.named("app-").len(), 1);
        assert_eq!(bench.leaves_of(LeafAction::ServiceRecover).await.len(), 1);
        assert_eq!(bench.leaves_of(LeafAction::ServiceStart).await.len(), 1);
        let models = through(assistant.door("gateway"), "", "GET", "/v1/models", "").await;
        assert_eq!(models.status, 200);
        while !running
            .app
            .output
            .piece(0)
            .unwrap()
            .text
            .contains("goes on")
        {
            tokio::task::yield_now().await;
        }
        let starts = assistant.execs.lock().unwrap().len();
        assert_eq!(starts, 1, "the running program was started a second time");
        let status = ringfence_server::service::status::status(&running.app)
            .await
            .unwrap();
        assert!(status.assistant.contains(assistant.spec.id.as_str()));
    });
}

#[tokio::test]
async fn what_a_server_left_before_its_verdict_does_not_count_as_one() {
    let bench = Bench::new();
    let stray = bench.fence.leave_behind("scan-1", "bench");
    bench.write("app/model.pkl", HOSTILE_PICKLE);
    let started = bench.start().await.unwrap();
    assert!(stray.is_closed());
    assert!(
        matches!(started, Started::Decided(_)),
        "a server that died while it was looking must look again"
    );
}

#[tokio::test]
async fn a_broken_configuration_is_named_before_anything_is_touched() {
    let bench = Bench::new();
    bench.configure("[sandbox]\nmemmory = \"1MiB\"\n");
    let error = bench.refusal().await;
    assert_eq!(error.code, "config/unknown-key");
    assert_eq!(error.help.as_deref(), Some("did you mean `memory`?"));
    std::fs::remove_file(bench.dir.path().join("project/ringfence.toml")).unwrap();
    assert_eq!(bench.refusal().await.code, "config/unreadable");
    assert!(bench.leaves().await.is_empty());
    assert!(bench.fence.cells.lock().unwrap().is_empty());
}

#[tokio::test]
async fn plain_is_refused_off_loopback_even_as_a_flag() {
    let bench = Bench::new();
    let path = bench.dir.path().join("project/ringfence.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("tls = false\n", "").replace(
        &format!("listen = \"{}\"", bench.gateway),
        "listen = \"0.0.0.0:1\"",
    );
    std::fs::write(&path, text).unwrap();
    let mut options = bench.options();
    options.plain = true;
    let Err(error) = bench.start_with(options).await else {
        panic!("keys would be shown to the network")
    };
    assert_eq!(error.code, "config/refused");
}

#[tokio::test]
async fn documents_that_are_left_out_are_named() {
    let bench = Bench::new();
    bench.write("docs/bad.md", b"\xff\xfe");
    bench.running().await;
    let said = bench.said.lock().unwrap().join("\n");
    assert!(
        said.contains("document docs/bad.md is left out: not-utf-8"),
        "{said}"
    );
}

#[tokio::test]
async fn keys_and_pepper_outlive_a_restart() {
    let bench = Bench::new();
    let running = bench.running().await;
    let new = serde_json::from_str("{\"name\":\"a\"}").unwrap();
    let key = ringfence_server::service::keys::create(&running.app, "user:operator", new)
        .await
        .unwrap();
    startup::stop(&running.app).await.unwrap();
    drop(running);
    let running = bench.running().await;
    assert_eq!(
        bench
            .gateway(&key.key, "GET", "/v1/models", "")
            .await
            .status,
        200
    );
    assert!(running.app.now() == START);
}
