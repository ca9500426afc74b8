//! A disk that fills up: a reserve is kept, so that what must be recorded still can be while what
//! may wait is refused.
//!
//! With space for the reserve gone, no new sequence numbers are given out, so that no new request
//! begins; decisions, and the settlements of requests already under way, use the reserve. When that
//! is used up too, everything is refused, and nothing that was acknowledged is touched.

use super::Log;
use super::disk::Disk;
use serde::{Deserialize, Serialize};

/// Holds space back.
pub(crate) const RESERVE_FILE: &str = "reserve";
/// How much is held back, and less on a small disk: one part in [`RESERVE_PART`] of it.
pub const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
const RESERVE_PART: u64 = 64;
/// LIMIT: with fewer octets free the disk counts as nearly full; on a small disk, with fewer than
/// four reserves.
pub const LOW_BYTES: u64 = 256 * 1024 * 1024;

/// How much space the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Enough.
    Ample,
    /// Below [`LOW_BYTES`]: time to act.
    Low,
    /// Only the reserve: requests are refused, decisions are still recorded.
    Reserve,
}

impl Log {
    /// Looks at the disk; to be called now and then. Takes the reserve when there is space for it.
    pub fn look_at_space(&mut self) {
        // Without an answer, the next write tells.
        let Ok((free, total)) = self.disk.space() else {
            return;
        };
        let reserve = self.options.reserve_bytes.min(total / RESERVE_PART);
        let held = held(&*self.disk);
        self.space = match free {
            _ if !held && free < 2 * reserve => Space::Reserve,
            _ if !held && !hold(&*self.disk, reserve) => Space::Reserve,
            _ if free < LOW_BYTES.min(4 * reserve) => Space::Low,
            _ => Space::Ample,
        };
    }

    /// Gives the reserve to those who must write; `false` when it is gone already.
    pub(super) fn release_reserve(&mut self) -> bool {
        self.space = Space::Reserve;
        held(&*self.disk)
            && self.disk.remove(RESERVE_FILE).is_ok()
            && self.disk.sync_names("").is_ok()
    }
}

/// Whether space is held back: a power cut can leave the file's name without its space.
fn held(disk: &dyn Disk) -> bool {
    let length = disk.open(RESERVE_FILE, false).and_then(|f| f.length());
    length.is_ok_and(|length| length > 0)
}

fn hold(disk: &dyn Disk, octets: u64) -> bool {
    let held = disk
        .open(RESERVE_FILE, true)
        .and_then(|f| f.allocate(octets));
    if held.is_err() {
        // Half a reserve helps nobody.
        drop(disk.remove(RESERVE_FILE));
    }
    held.is_ok()
}
