//! What an upstream can do wrong, and what a client can.

use crate::scripted::{Act, Scripted, head, plain};
use crate::world::{World, chat, impatient, json, read, scripted, streaming};
use http_body_util::BodyExt;
use ringfence_core::leaf::Outcome;
use ringfence_gateway::config::GuardConfig;
use ringfence_gateway::identity::Peer;
use ringfence_gateway::pipeline::ANSWER_BYTES_MAX;
use ringfence_gateway::upstream::{Engine, Upstream};
use ringfence_net::client::{Address, ClientLimits};
use ringfence_net::listen::{Listener, Origin, ServeLimits, serve};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

const CHAT: &str = "/v1/chat/completions";
const FRAME: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello. \"},\"finish_reason\":null}]}\n\n";

async fn answered(script: Vec<Act>, content: &str) -> (u16, String, World) {
    let hangs = script.iter().any(|act| matches!(act, Act::Hang));
    let server = Scripted::start(script).await;
    let upstreams = if hangs { impatient } else { scripted };
    let world = World::new(GuardConfig::default(), upstreams(Engine::OpenAi, &server));
    let (status, text) = world.ask("POST", CHAT, content).await;
    (status, text, world)
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_that_says_so_and_an_event() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::of(listener.local_addr().unwrap());
    drop(listener);
    let upstream = Upstream::http(Engine::OpenAi, address, ClientLimits::default());
    let world = World::new(GuardConfig::default(), vec![upstream]);
    let (status, text) = world.ask("POST", CHAT, &chat("hello")).await;
    assert_eq!(status, 502);
    assert_eq!(json(&text)["error"]["code"], "run/upstream-down");
    assert_eq!(world.events.of("run.upstream.failed").len(), 1);
    let leaf = world.leaves.wait(1).await.remove(0);
    assert_eq!(
        (leaf.outcome, &leaf.detail["status"]),
        (Outcome::Failed, &502_i64.into())
    );
}

type Wrong = (&'static str, Vec<Act>, u16, &'static str);

const JSON_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

/// An answer in JSON with more headers and any body.
fn json_answer(headers: &str, content: &[u8]) -> Act {
    Act::Send(
        [
            JSON_HEAD.as_bytes(),
            headers.as_bytes(),
            b"\r\n\r\n",
            content,
        ]
        .concat(),
    )
}

fn of_transport() -> Vec<Wrong> {
    let huge = format!("x: {}", "x".repeat(40_000));
    let (short, slow, down) = (
        "content-length: 99",
        "run/upstream-slow",
        "run/upstream-down",
    );
    vec![
        ("silent", vec![Act::Hang], 504, slow),
        ("closes", vec![], 502, down),
        (
            "no http",
            vec![Act::Send(b"hello\r\n\r\n".to_vec())],
            502,
            down,
        ),
        ("cut", vec![json_answer(short, b"{")], 502, down),
        (
            "stalls",
            vec![json_answer(short, b"{"), Act::Hang],
            504,
            slow,
        ),
        ("huge headers", vec![json_answer(&huge, b"")], 502, down),
    ]
}

fn of_content() -> Vec<Wrong> {
    let broken = br#"{"a":"?"}"#.map(|b| if b == b'?' { 0xff } else { b });
    let leaking = r#"{"error":"stack 4111 1111 1111 1111"}"#;
    let send = |status, kind: &str, content: &str| vec![Act::Send(plain(status, kind, content))];
    let (json, malformed) = ("application/json", "run/upstream-malformed");
    let gzip = json_answer("content-encoding: gzip\r\ncontent-length: 2", b"{}");
    vec![
        ("500", send(500, json, leaking), 502, "run/upstream-failed"),
        (
            "redirect",
            send(302, "text/html", ""),
            502,
            "run/upstream-failed",
        ),
        ("html", send(200, "text/html", "<p>"), 502, malformed),
        ("malformed", send(200, json, "{\"a\":"), 502, malformed),
        (
            "duplicate keys",
            send(200, json, r#"{"a":1,"a":2}"#),
            502,
            malformed,
        ),
        ("compressed", vec![gzip], 502, malformed),
        (
            "broken utf-8",
            vec![json_answer("content-length: 9", &broken)],
            502,
            malformed,
        ),
    ]
}

#[tokio::test]
async fn what_an_upstream_does_wrong_becomes_a_clear_error() {
    for (name, script, status, code) in of_transport().into_iter().chain(of_content()) {
        let (got, text, world) = answered(script, &chat("hello")).await;
        assert_eq!(got, status, "{name}: {text}");
        assert_eq!(json(&text)["error"]["code"], code, "{name}");
        assert!(!text.contains("4111"), "{name}");
        let leaf = world.leaves.wait(1).await.remove(0);
        assert_eq!(leaf.outcome, Outcome::Failed, "{name}");
        assert_eq!(world.events.of("run.upstream.failed").len(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_answer_is_taken_at_the_size_limit_and_refused_one_above() {
    for (extra, status) in [(0, 200), (1, 502)] {
        let fill = "x".repeat(ANSWER_BYTES_MAX - 8 + extra);
        let answer = format!("{{\"a\":\"{fill}\"}}");
        let server = Scripted::answering(&answer).await;
        let world = World::new(GuardConfig::off(), scripted(Engine::OpenAi, &server));
        let (got, _) = world.ask("POST", CHAT, &chat("hello")).await;
        assert_eq!(got, status);
    }
}

#[tokio::test]
async fn the_engines_own_refusal_passes_filtered() {
    let refusal = r#"{"error":{"message":"no model for ada@example.org"}}"#;
    let script = vec![Act::Send(plain(404, "application/json", refusal))];
    let (status, text, world) = answered(script, &chat("hello")).await;
    assert_eq!(status, 404);
    let leaf = world.leaves.wait(1).await.remove(0);
    assert_eq!(leaf.detail["code"], "run/engine-refused".into());
    assert_eq!(world.events.of("run.upstream.failed").len(), 0);
    assert_eq!(
        json(&text)["error"]["message"],
        "no model for [REDACTED:email]"
    );
}

#[tokio::test]
async fn a_stream_that_ends_early_ends_with_an_error_and_never_with_done() {
    let sse = head("text/event-stream");
    let chunked = sse.replace("connection: close", "transfer-encoding: chunked");
    let chunk = format!("{:x}\r\n{FRAME}\r\n", FRAME.len());
    let frame = format!("{sse}{FRAME}");
    let cases: Vec<(&str, Vec<Act>, &str)> = vec![
        (
            "closed",
            vec![Act::Send(frame.clone().into_bytes())],
            "run/upstream-cut",
        ),
        (
            "within a frame",
            vec![Act::Send(format!("{frame}data: {{\"cho").into_bytes())],
            "run/upstream-cut",
        ),
        (
            "chunked cut",
            vec![Act::Send(format!("{chunked}{chunk}").into_bytes())],
            "run/upstream-down",
        ),
        (
            "stalls",
            vec![Act::Send(frame.clone().into_bytes()), Act::Hang],
            "run/upstream-slow",
        ),
        (
            "malformed",
            vec![Act::Send(
                format!("{frame}data: {{]\n\ndata: [DONE]\n\n").into_bytes(),
            )],
            "run/upstream-malformed",
        ),
        (
            "oversized",
            vec![Act::Send(
                format!("{frame}data: {}", "x".repeat(1 << 20)).into_bytes(),
            )],
            "run/upstream-malformed",
        ),
    ];
    for (name, script, code) in cases {
        let (status, text, world) = answered(script, &streaming("hello")).await;
        assert_eq!(status, 200, "{name}");
        assert!(text.starts_with(FRAME), "{name}: {text}");
        assert!(!text.contains("[DONE]"), "{name}: {text}");
        let last = text.trim_end().rsplit("data: ").next().unwrap();
        assert_eq!(json(last)["error"]["code"], code, "{name}");
        let leaf = world.leaves.wait(1).await.remove(0);
        assert_eq!(leaf.outcome, Outcome::Failed, "{name}");
        assert_eq!(leaf.detail["code"], code.into(), "{name}");
    }
}

#[tokio::test]
async fn what_was_held_back_when_the_stream_broke_is_sent_filtered() {
    let card = FRAME.replace("Hello. ", "It is 4111 1111 1111 1111");
    let script = vec![Act::Send(
        format!("{}{card}", head("text/event-stream")).into_bytes(),
    )];
    let (_, text, _) = answered(script, &streaming("hello")).await;
    assert!(
        text.contains("[REDACTED:card]") && !text.contains("1111"),
        "{text}"
    );
    assert!(text.contains("run/upstream-cut"), "{text}");
}

#[tokio::test]
async fn broken_utf_8_in_a_stream_is_replaced_before_it_is_looked_at() {
    let mut octets = head("text/event-stream").into_bytes();
    octets.extend_from_slice(
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\xffb \"}}]}\n\n",
    );
    octets.extend_from_slice(b"data: [DONE]\n\n");
    let (_, text, _) = answered(vec![Act::Send(octets)], &streaming("hello")).await;
    assert!(
        text.contains("a\u{fffd}b") && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
}

#[tokio::test]
async fn ollamas_stream_that_ends_early_ends_with_an_error_line() {
    let line = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi. \"},\"done\":false}\n";
    let server = Scripted::streaming("application/x-ndjson", &[line.as_bytes()]).await;
    let world = World::new(GuardConfig::default(), scripted(Engine::Ollama, &server));
    let (_, text) = world.ask("POST", "/api/chat", &chat("hello")).await;
    let last = json(text.lines().last().unwrap());
    assert_eq!(last["code"], "run/upstream-cut");
    assert!(last.get("done").is_none());
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_cancels_the_upstream_and_what_was_seen_is_settled() {
    let script = vec![
        Act::Send(format!("{}{FRAME}", head("text/event-stream")).into_bytes()),
        Act::Hang,
    ];
    let server = Scripted::start(script).await;
    let world = World::new(GuardConfig::default(), scripted(Engine::OpenAi, &server));
    let mut response = world.send("POST", CHAT, &streaming("hello")).await;
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), FRAME.as_bytes());
    drop(response);
    server.cancelled().await;
    let leaf = world.leaves.wait(1).await.remove(0);
    assert_eq!(leaf.detail["code"], "run/client-gone".into());
    assert_eq!(leaf.detail["tokens_source"], "estimate".into());
    assert_eq!(leaf.detail["tokens_out"], 2_i64.into());
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_the_upstream() {
    let server = Scripted::start(vec![Act::Hang]).await;
    let world = World::new(GuardConfig::default(), scripted(Engine::OpenAi, &server));
    let content = streaming("hello");
    let mut call = Box::pin(world.send("POST", CHAT, &content));
    let asked = std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        match server.requests().len() {
            0 => {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
            n => std::task::Poll::Ready(n),
        }
    });
    assert_eq!(asked.await, 1);
    drop(call);
    server.cancelled().await;
    let leaf = world.leaves.wait(1).await.remove(0);
    assert_eq!(leaf.detail["code"], "run/client-gone".into());
}

#[tokio::test]
async fn a_closed_socket_of_a_real_client_cancels_the_upstream() {
    let script = vec![
        Act::Send(format!("{}{FRAME}", head("text/event-stream")).into_bytes()),
        Act::Hang,
    ];
    let server = Scripted::start(script).await;
    let upstreams = {
        let limits = ClientLimits {
            connect_ms: 1_000,
            head_ms: 60_000,
            idle_ms: 60_000,
        };
        vec![Upstream::http(
            Engine::OpenAi,
            server.address.clone(),
            limits,
        )]
    };
    let world = World::new(GuardConfig::default(), upstreams);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.local_address().unwrap();
    let (stop, stopped) = watch::channel(false);
    let gateway = Arc::clone(&world.gateway);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(
        listener,
        None,
        ServeLimits::default(),
        move |request, origin| {
            let gateway = Arc::clone(&gateway);
            async move {
                let Origin::Tcp(address) = origin else {
                    panic!("not TCP")
                };
                gateway.handle(request, Peer::Remote { address }).await
            }
        },
        stopped,
    ));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let content = streaming("hello");
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{content}",
        world.key,
        content.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("Hello. ") {
        let n = client.read(&mut buffer).await.unwrap();
        assert!(n > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    drop(client);
    server.cancelled().await;
    let leaf = world.leaves.wait(1).await.remove(0);
    assert_eq!(leaf.detail["code"], "run/client-gone".into());
    stop.send(true).unwrap();
    tasks.join_all().await;
}

#[tokio::test]
async fn text_the_client_reads_slowly_is_the_same_text() {
    let script = vec![Act::Send(
        format!("{}{FRAME}data: [DONE]\n\n", head("text/event-stream")).into_bytes(),
    )];
    let server = Scripted::start(script).await;
    let world = World::new(GuardConfig::default(), scripted(Engine::OpenAi, &server));
    let (_, text) = read(world.send("POST", CHAT, &streaming("hello")).await).await;
    assert_eq!(text, format!("{FRAME}data: [DONE]\n\n"));
}
