//! The engine behind the gateway: gone, down from the start, or still talking to nobody.

use ringfence_e2e::{Host, wait};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

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
                drop(
                    stream
                        .get_mut()
                        .write_all(engine_answer(&request).as_bytes()),
                );
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
    let length = head
        .iter()
        .find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    drop(stream.read_exact(&mut body));
    head.first().map(|l| l.to_uppercase()).unwrap_or_default()
}

fn engine_answer(request: &str) -> String {
    let (status, body) = if request.contains("/V1/MODELS") {
        (
            "200 OK",
            json!({"object": "list", "data": [{"id": "one", "object": "model"}]}),
        )
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
    let model = format!(
        "[[model]]\nname = \"one\"\nupstream = \"http://127.0.0.1:{}\"",
        engine.port
    );
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
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("does not answer"),
        "{reply:?}"
    );
    assert!(reply.body.contains("help"), "no next step: {reply:?}");
    host.run(&["status"]).ok();
    let failed = |l: &Value| l["action"] == "request.settle" && l["outcome"] == "failed";
    wait::until("a leaf of the failed request", 5, || {
        host.leaves().into_iter().find(failed)
    });
}

#[test]
fn a_project_whose_engine_is_down_from_the_start_says_so_with_502() {
    let port = ringfence_e2e::free_port();
    let host = Host::up(&format!(
        "[[model]]\nname = \"one\"\nupstream = \"http://127.0.0.1:{port}\""
    ));
    let body = json!({"model": "one", "messages": [{"role": "user", "content": "hello"}]});
    let reply = host.caller().post("/v1/chat/completions", &body);
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (502, &json!("run/upstream-down"))
    );
}

#[test]
fn a_client_that_goes_away_in_the_middle_of_a_stream_cancels_the_engine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hung_up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&hung_up);
    let engine = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let request = read_request(&mut stream);
            if !request.contains("/CHAT/") {
                drop(
                    stream
                        .get_mut()
                        .write_all(engine_answer(&request).as_bytes()),
                );
                continue;
            }
            let delta = json!({"choices": [{"index": 0, "delta": {"content": "first words "}}]});
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            stream
                .get_mut()
                .write_all(format!("{head}data: {delta}\n\n").as_bytes())
                .unwrap();
            // Nothing more is said; the end of the connection is what is waited for.
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest));
            seen.store(true, Ordering::SeqCst);
            return;
        }
    });
    let model = format!("[[model]]\nname = \"one\"\nupstream = \"http://127.0.0.1:{port}\"");
    let host = Host::up(&model);
    let caller = host.caller();
    let message = json!([{"role": "user", "content": "hello"}]);
    let body = json!({"model": "one", "stream": true, "messages": message});
    let mut client = Command::new("curl")
        .args(["--silent", "--no-buffer", "--cacert"])
        .arg(&caller.authority)
        .args(["-H", &format!("Authorization: Bearer {}", caller.key)])
        .args([
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
        ])
        .arg(format!("{}/v1/chat/completions", caller.base))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("data: "), "{line}");
    assert!(
        !hung_up.load(Ordering::SeqCst),
        "the engine was cut off while somebody listened"
    );
    client.kill().unwrap();
    client.wait().unwrap();
    wait::until("the engine is cancelled", 10, || {
        hung_up.load(Ordering::SeqCst).then_some(())
    });
    engine.join().unwrap();
    let settled = |l: &Value| l["action"] == "request.settle";
    wait::until("a leaf of it", 5, || {
        host.leaves().into_iter().find(settled)
    });
}
