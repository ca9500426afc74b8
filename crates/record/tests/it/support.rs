//! What the tests hand in.

use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::{Clock, Entropy};
use ringfence_core::time::Timestamp;
use ringfence_crypto::random::SystemEntropy;
use ringfence_crypto::sign::{Algorithm, SigningKey};
use ringfence_record::log::LogKeys;
use std::sync::Arc;

/// Always the same moment.
pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_176_000_000)
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(StillClock)
}

pub(crate) fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

pub(crate) fn keys() -> LogKeys {
    let key = |algorithm| SigningKey::from_seed(algorithm, &[42; 32]).unwrap();
    LogKeys {
        ed25519: key(Algorithm::Ed25519),
        ml_dsa: key(Algorithm::MlDsa44),
    }
}

pub(crate) fn leaf(n: u64) -> Leaf {
    Leaf::new(
        StillClock.now(),
        ProjectId::host(),
        "service",
        LeafAction::RequestSettle,
        format!("request:{n}"),
    )
}

/// Chance from a seed (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}
