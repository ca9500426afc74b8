//! The bundle of weights: a table of octets and a manifest in words, both inside the binary.
//!
//! The table is used where it lies; the manifest is a page of TOML that says what each head is, where
//! its threshold stands and on which texts that was found. A digest ties the two together: it finds a
//! half-made commit, not an attacker, who would have to change the binary itself.

use super::features::BUCKETS;
use super::heads::{HEADS, Head, Heads};
use super::verdict::Millionths;
use crate::error::DetectError;
use ringfence_core::detection::{Channel, Label};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The heads: name and label, in the order of the table. `document`, `tool-result` and `tool-schema`
/// ask whether data holds an order; the others what a text wants.
pub const NAMES: [(&str, Label); HEADS] = [
    ("injection", Label::Injection),
    ("jailbreak", Label::Jailbreak),
    ("harmful", Label::Harmful),
    ("leak", Label::Leak),
    ("extraction", Label::Extraction),
    ("document", Label::Injection),
    ("tool-result", Label::Injection),
    ("tool-schema", Label::Injection),
];

/// The rates at which a calibration keeps the margin that is exceeded so often, in millionths.
pub const RATES: [Millionths; 10] = [
    200_000, 100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000, 500, 200,
];

/// What stands beside the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name and version; stands in every verdict.
    pub name: String,
    /// What the training's random choices started from.
    pub seed: u64,
    /// FNV-1a of the table, in hexadecimal.
    pub weights_fnv: String,
    /// What the weights were fitted on, and under which licence.
    pub trained_on: Vec<String>,
    /// What the thresholds were set on.
    pub calibrated_on: Vec<String>,
    /// One entry for each head, in the order of [`NAMES`].
    pub head: Vec<HeadEntry>,
    /// One entry for each head that a channel is judged by.
    pub threshold: Vec<ThresholdEntry>,
}

/// A head's numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadEntry {
    /// As in [`NAMES`].
    pub name: String,
    /// Added to every margin.
    pub bias: f32,
    /// What a weight of one stands for.
    pub scale: f32,
}

/// The threshold of a head in a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdEntry {
    /// Whose texts.
    pub channel: Channel,
    /// Which head.
    pub head: String,
    /// The margin from which on it counts.
    pub margin: f32,
    /// How many harmless texts it was set on.
    pub texts: u32,
    /// The margins that [`RATES`] of them exceed.
    pub exceeded: Vec<f32>,
}

/// A head as a channel uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelHead {
    /// Its place in the table.
    pub index: usize,
    /// What it finds.
    pub label: Label,
    /// The margin from which on it counts.
    pub margin: f32,
    exceeded: Vec<f32>,
}

impl ChannelHead {
    /// Of a million calibration texts, at most how many have a margin like this.
    pub fn rate(&self, margin: f32) -> Option<Millionths> {
        RATES
            .iter()
            .zip(&self.exceeded)
            .filter(|(_, at)| margin >= **at)
            .map(|(rate, _)| *rate)
            .next_back()
    }
}

/// A bundle that is ready to judge.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Name and version.
    pub name: String,
    /// The heads.
    pub heads: Heads,
    channels: Vec<(Channel, ChannelHead)>,
}

const MANIFEST: &str = include_str!("../../weights/shield/manifest.toml");
static TABLE: &[u8] = include_bytes!("../../weights/shield/table.bin");

impl Bundle {
    /// The bundle of this binary.
    pub fn built_in() -> Result<Self, DetectError> {
        Self::new(MANIFEST, Cow::Borrowed(TABLE))
    }

    /// A bundle from its two parts; refused if they do not belong together.
    pub fn new(manifest: &str, table: Cow<'static, [u8]>) -> Result<Self, DetectError> {
        let refuse = |reason: String| DetectError::Bundle { reason };
        let manifest: Manifest = toml::from_str(manifest).map_err(|e| refuse(e.to_string()))?;
        let digest = format!("{:016x}", fnv(&table));
        if digest != manifest.weights_fnv {
            return Err(refuse(format!(
                "the table has the digest {digest}, the manifest says {}",
                manifest.weights_fnv
            )));
        }
        let mut heads = [Head::default(); HEADS];
        let named = manifest.head.iter().zip(NAMES).zip(&mut heads);
        for ((entry, (name, _)), head) in named {
            if entry.name != name {
                return Err(refuse(format!("{} stands where {name} should", entry.name)));
            }
            *head = Head {
                bias: entry.bias,
                scale: entry.scale,
            };
        }
        if manifest.head.len() != HEADS {
            return Err(refuse(format!(
                "{} heads instead of {HEADS}",
                manifest.head.len()
            )));
        }
        let channels = manifest
            .threshold
            .into_iter()
            .map(|entry| channel_head(entry).map_err(refuse))
            .collect::<Result<_, _>>()?;
        let heads = Heads::new(heads, table)
            .ok_or_else(|| refuse(format!("the table is not {BUCKETS} times {HEADS} octets")))?;
        Ok(Self {
            name: manifest.name,
            heads,
            channels,
        })
    }

    /// The heads that judge a channel.
    pub fn of(&self, channel: Channel) -> impl Iterator<Item = &ChannelHead> {
        self.channels
            .iter()
            .filter(move |(c, _)| *c == channel)
            .map(|(_, head)| head)
    }
}

fn channel_head(entry: ThresholdEntry) -> Result<(Channel, ChannelHead), String> {
    let found = NAMES.iter().position(|(name, _)| *name == entry.head);
    let (Some(index), Some((_, label))) = (found, found.and_then(|i| NAMES.get(i))) else {
        return Err(format!("there is no head {}", entry.head));
    };
    if entry.exceeded.len() != RATES.len() {
        return Err(format!(
            "{} rates instead of {}",
            entry.exceeded.len(),
            RATES.len()
        ));
    }
    let head = ChannelHead {
        index,
        label: *label,
        margin: entry.margin,
        exceeded: entry.exceeded,
    };
    Ok((entry.channel, head))
}

/// FNV-1a over words of eight octets: megabytes in well under a millisecond.
pub fn fnv(octets: &[u8]) -> u64 {
    octets.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3)
    })
}
