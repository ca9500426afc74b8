//! Slows down who guesses at keys, without locking out who has one: it is asked only about
//! attempts that have already failed, so a right key never waits.
//!
//! Failures are counted for each pair of address and key id. A guesser must name the id whose
//! secret it guesses, so that pair is what slows down; a caller with another key behind the same
//! address (every program of this machine has 127.0.0.1) is not touched. Texts that are no key at
//! all share one pair for each address.

use ringfence_core::ids::KeyId;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// LIMIT: failures of one pair before it has to wait.
pub const FREE_FAILURES: u32 = 10;
/// LIMIT: milliseconds of the longest wait.
pub const WAIT_MS_MAX: u64 = 60_000;
/// LIMIT: pairs that are remembered; above it the ones whose wait is over are forgotten, and if
/// none is, new pairs wait.
pub const PAIRS_MAX: usize = 4_096;
const FIRST_WAIT_MS: u64 = 1_000;
const FORGET_NS: u64 = 10 * 60 * 1_000_000_000;

type Pair = (Option<IpAddr>, Option<KeyId>);

#[derive(Clone, Copy, Default)]
struct Record {
    failures: u32,
    open_ns: u64,
    last_ns: u64,
}

/// The memory of failures. It asks no clock: the moment is handed in.
#[derive(Default)]
pub struct BackOff {
    records: Mutex<HashMap<Pair, Record>>,
}

impl BackOff {
    /// No failures yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a failed attempt is answered now, or how many milliseconds later.
    pub fn check(
        &self,
        address: Option<IpAddr>,
        id: Option<&KeyId>,
        now_ns: u64,
    ) -> Result<(), u64> {
        let records = self.lock();
        match records.get(&(address.map(network), id.cloned())) {
            Some(record) if record.open_ns > now_ns => {
                Err((record.open_ns - now_ns).div_ceil(1_000_000))
            }
            None if records.len() >= PAIRS_MAX && id.is_none() => Err(FIRST_WAIT_MS),
            _ => Ok(()),
        }
    }

    /// Notes a failed attempt.
    pub fn failed(&self, address: Option<IpAddr>, id: Option<&KeyId>, now_ns: u64) {
        let mut records = self.lock();
        let pair = (address.map(network), id.cloned());
        if records.len() >= PAIRS_MAX && !records.contains_key(&pair) {
            records.retain(|_, r| r.open_ns > now_ns);
            if records.len() >= PAIRS_MAX {
                return;
            }
        }
        let record = records.entry(pair).or_default();
        if now_ns.saturating_sub(record.last_ns) > FORGET_NS {
            *record = Record::default();
        }
        record.failures = record.failures.saturating_add(1);
        record.last_ns = now_ns;
        if let Some(over) = record.failures.checked_sub(FREE_FAILURES) {
            let wait_ms = FIRST_WAIT_MS
                .saturating_mul(1 << over.min(16))
                .min(WAIT_MS_MAX);
            record.open_ns = now_ns + wait_ms * 1_000_000;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pair, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One person has 2^64 IPv6 addresses: those of one /64 count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn waiting_begins_at_the_limit_doubles_and_ends_at_the_longest() {
        let (back_off, here) = (BackOff::new(), address("127.0.0.1"));
        for _ in 1..FREE_FAILURES {
            back_off.failed(here, None, 0);
            assert_eq!(back_off.check(here, None, 0), Ok(()));
        }
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            back_off.failed(here, None, 0);
            assert_eq!(back_off.check(here, None, 0), Err(wait));
        }
        assert_eq!(back_off.check(here, None, 60 * SECOND), Ok(()));
    }

    #[test]
    fn another_key_behind_the_same_address_is_not_touched() {
        let (back_off, here) = (BackOff::new(), address("127.0.0.1"));
        let (guessed, mine) = ("aaa".parse().unwrap(), "bbb".parse().unwrap());
        for _ in 0..FREE_FAILURES {
            back_off.failed(here, Some(&guessed), 0);
        }
        assert_eq!(back_off.check(here, Some(&guessed), 0), Err(1_000));
        assert_eq!(back_off.check(here, Some(&mine), 0), Ok(()));
        assert_eq!(
            back_off.check(address("10.0.0.1"), Some(&guessed), 0),
            Ok(())
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let back_off = BackOff::new();
        for i in 0..FREE_FAILURES {
            back_off.failed(address(&format!("2001:db8::{i:x}")), None, 0);
        }
        assert_eq!(
            back_off.check(address("2001:db8::ffff"), None, 0),
            Err(1_000)
        );
        assert_eq!(back_off.check(address("2001:db8:0:1::1"), None, 0), Ok(()));
    }

    #[test]
    fn the_memory_is_bounded_and_makes_room_when_waits_are_over() {
        let back_off = BackOff::new();
        let fill = |now| {
            for i in 0..PAIRS_MAX {
                let at = address(&format!("10.{}.{}.1", i / 256, i % 256));
                for _ in 0..FREE_FAILURES {
                    back_off.failed(at, None, now);
                }
            }
        };
        fill(0);
        assert_eq!(back_off.lock().len(), PAIRS_MAX);
        assert_eq!(back_off.check(address("11.0.0.1"), None, 0), Err(1_000));
        back_off.failed(address("11.0.0.1"), None, 0);
        assert_eq!(back_off.lock().len(), PAIRS_MAX);
        back_off.failed(address("11.0.0.1"), None, 2 * SECOND);
        assert_eq!(back_off.lock().len(), 1);
    }
}
