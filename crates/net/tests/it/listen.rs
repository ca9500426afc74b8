//! Each limit of a listener, and that ending it leaves nothing behind.

use crate::world::Server;
use ringfence_core::error::Explain;
use ringfence_net::NetError;
use ringfence_net::body::BodyLimits;
use ringfence_net::listen::{HEADER_BYTES_MAX, HEADERS_MAX, Listener, ServeLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn quick() -> ServeLimits {
    ServeLimits {
        connections_max: 2,
        header_ms: 1_500,
        body: BodyLimits {
            bytes_max: 8,
            idle_ms: 1_500,
        },
        write_stall_ms: 200,
        drain_ms: 100,
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = first.local_address().unwrap();
    let Err(error) = Listener::bind(address).await else {
        panic!("bound twice")
    };
    assert_eq!(error, NetError::PortTaken(address));
    assert_eq!(error.code().0, "run/port-taken");
    assert!(error.to_string().contains(&address.to_string()));
    assert!(
        error
            .help()
            .is_some_and(|h| h.contains(&address.port().to_string()))
    );
}

#[tokio::test]
async fn a_body_is_taken_at_the_limit_and_refused_one_above() {
    let server = Server::start(None, quick()).await;
    let post = |n: usize| {
        format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {n}\r\n\r\n{}",
            "x".repeat(n)
        )
    };
    assert!(server.raw(post(8).as_bytes()).await.ends_with("xxxxxxxx"));
    assert!(server.raw(post(9).as_bytes()).await.contains(" 413 "));
    server.end().await;
}

#[tokio::test]
async fn headers_are_taken_at_the_limits_and_refused_above() {
    let server = Server::start(None, quick()).await;
    let many = |n: usize| {
        let more = "h: x\r\n".repeat(n - 2);
        format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n")
    };
    assert!(
        server
            .raw(many(HEADERS_MAX).as_bytes())
            .await
            .contains(" 200 ")
    );
    assert!(
        server
            .raw(many(HEADERS_MAX + 1).as_bytes())
            .await
            .contains(" 431 ")
    );
    let long = |n: usize| {
        let start = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlong: ";
        format!("{start}{}\r\n\r\n", "x".repeat(n - start.len() - 4))
    };
    assert!(
        server
            .raw(long(HEADER_BYTES_MAX - 1).as_bytes())
            .await
            .contains(" 200 ")
    );
    assert!(
        server
            .raw(long(HEADER_BYTES_MAX + 1).as_bytes())
            .await
            .contains(" 431 ")
    );
    server.end().await;
}

#[tokio::test]
async fn who_sends_headers_or_body_drop_by_drop_is_cut_off() {
    let server = Server::start(None, quick()).await;
    let headers = server.raw(b"GET / HTTP/1.1\r\nhost").await;
    assert!(!headers.contains("HTTP/1.1 200"), "{headers}");
    let stalled = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab";
    assert!(server.raw(stalled).await.starts_with("HTTP/1.1 413"));
    server.end().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(None, quick()).await;
    let answer = server.raw(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        answer.contains("/a "),
        "answered, kept open, then closed by the server: {answer}"
    );
    server.end().await;
}

#[tokio::test]
async fn connections_are_taken_up_to_the_limit_and_one_more_is_told() {
    let limits = ServeLimits {
        header_ms: 60_000,
        ..quick()
    };
    let server = Server::start(None, limits).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut buffer = [0; 64];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        held.push(stream);
    }
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let mut answer = String::new();
    third.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("run/connections-full"));
    server.end().await;
}

#[tokio::test]
async fn ending_lets_nothing_hang() {
    let server = Server::start(None, quick()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    server.end().await;
    let mut rest = Vec::new();
    let _closed = stream.read_to_end(&mut rest).await.is_ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_adopted_socket_serves() {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    let listener = Listener::adopt_tcp(bound.into()).unwrap();
    assert_eq!(listener.local_address(), Some(address));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(Listener::adopt_unix(bound.into()).is_ok());
    assert!(matches!(
        Listener::bind_unix(&path),
        Err(NetError::Bind { .. })
    ));
}
