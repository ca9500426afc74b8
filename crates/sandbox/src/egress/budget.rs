//! What one sandbox may use of the way out: octets, connections, and lines in the event log.

use super::config::EgressConfig;
use super::refusal::Refusal;
use std::sync::{Arc, Mutex, PoisonError};

/// LIMIT: denials of one sandbox that are told one by one in a minute; the rest of them are told as
/// a number.
pub(super) const TOLD_PER_MINUTE_MAX: u32 = 120;

const HOUR_NS: u64 = 3_600_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// The counters of one sandbox.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_per_hour: u64,
    connections: usize,
    per_minute: u32,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    hour: u64,
    bytes: u64,
    minute: u64,
    begun: u32,
    told: u32,
    untold: u64,
    open: usize,
}

impl Used {
    fn at(&mut self, now_ns: u64) -> &mut Self {
        let (hour, minute) = (now_ns / HOUR_NS, now_ns / MINUTE_NS);
        if self.hour != hour {
            self.hour = hour;
            self.bytes = 0;
        }
        if self.minute != minute {
            self.minute = minute;
            self.begun = 0;
            self.told = 0;
        }
        self
    }
}

/// One open connection; it is counted out when this is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Budget>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.with(|used| used.open = used.open.saturating_sub(1));
    }
}

impl Budget {
    pub(super) fn new(config: &EgressConfig) -> Arc<Self> {
        Arc::new(Self {
            bytes_per_hour: config.mib_per_hour_max.saturating_mul(1 << 20),
            connections: config.connections_max,
            per_minute: config.connections_per_minute_max,
            used: Mutex::default(),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Used) -> T) -> T {
        work(&mut self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a connection in.
    pub(super) fn open(self: &Arc<Self>, now_ns: u64) -> Result<Permit, Refusal> {
        self.with(|used| {
            let used = used.at(now_ns);
            if used.open >= self.connections || used.begun >= self.per_minute {
                return Err(Refusal::TooMany);
            }
            if used.bytes >= self.bytes_per_hour {
                return Err(Refusal::BytesSpent);
            }
            used.open += 1;
            used.begun += 1;
            Ok(Permit(Arc::clone(self)))
        })
    }

    /// Octets that are left of this hour.
    pub(super) fn room(&self, now_ns: u64) -> usize {
        let left = self.with(|used| self.bytes_per_hour.saturating_sub(used.at(now_ns).bytes));
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Counts octets; what goes over the limit is not passed on.
    pub(super) fn spend(&self, now_ns: u64, bytes: usize) -> Result<(), Refusal> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.with(|used| {
            let used = used.at(now_ns);
            used.bytes = used.bytes.saturating_add(bytes);
            if used.bytes > self.bytes_per_hour {
                return Err(Refusal::BytesSpent);
            }
            Ok(())
        })
    }

    /// Whether one more denial is told by itself: then with the number of those that were not told
    /// before it.
    pub(super) fn tell(&self, now_ns: u64) -> Option<u64> {
        self.with(|used| {
            let used = used.at(now_ns);
            if used.told >= TOLD_PER_MINUTE_MAX {
                used.untold += 1;
                return None;
            }
            used.told += 1;
            Some(std::mem::take(&mut used.untold))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<Budget> {
        Budget::new(&EgressConfig {
            mib_per_hour_max: 1,
            connections_max: 2,
            connections_per_minute_max: 3,
            ..EgressConfig::default()
        })
    }

    #[test]
    fn connections_are_limited_at_once_and_in_a_minute() {
        let budget = budget();
        let first = budget.open(0).unwrap();
        let _second = budget.open(0).unwrap();
        assert_eq!(budget.open(0).err(), Some(Refusal::TooMany));
        drop(first);
        drop(budget.open(0).unwrap());
        assert_eq!(budget.open(MINUTE_NS - 1).err(), Some(Refusal::TooMany));
        assert!(budget.open(MINUTE_NS).is_ok());
    }

    #[test]
    fn octets_are_counted_to_the_limit_and_given_again_in_the_next_hour() {
        let budget = budget();
        assert_eq!(budget.room(0), 1 << 20);
        assert_eq!(budget.spend(0, 1 << 20), Ok(()));
        assert_eq!(budget.room(0), 0);
        assert_eq!(budget.open(0).err(), Some(Refusal::BytesSpent));
        assert_eq!(budget.spend(0, 1), Err(Refusal::BytesSpent));
        assert_eq!(budget.spend(HOUR_NS, 1), Ok(()));
        assert!(budget.open(HOUR_NS).is_ok());
    }

    #[test]
    fn denials_are_told_up_to_the_limit_and_the_rest_is_not_lost() {
        let budget = budget();
        for _ in 0..TOLD_PER_MINUTE_MAX {
            assert_eq!(budget.tell(0), Some(0));
        }
        assert_eq!((budget.tell(0), budget.tell(1)), (None, None));
        assert_eq!(budget.tell(MINUTE_NS), Some(2));
        assert_eq!(budget.tell(MINUTE_NS), Some(0));
    }
}
