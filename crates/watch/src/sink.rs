//! Where events come in.
//!
//! Each event gets the boot id of this process and the next number, so that a loss or a restart
//! shows. It is added to the windows, denials feed the breaker, and the last ones stay at hand.
//! INVARIANT: [`Watch::emit`] takes only short locks and never waits for I/O; samples and other
//! events are kept apart, so a flood of samples cannot push a denial out.

use crate::breaker::{BreakerConfig, Breakers, Trip};
use crate::error::WatchError;
use crate::kinds;
use crate::windows::Windows;
use ringfence_core::digest::hex;
use ringfence_core::event::{Event, EventVerdict, Layer, Occurrence, Target};
use ringfence_core::ids::ProjectId;
use ringfence_core::ports::{BreakerState, Clock, Entropy, EventSink};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// LIMIT: samples kept at hand.
pub const RECENT_SAMPLES_MAX: usize = 256;
/// LIMIT: other events kept at hand.
pub const RECENT_EVENTS_MAX: usize = 2_048;
/// LIMIT: facts in the detail of one event; further ones are left out and counted.
pub const DETAILS_MAX: usize = 32;

/// The `[watch]` part of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// When a breaker trips.
    pub breaker: BreakerConfig,
}

/// Called with each event after it was counted; must not wait.
pub type Forward = Box<dyn Fn(&Event) + Send + Sync>;

/// What [`Watch`] is made of.
pub struct WatchParts {
    /// Rules.
    pub config: WatchConfig,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For the boot id.
    pub entropy: Arc<dyn Entropy>,
    /// Where events go on to.
    pub forward: Option<Forward>,
}

/// The event sink of the service.
pub struct Watch {
    boot: String,
    next: AtomicU64,
    windows: Windows,
    breakers: Arc<Breakers>,
    samples: Mutex<VecDeque<Event>>,
    events: Mutex<VecDeque<Event>>,
    samples_dropped: AtomicU64,
    details_dropped: AtomicU64,
    forward: Option<Forward>,
}

impl Watch {
    /// A sink with empty windows and closed breakers.
    pub fn new(parts: WatchParts) -> Result<Self, WatchError> {
        let mut boot = [0; 8];
        parts
            .entropy
            .fill(&mut boot)
            .map_err(|e| WatchError::Boot { cause: e.what })?;
        Ok(Self {
            boot: hex(&boot),
            next: AtomicU64::new(0),
            windows: Windows::new(Arc::clone(&parts.clock)),
            breakers: Arc::new(Breakers::new(parts.config.breaker, parts.clock)?),
            samples: Mutex::default(),
            events: Mutex::default(),
            samples_dropped: AtomicU64::new(0),
            details_dropped: AtomicU64::new(0),
            forward: parts.forward,
        })
    }

    /// The windows.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The breakers, also as the port for the gateway.
    pub fn breakers(&self) -> Arc<Breakers> {
        Arc::clone(&self.breakers)
    }

    /// The last events of a project that are not samples, newest first.
    pub fn recent(&self, project: &ProjectId, count: usize) -> Vec<Event> {
        newest(&self.events, project, count)
    }

    /// The last samples of a project, newest first.
    pub fn recent_samples(&self, project: &ProjectId, count: usize) -> Vec<Event> {
        newest(&self.samples, project, count)
    }

    /// Samples that are no longer at hand because younger ones came.
    pub fn samples_dropped(&self) -> u64 {
        self.samples_dropped.load(Ordering::Relaxed)
    }

    /// Facts left out of events that had more than [`DETAILS_MAX`].
    pub fn details_dropped(&self) -> u64 {
        self.details_dropped.load(Ordering::Relaxed)
    }

    /// Takes the trips that wait, having made an event of each. Call it often: this is how a trip
    /// reaches RESPOND, the log and the sandbox.
    pub fn take_trips(&self) -> Vec<Trip> {
        let trips = self.breakers.take_trips();
        for trip in &trips {
            let project = trip.project.clone().unwrap_or_else(ProjectId::host);
            let mut occurrence =
                Occurrence::new(trip.time, project, trip.target.clone(), kinds::BREAKER_TRIP)
                    .with("from", state_name(trip.from))
                    .with("to", state_name(trip.to))
                    .with("reason", trip.reason.as_str());
            occurrence.layer = Layer::Control;
            occurrence.verdict = EventVerdict::Alert;
            occurrence.rule = Some(trip.rule.clone());
            self.emit(occurrence);
        }
        trips
    }

    /// Forgets a key or sandbox that is gone.
    pub fn forget(&self, project: &ProjectId, target: &Target) {
        self.windows.forget(project, target);
        self.breakers.forget(target);
    }

    fn number(&self, occurrence: Occurrence) -> Event {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        let mut detail = occurrence.detail;
        while detail.len() > DETAILS_MAX {
            detail.pop_last();
            self.details_dropped.fetch_add(1, Ordering::Relaxed);
        }
        Event {
            v: 0,
            id: format!("{}-{seq}", self.boot),
            time: occurrence.time,
            boot: self.boot.clone(),
            seq,
            project: occurrence.project,
            target: occurrence.target,
            kind: occurrence.kind.to_owned(),
            layer: occurrence.layer,
            rule: occurrence.rule,
            verdict: occurrence.verdict,
            parent: None,
            trace: occurrence.trace,
            detail,
        }
    }

    fn keep(&self, event: Event) {
        let sample = event.layer == Layer::Sample && event.verdict == EventVerdict::Observed;
        let (ring, limit) = if sample {
            (&self.samples, RECENT_SAMPLES_MAX)
        } else {
            (&self.events, RECENT_EVENTS_MAX)
        };
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= limit {
            ring.pop_front();
            self.samples_dropped
                .fetch_add(u64::from(sample), Ordering::Relaxed);
        }
        ring.push_back(event);
    }
}

/// The name of a state, as in events and metrics.
pub fn state_name(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Throttled => "throttled",
        BreakerState::Frozen => "frozen",
        BreakerState::HalfOpen => "half-open",
    }
}

/// The last `count` events of a project in a ring, newest first.
fn newest(ring: &Mutex<VecDeque<Event>>, project: &ProjectId, count: usize) -> Vec<Event> {
    let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
    ring.iter()
        .rev()
        .filter(|e| &e.project == project)
        .take(count)
        .cloned()
        .collect()
}

impl EventSink for Watch {
    fn emit(&self, occurrence: Occurrence) {
        let event = self.number(occurrence);
        self.windows.record(&event);
        self.breakers.register(&event.target, &event.project);
        if event.verdict == EventVerdict::Denied && event.kind != kinds::BREAKER_REFUSED {
            self.breakers.note_denial(&event.target, &event.project);
        }
        if let Some(forward) = &self.forward {
            forward(&event);
        }
        self.keep(event);
    }
}
