//! The durable high-water mark: what has been signed, kept apart from the log.
//!
//! It is forced to disk *before* a checkpoint is published. A log that reads back shorter than
//! this, or with another root at this size, must not sign again: it would be a second history. It
//! also says how much of the tree needs the write-ahead log no more, and where that log begins.

use super::disk::{Disk, read_whole, replace};
use crate::error::RecordError;
use ringfence_core::digest::hex;
use ringfence_crypto::checkpoint::{Checkpoint, decimal};
use ringfence_crypto::hash::sha256;

/// The file's name.
pub(crate) const STATE_FILE: &str = "state";
const TITLE: &str = "ringfence-log-state/v1";
/// LIMIT: octets of the file.
const STATE_BYTES_MAX: u64 = 8192;

/// What was signed last, and what is durable without the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HighWater {
    /// What was signed last.
    pub(crate) checkpoint: Checkpoint,
    /// Frames that there were then.
    pub(crate) groups: u64,
    /// Leaves whose full tiles were forced to disk, a multiple of 256.
    pub(crate) durable: u64,
    /// The first segment that is still needed.
    pub(crate) segment: u64,
}

impl HighWater {
    fn text(&self) -> String {
        let body = format!(
            "{TITLE}\ngroups {}\ndurable {}\nsegment {}\n{}",
            self.groups,
            self.durable,
            self.segment,
            self.checkpoint.text()
        );
        format!("{body}{}\n", hex(&sha256(body.as_bytes())))
    }

    fn parse(text: &str) -> Option<Self> {
        let split = text.strip_suffix('\n')?.rfind('\n')? + 1;
        let (body, sum) = text.split_at(split);
        if sum.strip_suffix('\n')? != hex(&sha256(body.as_bytes())) {
            return None;
        }
        let mut rest = body.strip_prefix(TITLE)?.strip_prefix('\n')?;
        let mut number = |name: &str| {
            let (line, after) = rest.split_once('\n')?;
            rest = after;
            decimal(line.strip_prefix(name)?.strip_prefix(' ')?)
        };
        let (groups, durable, segment) =
            (number("groups")?, number("durable")?, number("segment")?);
        Some(Self {
            checkpoint: Checkpoint::parse(rest).ok()?,
            groups,
            durable,
            segment,
        })
    }

    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, RecordError> {
        let Some(bytes) = read_whole(disk, STATE_FILE, STATE_BYTES_MAX)? else {
            return Ok(None);
        };
        let state = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        state
            .map(Some)
            .ok_or_else(|| RecordError::corrupt(STATE_FILE, 0, "its checksum is wrong"))
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), RecordError> {
        replace(disk, STATE_FILE, self.text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_no_changed_octet_passes() {
        let state = HighWater {
            checkpoint: Checkpoint::new("o", 12, [3; 32]),
            groups: 4,
            durable: 0,
            segment: 2,
        };
        let text = state.text();
        assert_eq!(HighWater::parse(&text), Some(state));
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] ^= 1;
            assert_eq!(
                String::from_utf8(bytes)
                    .ok()
                    .and_then(|t| HighWater::parse(&t)),
                None
            );
            assert_eq!(HighWater::parse(&text[..i]), None);
        }
    }
}
