//! Thresholds from somebody's own harmless traffic, with the guarantee of split conformal
//! prediction: if tomorrow's harmless texts are drawn like today's, at most the stated part of them
//! is flagged (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005).

use super::verdict::{CERTAIN, Millionths, THRESHOLD};
use ringfence_core::detection::Channel;
use serde::{Deserialize, Serialize};

/// The threshold of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelThreshold {
    /// Whose texts.
    pub channel: Channel,
    /// From which score on a text is flagged.
    pub threshold: Millionths,
    /// How many texts it rests on.
    pub texts: u64,
}

/// Thresholds for the channels that had enough texts; the others keep the shipped ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Of a million harmless texts, how many may be flagged.
    pub rate: Millionths,
    /// The weights that the scores came from; others need other thresholds.
    pub bundle: String,
    /// One entry for each channel.
    pub channels: Vec<ChannelThreshold>,
}

impl Thresholds {
    /// From which score on a text of this channel is flagged.
    pub fn of(&self, channel: Channel) -> Millionths {
        self.channels
            .iter()
            .find(|c| c.channel == channel)
            .map_or(THRESHOLD, |c| c.threshold)
    }
}

/// The fewest texts that can carry a rate: with fewer, even flagging none proves nothing.
pub fn texts_min(rate: Millionths) -> u64 {
    u64::from(CERTAIN)
        .div_ceil(u64::from(rate.max(1)))
        .saturating_sub(1)
        .max(1)
}

/// The smallest threshold that keeps the rate, or nothing if there are too few texts.
pub fn threshold(scores: &mut [Millionths], rate: Millionths) -> Option<Millionths> {
    let n = scores.len() as u64;
    // The conformal rank: the ceil((n + 1)(1 - rate))-th smallest score may still pass.
    let keep = u64::from(CERTAIN.saturating_sub(rate));
    let rank = ((n + 1) * keep).div_ceil(u64::from(CERTAIN));
    if rank == 0 || rank > n || rate == 0 {
        return None;
    }
    scores.sort_unstable();
    let at = usize::try_from(rank - 1).ok()?;
    scores.get(at).map(|score| score.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_keeps_the_rate_and_is_the_smallest_that_does() {
        let mut scores: Vec<Millionths> = (0..999).rev().collect();
        let at = threshold(&mut scores, 10_000).unwrap();
        let flagged = scores.iter().filter(|s| **s >= at).count();
        assert_eq!((at, flagged), (990, 9), "at most 1 % of (n + 1)");
    }

    #[test]
    fn too_few_texts_make_no_threshold() {
        for rate in [1_000, 10_000, 500_000] {
            let least = usize::try_from(texts_min(rate)).unwrap();
            assert!(threshold(&mut vec![7; least], rate).is_some(), "{rate}");
            assert_eq!(threshold(&mut vec![7; least - 1], rate), None, "{rate}");
        }
        assert_eq!(threshold(&mut vec![1; 5000], 0), None);
    }

    #[test]
    fn a_channel_without_its_own_threshold_keeps_the_shipped_one() {
        let own = Thresholds {
            rate: 10_000,
            bundle: String::new(),
            channels: vec![ChannelThreshold {
                channel: Channel::Document,
                threshold: 700_000,
                texts: 100,
            }],
        };
        assert_eq!(own.of(Channel::Document), 700_000);
        assert_eq!(own.of(Channel::User), THRESHOLD);
    }
}
