//! Leases with fencing tokens: how one worker at a time holds a piece of work.
//!
//! A claim gives a token that is larger than every token given before. Whoever comes back with
//! another token than the newest is refused ([`StoreError::Stale`]), however late it wakes up; what
//! it does outside can be fenced by passing the token on. A lease whose time is over is not yet
//! lost: only the next claim takes it away.

use crate::counters;
use crate::error::StoreError;
use crate::transaction::Tx;

/// LIMIT: how long a lease may run without a heartbeat.
pub const LEASE_MS_MAX: i64 = 3_600_000;
/// LIMIT: characters that are kept of an error.
pub const ERROR_CHARS_MAX: usize = 1_000;

/// The right to work on a row until another one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of which row.
    pub id: String,
    /// Grows with every claim of whatever row.
    pub token: u64,
}

impl Lease {
    /// A lease with the next token. Given back if the transaction is not kept.
    pub(crate) fn next(tx: &Tx<'_>, id: &str) -> Result<Self, StoreError> {
        let token = counters::next(tx, "lease token")?;
        Ok(Self {
            id: id.to_owned(),
            token,
        })
    }

    /// The token as a column holds it.
    pub(crate) fn column(&self) -> i64 {
        i64::try_from(self.token).unwrap_or(i64::MAX)
    }

    /// Refuses unless exactly one row still has this token.
    pub(crate) fn held(&self, what: &'static str, changed: usize) -> Result<(), StoreError> {
        if changed == 1 {
            return Ok(());
        }
        Err(StoreError::Stale {
            what,
            id: self.id.clone(),
        })
    }
}

/// The first characters of an error, for its column.
pub(crate) fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARS_MAX).collect()
}

/// How long to wait after a failure: the first wait, then twice as long each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt.
    pub first_ms: i64,
    /// LIMIT: how long the wait grows.
    pub ms_max: i64,
}

impl Backoff {
    /// The wait after the `attempts`-th attempt.
    pub fn after(self, attempts: u32) -> i64 {
        let doubled = 1_i64
            .checked_shl(attempts.saturating_sub(1))
            .filter(|factor| *factor > 0)
            .unwrap_or(i64::MAX);
        self.first_ms.saturating_mul(doubled).min(self.ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_whatever_the_number() {
        let backoff = Backoff {
            first_ms: 10,
            ms_max: 1_000,
        };
        let waits: Vec<i64> = [0, 1, 2, 7, 8, 62, 63, 64, 65, u32::MAX]
            .map(|n| backoff.after(n))
            .to_vec();
        assert_eq!(
            waits,
            [10, 10, 20, 640, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]
        );
    }

    #[test]
    fn an_error_is_kept_up_to_its_limit_and_cut_one_above() {
        let whole = "ä".repeat(ERROR_CHARS_MAX);
        assert_eq!(shortened(&whole), whole);
        assert_eq!(shortened(&format!("{whole}x")), whole);
    }
}
