//! Named metrics in windows of fixed length, for each project and for each of its keys and
//! sandboxes.
//!
//! A window is a slice of the monotonic clock, so a wall clock that is set changes nothing. Every
//! bound is named: windows kept, targets tracked; what does not fit is counted.

use crate::histogram::Histogram;
use crate::kinds;
use ringfence_core::event::{Event, EventVerdict, Target};
use ringfence_core::ids::ProjectId;
use ringfence_core::ports::Clock;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Length of a window.
pub const WINDOW_MS: u64 = 10_000;
/// LIMIT: windows kept for each target (ten minutes).
pub const WINDOWS_KEPT: usize = 60;
/// LIMIT: targets tracked at a time; events of further ones count for their project only.
pub const TARGETS_MAX: usize = 1_024;
/// LIMIT: projects with totals of their own; further ones are added up as one.
pub const PROJECTS_MAX: usize = 256;
const SHARDS: usize = 16;

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Requests that ended.
    Requests,
    /// Requests that ended with a status of 500 or more.
    Errors,
    /// Tokens read by a model.
    TokensIn,
    /// Tokens written by a model.
    TokensOut,
    /// Hits of the prompt shield.
    ShieldHits,
    /// Pieces of personal data replaced.
    PiiRedactions,
    /// Anything a control refused.
    Denials,
    /// Processor time of sandboxes in microseconds.
    CpuUs,
    /// Connections out of sandboxes that were refused.
    RefusedConnections,
    /// Kills by the memory limit.
    OomKills,
    /// Forks refused by the process limit.
    ForkDenials,
    /// Events of any kind.
    Events,
}

/// How many counters there are.
pub const COUNTERS: usize = 12;

/// What is measured at a moment; a window keeps the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Memory of sandboxes in octets.
    MemoryBytes,
    /// Processes and threads of sandboxes.
    Processes,
}

/// How many gauges there are.
pub const GAUGES: usize = 2;

/// One window of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Number of the window: monotonic milliseconds divided by [`WINDOW_MS`].
    pub window: u64,
    counters: [u64; COUNTERS],
    gauges: [u64; GAUGES],
    /// How long requests took.
    pub latency: Histogram,
}

impl Frame {
    /// The sum of a counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters
            .get(counter as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The highest of a gauge.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges.get(gauge as usize).copied().unwrap_or_default()
    }

    fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(sum) = self.counters.get_mut(counter as usize) {
            *sum = sum.saturating_add(amount);
        }
    }

    fn raise(&mut self, gauge: Gauge, value: u64) {
        if let Some(highest) = self.gauges.get_mut(gauge as usize) {
            *highest = value.max(*highest);
        }
    }

    /// Adds what another holds; of gauges the higher.
    fn absorb(&mut self, other: &Self) {
        for (sum, more) in self.counters.iter_mut().zip(other.counters) {
            *sum = sum.saturating_add(more);
        }
        for (highest, value) in self.gauges.iter_mut().zip(other.gauges) {
            *highest = value.max(*highest);
        }
        self.latency.absorb(&other.latency);
    }
}

/// What a series is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// All of a project.
    Project,
    /// One of its keys or sandboxes.
    Target(Target),
}

#[derive(Default)]
struct Series {
    frames: VecDeque<Frame>,
    /// The last counters of a sandbox, which count since its start.
    last: [u64; 3],
    /// The last gauges of a sandbox.
    now: [u64; GAUGES],
}

type Shard = Mutex<HashMap<(ProjectId, Subject), Series>>;

/// All windows.
pub struct Windows {
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    shards: [Shard; SHARDS],
    tracked: AtomicUsize,
    untracked: AtomicU64,
    totals: Mutex<BTreeMap<Option<ProjectId>, Frame>>,
}

impl Windows {
    /// Empty windows.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Shard::default()),
            tracked: AtomicUsize::new(0),
            untracked: AtomicU64::new(0),
            totals: Mutex::default(),
        }
    }

    fn window(&self) -> u64 {
        self.clock.monotonic_ns() / 1_000_000 / WINDOW_MS
    }

    fn shard(
        &self,
        key: &(ProjectId, Subject),
    ) -> Option<MutexGuard<'_, HashMap<(ProjectId, Subject), Series>>> {
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).ok()?;
        Some(
            self.shards
                .get(place)?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Adds an event to its target, its project and the totals.
    pub fn record(&self, event: &Event) {
        let mut change = effect(event);
        let window = self.window();
        if matches!(event.target, Target::Key(_) | Target::Sandbox(_)) {
            let key = (event.project.clone(), Subject::Target(event.target.clone()));
            self.add(key, window, &mut change, event);
        } else if event.kind == kinds::SANDBOX_STATS {
            // Counters since a start mean nothing without the sandbox that started.
            change = Frame::default();
            change.add(Counter::Events, 1);
        }
        let key = (event.project.clone(), Subject::Project);
        self.add(key, window, &mut change, event);
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let label = Some(event.project.clone());
        let known = totals.contains_key(&label) || totals.len() < PROJECTS_MAX;
        totals
            .entry(if known { label } else { None })
            .or_default()
            .absorb(&change);
    }

    fn add(&self, key: (ProjectId, Subject), window: u64, change: &mut Frame, event: &Event) {
        // Only the sandbox's own series knows what it last said; the project then adds the
        // difference that this made of `change`.
        let differ = event.kind == kinds::SANDBOX_STATS
            && matches!(key.1, Subject::Target(Target::Sandbox(_)));
        let Some(mut shard) = self.shard(&key) else {
            return;
        };
        if !shard.contains_key(&key) {
            if self.tracked.load(Ordering::Relaxed) >= TARGETS_MAX {
                let before = shard.len();
                let young = |f: &Frame| f.window + WINDOWS_KEPT as u64 > window;
                shard.retain(|_, s| s.frames.back().is_some_and(young));
                self.tracked
                    .fetch_sub(before - shard.len(), Ordering::Relaxed);
            }
            if self.tracked.load(Ordering::Relaxed) >= TARGETS_MAX {
                self.untracked.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.tracked.fetch_add(1, Ordering::Relaxed);
        }
        let series = shard.entry(key).or_default();
        if differ {
            series.differences(change);
        }
        match series.frames.back_mut() {
            // A window older than the last is the same moment seen by a slower thread.
            Some(last) if last.window >= window => last.absorb(change),
            _ => {
                if series.frames.len() >= WINDOWS_KEPT {
                    series.frames.pop_front();
                }
                series.frames.push_back(Frame { window, ..*change });
            }
        }
    }

    /// The windows of a subject that are kept and still young enough, oldest first. Windows
    /// without any event are left out.
    pub fn of(&self, project: &ProjectId, subject: &Subject) -> Vec<Frame> {
        let key = (project.clone(), subject.clone());
        let oldest = self.window().saturating_sub(WINDOWS_KEPT as u64);
        let Some(shard) = self.shard(&key) else {
            return Vec::new();
        };
        let frames = shard.get(&key).map(|s| s.frames.iter());
        frames
            .into_iter()
            .flatten()
            .filter(|f| f.window >= oldest)
            .copied()
            .collect()
    }

    /// The keys and sandboxes of a project that are tracked, in order.
    pub fn targets(&self, project: &ProjectId) -> Vec<Target> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(
                shard
                    .keys()
                    .filter(|(p, _)| p == project)
                    .filter_map(|(_, s)| match s {
                        Subject::Target(target) => Some(target.clone()),
                        Subject::Project => None,
                    }),
            );
        }
        found.sort();
        found
    }

    /// Forgets a target that is gone.
    pub fn forget(&self, project: &ProjectId, target: &Target) {
        let key = (project.clone(), Subject::Target(target.clone()));
        if self
            .shard(&key)
            .and_then(|mut shard| shard.remove(&key))
            .is_some()
        {
            self.tracked.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Memory and processes of all sandboxes of each project, as last reported.
    pub fn gauges_now(&self) -> BTreeMap<ProjectId, [u64; GAUGES]> {
        let mut sums: BTreeMap<ProjectId, [u64; GAUGES]> = BTreeMap::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for ((project, subject), series) in shard.iter() {
                if let Subject::Target(Target::Sandbox(_)) = subject {
                    let sum = sums.entry(project.clone()).or_default();
                    for (sum, now) in sum.iter_mut().zip(series.now) {
                        *sum = sum.saturating_add(now);
                    }
                }
            }
        }
        sums.into_iter().take(PROJECTS_MAX).collect()
    }

    /// Everything since the start, by project; `None` holds the projects beyond
    /// [`PROJECTS_MAX`].
    pub fn totals(&self) -> BTreeMap<Option<ProjectId>, Frame> {
        self.totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Events that had no room for a series of their own.
    pub fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }
}

impl Series {
    /// Turns counters since the start of a sandbox into what came since the last report. A lower
    /// number than before means that it started anew.
    fn differences(&mut self, change: &mut Frame) {
        let counters = [Counter::CpuUs, Counter::OomKills, Counter::ForkDenials];
        for (last, counter) in self.last.iter_mut().zip(counters) {
            let now = change.counter(counter);
            let more = if now >= *last { now - *last } else { now };
            *last = now;
            if let Some(slot) = change.counters.get_mut(counter as usize) {
                *slot = more;
            }
        }
        self.now = change.gauges;
    }
}

/// What one event adds to a window.
fn effect(event: &Event) -> Frame {
    let number = |name: &str| event.detail.get(name).and_then(serde_json::Value::as_u64);
    let amount = |name: &str| number(name).unwrap_or_default();
    let count = || number("count").unwrap_or(1);
    let mut frame = Frame::default();
    frame.add(Counter::Events, 1);
    if event.verdict == EventVerdict::Denied {
        frame.add(Counter::Denials, 1);
    }
    match event.kind.as_str() {
        kinds::REQUEST_FINISHED => {
            frame.add(Counter::Requests, 1);
            frame.add(Counter::Errors, u64::from(amount("status") >= 500));
            frame.add(Counter::TokensIn, amount("tokens_in"));
            frame.add(Counter::TokensOut, amount("tokens_out"));
            if let Some(ms) = number("latency_ms") {
                frame.latency.observe(ms);
            }
        }
        kinds::SHIELD_TAGGED | kinds::SHIELD_BLOCKED => frame.add(Counter::ShieldHits, count()),
        kinds::PII_REDACTED => frame.add(Counter::PiiRedactions, count()),
        kinds::SANDBOX_REFUSED => frame.add(Counter::RefusedConnections, count()),
        kinds::SANDBOX_STATS => {
            frame.add(Counter::CpuUs, amount("cpu_us"));
            frame.add(Counter::OomKills, amount("oom_kills"));
            frame.add(Counter::ForkDenials, amount("fork_denials"));
            frame.raise(Gauge::MemoryBytes, amount("memory_bytes"));
            frame.raise(Gauge::Processes, amount("processes"));
        }
        _ => {}
    }
    frame
}
