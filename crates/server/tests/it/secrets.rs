//! Secrets are in the hands they were given to, and nowhere else.

use crate::bench::{Bench, control};
use crate::console::{Session, page};
use ringfence_core::digest::hex;
use ringfence_server::app::App;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle)
}

/// A user's text that must not be kept, and a card number kept for tests
/// (RINGFENCE-TEST-FIXTURE).
const PROMPT: &str = "canary-prompt-7f3a How long does the kettle take? 4111 1111 1111 1111";

/// Everything that was said to anybody: answers, pages, events, leaves, terminal.
async fn said(bench: &Bench, app: &Arc<App>, session: &Session, wrong_key: &str) -> String {
    // Errors about secrets must not repeat them.
    let mut said = vec![
        bench.gateway(wrong_key, "GET", "/v1/models", "").await.body,
        control(app, "DELETE", "/v1/keys/none", "").await.body,
        page(app, "POST", "/login", &[], "token=canary-token-91")
            .await
            .body,
        session.post("/logout", "csrf=canary-csrf-55").await.body,
        format!("{:?}", app.watch.recent(&app.project, 1_000)),
        serde_json::to_string(&bench.leaves().await).unwrap(),
        bench.terminal.borrow().join("\n"),
    ];
    for path in [
        "/v1/status",
        "/v1/keys",
        "/v1/verdict",
        "/v1/leaves?count=500",
        "/v1/logs",
        "/metrics",
    ] {
        said.push(control(app, "GET", path, "").await.body);
    }
    for path in ["/verdict", "/cases", "/alerts", "/leaves", "/alerts/unseen"] {
        // The form's own token is on its page, and only there.
        said.push(session.get(path).await.body.replace(&session.csrf, ""));
    }
    said.join("\n")
}

#[tokio::test]
async fn no_secret_is_in_a_leaf_an_event_an_answer_or_a_file() {
    let bench = Bench::new();
    let running = bench.running().await;
    let app = &running.app;
    let session = Session::open(&running).await;
    let made = control(app, "POST", "/v1/keys", "{\"name\":\"a\"}")
        .await
        .json();
    let key = made["key"].as_str().unwrap().to_owned();
    let ask = json!({"model": "demo", "messages": [{"role": "user", "content": PROMPT}]});
    let answer = bench
        .gateway(&key, "POST", "/v1/chat/completions", &ask.to_string())
        .await;
    assert_eq!(answer.status, 200);
    let wrong = format!("{}0", &key[..key.len() - 1]);
    let said = said(&bench, app, &session, &wrong).await;
    let mut canaries = vec![
        key.split('_').nth(2).unwrap().to_owned(),
        session.cookie.split_once('=').unwrap().1.to_owned(),
        session.csrf.clone(),
        running.token.danger_expose().clone(),
        "canary-prompt-7f3a".to_owned(),
        "4111 1111".to_owned(),
        "canary-token-91".to_owned(),
        "canary-csrf-55".to_owned(),
        key,
        wrong,
    ];
    // Whatever was drawn as a key: pepper, digest key, session key.
    let drawn: Vec<Vec<u8>> = bench.entropy.0.lock().unwrap().clone();
    let keys: Vec<Vec<u8>> = drawn.into_iter().filter(|d| d.len() == 32).collect();
    assert!(keys.len() >= 4, "the draws of the start were not seen");
    canaries.extend(keys.iter().map(|k| hex(k)));
    for canary in &canaries {
        assert!(!said.contains(canary.as_str()), "{canary} was said");
    }
    ringfence_server::startup::stop(app).await.unwrap();
    let mut needles = keys;
    needles.extend(canaries.into_iter().map(String::into_bytes));
    assert_in_no_file(&bench, &needles);
}

fn assert_in_no_file(bench: &Bench, needles: &[Vec<u8>]) {
    let mut found = Vec::new();
    files(&bench.dir.path().join("server"), &mut found);
    files(&bench.dir.path().join("record"), &mut found);
    assert!(found.iter().any(|p| p.ends_with("state.sqlite")));
    assert!(found.len() > 3, "{found:?}");
    for path in found {
        let bytes = std::fs::read(&path).unwrap();
        for needle in needles {
            let shown = String::from_utf8_lossy(needle);
            assert!(!holds(&bytes, needle), "{} holds {shown:?}", path.display());
        }
    }
}

#[tokio::test]
async fn the_folder_of_the_server_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let running = bench.running().await;
    let mut found = Vec::new();
    files(&running.app.folder.join("tls"), &mut found);
    let key = found
        .iter()
        .filter(|p| std::fs::read_to_string(p).is_ok_and(|t| t.contains("PRIVATE KEY")));
    let mut keys = 0;
    for path in key {
        keys += 1;
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    assert!(keys > 0, "no private key was found to look at");
}

#[tokio::test]
async fn the_state_database_alone_opens_nothing() {
    // With the same rows but another recorder, the sealed pepper cannot be opened: the start says
    // so and does not make a new one in silence.
    let bench = Bench::new();
    let running = bench.running().await;
    ringfence_server::startup::stop(&running.app).await.unwrap();
    drop(running);
    let thief = Bench::new();
    for entry in std::fs::read_dir(bench.dir.path().join("server")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let to = thief
                .dir
                .path()
                .join("server")
                .join(path.file_name().unwrap());
            std::fs::copy(&path, to).unwrap();
        }
    }
    let error = thief.refusal().await;
    assert!(
        error.code.starts_with("record/") || error.code.starts_with("crypto/"),
        "{error}"
    );
}
