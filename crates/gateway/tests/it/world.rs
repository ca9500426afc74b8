//! A gateway with everything around it in memory.

use crate::scripted::Scripted;
use http::{Request, Response};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ids::{KeyId, ProjectId};
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{
    BoxFuture, Breaker, BreakerState, Clock, Entropy, EventSink, LeafSink, LeafSlot, Receipt,
};
use ringfence_core::time::Timestamp;
use ringfence_crypto::hmac::HmacKey;
use ringfence_gateway::config::GuardConfig;
use ringfence_gateway::keys::{KeyTerms, mint};
use ringfence_gateway::upstream::{Engine, Upstream};
use ringfence_gateway::{
    App, AppDirectory, DetectGuard, Gateway, GatewayConfig, GatewayParts, Guard, KeyDirectory,
    KeyRecord, Peer, demo,
};
use ringfence_net::body::{self, Body};
use ringfence_net::client::ClientLimits;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Notify;

pub(crate) const START: i64 = 1_790_000_000_000;

#[derive(Default)]
pub(crate) struct Time {
    pub(crate) now_ms: AtomicI64,
    pub(crate) monotonic_ns: AtomicU64,
}

impl Time {
    pub(crate) fn pass_ms(&self, ms: u32) {
        self.now_ms.fetch_add(i64::from(ms), Ordering::SeqCst);
        self.monotonic_ns
            .fetch_add(u64::from(ms) * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::SeqCst))
    }
    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
pub(crate) struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        for octet in buffer {
            *octet = self.0.fetch_add(1, Ordering::SeqCst).to_le_bytes()[0];
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Leaves {
    pub(crate) refuse: AtomicBool,
    inner: Arc<Recorded>,
}

#[derive(Default)]
struct Recorded {
    settled: Mutex<Vec<Leaf>>,
    offered: AtomicU64,
    arrived: Notify,
}

struct Slot(u64, Arc<Recorded>);

impl LeafSlot for Slot {
    fn sequence(&self) -> u64 {
        self.0
    }
    fn settle(self: Box<Self>, leaf: Leaf) {
        assert!(
            leaf.canonical().is_ok(),
            "a leaf that cannot be written: {leaf:?}"
        );
        self.1.settled.lock().unwrap().push(leaf);
        self.1.arrived.notify_waiters();
    }
}

impl LeafSink for Leaves {
    fn append(&self, _: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async { Err(full()) })
    }
    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        if self.refuse.load(Ordering::SeqCst) {
            return Err(full());
        }
        let sequence = self.inner.offered.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Slot(sequence, Arc::clone(&self.inner))))
    }
}

fn full() -> Explained {
    Explained::new(ErrorCode("record/full"), "full", "wait")
}

impl Leaves {
    pub(crate) fn settled(&self) -> Vec<Leaf> {
        self.inner.settled.lock().unwrap().clone()
    }
    pub(crate) fn offered(&self) -> u64 {
        self.inner.offered.load(Ordering::SeqCst)
    }
    /// Resolves when so many leaves are settled.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Leaf> {
        loop {
            let mut arrived = std::pin::pin!(self.inner.arrived.notified());
            arrived.as_mut().enable();
            let settled = self.settled();
            if settled.len() >= count {
                return settled;
            }
            arrived.await;
        }
    }
}

#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<Occurrence>>);

impl EventSink for Events {
    fn emit(&self, occurrence: Occurrence) {
        self.0.lock().unwrap().push(occurrence);
    }
}

impl Events {
    pub(crate) fn all(&self) -> Vec<Occurrence> {
        self.0.lock().unwrap().clone()
    }
    pub(crate) fn of(&self, kind: &str) -> Vec<Occurrence> {
        self.all().into_iter().filter(|e| e.kind == kind).collect()
    }
}

#[derive(Default)]
pub(crate) struct Tripped(pub(crate) Mutex<HashSet<Target>>);

impl Breaker for Tripped {
    fn state(&self, target: &Target) -> BreakerState {
        if self.admit(target) {
            BreakerState::Closed
        } else {
            BreakerState::Frozen
        }
    }
    fn admit(&self, target: &Target) -> bool {
        !self.0.lock().unwrap().contains(target)
    }
}

#[derive(Default)]
pub(crate) struct Shelf(pub(crate) Mutex<HashMap<KeyId, KeyRecord>>);

impl KeyDirectory for Shelf {
    fn lookup(&self, id: &KeyId) -> Option<KeyRecord> {
        self.0.lock().unwrap().get(id).cloned()
    }
    fn touch(&self, _: &KeyId, _: Timestamp) {}
}

#[derive(Default)]
pub(crate) struct Apps(pub(crate) Mutex<HashMap<ProjectId, App>>);

impl AppDirectory for Apps {
    fn app<'a>(&'a self, project: &'a ProjectId) -> BoxFuture<'a, Option<App>> {
        let apps = self.0.lock().unwrap();
        let app = apps.get(project).map(|app| App {
            sandbox: Arc::clone(&app.sandbox),
            port: app.port,
            lease: None,
        });
        Box::pin(std::future::ready(app))
    }
}

pub(crate) struct World {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) time: Arc<Time>,
    pub(crate) leaves: Arc<Leaves>,
    pub(crate) events: Arc<Events>,
    pub(crate) breaker: Arc<Tripped>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) key: String,
}

pub(crate) fn project() -> ProjectId {
    "mail".parse().unwrap()
}

fn pepper() -> HmacKey {
    HmacKey::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn demo_engine() -> Arc<demo::Engine> {
    Arc::new(demo::Engine::build(&[(
        "README.md".to_owned(),
        "# Mailer\n\nThe mailer answers letters at night.\n".to_owned(),
    )]))
}

/// A scripted upstream that is waited for as long as a loaded machine may need.
pub(crate) fn scripted(engine: Engine, server: &Scripted) -> Vec<Upstream> {
    upstream(engine, server, 20_000)
}

/// A scripted upstream whose silence is not borne for long.
pub(crate) fn impatient(engine: Engine, server: &Scripted) -> Vec<Upstream> {
    upstream(engine, server, 400)
}

fn upstream(engine: Engine, server: &Scripted, ms: u64) -> Vec<Upstream> {
    let limits = ClientLimits {
        connect_ms: 20_000,
        head_ms: ms,
        idle_ms: ms,
    };
    vec![Upstream::http(
        engine,
        server.address.to_string().parse().unwrap(),
        limits,
    )]
}

impl World {
    pub(crate) fn new(guard: GuardConfig, upstreams: Vec<Upstream>) -> Self {
        // The rules are compiled once: it is the streams of a test that are many.
        static DEFAULT: OnceLock<Arc<DetectGuard>> = OnceLock::new();
        static OFF: OnceLock<Arc<DetectGuard>> = OnceLock::new();
        let build = || Arc::new(DetectGuard::new(&guard).unwrap());
        let built = if guard == GuardConfig::default() {
            Arc::clone(DEFAULT.get_or_init(build))
        } else if guard == GuardConfig::off() {
            Arc::clone(OFF.get_or_init(build))
        } else {
            build()
        };
        Self::guarded(guard, built, upstreams)
    }

    pub(crate) fn guarded(
        config: GuardConfig,
        guard: Arc<dyn Guard>,
        upstreams: Vec<Upstream>,
    ) -> Self {
        let time = Arc::new(Time::default());
        time.now_ms.store(START, Ordering::SeqCst);
        let (leaves, events) = (Arc::new(Leaves::default()), Arc::new(Events::default()));
        let (breaker, shelf) = (Arc::new(Tripped::default()), Arc::new(Shelf::default()));
        let apps = Arc::new(Apps::default());
        let entropy = Arc::new(Counting::default());
        let parts = GatewayParts {
            keys: Arc::clone(&shelf) as _,
            leaves: Arc::clone(&leaves) as _,
            events: Arc::clone(&events) as _,
            breaker: Arc::clone(&breaker) as _,
            clock: Arc::clone(&time) as _,
            entropy,
            key_pepper: pepper(),
            text_key: HmacKey::from_bytes(&[8; 32]).unwrap(),
            guard,
            upstreams,
            apps: Arc::clone(&apps) as _,
        };
        let config = GatewayConfig {
            guard: config,
            ..GatewayConfig::default()
        };
        let gateway = Gateway::new(config, parts).unwrap();
        let mut world = Self {
            gateway,
            time,
            leaves,
            events,
            breaker,
            shelf,
            apps,
            key: String::new(),
        };
        world.key = world.mint(10_000, None);
        world
    }

    pub(crate) fn demo(guard: GuardConfig) -> Self {
        Self::new(guard, vec![Upstream::demo(demo_engine())])
    }

    /// A key for the project.
    pub(crate) fn mint(&self, requests_per_minute: u32, expires: Option<i64>) -> String {
        self.mint_for(project(), requests_per_minute, expires)
    }

    pub(crate) fn mint_for(
        &self,
        project: ProjectId,
        requests_per_minute: u32,
        expires: Option<i64>,
    ) -> String {
        let entropy = Counting::default();
        let seed = self.shelf.0.lock().unwrap().len() as u64;
        entropy.0.store(seed * 40, Ordering::SeqCst);
        let terms = KeyTerms {
            project,
            requests_per_minute,
            expires: expires.map(Timestamp),
        };
        let (text, record) = mint(&entropy, &pepper(), terms).unwrap();
        self.shelf
            .0
            .lock()
            .unwrap()
            .insert(record.id.clone(), record);
        text.danger_expose().clone()
    }

    pub(crate) fn key_id(text: &str) -> KeyId {
        text.split('_').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, content: &str) -> Response<Body> {
        self.send_as(&self.key, method, path, content).await
    }

    pub(crate) async fn send_as(
        &self,
        key: &str,
        method: &str,
        path: &str,
        content: &str,
    ) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .body(body::full(content.to_owned()))
            .unwrap();
        self.gateway.handle(request, remote()).await
    }

    /// Sends and reads whole: status and text.
    pub(crate) async fn ask(&self, method: &str, path: &str, content: &str) -> (u16, String) {
        read(self.send(method, path, content).await).await
    }
}

pub(crate) fn remote() -> Peer {
    Peer::Remote {
        address: "127.0.0.1:50000".parse().unwrap(),
    }
}

pub(crate) async fn read(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let octets = body::collect(response.into_body(), 64 << 20).await.unwrap();
    (status, String::from_utf8(octets.to_vec()).unwrap())
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A chat request with one message.
pub(crate) fn chat(text: &str) -> String {
    serde_json::json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string()
}

pub(crate) fn streaming(text: &str) -> String {
    serde_json::json!({"model": "m", "stream": true,
        "messages": [{"role": "user", "content": text}]})
    .to_string()
}
