//! The client: one address, no redirect, timeouts, and a dropped body closes the socket.

use http::Request;
use http_body_util::BodyExt;
use ringfence_net::NetError;
use ringfence_net::body;
use ringfence_net::client::{Address, Client, ClientLimits, send_over_fd, send_over_unix};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

/// Long enough for a loaded machine.
const PATIENT: ClientLimits = ClientLimits {
    connect_ms: 20_000,
    head_ms: 20_000,
    idle_ms: 20_000,
};
const QUICK: ClientLimits = ClientLimits {
    connect_ms: 20_000,
    head_ms: 200,
    idle_ms: 200,
};

fn get(uri: &str) -> Request<body::Body> {
    Request::builder().uri(uri).body(body::empty()).unwrap()
}

async fn listener() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::of(listener.local_addr().unwrap());
    (listener, Client::new(address, PATIENT))
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn answer(listener: &TcpListener, octets: &[u8]) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut stream).await;
    stream.write_all(octets).await.unwrap();
    (stream, head)
}

#[tokio::test]
async fn a_redirect_is_handed_out_and_not_followed() {
    let (listener, client) = listener().await;
    let octets = b"HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (sent, (_, head)) = tokio::join!(client.send(get("/a")), answer(&listener, octets));
    assert_eq!(sent.unwrap().status(), 302);
    assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: {}", client.address().authority())),
        "{head}"
    );
}

#[tokio::test]
async fn a_response_is_streamed_and_dropping_it_closes_the_socket() {
    let (listener, client) = listener().await;
    let octets = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let (sent, (mut stream, _)) = tokio::join!(client.send(get("/")), answer(&listener, octets));
    let mut response = sent.unwrap();
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    drop(response);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn silence_before_and_within_an_answer_is_a_timeout() {
    let (listener, patient) = listener().await;
    let client = Client::new(patient.address().clone(), QUICK);
    let (sent, _held) = tokio::join!(client.send(get("/")), answer(&listener, b""));
    assert!(matches!(
        sent.map(|_| ()),
        Err(NetError::Timeout { limit_ms: 200, .. })
    ));
    let octets = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let (sent, _held) = tokio::join!(client.send(get("/")), answer(&listener, octets));
    let outcome = body::collect(sent.unwrap().into_body(), 99).await;
    assert!(matches!(
        outcome,
        Err(NetError::Timeout { limit_ms: 200, .. })
    ));
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let (listener, client) = listener().await;
    drop(listener);
    let error = client.send(get("/")).await.map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains(client.address().authority()),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_cut_is_an_error_and_not_an_end() {
    let (listener, client) = listener().await;
    let octets = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let (sent, (stream, _)) = tokio::join!(client.send(get("/")), answer(&listener, octets));
    drop(stream);
    let outcome = body::collect(sent.unwrap().into_body(), 99).await;
    assert_eq!(outcome, Err(NetError::Broken));
}

#[tokio::test]
async fn a_connected_socket_and_a_unix_socket_carry_a_request_as_well() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (listener, client) = listener().await;
    let socket = std::net::TcpStream::connect(client.address().authority()).unwrap();
    let (sent, _held) = tokio::join!(
        send_over_fd(socket.into(), get("/"), PATIENT),
        answer(&listener, OK)
    );
    assert_eq!(
        body::collect(sent.unwrap().into_body(), 9).await.unwrap(),
        "ok"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(OK).await.unwrap();
        stream
    };
    let (sent, _held) = tokio::join!(send_over_unix(&path, get("/"), PATIENT), serve);
    assert_eq!(
        body::collect(sent.unwrap().into_body(), 9).await.unwrap(),
        "ok"
    );
}
