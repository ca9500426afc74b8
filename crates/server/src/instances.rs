//! An assistant that answers each request afresh: instances that are prepared, used once, and
//! destroyed.
//!
//! A parked instance is a sandbox of its own in which the assistant's program listens and has heard
//! nothing yet. A request takes one; when its answer has been read, or nobody reads it any more, the
//! sandbox is closed with everything that the request left in it: memory, files, processes.
//! INVARIANT: no instance is taken twice, and what was taken never goes back.

use crate::app::{App, broken};
use crate::config::Assistant;
use crate::doors;
use crate::hosted::{self, Services};
use ringfence_core::error::Explained;
use ringfence_core::isolation::Strictness;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::ports::{Isolation, Sandbox};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// How the id of an instance begins. A server that comes back does not know which requests they had
/// answered, so it closes them all.
const ID_PREFIX: &str = "one-";
/// LIMIT: instances of one assistant, parked and in use, that may be configured; the supervisor
/// keeps 128 sandboxes.
pub const INSTANCES_MAX: usize = 64;
/// LIMIT: milliseconds that a request waits for an instance.
const CLAIM_MS_MAX: u64 = 15_000;
/// LIMIT: milliseconds for the first instance before the start goes on without it.
const FIRST_MS_MAX: u64 = 10_000;
/// LIMIT: milliseconds for an instance to listen.
const LISTEN_MS_MAX: u64 = 20_000;
/// Milliseconds between two looks whether it does.
const LISTEN_LOOK_MS: u64 = 10;
/// Milliseconds before the next attempt when an instance could not be prepared.
const RETRY_MS: u64 = 2_000;

/// One sandbox with the assistant in it.
struct Instance {
    sandbox: Arc<dyn Sandbox>,
    /// Its doors and what it prints; they end with it.
    _tasks: JoinSet<()>,
    _stop: watch::Sender<bool>,
    _place: OwnedSemaphorePermit,
}

/// The instances of one assistant.
pub struct Pool {
    ready: Mutex<mpsc::Receiver<Instance>>,
    spent: mpsc::Sender<Instance>,
    prepared: watch::Sender<bool>,
    port: u16,
}

/// A taken instance. Dropping it has the instance destroyed.
pub struct Lease {
    instance: Option<Instance>,
    spent: mpsc::Sender<Instance>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            // There are as many places in the channel as instances; after the end of the service
            // nobody listens, and the supervisor ends every sandbox.
            drop(self.spent.try_send(instance));
        }
    }
}

impl Pool {
    /// An instance that nobody used, with the port at which it listens.
    pub async fn claim(&self) -> Option<(Arc<dyn Sandbox>, u16, Lease)> {
        let limit = Duration::from_millis(CLAIM_MS_MAX);
        let claiming = async {
            loop {
                let instance = self.ready.lock().await.recv().await?;
                let sandbox = Arc::clone(&instance.sandbox);
                let lease = Lease {
                    instance: Some(instance),
                    spent: self.spent.clone(),
                };
                // One that ended while it was parked is destroyed, and the next one taken.
                if sandbox.connect(self.port).await.is_ok() {
                    return Some((sandbox, self.port, lease));
                }
            }
        };
        tokio::time::timeout(limit, claiming).await.ok().flatten()
    }

    /// Whether an instance has been prepared by now, or within the limit.
    pub async fn settled(&self) -> bool {
        let mut prepared = self.prepared.subscribe();
        let first = prepared.wait_for(|prepared| *prepared);
        let limit = Duration::from_millis(FIRST_MS_MAX);
        matches!(tokio::time::timeout(limit, first).await, Ok(Ok(_)))
    }
}

/// What every instance is made of.
pub struct Recipe {
    /// Starts sandboxes.
    pub isolation: Arc<dyn Isolation>,
    /// The project's folder, as the host names it.
    pub folder: PathBuf,
    /// Whether missing walls are accepted.
    pub strictness: Strictness,
    /// What the doors lead to.
    pub services: Services,
}

/// Starts the pool and keeps it filled until the service stops.
pub fn start(app: &Arc<App>, recipe: Recipe, assistant: &Assistant) -> Arc<Pool> {
    let (parked, ready) = mpsc::channel(assistant.parked.max(1));
    let (spent, used) = mpsc::channel(assistant.instances_max.max(1));
    let pool = Arc::new(Pool {
        ready: Mutex::new(ready),
        spent,
        prepared: watch::Sender::new(false),
        port: assistant.port,
    });
    let filler = Filler {
        app: Arc::clone(app),
        recipe,
        assistant: assistant.clone(),
        places: Arc::new(Semaphore::new(assistant.instances_max)),
        pool: Arc::clone(&pool),
    };
    app.tasks.add(filler.run(parked));
    app.tasks
        .add(bury(Arc::clone(app), Arc::clone(&pool), used));
    pool
}

struct Filler {
    app: Arc<App>,
    recipe: Recipe,
    assistant: Assistant,
    places: Arc<Semaphore>,
    pool: Arc<Pool>,
}

impl Filler {
    async fn run(self, parked: mpsc::Sender<Instance>) {
        let filling = async {
            while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                match self.prepare(place).await {
                    Ok(instance) => {
                        self.pool.prepared.send_replace(true);
                        if parked.send(instance).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!(code = error.code, "an instance could not be prepared");
                        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = self.app.tasks.stopped() => {}
            () = filling => {}
        }
    }

    /// A sandbox in which the program listens.
    async fn prepare(&self, place: OwnedSemaphorePermit) -> Result<Instance, Explained> {
        let app = &self.app;
        let Recipe {
            isolation,
            folder,
            strictness,
            services,
        } = &self.recipe;
        let id = hosted::fresh_id(app, ID_PREFIX)?;
        let spec = hosted::spec(app, id, folder, *strictness);
        let sandbox = hosted::begin(app, isolation.as_ref(), spec).await?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for door in doors::all(app, &sandbox, services, &stopping) {
            tasks.spawn(door);
        }
        let running = sandbox.exec(hosted::program(app, &self.assistant)).await;
        let listens = match running {
            Ok(running) => {
                let output = Arc::clone(&app.output);
                tasks.spawn(async move {
                    hosted::follow(running, &output).await;
                });
                listens(&*sandbox, self.assistant.port).await
            }
            Err(error) => Err(error),
        };
        let instance = Instance {
            sandbox,
            _tasks: tasks,
            _stop: stop,
            _place: place,
        };
        match listens {
            Ok(()) => Ok(instance),
            Err(error) => {
                close(app, instance, Outcome::Failed).await;
                Err(error)
            }
        }
    }
}

async fn listens(sandbox: &dyn Sandbox, port: u16) -> Result<(), Explained> {
    let looking = async {
        while sandbox.connect(port).await.is_err() {
            tokio::time::sleep(Duration::from_millis(LISTEN_LOOK_MS)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(LISTEN_MS_MAX), looking)
        .await
        .map_err(|_| broken("an instance of the assistant does not listen"))
}

/// Destroys what was used; at the end of the service what was not used, too.
async fn bury(app: Arc<App>, pool: Arc<Pool>, mut used: mpsc::Receiver<Instance>) {
    loop {
        let next = tokio::select! {
            biased;
            next = used.recv() => next,
            () = app.tasks.stopped() => None,
        };
        let Some(instance) = next else {
            break;
        };
        close(&app, instance, Outcome::Ok).await;
    }
    let mut ready = pool.ready.lock().await;
    while let Ok(instance) = ready.try_recv() {
        close(&app, instance, Outcome::Ok).await;
    }
    while let Ok(instance) = used.try_recv() {
        close(&app, instance, Outcome::Ok).await;
    }
}

async fn close(app: &App, instance: Instance, outcome: Outcome) {
    let closed = instance.sandbox.close().await;
    let object = format!("sandbox:{}", instance.sandbox.id());
    let outcome = if closed.is_ok() {
        outcome
    } else {
        Outcome::Failed
    };
    let leaf = app
        .leaf("service", LeafAction::SandboxStop, object)
        .outcome(outcome)
        .with("purpose", "request");
    let recorded = app.record(leaf).await.map(|_| ());
    for error in [closed.err(), recorded.err()].into_iter().flatten() {
        tracing::error!(
            code = error.code,
            "an instance was not closed, or not recorded"
        );
    }
}
