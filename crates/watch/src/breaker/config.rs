//! The rules of the breaker, as the operator writes them under `[watch]`.

use crate::error::WatchError;
use serde::{Deserialize, Serialize};

/// LIMIT: what the counters of a cell can tell apart.
pub const COUNT_MAX: u32 = 65_534;

/// When a breaker trips and how it recovers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Off means that nothing is ever held back; the operator's choice is logged elsewhere.
    pub enabled: bool,
    /// Length of the window that counts are taken in.
    pub window_s: u32,
    /// More denials than this in a window trip it.
    pub denials_max: u32,
    /// More requests a second than this, over a window, trip it.
    pub requests_per_second_max: u32,
    /// While throttled, one request in so many passes.
    pub throttle_one_in: u32,
    /// How long the first freeze lasts; each further one lasts twice as long.
    pub cool_down_s: u32,
    /// The longest a freeze lasts.
    pub cool_down_s_max: u32,
    /// How long the trial after a freeze lasts.
    pub half_open_s: u32,
    /// How many requests pass during the trial.
    pub half_open_requests: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window_s: 10,
            denials_max: 20,
            requests_per_second_max: 50,
            throttle_one_in: 10,
            cool_down_s: 30,
            cool_down_s_max: 600,
            half_open_s: 10,
            half_open_requests: 5,
        }
    }
}

impl BreakerConfig {
    /// Refuses settings that could never trip, never recover or overflow a counter.
    pub fn checked(self) -> Result<Self, WatchError> {
        let out = |key, value: u32, range| {
            Err(WatchError::Setting {
                key,
                value: value.into(),
                range,
            })
        };
        if !(1..=3_600).contains(&self.window_s) {
            return out("window_s", self.window_s, "1 to 3600");
        }
        if self.denials_max > COUNT_MAX {
            return out("denials_max", self.denials_max, "at most 65534");
        }
        let requests = self.requests_per_second_max.checked_mul(self.window_s);
        if !requests.is_some_and(|n| (1..=COUNT_MAX).contains(&n)) {
            let range = "at least 1, and at most 65534 in one window";
            return out(
                "requests_per_second_max",
                self.requests_per_second_max,
                range,
            );
        }
        if self.throttle_one_in == 0 {
            return out("throttle_one_in", self.throttle_one_in, "at least 1");
        }
        if !(1..=86_400).contains(&self.cool_down_s) {
            return out("cool_down_s", self.cool_down_s, "1 to 86400");
        }
        if !(self.cool_down_s..=86_400).contains(&self.cool_down_s_max) {
            return out(
                "cool_down_s_max",
                self.cool_down_s_max,
                "cool_down_s to 86400",
            );
        }
        if !(1..=3_600).contains(&self.half_open_s) {
            return out("half_open_s", self.half_open_s, "1 to 3600");
        }
        if !(1..=COUNT_MAX).contains(&self.half_open_requests) {
            return out("half_open_requests", self.half_open_requests, "1 to 65534");
        }
        Ok(self)
    }

    /// Requests that one window allows.
    pub fn requests_in_window(&self) -> u32 {
        self.requests_per_second_max.saturating_mul(self.window_s)
    }

    /// How long the freeze number `level` lasts.
    pub fn cool_down_at(&self, level: u8) -> u32 {
        let doubled = 1_u32
            .checked_shl(u32::from(level.saturating_sub(1)))
            .unwrap_or(u32::MAX);
        self.cool_down_s
            .saturating_mul(doubled)
            .min(self.cool_down_s_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_accepted_at_the_edge_and_refused_beyond() {
        let with = |change: fn(&mut BreakerConfig)| {
            let mut config = BreakerConfig::default();
            change(&mut config);
            config.checked().is_ok()
        };
        assert!(with(|_| ()));
        assert!(with(|c| c.denials_max = COUNT_MAX));
        assert!(!with(|c| c.denials_max = COUNT_MAX + 1));
        assert!(with(
            |c| (c.window_s, c.requests_per_second_max) = (1, COUNT_MAX)
        ));
        assert!(!with(
            |c| (c.window_s, c.requests_per_second_max) = (1, COUNT_MAX + 1)
        ));
        assert!(!with(|c| c.requests_per_second_max = 0));
        assert!(!with(|c| c.window_s = 0));
        assert!(!with(|c| c.throttle_one_in = 0));
        assert!(!with(|c| c.cool_down_s = 0));
        assert!(!with(|c| c.cool_down_s_max = 29));
        assert!(!with(|c| c.half_open_s = 0));
        assert!(!with(|c| c.half_open_requests = 0));
    }

    #[test]
    fn the_cool_down_doubles_up_to_its_limit() {
        let config = BreakerConfig::default();
        let times: Vec<u32> = (1..=7).map(|n| config.cool_down_at(n)).collect();
        assert_eq!(times, [30, 60, 120, 240, 480, 600, 600]);
    }
}
