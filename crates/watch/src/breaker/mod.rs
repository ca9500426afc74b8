//! The circuit breaker: one for each API key and each sandbox.
//!
//! Asking costs a shared lock on the table and one atomic word; nobody ever waits for a writer that
//! does work. Every change of state is queued as a [`Trip`] that names its rule, for the log, the
//! console and RESPOND. It decides who may pass, not what a freeze does to processes: that is for
//! who takes the trips.

mod cell;
mod config;

pub use config::{BreakerConfig, COUNT_MAX};

use crate::error::WatchError;
use cell::{Cell, Input};
use ringfence_core::event::Target;
use ringfence_core::ids::{ProjectId, RuleId};
use ringfence_core::ports::{Breaker, BreakerState, Clock};
use ringfence_core::time::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// LIMIT: keys and sandboxes with a breaker of their own; those beyond share one.
pub const TARGETS_MAX: usize = 4_096;
/// LIMIT: trips that wait to be taken; further ones act all the same and are counted.
pub const TRIPS_QUEUED_MAX: usize = 256;
/// LIMIT: trips queued in one minute, so that a storm cannot flood the log. Further ones are
/// counted.
pub const TRIPS_PER_MINUTE_MAX: u32 = 120;

/// Too many denials in a window.
pub const RULE_DENIALS: &str = "watch/denial-rate";
/// Too many requests in a window.
pub const RULE_REQUESTS: &str = "watch/request-rate";
/// Time passed without trouble.
pub const RULE_RECOVERY: &str = "watch/recovery";
/// Somebody decided.
pub const RULE_MANUAL: &str = "watch/manual";

/// A breaker changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// Whose breaker.
    pub target: Target,
    /// Whose project, once an event or a registration told.
    pub project: Option<ProjectId>,
    /// When.
    pub time: Timestamp,
    /// From.
    pub from: BreakerState,
    /// To.
    pub to: BreakerState,
    /// Which rule.
    pub rule: RuleId,
    /// Why, with numbers.
    pub reason: String,
}

struct Entry {
    word: AtomicU64,
    project: OnceLock<ProjectId>,
}

#[derive(Default)]
struct Queue {
    trips: VecDeque<Trip>,
    minute: u32,
    in_minute: u32,
}

/// All breakers of the service.
pub struct Breakers {
    config: BreakerConfig,
    clock: Arc<dyn Clock>,
    born_ns: u64,
    table: RwLock<HashMap<Target, Arc<Entry>>>,
    overflow: Arc<Entry>,
    overflowed: AtomicU64,
    queue: Mutex<Queue>,
    unreported: AtomicU64,
}

impl Breakers {
    /// Breakers by these rules.
    pub fn new(config: BreakerConfig, clock: Arc<dyn Clock>) -> Result<Self, WatchError> {
        let born_ns = clock.monotonic_ns();
        Ok(Self {
            config: config.checked()?,
            clock,
            born_ns,
            table: RwLock::default(),
            overflow: Arc::new(Entry::new(0)),
            overflowed: AtomicU64::new(0),
            queue: Mutex::default(),
            unreported: AtomicU64::new(0),
        })
    }

    /// Seconds since these breakers exist.
    fn now_s(&self) -> u32 {
        let passed = self.clock.monotonic_ns().saturating_sub(self.born_ns) / 1_000_000_000;
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    fn known(&self, target: &Target) -> Option<Arc<Entry>> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(target)
            .cloned()
    }

    fn entry(&self, target: &Target) -> Arc<Entry> {
        if let Some(entry) = self.known(target) {
            return entry;
        }
        let now = self.now_s();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= TARGETS_MAX && !table.contains_key(target) {
            // Only breakers that say nothing may go: a new one would say the same.
            table.retain(|_, entry| {
                let cell = entry.load().settled(&self.config, now);
                (cell.state, cell.level, cell.attempts, cell.denials)
                    != (BreakerState::Closed, 0, 0, 0)
            });
            if table.len() >= TARGETS_MAX {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                return Arc::clone(&self.overflow);
            }
        }
        Arc::clone(
            table
                .entry(target.clone())
                .or_insert_with(|| Arc::new(Entry::new(now))),
        )
    }

    /// Tells whose a target is.
    pub fn register(&self, target: &Target, project: &ProjectId) {
        if has_breaker(target) {
            // Only the first answer counts: a target never changes its project.
            self.entry(target).project.get_or_init(|| project.clone());
        }
    }

    /// A control denied something to a target.
    pub fn note_denial(&self, target: &Target, project: &ProjectId) {
        if self.config.enabled && has_breaker(target) {
            self.register(target, project);
            self.act(target, Input::Denial, RULE_DENIALS);
        }
    }

    /// Freezes a target, for example because an invariant was broken.
    pub fn freeze(&self, target: &Target) {
        self.act(target, Input::Freeze, RULE_MANUAL);
    }

    /// Lets only a trickle of a target pass.
    pub fn throttle(&self, target: &Target) {
        self.act(target, Input::Throttle, RULE_MANUAL);
    }

    /// Lets a target go and forgets what it did.
    pub fn thaw(&self, target: &Target) {
        self.act(target, Input::Thaw, RULE_MANUAL);
    }

    /// Forgets a target that is gone, such as a sandbox that was closed.
    pub fn forget(&self, target: &Target) {
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(target);
    }

    /// Takes the trips that wait, oldest first.
    pub fn take_trips(&self) -> Vec<Trip> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.trips.drain(..).collect()
    }

    /// Trips that acted but were not queued, because of [`TRIPS_QUEUED_MAX`] or
    /// [`TRIPS_PER_MINUTE_MAX`].
    pub fn unreported(&self) -> u64 {
        self.unreported.load(Ordering::Relaxed)
    }

    /// How often a target had to share the common breaker.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// How many targets are in each state: closed, throttled, frozen, half-open.
    pub fn census(&self) -> [(BreakerState, u64); 4] {
        let now = self.now_s();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let states: Vec<_> = table
            .values()
            .map(|e| e.load().settled(&self.config, now).state)
            .collect();
        [
            BreakerState::Closed,
            BreakerState::Throttled,
            BreakerState::Frozen,
            BreakerState::HalfOpen,
        ]
        .map(|s| (s, states.iter().filter(|found| **found == s).count() as u64))
    }

    fn act(&self, target: &Target, input: Input, rule: &'static str) -> bool {
        let entry = self.entry(target);
        let now = self.now_s();
        let mut word = entry.word.load(Ordering::Acquire);
        loop {
            let before = Cell::unpack(word);
            let (after, passes) = before.step(&self.config, now, input);
            match entry.word.compare_exchange_weak(
                word,
                after.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    if before.state != after.state {
                        self.report(target, &entry, (before.state, after.state), input, rule);
                    }
                    return passes;
                }
                Err(changed) => word = changed,
            }
        }
    }

    fn report(
        &self,
        target: &Target,
        entry: &Entry,
        (from, to): (BreakerState, BreakerState),
        input: Input,
        rule: &'static str,
    ) {
        let c = &self.config;
        let recovered = matches!(input, Input::Attempt | Input::Denial)
            && matches!(to, BreakerState::Closed | BreakerState::HalfOpen);
        let rule = if recovered { RULE_RECOVERY } else { rule };
        let reason = match (rule, from) {
            (RULE_DENIALS, BreakerState::HalfOpen) => "a denial during the trial".to_owned(),
            (RULE_DENIALS, _) => format!("more than {} denials in {} s", c.denials_max, c.window_s),
            (RULE_REQUESTS, _) => format!(
                "more than {} requests in {} s",
                c.requests_in_window(),
                c.window_s
            ),
            (RULE_RECOVERY, BreakerState::Frozen) => "the cool-down is over".to_owned(),
            (RULE_RECOVERY, _) => "it stayed quiet".to_owned(),
            _ => "by decision".to_owned(),
        };
        let trip = Trip {
            target: target.clone(),
            project: entry.project.get().cloned(),
            time: self.clock.now(),
            from,
            to,
            rule: RuleId::of(rule),
            reason,
        };
        let minute = self.now_s() / 60;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.minute != minute {
            (queue.minute, queue.in_minute) = (minute, 0);
        }
        if queue.trips.len() >= TRIPS_QUEUED_MAX || queue.in_minute >= TRIPS_PER_MINUTE_MAX {
            self.unreported.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.in_minute += 1;
        queue.trips.push_back(trip);
    }
}

impl Entry {
    fn new(now: u32) -> Self {
        Self {
            word: AtomicU64::new(Cell::new(now).pack()),
            project: OnceLock::new(),
        }
    }

    fn load(&self) -> Cell {
        Cell::unpack(self.word.load(Ordering::Acquire))
    }
}

/// Keys and sandboxes have a breaker; a request or a process is stopped through its owner.
fn has_breaker(target: &Target) -> bool {
    matches!(target, Target::Key(_) | Target::Sandbox(_))
}

impl Breaker for Breakers {
    fn state(&self, target: &Target) -> BreakerState {
        match self.known(target) {
            Some(entry) => entry.load().settled(&self.config, self.now_s()).state,
            None => BreakerState::Closed,
        }
    }

    fn admit(&self, target: &Target) -> bool {
        if !self.config.enabled || !has_breaker(target) {
            return true;
        }
        self.act(target, Input::Attempt, RULE_REQUESTS)
    }
}
