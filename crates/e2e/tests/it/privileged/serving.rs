//! RUN through the binary: the assistant, the gateway, keys, an engine that is gone.

use ringfence_e2e::caller::{Caller, Reply};
use ringfence_e2e::{Host, Said, wait};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread::JoinHandle;

/// Asks the assistant, which may still be starting.
fn ask(caller: &Caller, question: &str) -> Reply {
    let body = json!({"question": question});
    let what = "an answer of the assistant";
    wait::settled(what, 20, || caller.post("/apps/helpdesk/ask", &body), |r| r.status != 502)
}

fn run_code(caller: &Caller, code: &str) -> Value {
    let reply = ask(caller, &format!("```python\n{code}\n```"));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn helpdesk_answers_from_its_documentation_and_runs_code() {
    let host = Host::up("");
    let caller = host.caller();
    let reply = ask(&caller, "Which tool does the helpdesk assistant have?");
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer = reply.json()["answer"].as_str().unwrap().to_owned();
    assert!(answer.contains("README.md:"), "it names no file and line: {answer}");
    assert!(answer.contains("not a language model"), "{answer}");
    let reply = ask(&caller, "Quarks zirconium perihelion?");
    assert!(reply.body.contains("not know"), "{reply:?}");

    let answer = run_code(&caller, "print(6 * 7)");
    assert_eq!(answer["answer"], "42\n", "{answer}");
    assert_eq!(answer["tool"]["run_code"]["exit"]["code"], 0, "{answer}");
    let executed = host.leaves().into_iter().filter(|l| l["action"] == "exec.finish").count();
    assert_eq!(executed, 1, "a code execution without a leaf");
}

#[test]
fn code_that_the_assistant_runs_reaches_neither_the_network_nor_the_host() {
    let host = Host::up("");
    let caller = host.caller();
    let reach = format!(
        "import socket\ntry:\n  socket.create_connection(('127.0.0.1', {}), 3).close()\n  \
         print('reached')\nexcept OSError as e:\n  print('refused', e.errno)",
        host.gateway
    );
    // The control: outside, the same code reaches the gateway.
    let outside = Said::of(&Command::new("/usr/bin/python3").args(["-c", &reach]).output().unwrap());
    assert_eq!(outside.out, "reached\n", "{outside:?}");
    let inside = run_code(&caller, &reach);
    assert!(inside["answer"].as_str().unwrap().starts_with("refused"), "{inside}");

    let secret = host.dir.path().join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let read = format!("print(open({:?}).read())", secret.to_str().unwrap());
    let outside = Said::of(&Command::new("/usr/bin/python3").args(["-c", &read]).output().unwrap());
    assert_eq!(outside.out, "of the host\n", "{outside:?}");
    let inside = run_code(&caller, &read);
    assert!(inside["answer"].as_str().unwrap().contains("FileNotFoundError"), "{inside}");
}

#[test]
fn a_revoked_key_is_refused_at_once_and_a_strange_one_always() {
    let host = Host::up("");
    let made = host.json(&["key", "create", "--name", "short-lived"]);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let caller = Caller { key: key.to_owned(), ..host.caller() };
    assert_eq!(caller.chat("What is this?").status, 200);
    let listed = host.run(&["key", "list"]).ok();
    assert!(listed.out.contains(id) && listed.out.contains("active"), "{listed:?}");
    let secret = key.split('_').nth(2).unwrap();
    assert!(!listed.out.contains(secret), "a list shows secrets");

    host.run(&["key", "revoke", id]).ok();
    let reply = caller.chat("What is this?");
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.body.contains("revoked"), "{reply:?}");
    let listed = host.run(&["key", "list"]).ok();
    assert!(listed.out.contains("revoked"), "{listed:?}");

    for key in ["", "placeholder", &key.replace("rf_", "rf_0")] {
        let reply = Caller { key: key.to_owned(), ..caller.clone() }.chat("What is this?");
        assert_eq!(reply.status, 401, "{key:?}: {reply:?}");
    }
    let actions: Vec<Value> = host.leaves().into_iter().map(|l| l["action"].clone()).collect();
    for action in ["key.create", "key.revoke", "request.settle"] {
        assert!(actions.contains(&json!(action)), "no {action} in {actions:?}");
    }
    let unknown = host.run(&["key", "revoke", "000000000000"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.err.contains("run/key-not-found"), "{unknown:?}");
}

/// An engine that answers one way, until it is ended.
struct Engine {
    port: u16,
    thread: JoinHandle<()>,
}

impl Engine {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let request = read_request(&mut stream);
                if request.starts_with("END") {
                    return;
                }
                // A client that hung up meanwhile is no concern of an engine.
                drop(stream.get_mut().write_all(engine_answer(&request).as_bytes()));
            }
        });
        Self { port, thread }
    }

    fn end(self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"END\r\n\r\n").unwrap();
        self.thread.join().unwrap();
    }
}

/// Reads a whole request and returns its first line.
fn read_request(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        let length = stream.read_line(&mut line).unwrap_or_default();
        if length == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.to_lowercase());
    }
    let length = head.iter().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    drop(stream.read_exact(&mut body));
    head.first().map(|l| l.to_uppercase()).unwrap_or_default()
}

fn engine_answer(request: &str) -> String {
    let (status, body) = if request.contains("/V1/MODELS") {
        ("200 OK", json!({"object": "list", "data": [{"id": "one", "object": "model"}]}))
    } else if request.contains("/V1/") {
        let message = json!({"role": "assistant", "content": "from the engine"});
        let choices = json!([{"index": 0, "finish_reason": "stop", "message": message}]);
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4});
        let body = json!({"id": "1", "object": "chat.completion", "created": 1, "model": "one",
            "choices": choices, "usage": usage});
        ("200 OK", body)
    } else {
        ("404 Not Found", json!({}))
    };
    let (length, body) = (body.to_string().len(), body.to_string());
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

#[test]
fn an_engine_that_is_gone_is_a_502_with_a_clear_body_and_nothing_else_breaks() {
    let engine = Engine::start();
    let model = format!("[[model]]\nname = \"one\"\nupstream = \"http://127.0.0.1:{}\"", engine.port);
    let host = Host::up(&model);
    let caller = host.caller();
    let chat = || {
        let body = json!({"model": "one", "messages": [{"role": "user", "content": "hello"}]});
        caller.post("/v1/chat/completions", &body)
    };
    let reply = chat();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.contains("from the engine"), "{reply:?}");
    engine.end();
    let reply = chat();
    assert_eq!(reply.status, 502, "{reply:?}");
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "run/upstream-down", "{reply:?}");
    assert!(error["message"].as_str().unwrap().contains("does not answer"), "{reply:?}");
    assert!(reply.body.contains("help"), "no next step: {reply:?}");
    host.run(&["status"]).ok();
    let failed = |l: &Value| l["action"] == "request.settle" && l["outcome"] == "failed";
    wait::until("a leaf of the failed request", 5, || host.leaves().into_iter().find(failed));
}

#[test]
fn a_project_whose_engine_is_down_from_the_start_says_so_with_502() {
    let port = ringfence_e2e::free_port();
    let host = Host::up(&format!("[[model]]\nname = \"one\"\nupstream = \"http://127.0.0.1:{port}\""));
    let body = json!({"model": "one", "messages": [{"role": "user", "content": "hello"}]});
    let reply = host.caller().post("/v1/chat/completions", &body);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (502, &json!("run/upstream-down")));
}

#[test]
fn paths_that_nobody_opened_are_refused() {
    let host = Host::up("");
    let caller = host.caller();
    assert_eq!(caller.get("/v1/models").status, 200);
    for path in ["/", "/v1/files", "/api/pull", "/v1/status", "/metrics", "/apps/other/ask"] {
        let reply = caller.get(path);
        assert!(matches!(reply.status, 403..=405), "{path}: {reply:?}");
        assert!(!reply.json()["error"].is_null(), "{path}: {reply:?}");
    }
    let twice = "{\"model\":\"ringfence-demo\",\"messages\":[],\"messages\":[]}";
    let output = Command::new("curl")
        .args(["--silent", "--cacert"])
        .arg(&caller.authority)
        .args(["-H", &format!("Authorization: Bearer {}", caller.key), "-d", twice])
        .args(["-w", "%{http_code}", &format!("{}/v1/chat/completions", caller.base)])
        .output()
        .unwrap();
    let said = Said::of(&output);
    assert!(said.out.ends_with("400") && said.out.contains("duplicate"), "{said:?}");
}
