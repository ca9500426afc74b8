//! A server in one process: recorder and state are the real ones, in a folder of the test's own.

use crate::fence::Fence;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use ringfence_core::error::Explained;
use ringfence_core::isolation::Strictness;
use ringfence_core::leaf::{Detail, Leaf, LeafAction};
use ringfence_core::ports::{Clock, Entropy, Isolation};
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_crypto::random::SystemEntropy;
use ringfence_net::body::{collect, full};
use ringfence_net::client::{Address, Client, ClientLimits};
use ringfence_record::role::{RecorderOptions, serve};
use ringfence_server::app::App;
use ringfence_server::startup::{self, Options, Running, Started};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service as _;

/// The moment every test begins at.
pub(crate) const START: Timestamp = Timestamp(1_795_176_000_000);

/// Time that only a test moves.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
    fn monotonic_ns(&self) -> u64 {
        let past = self.0.load(Ordering::SeqCst) - START.0;
        u64::try_from(past).unwrap() * 1_000_000 + 1_000_000_000
    }
}

/// Real chance that is remembered, so that a test can look for it where it must not be.
#[derive(Default)]
pub(crate) struct Witnessed(pub(crate) Mutex<Vec<Vec<u8>>>);

impl Entropy for Witnessed {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        SystemEntropy.fill(buffer)?;
        self.0.lock().unwrap().push(buffer.to_vec());
        Ok(())
    }
}

pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) fence: Arc<Fence>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) entropy: Arc<Witnessed>,
    pub(crate) terminal: watch::Sender<Vec<String>>,
    /// What was said while starting.
    pub(crate) said: Mutex<Vec<String>>,
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    recorder: JoinSet<()>,
}

impl Bench {
    /// A clean project that hosts an assistant, and a recorder. Call within a runtime.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A loopback address of this process's own: tests beside it cannot take its ports.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let address = |port| SocketAddr::from(([127, 1 + (a & 63), b, c.max(1)], port));
        let bench = Self {
            fence: Fence::new(),
            clock: Arc::new(HandClock(AtomicI64::new(START.0))),
            entropy: Arc::default(),
            terminal: watch::Sender::new(Vec::new()),
            said: Mutex::default(),
            gateway: address(18_443),
            console: address(18_444),
            recorder: JoinSet::new(),
            dir,
        };
        for folder in ["project/app", "project/docs", "server"] {
            std::fs::create_dir_all(bench.dir.path().join(folder)).unwrap();
        }
        bench.write("app/assistant.py", b"print('hello')\n");
        bench.write(
            "docs/guide.md",
            b"# Guide\n\nThe kettle boils water in two minutes.\n",
        );
        bench.configure("");
        bench.record()
    }

    fn record(mut self) -> Self {
        let own = std::fs::metadata(self.dir.path()).unwrap().uid();
        let options = RecorderOptions {
            socket_path: self.socket(),
            dir: self.dir.path().join("record"),
            allowed_uids: vec![own],
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::new(SystemEntropy),
        };
        self.recorder.spawn(async move {
            serve(options, std::future::pending()).await.unwrap();
        });
        self
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("recorder.sock")
    }

    /// Writes a file of the project's folder.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join("project").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The configuration, with more tables at its end.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "[project]\nname = \"bench\"\ndirectory = \"app\"\ndocuments = [\"docs\"]\n\
             [assistant]\ncommand = [\"python3\", \"assistant.py\"]\nport = 8090\n\
             [[model]]\nname = \"demo\"\nupstream = \"demo\"\n\
             [gateway]\nlisten = \"{}\"\ntls = false\n\
             [console]\nlisten = \"{}\"\n{more}",
            self.gateway, self.console
        );
        self.write("ringfence.toml", text.as_bytes());
    }

    pub(crate) fn options(&self) -> Options {
        let root = self.dir.path().join("project");
        let lines = self.terminal.clone();
        Options {
            folder: self.dir.path().join("server"),
            recorder: self.socket(),
            host_root: root.clone(),
            root,
            advisories: None,
            strictness: Strictness::Full,
            plain: false,
            check_only: false,
            selftest: false,
            terminal: Arc::new(move |more: &[String]| {
                lines.send_modify(|lines| lines.extend_from_slice(more));
            }),
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::clone(&self.entropy) as _,
        }
    }

    pub(crate) async fn start_with(&self, options: Options) -> Result<Started, Explained> {
        let isolation = Arc::clone(&self.fence) as Arc<dyn Isolation>;
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let started = Box::pin(startup::start(options, isolation, &mut say)).await;
        self.said.lock().unwrap().append(&mut said);
        started
    }

    pub(crate) async fn start(&self) -> Result<Started, Explained> {
        self.start_with(self.options()).await
    }

    /// A start that must succeed.
    pub(crate) async fn running(&self) -> Running {
        match self.start().await {
            Ok(Started::Running(running)) => *running,
            Ok(Started::Decided(report)) => panic!("only decided: {:?}", report.verdict),
            Err(error) => panic!("{error}"),
        }
    }

    /// Why a start failed.
    pub(crate) async fn refusal(&self) -> Explained {
        match self.start().await {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    }

    /// Every leaf, through a connection of its own.
    pub(crate) async fn leaves(&self) -> Vec<Leaf> {
        let (client, driver) = ringfence_record::RecorderClient::connect(self.socket());
        let read = async {
            client.ready().await.unwrap();
            let mut leaves = Vec::new();
            while let Ok(page) = client.read(leaves.len() as u64, 200).await {
                if page.is_empty() {
                    break;
                }
                leaves.extend(page.into_iter().map(|(_, leaf)| leaf));
            }
            // In order, or the log would count the numbers of this connection as lost. Those that
            // are handed back unused are a leaf too, but none of these tests is about it.
            client.close();
            let unused = Some(&Detail::from("unused"));
            leaves.retain(|l: &Leaf| l.detail.get("reason") != unused);
            leaves
        };
        tokio::join!(read, driver).0
    }

    /// The leaves of one action.
    pub(crate) async fn leaves_of(&self, action: LeafAction) -> Vec<Leaf> {
        let all = self.leaves().await;
        all.into_iter().filter(|l| l.action == action).collect()
    }

    /// Asks the gateway from outside.
    pub(crate) async fn gateway(&self, key: &str, method: &str, path: &str, body: &str) -> Reply {
        through(self.gateway, key, method, path, body).await
    }
}

/// One request over TCP.
pub(crate) async fn through(
    address: SocketAddr,
    key: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(full(body.to_owned()))
        .unwrap();
    let client = Client::new(Address::of(address), ClientLimits::default());
    let response = client.send(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = collect(body, 1 << 24).await.unwrap();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The code of an error body; every part of it must be there.
    pub(crate) fn error(&self) -> String {
        let error = &self.json()["error"];
        for part in ["code", "what", "help"] {
            assert!(error[part].is_string(), "{part}: {self:?}");
        }
        error["code"].as_str().unwrap().to_owned()
    }
}

/// One request to a router.
pub(crate) async fn call(mut router: Router, request: Request<Body>) -> Reply {
    let response = router.call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 26).await.unwrap();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// One question to the control API.
pub(crate) async fn control(app: &Arc<App>, method: &str, path: &str, body: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    call(ringfence_server::control::router(Arc::clone(app)), request).await
}

/// Days after [`START`].
pub(crate) fn in_days(days: i64) -> i64 {
    START.plus_ms(days * DAY_MS).0
}
