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
