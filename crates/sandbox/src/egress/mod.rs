//! The way out of a sandbox: one proxy, one resolver, one list of hosts.
//!
//! A sandbox has no interface but loopback. What its programs may reach outside they reach through
//! doors that are served here, by the unprivileged server: an HTTP proxy (`CONNECT` and plain
//! requests), a resolver, and for programs that know no proxy two doors for every address. Each
//! connection takes the same way: the host is on the list, its addresses are judged after they were
//! resolved, the address that was judged is connected to, and what the program says about the host
//! (the TLS server name, the `Host` header) is the host that was asked for. The first use of a host
//! is in the log before an octet leaves; each refusal is an event.
//!
//! It does not break TLS open: what an allowed host does with a connection is that host's business,
//! and a host that serves others under its own certificate can be asked for them inside TLS.
//! INVARIANT: nothing that a program writes leaves before all of this was decided.

mod budget;
mod config;
mod names;
mod proxy;
mod refusal;
mod tunnel;

pub use config::{EgressConfig, HOSTS_MAX, HostRule, HostRuleError, PORTS_MAX};
pub use names::NAMES_MAX;
pub use refusal::Refusal;

use budget::{Budget, Permit};
use names::Names;
use ringfence_core::error::Explain as _;
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{Door, DoorKind};
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::{Clock, EventSink, LeafSink};
use ringfence_net::host::{Authority, HostName};
use ringfence_net::reach::Dialer;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;

/// A connection or question was refused. Details: `code`, and where it is known `host` and `port`.
pub const DENIED: &str = "run.egress.denied";
/// A connection failed without a control having refused it.
pub const FAILED: &str = "run.egress.failed";
/// A host was reached for the first time.
pub const OPENED: &str = "run.egress.opened";

/// Port of the proxy inside.
pub const PROXY_PORT: u16 = 8083;
/// Port of the resolver inside.
const NAMES_PORT: u16 = 53;
/// LIMIT: different hosts and ports that one sandbox may reach: each is a leaf of the log.
pub const FIRST_USES_MAX: usize = 256;
/// LIMIT: characters of a host that are shown in an event; its own labels go first, for they are
/// where a program would write what it wants to carry out.
const SHOWN_CHARS_MAX: usize = 63;
/// How long accepting rests after the system refused a connection.
const REST_MS: u64 = 50;

/// What the way out needs of others.
#[derive(Clone)]
pub struct EgressParts {
    /// Whose project.
    pub project: ProjectId,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// Resolves, judges and connects.
    pub dialer: Arc<Dialer>,
    /// The log.
    pub leaves: Arc<dyn LeafSink>,
    /// Events for WATCH.
    pub events: Arc<dyn EventSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The way out of one sandbox.
pub struct Egress {
    config: EgressConfig,
    parts: EgressParts,
    budget: Arc<Budget>,
    names: Names,
    used: Mutex<BTreeMap<String, Arc<OnceCell<()>>>>,
    closed: watch::Sender<bool>,
    checks: Checks,
}

/// What is compared. Everything, except in tests that show what a check is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    All,
    /// Host names may differ and unlisted ones pass.
    Off,
}

/// What a door leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The HTTP proxy.
    Proxy,
    /// Plain HTTP from a program that knows no proxy.
    Web,
    /// TLS from a program that knows no proxy.
    Tls,
    /// Questions about names.
    Names,
}

const PROXY: &str = "egress";
const NAMES: &str = "names";
const WEB: &str = "web";
const TLS: &str = "tls";

/// The doors that a configuration needs; none if there is no way out.
pub fn doors(config: &EgressConfig) -> Vec<Door> {
    if !config.is_open() {
        return Vec::new();
    }
    let mut doors = vec![
        Door::stream(PROXY, PROXY_PORT),
        Door::datagram(NAMES, NAMES_PORT),
        Door::stream(NAMES, NAMES_PORT),
    ];
    if config.transparent {
        doors.push(Door::any_stream(WEB, 80));
        doors.push(Door::any_stream(TLS, 443));
    }
    doors
}

/// Whether a door is one of [`doors`].
pub fn is_door(door: &Door) -> bool {
    [PROXY, NAMES, WEB, TLS].contains(&door.name.as_str())
}

/// The variables by which programs find the proxy. In transparent mode they need none.
pub fn environment(config: &EgressConfig) -> Vec<(String, String)> {
    if !config.is_open() || config.transparent {
        return Vec::new();
    }
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let here = "127.0.0.1,localhost".to_owned();
    [
        ("HTTP_PROXY", &proxy),
        ("HTTPS_PROXY", &proxy),
        ("http_proxy", &proxy),
        ("https_proxy", &proxy),
        ("NO_PROXY", &here),
        ("no_proxy", &here),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .to_vec()
}

impl Egress {
    /// The way out of one sandbox. Nothing is served until [`serve`](Self::serve) is awaited.
    pub fn new(config: EgressConfig, parts: EgressParts) -> Arc<Self> {
        Self::with_checks(config, parts, Checks::All)
    }

    /// Compares nothing and lists nothing: every host passes, whatever it is called. It is the
    /// control of tests that must show what the checks are for.
    pub fn danger_unchecked(config: EgressConfig, parts: EgressParts) -> Arc<Self> {
        Self::with_checks(config, parts, Checks::Off)
    }

    fn with_checks(config: EgressConfig, parts: EgressParts, checks: Checks) -> Arc<Self> {
        Arc::new(Self {
            budget: Budget::new(&config),
            names: Names::with(config.exact_names()),
            used: Mutex::default(),
            closed: watch::Sender::new(false),
            config,
            parts,
            checks,
        })
    }

    /// Whose way out it is.
    pub fn sandbox(&self) -> &SandboxId {
        &self.parts.sandbox
    }

    /// Closes the way out, open connections included, or opens it again.
    pub fn close(&self, closed: bool) {
        self.closed.send_replace(closed);
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Resolves when the way out is closed.
    async fn until_closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as `self`.
        let _gone = closed.wait_for(|closed| *closed).await.is_err();
    }

    /// Serves one of [`doors`] until `stop` becomes true or its sender is gone.
    pub async fn serve(
        self: Arc<Self>,
        door: Door,
        socket: OwnedFd,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let way = match door.name.as_str() {
            PROXY => Way::Proxy,
            NAMES => Way::Names,
            WEB => Way::Web,
            TLS => Way::Tls,
            _ => return Err(io::Error::other("not a door of the way out")),
        };
        if door.kind == DoorKind::Datagram {
            let socket = std::net::UdpSocket::from(socket);
            socket.set_nonblocking(true)?;
            let socket = UdpSocket::from_std(socket)?;
            tokio::select! {
                _ended = stop.wait_for(|stop| *stop) => {}
                () = self.answer_datagrams(socket) => {}
            }
            return Ok(());
        }
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        self.accept(TcpListener::from_std(listener)?, way, stop)
            .await;
        Ok(())
    }

    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        way: Way,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ended = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(REST_MS)).await;
                continue;
            };
            match self.budget.open(self.parts.clock.monotonic_ns()) {
                Ok(permit) => {
                    let egress = Arc::clone(&self);
                    connections.spawn(async move { egress.attend(stream, way, permit).await });
                }
                Err(refusal) => self.deny(&refusal, None),
            }
        }
        connections.shutdown().await;
    }

    /// One connection, until its end or until the way out is closed.
    async fn attend(&self, stream: TcpStream, way: Way, _permit: Permit) {
        let _without_delay = stream.set_nodelay(true).is_ok();
        if way == Way::Names {
            // What goes wrong here is the asker's: it hangs up, or sends nothing.
            let _ended = self.answer_stream(stream).await.is_ok();
            return;
        }
        let work = async {
            match way {
                Way::Tls => self.direct(stream).await,
                Way::Web => self.web(stream).await,
                _ => self.proxy(stream).await,
            }
        };
        tokio::select! {
            () = Box::pin(work) => {}
            () = self.until_closed() => self.deny(&Refusal::Closed, None),
        }
    }

    /// Whether a host may be reached, before anything is done about it.
    fn check(&self, to: &Authority) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        match self.checks {
            Checks::All => self.config.check(to),
            Checks::Off => Ok(()),
        }
    }

    /// A connection to a host that may be reached; its first use is in the log before it is made.
    async fn connect(&self, to: &Authority) -> Result<TcpStream, Refusal> {
        self.check(to)?;
        self.note_first_use(to).await?;
        Ok(self.parts.dialer.connect(to).await?)
    }

    async fn note_first_use(&self, to: &Authority) -> Result<(), Refusal> {
        let object = to.to_string();
        let first = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            if !used.contains_key(&object) && used.len() >= FIRST_USES_MAX {
                return Err(Refusal::TooManyHosts);
            }
            Arc::clone(used.entry(object.clone()).or_default())
        };
        let append = || async {
            let (now, project) = (self.parts.clock.now(), self.parts.project.clone());
            let actor = format!("sandbox:{}", self.parts.sandbox);
            let leaf = Leaf::new(now, project, actor, LeafAction::EgressOpen, object);
            self.parts
                .leaves
                .append(leaf)
                .await
                .map_err(|_| Refusal::Unrecorded)?;
            self.emit(OPENED, |o| shown(o, Some(&to.host)).with("port", to.port));
            Ok(())
        };
        first.get_or_try_init(append).await.copied()
    }

    fn emit(&self, kind: &'static str, add: impl FnOnce(Occurrence) -> Occurrence) {
        let target = Target::Sandbox(self.parts.sandbox.clone());
        let (now, project) = (self.parts.clock.now(), self.parts.project.clone());
        let occurrence = Occurrence::new(now, project, target, kind);
        self.parts.events.emit(add(occurrence));
    }

    /// Tells of a connection or question that was not let through.
    fn deny(&self, refusal: &Refusal, host: Option<&HostName>) {
        self.tell(refusal, host, None);
    }

    fn tell(&self, refusal: &Refusal, host: Option<&HostName>, port: Option<u16>) {
        let Some(untold) = self.budget.tell(self.parts.clock.monotonic_ns()) else {
            return;
        };
        let kind = if refusal.is_denial() { DENIED } else { FAILED };
        self.emit(kind, |occurrence| {
            let mut occurrence = shown(occurrence, host).with("code", refusal.code().0);
            if let Some(port) = port {
                occurrence = occurrence.with("port", port);
            }
            if let Refusal::Forbidden(kind) = refusal {
                occurrence = occurrence.with("address", kind.as_str());
            }
            if untold > 0 {
                occurrence = occurrence.with("untold_before", untold);
            }
            if refusal.is_denial() {
                occurrence = occurrence.denied(None);
            }
            occurrence
        });
    }
}

/// Adds the end of a host name.
fn shown(occurrence: Occurrence, host: Option<&HostName>) -> Occurrence {
    let Some(host) = host else {
        return occurrence;
    };
    let mut text = host.as_str();
    while text.len() > SHOWN_CHARS_MAX {
        text = text.split_once('.').map_or("", |(_, rest)| rest);
    }
    let mark = if text.len() < host.as_str().len() {
        "…."
    } else {
        ""
    };
    occurrence.with("host", format!("{mark}{text}"))
}

#[cfg(test)]
mod tests;
