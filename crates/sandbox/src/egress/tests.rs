//! The proxy and the resolver on loopback, against servers that count what reaches them.
//!
//! Each refusal is shown together with the same attack on an unchecked proxy, where it delivers.

use super::*;
use ringfence_core::digest::Digest;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ports::{BoxFuture, LeafSlot, Receipt};
use ringfence_core::time::Timestamp;
use ringfence_net::dns::{Question, Rcode, TYPE_A, TYPE_AAAA};
use ringfence_net::guard::Guard;
use ringfence_net::resolver::Resolver;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Log, events and clock.
#[derive(Default)]
struct Records {
    leaves: Mutex<Vec<Leaf>>,
    events: Mutex<Vec<Occurrence>>,
    log_fails: AtomicBool,
}

impl LeafSink for Records {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async move {
            if self.log_fails.load(Ordering::Relaxed) {
                return Err(Explained::new(ErrorCode("record/io"), "full", "make room"));
            }
            self.leaves.lock().unwrap().push(leaf);
            Ok(Receipt {
                index: 0,
                leaf_hash: Digest([0; 32]),
                promise: String::new(),
            })
        })
    }

    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        Err(Explained::new(ErrorCode("record/io"), "unused", "unused"))
    }
}

impl EventSink for Records {
    fn emit(&self, occurrence: Occurrence) {
        self.events.lock().unwrap().push(occurrence);
    }
}

impl Clock for Records {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }
}

/// A world of one server: every name leads to it.
struct World {
    egress: Arc<Egress>,
    records: Arc<Records>,
    proxy: SocketAddr,
    server: TcpListener,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers 127.0.0.1 for each name.
async fn everywhere_here(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(length) = stream.read_u16().await {
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let question = Question::parse(&bytes).unwrap();
            let here: &[Ipv4Addr] = match question.kind {
                TYPE_A => &[Ipv4Addr::LOCALHOST],
                _ => &[],
            };
            let answer = question.answer(Rcode::NoError, here, 60);
            stream
                .write_u16(u16::try_from(answer.len()).unwrap())
                .await
                .unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

impl World {
    async fn start(checks: Checks) -> Self {
        Self::with(checks, |_| {}).await
    }

    /// Hosts `good.example` and `*.wide.example`, at the port of the server.
    async fn with(checks: Checks, change: impl FnOnce(&mut EgressConfig)) -> Self {
        let (server, server_address) = bound().await;
        let (names, names_address) = bound().await;
        let (door, proxy) = bound().await;
        let port = server_address.port();
        let hosts = [
            format!("good.example:{port}"),
            format!("*.wide.example:{port}"),
        ];
        let mut config = EgressConfig {
            hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
            ..EgressConfig::default()
        };
        change(&mut config);
        let records = Arc::new(Records::default());
        let dialer = Dialer::new(Resolver::new([names_address]), Guard::danger_off());
        let parts = EgressParts {
            project: "p".parse().unwrap(),
            sandbox: "s".parse().unwrap(),
            dialer: Arc::new(dialer),
            leaves: Arc::clone(&records) as _,
            events: Arc::clone(&records) as _,
            clock: Arc::clone(&records) as _,
        };
        let egress = Egress::with_checks(config, parts, checks);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(everywhere_here(names));
        let serving = Arc::clone(&egress);
        let socket = door.into_std().unwrap().into();
        tasks.spawn(async move {
            let door = Door::stream(PROXY, PROXY_PORT);
            serving.serve(door, socket, stopped).await.unwrap();
        });
        Self {
            egress,
            records,
            proxy,
            server,
            _stop: stop,
            _tasks: tasks,
        }
    }

    fn port(&self) -> u16 {
        self.server.local_addr().unwrap().port()
    }

    /// Sends octets to the proxy; the word `PORT` stands for the server's port.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.proxy).await.unwrap();
        let text = text.replace("PORT", &self.port().to_string());
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What the proxy says to a request, up to the end of the connection.
    async fn said(&self, text: &str) -> String {
        let mut answer = String::new();
        self.send(text)
            .await
            .read_to_string(&mut answer)
            .await
            .unwrap();
        answer
    }

    /// A tunnel that was agreed on.
    async fn tunnel(&self, host: &str) -> TcpStream {
        let mut stream = self
            .send(&format!(
                "CONNECT {host}:PORT HTTP/1.1\r\nHost: {host}:PORT\r\n\r\n"
            ))
            .await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(
            head.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "{}",
            head.escape_ascii()
        );
        stream
    }

    /// What arrives at the server over its next connection, until there are so many octets or no
    /// more come.
    async fn arrived(&self, count: usize) -> Vec<u8> {
        let (mut stream, _) = self.server.accept().await.unwrap();
        let mut bytes = Vec::new();
        (&mut stream)
            .take(count as u64)
            .read_to_end(&mut bytes)
            .await
            .unwrap();
        bytes
    }

    fn codes(&self) -> Vec<String> {
        let events = self.records.events.lock().unwrap();
        let code = |o: &Occurrence| Some(o.detail.get("code")?.as_str()?.to_owned());
        events.iter().filter_map(code).collect()
    }
}

/// A `ClientHello` for a name, in one record.
fn hello(name: &str) -> Vec<u8> {
    let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut names = vec![0];
    names.extend(length(name.len()));
    names.extend(name.as_bytes());
    let mut extension = vec![0, 0];
    extension.extend(length(names.len() + 2));
    extension.extend(length(names.len()));
    extension.extend(names);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(length(extension.len()));
    body.extend(extension);
    let mut bytes = vec![22, 3, 1];
    bytes.extend(length(body.len() + 4));
    bytes.extend([1, 0]);
    bytes.extend(length(body.len()));
    bytes.extend(body);
    bytes
}

#[tokio::test]
async fn a_tunnel_to_a_listed_host_carries_octets_both_ways_and_its_first_use_is_recorded() {
    let world = World::start(Checks::All).await;
    for _ in 0..2 {
        let mut client = world.tunnel("good.example").await;
        let hello = hello("good.example");
        client.write_all(&hello).await.unwrap();
        let (mut met, _) = world.server.accept().await.unwrap();
        let mut bytes = vec![0; hello.len()];
        met.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, hello);
        met.write_all(b"\x16\x03\x03answer").await.unwrap();
        let mut answer = [0; 9];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[3..], b"answer");
    }
    let leaves = world.records.leaves.lock().unwrap();
    let objects: Vec<_> = leaves.iter().map(|l| l.object.clone()).collect();
    assert_eq!(objects, [format!("good.example:{}", world.port())]);
    assert_eq!(leaves[0].action, LeafAction::EgressOpen);
}

#[tokio::test]
async fn fronting_sends_nothing_and_with_the_checks_off_it_does() {
    let fronted = hello("evil.example");
    let world = World::start(Checks::All).await;
    let mut client = world.tunnel("good.example").await;
    client.write_all(&fronted).await.unwrap();
    assert_eq!(world.arrived(1).await, b"");
    assert_eq!(world.codes(), ["run/egress-fronting"]);

    let open = World::start(Checks::Off).await;
    let mut client = open.tunnel("good.example").await;
    client.write_all(&fronted).await.unwrap();
    assert_eq!(open.arrived(fronted.len()).await, fronted);
}

#[tokio::test]
async fn a_second_hello_for_another_host_goes_no_further() {
    let (first, second) = (hello("good.example"), hello("evil.example"));
    let both = [first.clone(), second].concat();
    let world = World::start(Checks::All).await;
    let mut client = world.tunnel("good.example").await;
    client.write_all(&first).await.unwrap();
    let (mut met, _) = world.server.accept().await.unwrap();
    let mut bytes = vec![0; first.len()];
    met.read_exact(&mut bytes).await.unwrap();
    client.write_all(&both[first.len()..]).await.unwrap();
    let mut more = Vec::new();
    met.read_to_end(&mut more).await.unwrap();
    assert_eq!(more, b"");
    assert_eq!(world.codes(), ["run/egress-fronting"]);

    let open = World::start(Checks::Off).await;
    let mut client = open.tunnel("good.example").await;
    client.write_all(&both).await.unwrap();
    assert_eq!(open.arrived(both.len()).await, both);
}

#[tokio::test]
async fn a_tunnel_that_is_not_tls_sends_nothing() {
    let world = World::start(Checks::All).await;
    let mut client = world.tunnel("good.example").await;
    client.write_all(b"SSH-2.0-OpenSSH_9\r\n").await.unwrap();
    assert_eq!(world.arrived(1).await, b"");
    assert_eq!(world.codes(), ["run/egress-hello"]);
}

/// Requests that are refused before anything is connected, and their codes.
const REFUSED: [(&str, &str); 12] = [
    (
        "CONNECT evil.example:PORT HTTP/1.1\r\nHost: evil.example:PORT\r\n\r\n",
        "run/egress-host",
    ),
    (
        "CONNECT good.example:22 HTTP/1.1\r\nHost: good.example:22\r\n\r\n",
        "run/egress-port",
    ),
    (
        "CONNECT good.example:PORT HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "run/egress-host-header",
    ),
    (
        "CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        "run/egress-address",
    ),
    (
        "CONNECT 2130706433:PORT HTTP/1.1\r\nHost: 2130706433:PORT\r\n\r\n",
        "run/egress-address",
    ),
    (
        "CONNECT [::1]:PORT HTTP/1.1\r\nHost: [::1]:PORT\r\n\r\n",
        "run/egress-address",
    ),
    (
        "CONNECT wide.example:PORT HTTP/1.1\r\nHost: wide.example:PORT\r\n\r\n",
        "run/egress-host",
    ),
    (
        "GET http://good.example:PORT/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "run/egress-host-header",
    ),
    (
        "GET http://good.example:PORT/ HTTP/1.1\r\n\r\n",
        "run/egress-host-header",
    ),
    (
        "GET http://good.example:PORT/ HTTP/1.1\r\nHost: good.example:PORT\r\nHost: evil.example\r\n\r\n",
        "run/egress-host-header",
    ),
    (
        "GET http://user@good.example:PORT/ HTTP/1.1\r\nHost: good.example:PORT\r\n\r\n",
        "run/egress-malformed",
    ),
    (
        "GET / HTTP/1.1\r\nHost: good.example:PORT\r\n\r\n",
        "run/egress-malformed",
    ),
];

#[tokio::test]
async fn what_is_not_for_a_listed_host_is_refused_with_its_reason() {
    let world = World::start(Checks::All).await;
    for (request, code) in REFUSED {
        let answer = world.said(request).await;
        assert!(
            answer.contains(&format!("\"code\":\"{code}\"")),
            "{request}{answer}"
        );
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        assert_eq!(
            world.codes().last().map(String::as_str),
            Some(code),
            "{request}"
        );
    }
    assert_eq!(world.codes().len(), REFUSED.len());
    // Nobody connected, and nothing was recorded as reached.
    let nothing = Duration::from_millis(50);
    assert!(
        tokio::time::timeout(nothing, world.server.accept())
            .await
            .is_err()
    );
    assert!(world.records.leaves.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_plain_request_is_written_anew_without_what_concerns_one_hop() {
    let world = World::start(Checks::All).await;
    let request = "POST http://a.wide.example:PORT/path?q=1 HTTP/1.1\r\nHost: a.wide.example:PORT\r\n\
                   Proxy-Authorization: Basic eA==\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\
                   Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let mut client = world.send(request).await;
    let (mut met, _) = world.server.accept().await.unwrap();
    let mut head = String::new();
    while !head.contains("0\r\n\r\n") {
        let mut piece = [0; 512];
        let length = met.read(&mut piece).await.unwrap();
        head.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=9\r\n\r\nok";
    met.write_all(answer.as_bytes()).await.unwrap();
    let lower = head.to_ascii_lowercase();
    assert!(lower.starts_with("post /path?q=1 http/1.1\r\n"), "{head}");
    assert!(
        lower.contains("x-end: 2") && lower.contains("\r\nhost: a.wide.example:"),
        "{head}"
    );
    for gone in ["proxy-authorization", "x-hop", "upgrade"] {
        assert!(!lower.contains(gone), "{gone} in {head}");
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"),
        "{answer}"
    );
    assert!(
        !answer.to_ascii_lowercase().contains("keep-alive"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_connected_to() {
    let world = World::start(Checks::All).await;
    world.records.log_fails.store(true, Ordering::Relaxed);
    let request = "CONNECT good.example:PORT HTTP/1.1\r\nHost: good.example:PORT\r\n\r\n";
    let answer = world.said(request).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    world.records.log_fails.store(false, Ordering::Relaxed);
    // The next attempt tries again.
    drop(world.tunnel("good.example").await);
    assert_eq!(world.records.leaves.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_octets_of_an_hour_are_the_most_that_leaves() {
    let world = World::with(Checks::All, |c| c.mib_per_hour_max = 1).await;
    let mut client = world.tunnel("good.example").await;
    client.write_all(&hello("good.example")).await.unwrap();
    let reading = async { world.arrived(4 << 20).await.len() };
    let writing = async {
        let piece = [&[23, 3, 3, 0x40, 0][..], &[0; 0x4000]].concat();
        // Ends with an error when the way is cut.
        while client.write_all(&piece).await.is_ok() {}
    };
    let (arrived, ()) = tokio::join!(reading, writing);
    assert_eq!(arrived, 1 << 20);
    assert_eq!(world.codes(), ["run/egress-bytes"]);
    let mut refused = world.send("GET / HTTP/1.1\r\n\r\n").await;
    // The connection is closed, with a reset because its request was not read.
    assert!(!matches!(refused.read(&mut [0; 1]).await, Ok(1..)));
}

#[tokio::test]
async fn closing_cuts_what_is_open_and_refuses_what_comes() {
    let world = World::start(Checks::All).await;
    let mut client = world.tunnel("good.example").await;
    world.egress.close(true);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(world.codes(), ["run/egress-closed"]);
    world.egress.close(false);
    drop(world.tunnel("good.example").await);
}

#[tokio::test]
async fn as_many_hosts_are_reached_as_are_recorded() {
    let world = World::with(Checks::All, |c| c.connections_per_minute_max = u32::MAX).await;
    let port = world.port();
    for n in 0..=FIRST_USES_MAX {
        let to = Authority::parse(&format!("h{n}.wide.example"), port).unwrap();
        let outcome = world.egress.note_first_use(&to).await;
        let expected = if n < FIRST_USES_MAX {
            Ok(())
        } else {
            Err(Refusal::TooManyHosts)
        };
        assert_eq!(outcome, expected, "{n}");
    }
    assert_eq!(world.records.leaves.lock().unwrap().len(), FIRST_USES_MAX);
}

#[tokio::test]
async fn the_resolver_answers_listed_names_from_memory_and_no_others() {
    let world = World::start(Checks::All).await;
    let ask = |name: &str, kind: u16| {
        let question = Question::about(9, &name.parse().unwrap(), kind);
        let answer = world.egress.answer(&question.to_bytes()).unwrap();
        let read = ringfence_net::dns::Answer::parse(&answer, &question).unwrap();
        (read.rcode, read.addresses)
    };
    let (rcode, addresses) = ask("good.example", TYPE_A);
    assert_eq!(rcode, Rcode::NoError);
    assert_eq!(
        world.egress.names.name_of(addresses[0]).unwrap().as_str(),
        "good.example"
    );
    assert_eq!(ask("good.example", TYPE_AAAA), (Rcode::NoError, Vec::new()));
    assert_ne!(ask("x.wide.example", TYPE_A).1, addresses);
    let tunnelled = "c2VjcmV0.c2VjcmV0.evil.example";
    assert_eq!(ask(tunnelled, TYPE_A), (Rcode::NxDomain, Vec::new()));
    assert_eq!(ask(tunnelled, 16), (Rcode::NxDomain, Vec::new()));
    assert_eq!(world.codes(), ["run/egress-host", "run/egress-host"]);
    assert_eq!(world.egress.answer(&[1, 2, 3, 4]).unwrap()[3] & 0xf, 1);
}

#[test]
fn the_end_of_a_long_name_is_shown_and_its_beginning_is_not() {
    let now = || Occurrence::new(Timestamp(0), "p".parse().unwrap(), Target::Host, DENIED);
    let show = |name: &str| shown(now(), Some(&name.parse().unwrap())).detail["host"].clone();
    assert_eq!(show("api.example.org"), "api.example.org");
    let long = format!("{}.{}.evil.example", "s".repeat(60), "t".repeat(60));
    assert_eq!(show(&long), "….evil.example");
}
