//! A state with one project, a clock moved by hand, findings and incidents.

use ringfence_core::finding::{Finding, Fingerprint, Subject};
use ringfence_core::ids::{OwnerId, ProjectId, RuleId};
use ringfence_core::ports::Clock;
use ringfence_core::severity::{Confidence, Cvss, Severity};
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_crypto::hash::sha256;
use ringfence_respond::cases::{Change, Incident};
use ringfence_respond::waivers::NewWaiver;
use ringfence_respond::{Respond, RespondConfig, State, Webhook};
use ringfence_store::projects::{Project, Stage};
use ringfence_store::{Store, StoreOptions, projects};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Day 100 at noon: the middle of a digest period.
pub(crate) const START: Timestamp = Timestamp(100 * DAY_MS + DAY_MS / 2);

pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn set(&self, time: Timestamp) {
        self.0.store(time.0, Ordering::Relaxed);
    }
    pub(crate) fn pass_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
}

pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) respond: Respond,
}

pub(crate) fn config(hooks: &[&str]) -> RespondConfig {
    let webhook = |name: &&str| Webhook {
        name: (*name).to_owned(),
        url: format!("https://{name}.example/"),
    };
    RespondConfig {
        terminal: true,
        webhooks: hooks.iter().map(webhook).collect(),
    }
}

impl House {
    pub(crate) fn new(hooks: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock(AtomicI64::new(START.0)));
        let respond = open(&dir, &clock, hooks);
        Self {
            dir,
            clock,
            respond,
        }
    }

    /// The state as a new process finds it.
    pub(crate) fn reopened(self, hooks: &[&str]) -> Self {
        let Self {
            dir,
            clock,
            respond,
        } = self;
        drop(respond);
        let respond = open(&dir, &clock, hooks);
        Self {
            dir,
            clock,
            respond,
        }
    }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<HandClock>, hooks: &[&str]) -> Respond {
    let store = Store::open(&dir.path().join("db.sqlite"), StoreOptions::default()).unwrap();
    for name in ["desk", "other"] {
        let project = Project {
            id: name.parse().unwrap(),
            owner: owner(),
            dir: "/srv/desk".to_owned(),
            stage: Stage::Running,
            admitted: None,
            created: Timestamp(0),
        };
        store
            .write(move |tx| projects::register(tx, &project))
            .unwrap();
    }
    Respond::new(store, clock.clone(), &config(hooks)).unwrap()
}

pub(crate) fn desk() -> ProjectId {
    "desk".parse().unwrap()
}

pub(crate) fn owner() -> OwnerId {
    "ann".parse().unwrap()
}

/// A finding number `n` of `admit/pickle` with a score in tenths.
pub(crate) fn finding(n: u32, tenths: Option<u8>, severity: Severity) -> Finding {
    let rule = RuleId::of("admit/pickle");
    let subject = Subject::Source {
        path: format!("model-{n}.py"),
        line: Some(n),
        normalised: "load".to_owned(),
        symbol: None,
        ordinal: 0,
    };
    Finding {
        fingerprint: Fingerprint::derive(&rule, &subject, sha256),
        rule,
        subject,
        title: format!("a hostile pickle, number {n}"),
        severity,
        cvss: tenths.map(|tenths| Cvss {
            vector: "CVSS:3.1/…".to_owned(),
            tenths,
        }),
        confidence: Confidence::High,
        impact: "code runs when the model is loaded".to_owned(),
        fix: "use safetensors".to_owned(),
        mitigation: "do not load it".to_owned(),
        evidence: "GLOBAL os.system".to_owned(),
        references: vec!["CWE-502".to_owned()],
        tags: vec![],
        edit: None,
    }
}

pub(crate) fn incident(target: &str, severity: Severity) -> Incident {
    Incident {
        rule: RuleId::of("watch/denial-rate"),
        target: target.to_owned(),
        title: "the breaker froze a sandbox".to_owned(),
        severity,
        evidence: "more than 20 denials in 10 s".to_owned(),
        mitigation: "nothing passes for 30 s".to_owned(),
        fix: "look at what it tried to reach".to_owned(),
    }
}

pub(crate) fn change(to: State) -> Change {
    Change {
        to,
        actor: "user:ann".to_owned(),
        reason: "looked at it".to_owned(),
        evidence: Some("scan 7 no longer shows it".to_owned()),
    }
}

pub(crate) fn waiver(until: Timestamp) -> NewWaiver {
    NewWaiver {
        project: desk(),
        rule: RuleId::of("admit/pickle"),
        fingerprint: None,
        until,
        reason: "the model is trusted until the vendor ships safetensors".to_owned(),
        owner: "ann".to_owned(),
        actor: "user:ann".to_owned(),
    }
}
