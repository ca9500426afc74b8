//! The Internet of the test: addresses of its own loopback, and servers that keep what they get.

use crate::support::Scratch;
use ringfence_net::dns::{Question, Rcode, TYPE_A, TYPE_AAAA};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Every address of the world.
const ADDRESSES: [&str; 5] = [
    "93.184.216.34/32",
    "169.254.169.254/32",
    "10.0.0.5/32",
    "9.9.9.9/32",
    "2606:4700::1/128",
];
/// Where the public servers are.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// A server hangs up when nothing came for so many milliseconds, so that no client waits longer.
const QUIET_MS: u64 = 300;
/// LIMIT: seconds for octets to arrive that must.
const ARRIVAL_S_MAX: u64 = 10;

/// The name server.
pub(super) fn names() -> SocketAddr {
    SocketAddr::from(([9, 9, 9, 9], 53))
}

/// What arrived, one entry for each connection or datagram.
#[derive(Default)]
struct Ledger {
    entries: Mutex<BTreeMap<usize, Vec<u8>>>,
    changed: Condvar,
    next: AtomicUsize,
}

impl Ledger {
    fn open(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn add(&self, entry: usize, bytes: &[u8]) {
        let mut entries = self.entries.lock().unwrap();
        entries.entry(entry).or_default().extend(bytes);
        self.changed.notify_all();
    }
}

fn octets_with(entries: &BTreeMap<usize, Vec<u8>>, marker: &str) -> usize {
    let holds = |bytes: &&Vec<u8>| bytes.windows(marker.len()).any(|w| w == marker.as_bytes());
    entries.values().filter(holds).map(Vec::len).sum()
}

/// The world; its servers end with the process of the test.
pub(super) struct Internet(Arc<Ledger>);

fn ip(arguments: &[&str]) {
    let output = Command::new("/usr/sbin/ip")
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {errors}");
}

impl Internet {
    /// Every address listens at these ports. Refuses to run in a network that has an interface
    /// beside loopback.
    pub(super) fn start(ports: &[u16]) -> Self {
        let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap();
        let count = interfaces.lines().filter(|line| line.contains(':')).count();
        assert_eq!(count, 1, "this is not a network of the test's own");
        ip(&["link", "set", "lo", "up"]);
        for address in ADDRESSES {
            let more: &[&str] = if address.contains(':') {
                &["nodad"]
            } else {
                &[]
            };
            ip(&[&["addr", "add", address, "dev", "lo"], more].concat());
        }
        let ledger = Arc::new(Ledger::default());
        for port in ports {
            let socket = ringfence_sys::netns::listen_everywhere(*port).unwrap();
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(false).unwrap();
            let kept = Arc::clone(&ledger);
            std::thread::spawn(move || serve(&listener, &kept));
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, *port)).unwrap();
            let kept = Arc::clone(&ledger);
            std::thread::spawn(move || keep_datagrams(&socket, &kept));
        }
        let (udp, tcp) = (UdpSocket::bind(names()), TcpListener::bind(names()));
        let zone = Arc::new(Zone::default());
        let (kept, known) = (Arc::clone(&ledger), Arc::clone(&zone));
        std::thread::spawn(move || answer_datagrams(&udp.unwrap(), &kept, &known));
        let kept = Arc::clone(&ledger);
        std::thread::spawn(move || answer_streams(&tcp.unwrap(), &kept, &zone));
        Self(ledger)
    }

    /// Octets of all connections and datagrams that hold a marker, by now.
    pub(super) fn arrived(&self, marker: &str) -> usize {
        octets_with(&self.0.entries.lock().unwrap(), marker)
    }

    /// The same, waiting for the first of them.
    pub(super) fn wait_for(&self, marker: &str) -> usize {
        let entries = self.0.entries.lock().unwrap();
        let limit = Duration::from_secs(ARRIVAL_S_MAX);
        let nothing = |entries: &mut BTreeMap<_, _>| octets_with(entries, marker) == 0;
        let (entries, _) = self
            .0
            .changed
            .wait_timeout_while(entries, limit, nothing)
            .unwrap();
        octets_with(&entries, marker)
    }
}

/// A server of any protocol: keeps what comes, and answers what ends like an HTTP request.
fn serve(listener: &TcpListener, ledger: &Arc<Ledger>) {
    for stream in listener.incoming() {
        let (mut stream, ledger) = (stream.unwrap(), Arc::clone(ledger));
        std::thread::spawn(move || {
            let entry = ledger.open();
            let quiet = Duration::from_millis(QUIET_MS);
            stream.set_read_timeout(Some(quiet)).unwrap();
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                ledger.add(entry, &piece[..length]);
                if piece[..length].ends_with(b"\r\n\r\n") {
                    let answer =
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                    drop(stream.write_all(answer.as_bytes()));
                    return;
                }
            }
        });
    }
}

fn keep_datagrams(socket: &UdpSocket, ledger: &Ledger) {
    let mut bytes = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        ledger.add(ledger.open(), &bytes[..length]);
        drop(socket.send_to(b"heard", from));
    }
}

/// What the name server knows; one name changes its mind.
#[derive(Default)]
struct Zone {
    rebound: AtomicUsize,
}

impl Zone {
    fn v4(&self, name: &str) -> Option<Vec<Ipv4Addr>> {
        Some(match name {
            "meta.good.example" => vec![METADATA],
            "private.good.example" => vec![PRIVATE],
            "loopback.good.example" => vec![Ipv4Addr::LOCALHOST],
            "mapped.good.example" => Vec::new(),
            "rebind.good.example" if self.rebound.fetch_add(1, Ordering::Relaxed) == 0 => {
                vec![PUBLIC]
            }
            "rebind.good.example" => vec![PRIVATE],
            _ if name.ends_with("good.example") || name.ends_with("evil.example") => vec![PUBLIC],
            _ => return None,
        })
    }

    /// The answer to a question, for no longer than it takes to read it.
    fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let question = Question::parse(bytes).unwrap();
        let name = question.name.as_ref().map_or("", |n| n.as_str());
        let mapped = question.kind == TYPE_AAAA && name == "mapped.good.example";
        let addresses = match question.kind {
            TYPE_A => self.v4(name),
            _ => Some(Vec::new()),
        };
        let Some(addresses) = addresses else {
            return question.answer(Rcode::NxDomain, &[], 0);
        };
        let mut answer = question.answer(Rcode::NoError, &addresses, 0);
        if mapped {
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16]);
            answer.extend(METADATA.to_ipv6_mapped().octets());
        }
        answer
    }
}

fn answer_datagrams(socket: &UdpSocket, ledger: &Ledger, zone: &Zone) {
    let mut bytes = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        ledger.add(ledger.open(), &bytes[..length]);
        drop(socket.send_to(&zone.answer(&bytes[..length]), from));
    }
}

fn answer_streams(listener: &TcpListener, ledger: &Arc<Ledger>, zone: &Arc<Zone>) {
    for stream in listener.incoming() {
        let (stream, ledger, zone) = (stream.unwrap(), Arc::clone(ledger), Arc::clone(zone));
        std::thread::spawn(move || answer_stream(stream, &ledger, &zone));
    }
}

fn answer_stream(mut stream: TcpStream, ledger: &Ledger, zone: &Zone) {
    let entry = ledger.open();
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut bytes).is_err() {
            return;
        }
        ledger.add(entry, &bytes);
        let answer = zone.answer(&bytes);
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        drop(stream.write_all(&[length.as_slice(), &answer].concat()));
    }
}

/// A web server with TLS and a certificate for `good.example`, of Python's standard library.
pub(super) struct TlsServer(
    Child,
    #[expect(dead_code, reason = "removed when it is dropped")] Scratch,
);

const SERVER: &str = r"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '9')
        self.end_headers()
        self.wfile.write(b'secret ok')
    def log_message(self, *rest): pass
server = http.server.ThreadingHTTPServer(('93.184.216.34', 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print('ready', flush=True)
server.serve_forever()
";

impl TlsServer {
    pub(super) fn start() -> Self {
        let scratch = Scratch::new();
        let (certificate, key) = (scratch.0.join("certificate"), scratch.0.join("key"));
        let made = Command::new("/usr/bin/openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args([
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=good.example",
                "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SERVER])
            .args([&certificate, &key])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 5];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        Self(child, scratch)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
