//! What everything else stands on: configuration, log, state, watch.

use super::Options;
use crate::app::{App, Facts};
use crate::config::{self, Config};
use crate::console::session::Door;
use crate::output::Output;
use crate::sealed::Sealed;
use crate::tasks::TaskGroup;
use crate::wire::egress::WayOut;
use crate::wire::gateway::KeyShelf;
use crate::wire::record::Sink;
use ringfence_core::digest::Digest;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ports::{EventSink, LeafSink};
use ringfence_crypto::hash::sha256;
use ringfence_crypto::hmac::HmacKey;
use ringfence_record::{Purpose, RecorderClient};
use ringfence_respond::{Respond, Webhook};
use ringfence_store::{keys, projects};
use ringfence_watch::{Watch, WatchConfig, WatchParts};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// LIMIT: octets of the configuration file that are read.
const CONFIG_READ_MAX: u64 = config::CONFIG_BYTES_MAX as u64 + 1;

pub(super) fn read_config(options: &Options) -> Result<(Config, String), Explained> {
    use std::io::Read as _;
    let path = options.root.join("ringfence.toml");
    let shown = options.host_root.join("ringfence.toml");
    let read = || {
        let mut text = String::new();
        std::fs::File::open(&path)?
            .take(CONFIG_READ_MAX)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|e: std::io::Error| {
        Explained::new(
            ErrorCode("config/unreadable"),
            format!("{} cannot be read", shown.display()),
            "a project is hosted by a ringfence.toml that the service's user can read; \
             examples/helpdesk has one to copy",
        )
        .because(e)
    })?;
    let mut config =
        config::parse(&shown.to_string_lossy(), &text).map_err(|e| Explained::of(&e))?;
    if options.plain {
        config.gateway.tls = false;
        config::check(&shown.to_string_lossy(), &config).map_err(|e| Explained::of(&e))?;
    }
    Ok((config, text))
}

/// Log, state, watch: what everything else stands on.
pub(super) async fn lay(
    options: &Options,
    config: Config,
    text: &str,
) -> Result<Arc<App>, Explained> {
    let ground = TaskGroup::default();
    let (recorder, driver) = RecorderClient::connect(&options.recorder);
    ground.add(driver);
    recorder.ready().await.map_err(|e| Explained::of(&e))?;
    let sink = Sink::new(recorder.clone());
    let halted = Arc::clone(&sink.halted);
    let leaves: Arc<dyn LeafSink> = Arc::new(sink);
    let store = crate::wire::store::open(&options.folder, &config.store)?;
    let project = config.project.name.clone();
    let watch = Watch::new(WatchParts {
        config: WatchConfig {
            breaker: config.watch.clone(),
        },
        clock: Arc::clone(&options.clock),
        entropy: Arc::clone(&options.entropy),
        forward: None,
    })
    .map_err(|e| Explained::of(&e))?;
    let watch = Arc::new(watch);
    let sealed = Sealed {
        store: &store,
        recorder: &recorder,
        entropy: options.entropy.as_ref(),
        project: &project,
    };
    let pepper = sealed.key(Purpose::GatewayPepper).await?;
    let clock = Arc::clone(&options.clock);
    let respond =
        Respond::new(store.clone(), clock, &config.alert).map_err(|e| Explained::of(&e))?;
    let webhooks = webhooks(&sealed, &config).await?;
    let rows = store
        .read(keys::of_all_projects)
        .map_err(|e: ringfence_store::StoreError| Explained::of(&e))?;
    let app = App {
        door: Door::new(project.clone(), options.entropy.as_ref())?,
        output: Arc::new(Output::open(&options.folder.join("assistant.log"))?),
        config_digest: Digest(sha256(text.as_bytes())),
        folder: options.folder.clone(),
        events: Arc::clone(&watch) as Arc<dyn EventSink>,
        clock: Arc::clone(&options.clock),
        entropy: Arc::clone(&options.entropy),
        keys: Arc::new(KeyShelf::of(rows)),
        way_out: WayOut::of(&config.egress)?,
        terminal: Arc::clone(&options.terminal),
        respond,
        webhooks,
        facts: RwLock::new(Facts::default()),
        halted,
        pool: OnceLock::new(),
        hosted: Mutex::new(None),
        project,
        config,
        store,
        recorder,
        leaves,
        watch,
        pepper,
        tasks: TaskGroup::default(),
        ground,
    };
    register(&app, options).await?;
    Ok(Arc::new(app))
}

async fn register(app: &App, options: &Options) -> Result<(), Explained> {
    let row = projects::Project {
        id: app.project.clone(),
        owner: app.config.project.owner.clone(),
        dir: options.host_root.to_string_lossy().into_owned(),
        stage: projects::Stage::Registered,
        admitted: None,
        created: app.now(),
    };
    app.state(move |store| store.write(move |tx| projects::register(tx, &row)))
        .await
}

/// The receivers of alerts, with the key that signs what they get.
async fn webhooks(
    sealed: &Sealed<'_>,
    config: &Config,
) -> Result<Vec<(Webhook, HmacKey)>, Explained> {
    let mut found = Vec::new();
    for webhook in &config.alert.webhooks {
        crate::wire::respond::parts(&webhook.url)?;
        found.push((webhook.clone(), sealed.key(Purpose::WebhookKey).await?));
    }
    Ok(found)
}
