//! A clock that is moved by hand, and events to emit.

use ringfence_core::error::Explained;
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ids::ProjectId;
use ringfence_core::ports::{Clock, Entropy};
use ringfence_core::time::Timestamp;
use ringfence_watch::{BreakerConfig, Watch, WatchConfig, WatchParts};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn pass_ms(&self, ms: u64) {
        self.0.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.monotonic_ns() / 1_000_000).unwrap())
    }
    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counting;

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Explained> {
        buffer.iter_mut().zip(1..).for_each(|(octet, n)| *octet = n);
        Ok(())
    }
}

pub(crate) fn watch_with(breaker: BreakerConfig) -> (Arc<HandClock>, Arc<Watch>) {
    let clock = Arc::new(HandClock::default());
    let parts = WatchParts {
        config: WatchConfig { breaker },
        clock: clock.clone(),
        entropy: Arc::new(Counting),
        forward: None,
    };
    (clock, Arc::new(Watch::new(parts).unwrap()))
}

pub(crate) fn watch() -> (Arc<HandClock>, Arc<Watch>) {
    watch_with(BreakerConfig::default())
}

pub(crate) fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

pub(crate) fn key(name: &str) -> Target {
    Target::Key(name.parse().unwrap())
}

pub(crate) fn sandbox(name: &str) -> Target {
    Target::Sandbox(name.parse().unwrap())
}

pub(crate) fn event(target: &Target, kind: &'static str) -> Occurrence {
    Occurrence::new(Timestamp(7), project("desk"), target.clone(), kind)
}
