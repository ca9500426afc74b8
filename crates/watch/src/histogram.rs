//! How long things took, in buckets that grow about twofold: enough to see a shift, small enough
//! to keep one for each window of each target.

/// Upper bounds of the buckets in milliseconds; what is above the last counts only in the total.
pub const BOUNDS_MS: [u64; 15] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000,
];

/// A histogram of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BOUNDS_MS.len()],
    count: u64,
    sum_ms: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&mut self, ms: u64) {
        self.count = self.count.saturating_add(1);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        let place = BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
    }

    /// Adds all durations of another.
    pub fn absorb(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in milliseconds.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// For each bound, how many durations were not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        BOUNDS_MS
            .iter()
            .zip(self.buckets)
            .scan(0_u64, |sum, (bound, n)| {
                *sum = sum.saturating_add(n);
                Some((*bound, *sum))
            })
    }

    /// The bound of the bucket that holds the given per mille of durations; `None` when there are
    /// none, [`u64::MAX`] when it lies above the last bound.
    pub fn quantile_ms(&self, per_mille: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let wanted = self
            .count
            .saturating_mul(per_mille.min(1_000))
            .div_ceil(1_000)
            .max(1);
        Some(
            self.cumulative()
                .find(|(_, n)| *n >= wanted)
                .map_or(u64::MAX, |(bound, _)| bound),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        let mut h = Histogram::default();
        for ms in [0, 1, 2, 3, 60_000, 60_001] {
            h.observe(ms);
        }
        let of = |bound| h.cumulative().find(|(b, _)| *b == bound).map(|(_, n)| n);
        assert_eq!(
            [of(1), of(2), of(5), of(60_000)],
            [Some(2), Some(3), Some(4), Some(5)]
        );
        assert_eq!((h.count(), h.sum_ms()), (6, 120_007));
        assert_eq!(h.quantile_ms(500), Some(2));
        assert_eq!(h.quantile_ms(1_000), Some(u64::MAX));
        assert_eq!(Histogram::default().quantile_ms(500), None);
    }

    #[test]
    fn absorbing_equals_observing_both() {
        let (mut a, mut b, mut both) = Default::default();
        for ms in [3, 700, 9] {
            Histogram::observe(&mut a, ms);
            Histogram::observe(&mut both, ms);
        }
        for ms in [1, 90_000] {
            Histogram::observe(&mut b, ms);
            Histogram::observe(&mut both, ms);
        }
        a.absorb(&b);
        assert_eq!(a, both);
    }
}
