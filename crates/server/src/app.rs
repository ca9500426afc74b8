//! What every part of the running server shares.

use crate::config::Config;
use crate::console::session::Door;
use crate::instances::Pool;
use crate::output::Output;
use crate::sealed::Sealed;
use crate::tasks::TaskGroup;
use crate::wire::egress::WayOut;
use crate::wire::gateway::KeyShelf;
use ringfence_core::digest::Digest;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::ProjectId;
use ringfence_core::isolation::WallState;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::{Clock, Entropy, EventSink, LeafSink, Receipt, Sandbox};
use ringfence_core::time::Timestamp;
use ringfence_crypto::hmac::HmacKey;
use ringfence_record::RecorderClient;
use ringfence_respond::dispatch::Terminal;
use ringfence_respond::{Respond, Webhook};
use ringfence_store::Store;
use ringfence_watch::Watch;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// The shared state of the server.
pub struct App {
    /// The hosted project.
    pub project: ProjectId,
    /// Its configuration.
    pub config: Config,
    /// Digest of the configuration as it was read.
    pub config_digest: Digest,
    /// The server's own folder.
    pub folder: PathBuf,
    /// State.
    pub store: Store,
    /// The log, for reading and proving.
    pub recorder: RecorderClient,
    /// The log, for writing.
    pub leaves: Arc<dyn LeafSink>,
    /// Events, for writing.
    pub events: Arc<dyn EventSink>,
    /// Events and metrics, for reading.
    pub watch: Arc<Watch>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// API keys in memory.
    pub keys: Arc<KeyShelf>,
    /// What hosted programs may reach outside.
    pub way_out: WayOut,
    /// The key under which API keys are hashed.
    pub pepper: HmacKey,
    /// Who may sign in to the console.
    pub door: Door,
    /// Cases, waivers, alerts.
    pub respond: Respond,
    /// Who else is told of alerts, with the keys that sign what they get.
    pub webhooks: Vec<(Webhook, HmacKey)>,
    /// Takes lines for the operator's terminal.
    pub terminal: Terminal,
    /// What the assistant prints.
    pub output: Arc<Output>,
    /// Everything in the background.
    pub tasks: TaskGroup,
    /// What the tasks stand on: the recorder's line, which must outlive them.
    pub ground: TaskGroup,
    /// What is only known after the start.
    pub facts: RwLock<Facts>,
    /// Why nothing may be recorded any more: a witness knows the log otherwise. Never unset.
    pub halted: Arc<OnceLock<Explained>>,
    /// The instances of an assistant that answers each request afresh.
    pub pool: OnceLock<Arc<Pool>>,
    /// The sandbox of the hosted assistant, while it lives.
    pub hosted: Mutex<Option<Arc<dyn Sandbox>>>,
}

/// What is only known after the start.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When the service started.
    pub started: Option<Timestamp>,
    /// Whether the operator has been told that everything runs.
    pub ready: bool,
    /// Where the gateway listens, with scheme.
    pub gateway_url: String,
    /// Where the console listens, with scheme.
    pub console_url: String,
    /// The certificate authority that clients of the gateway trust, when TLS is on.
    pub authority: Option<PathBuf>,
    /// What answers prompts.
    pub upstream: String,
    /// What the hosted sandbox found when it attacked itself.
    pub walls: Vec<WallState>,
    /// Id of the hosted sandbox.
    pub sandbox: Option<String>,
    /// What the outside witnesses last said; none without witnesses.
    pub witnessed: Option<Witnessed>,
}

/// What the outside witnesses said about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Leaves under the checkpoint that they were asked about.
    pub size: u64,
    /// How many cosigned it.
    pub by: usize,
    /// Of how many.
    pub of: usize,
    /// Whether that is the quorum that the configuration asks for.
    pub enough: bool,
    /// When.
    pub at: Timestamp,
}

impl App {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A leaf of this project with the digest of the configuration.
    pub fn leaf(&self, actor: &str, action: LeafAction, object: impl Into<String>) -> Leaf {
        let mut leaf = Leaf::new(self.now(), self.project.clone(), actor, action, object);
        leaf.config = Some(self.config_digest);
        leaf
    }

    /// Appends a leaf; resolves when it is durable.
    pub async fn record(&self, leaf: Leaf) -> Result<Receipt, Explained> {
        self.leaves.append(leaf).await
    }

    /// Runs work on the state database away from the tasks that wait for sockets.
    pub async fn state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ringfence_store::StoreError> + Send + 'static,
    ) -> Result<T, Explained> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|e| broken("a state operation ended early").because(e))?
            .map_err(|e| Explained::of(&e))
    }

    /// The keys that the recorder keeps sealed for this project.
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed {
            store: &self.store,
            recorder: &self.recorder,
            entropy: self.entropy.as_ref(),
            project: &self.project,
        }
    }

    /// A copy of the facts.
    pub fn facts(&self) -> Facts {
        self.facts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes the facts.
    pub fn learn(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The hosted sandbox, if it lives.
    pub fn sandbox(&self) -> Option<Arc<dyn Sandbox>> {
        self.hosted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts the hosted sandbox in place, or takes it away.
    pub fn host(&self, sandbox: Option<Arc<dyn Sandbox>>) {
        *self.hosted.lock().unwrap_or_else(PoisonError::into_inner) = sandbox;
    }
}

/// An error of our own making.
pub(crate) fn broken(what: &str) -> Explained {
    Explained::new(
        ErrorCode("run/internal"),
        what,
        "this is a defect of ringfence: please report it with `ringfence doctor --json`",
    )
}
