//! Real clients against real engines, and our clients against servers of others.

mod object_store;

use ringfence_e2e::{Host, Said, free_port, python, workspace};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A real llama.cpp server with a tiny random model that this test makes.
struct Llama {
    child: Child,
    port: u16,
    _model: tempfile::TempDir,
}

impl Llama {
    fn start() -> Self {
        let scripts = workspace().join("crates/e2e/scripts");
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("tiny.gguf");
        let made = Command::new(python())
            .arg(scripts.join("tiny_model.py"))
            .arg(&model)
            .output()
            .unwrap();
        Said::of(&made).ok();
        let port = free_port();
        let mut child = Command::new(python())
            .arg(scripts.join("llama_server.py"))
            .arg(&model)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the llama.cpp server did not start");
        Self {
            child,
            port,
            _model: dir,
        }
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        // It ends when its input ends; killing is for the case that it does not listen.
        drop(self.child.stdin.take());
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

#[test]
fn the_official_openai_client_reaches_a_real_llama_cpp_server() {
    let llama = Llama::start();
    let model = format!(
        "[[model]]\nname = \"tiny\"\nupstream = \"http://127.0.0.1:{}\"",
        llama.port
    );
    let host = Host::up(&model);
    let output = Command::new(python())
        .arg(workspace().join("crates/e2e/scripts/openai_client.py"))
        .arg(format!("https://127.0.0.1:{}/v1", host.gateway))
        .arg(host.key())
        .arg(host.authority())
        .arg("tiny")
        .output()
        .unwrap();
    let seen = Said::of(&output).ok().json();
    assert!(
        seen["models"].as_array().is_some_and(|m| !m.is_empty()),
        "{seen}"
    );
    assert!(seen["plain_tokens"].as_u64() > Some(0), "{seen}");
    assert!(seen["stream_pieces"].as_u64() > Some(0), "{seen}");
    assert!(seen["stream_finish"].is_string(), "{seen}");
    assert!(seen["stream_tokens"].as_u64() > Some(0), "{seen}");
    assert_eq!(seen["injection"], "run/shield-blocked", "{seen}");
    assert_eq!(seen["wrong_key"], 401, "{seen}");
}

/// A host whose assistant passes on what it is asked to its exec service.
fn relaying() -> Host {
    let host = Host::prepare("");
    let script = workspace().join("crates/e2e/scripts/exec_relay.py");
    std::fs::copy(script, host.project().join("assistant.py")).unwrap();
    host.started()
}

#[test]
fn the_reference_mcp_client_runs_code_in_sandboxes_of_its_own() {
    let host = relaying();
    let output = Command::new(python())
        .arg(workspace().join("crates/e2e/scripts/mcp_client.py"))
        .arg(format!(
            "https://127.0.0.1:{}/apps/helpdesk/mcp",
            host.gateway
        ))
        .arg(host.key())
        .arg(host.authority())
        .output()
        .unwrap();
    let seen = Said::of(&output).ok().json();
    assert_eq!(seen["server"], "ringfence", "{seen}");
    assert_eq!(seen["tools"], serde_json::json!(["run_code"]), "{seen}");
    assert_eq!(seen["python"]["text"], "42\n", "{seen}");
    assert_eq!(seen["python"]["error"], false, "{seen}");
    assert_eq!(seen["shell"]["structured"]["stdout"], "abc", "{seen}");
    assert_eq!(seen["shell"]["structured"]["exit"]["code"], 3, "{seen}");
    assert_eq!(
        seen["slow"]["structured"]["exit"]["timed_out"], true,
        "{seen}"
    );
    assert_eq!(seen["network"]["error"], true, "{seen}");
    assert!(
        seen["network"]["text"]
            .as_str()
            .unwrap()
            .contains("unreachable"),
        "{seen}"
    );
    assert_eq!(seen["bad"], -32602, "{seen}");
    let leaves = host.leaves();
    let ran = leaves
        .iter()
        .filter(|l| l["detail"]["purpose"] == "run_code");
    assert_eq!(ran.count(), 4, "each execution is in the log");
}

#[test]
fn files_go_into_a_sandbox_come_out_and_live_on_in_a_snapshot() {
    let host = relaying();
    let reply = host.caller().get("/apps/helpdesk/files");
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = reply.json();
    let expected = serde_json::json!({
        "put": 204, "get": [200, true], "absent": 404, "read_only": 409, "upward": 400,
        "link": 404, "large": 413, "snapshot": 201, "restored": [200, true], "fresh": 404,
        "unknown": 404,
    });
    assert_eq!(seen, expected);
}

#[test]
fn python_stdnum_agrees_with_every_number_the_check_digits_were_tested_on() {
    let judge = |file: &std::path::Path| {
        let output = Command::new(python())
            .arg(workspace().join("crates/e2e/scripts/stdnum_judge.py"))
            .arg(file)
            .output()
            .unwrap();
        Said::of(&output)
    };
    let fixture = workspace().join("crates/detect/tests/data/ids.txt");
    judge(&fixture).ok();
    // A wrong sign must not pass, else the judge judges nothing.
    let dir = tempfile::tempdir().unwrap();
    let forged = dir.path().join("ids.txt");
    let text = std::fs::read_to_string(&fixture).unwrap();
    std::fs::write(&forged, text.replacen("\t+\t", "\t-\t", 1)).unwrap();
    assert_eq!(judge(&forged).code, Some(1));
}
