//! Requests a minute, exactly: at most N in any 60 seconds, wherever the 60 seconds begin.
//!
//! A fixed window lets twice the number pass at its edge, a token bucket as well after a rest.
//! This keeps the moment of each admitted request of the last minute, at most
//! [`REQUESTS_PER_MINUTE_MAX`] of them.

use crate::config::REQUESTS_PER_MINUTE_MAX;
use ringfence_core::event::Target;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// LIMIT: callers whose windows are kept; above it, windows that are over are dropped first.
pub const WINDOWS_MAX: usize = 16_384;
const WINDOW_NS: u64 = 60_000_000_000;

/// The windows of all callers. It asks no clock: the moment is handed in.
#[derive(Default)]
pub struct Limiter {
    windows: Mutex<HashMap<Target, VecDeque<u64>>>,
}

impl Limiter {
    /// No windows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits one request, or says how many milliseconds from now the next would be admitted.
    /// Requests that are refused do not count.
    pub fn admit(&self, caller: &Target, per_minute: u32, now_ns: u64) -> Result<(), u64> {
        let limit = usize::try_from(per_minute.min(REQUESTS_PER_MINUTE_MAX)).unwrap_or(0);
        let mut windows = self.lock();
        if windows.len() >= WINDOWS_MAX && !windows.contains_key(caller) {
            windows.retain(|_, moments| {
                moments
                    .back()
                    .is_some_and(|last| now_ns.saturating_sub(*last) < WINDOW_NS)
            });
            if windows.len() >= WINDOWS_MAX {
                return Err(1_000);
            }
        }
        let moments = windows.entry(caller.clone()).or_default();
        while moments
            .front()
            .is_some_and(|first| now_ns.saturating_sub(*first) >= WINDOW_NS)
        {
            moments.pop_front();
        }
        if moments.len() < limit {
            moments.push_back(now_ns);
            return Ok(());
        }
        // The request that must leave the window first; with a limit of 0 there is none.
        let leaves = moments
            .get(moments.len().saturating_sub(limit))
            .map_or(now_ns, |m| *m);
        let wait_ns = (leaves + WINDOW_NS).saturating_sub(now_ns);
        Err(wait_ns.div_ceil(1_000_000))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, VecDeque<u64>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> Target {
        Target::Key(name.parse().unwrap())
    }

    #[test]
    fn the_limit_is_admitted_and_one_more_is_told_when_to_come_back() {
        let limiter = Limiter::new();
        for i in 0..3 {
            assert_eq!(limiter.admit(&key("a"), 3, i * 1_000_000_000), Ok(()));
        }
        assert_eq!(limiter.admit(&key("a"), 3, 3_000_000_000), Err(57_000));
        assert_eq!(
            limiter.admit(&key("b"), 3, 3_000_000_000),
            Ok(()),
            "callers are apart"
        );
        assert_eq!(limiter.admit(&key("a"), 3, 59_999_999_999), Err(1));
        assert_eq!(limiter.admit(&key("a"), 3, 60_000_000_000), Ok(()));
        assert_eq!(limiter.admit(&key("a"), 3, 60_000_000_000), Err(1_000));
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        assert_eq!(Limiter::new().admit(&key("a"), 0, 5), Err(60_000));
    }

    #[test]
    fn callers_are_kept_up_to_the_limit_and_room_is_made_when_windows_are_over() {
        let limiter = Limiter::new();
        for i in 0..WINDOWS_MAX {
            assert_eq!(limiter.admit(&key(&format!("k{i}")), 1, 0), Ok(()));
        }
        assert_eq!(limiter.admit(&key("one-more"), 1, 0), Err(1_000));
        assert_eq!(limiter.admit(&key("one-more"), 1, WINDOW_NS), Ok(()));
    }

    proptest! {
        #[test]
        fn no_minute_ever_holds_more_than_the_limit(
            steps in prop::collection::vec(0_u64..20_000_000_000, 1..200), limit in 0_u32..8
        ) {
            let limiter = Limiter::new();
            let (mut now, mut admitted) = (0, Vec::new());
            for step in steps {
                now += step;
                match limiter.admit(&key("a"), limit, now) {
                    Ok(()) => admitted.push(now),
                    Err(wait_ms) if limit > 0 => {
                        // What is promised is true: exactly then one more passes.
                        prop_assert!(wait_ms > 0);
                        let in_window = |at: u64| {
                            admitted.iter().filter(|m| at - **m < WINDOW_NS).count()
                        };
                        prop_assert!(in_window(now) >= limit as usize);
                        prop_assert!(in_window(now + wait_ms * 1_000_000) < limit as usize);
                    }
                    Err(_) => {}
                }
            }
            for (i, first) in admitted.iter().enumerate() {
                let within = admitted[i..].iter().filter(|m| **m - first < WINDOW_NS).count();
                prop_assert!(within <= limit as usize);
            }
        }
    }
}
