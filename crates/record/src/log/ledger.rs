//! Which sequence numbers were given out and what became of each.
//!
//! A number is reserved durably before it is used. It is then filled by a leaf, given back unused,
//! or counted as unaccounted for by a leaf that says so. A number already counted may still be
//! filled late, when its owner outlived the recorder; it is then no longer unaccounted for.

use std::collections::BTreeMap;
use std::sync::Arc;

/// LIMIT: numbers reserved at once.
pub const BLOCK_NUMBERS: u32 = 1024;
/// LIMIT: blocks open at once.
pub const BLOCKS_OPEN_MAX: usize = 64;
/// LIMIT: finished blocks remembered, for late and repeated settlements.
pub const BLOCKS_KEPT_MAX: usize = 64;

/// Why numbers will not be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The recorder ended without closing the block.
    Crash,
    /// The owner of the block went away without closing it.
    Gone,
    /// A slot was dropped unfilled.
    Dropped,
    /// The leaf for the slot could not be written.
    Refused,
    /// Never used, given back in order.
    Unused,
}

impl GapReason {
    const ALL: [Self; 5] = [
        Self::Crash,
        Self::Gone,
        Self::Dropped,
        Self::Refused,
        Self::Unused,
    ];

    /// The word in the leaf.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Gone => "gone",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Unused => "unused",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Crash => 1,
            Self::Gone => 2,
            Self::Dropped => 3,
            Self::Refused => 4,
            Self::Unused => 5,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.code() == code)
    }

    /// Whether a number closed for this reason may still be filled.
    fn may_be_late(self) -> bool {
        matches!(self, Self::Crash | Self::Gone)
    }
}

/// A run of numbers that closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first number.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Why.
    pub reason: GapReason,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The number was open.
    Filled,
    /// The number had been counted as unaccounted for, and no longer is.
    Late,
    /// The number had been filled or given up before; nothing changed.
    Repeated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Number {
    Open,
    Late,
    Done,
}

impl Number {
    const ALL: [Self; 3] = [Self::Open, Self::Late, Self::Done];
}

/// A ledger is copied for every commit, so the numbers of a block are shared until one changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    numbers: Arc<Vec<Number>>,
    open: u32,
}

impl Block {
    fn new(count: u32) -> Self {
        Self {
            numbers: Arc::new(vec![Number::Open; count as usize]),
            open: count,
        }
    }

    fn is_open(&self) -> bool {
        self.open > 0
    }
}

/// All blocks that still matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    next: u64,
    blocks: BTreeMap<u64, Block>,
    unaccounted: u64,
}

impl Ledger {
    /// The first number of the next block.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Numbers that no leaf tells about, so far.
    pub(crate) fn unaccounted(&self) -> u64 {
        self.unaccounted
    }

    /// Numbers reserved and neither filled nor closed.
    pub(crate) fn open_numbers(&self) -> u64 {
        self.blocks.values().map(|b| u64::from(b.open)).sum()
    }

    /// The blocks with open numbers, as gaps that would close them.
    pub(crate) fn open_blocks(&self, reason: GapReason) -> Vec<Gap> {
        self.blocks
            .iter()
            .filter(|(_, b)| b.is_open())
            .map(|(first, b)| Gap {
                first: *first,
                count: u32::try_from(b.numbers.len()).unwrap_or(u32::MAX),
                reason,
            })
            .collect()
    }

    /// Whether one more block may be opened.
    pub(crate) fn may_reserve(&self) -> bool {
        self.blocks.values().filter(|b| b.is_open()).count() < BLOCKS_OPEN_MAX
    }

    /// Opens a block; `false` when it is not the next one or not of the size of blocks.
    pub(crate) fn reserve(&mut self, first: u64, count: u32) -> bool {
        if first != self.next || count == 0 || count > BLOCK_NUMBERS {
            return false;
        }
        self.blocks.insert(first, Block::new(count));
        self.next += u64::from(count);
        let finished: Vec<u64> = self
            .blocks
            .iter()
            .filter(|(_, b)| !b.is_open())
            .map(|(f, _)| *f)
            .collect();
        let surplus = finished.len().saturating_sub(BLOCKS_KEPT_MAX);
        for first in finished.into_iter().take(surplus) {
            self.blocks.remove(&first);
        }
        true
    }

    /// The block that holds a number, and where in it.
    fn locate(&mut self, sequence: u64) -> Option<(&mut Block, usize)> {
        let (first, block) = self.blocks.range_mut(..=sequence).next_back()?;
        let at = usize::try_from(sequence - first).ok()?;
        (at < block.numbers.len()).then_some((block, at))
    }

    /// What filling a number would do; `None` when it is not known.
    pub(crate) fn peek(&self, sequence: u64) -> Option<Settlement> {
        let (first, block) = self.blocks.range(..=sequence).next_back()?;
        let at = usize::try_from(sequence - first).ok()?;
        Some(match block.numbers.get(at)? {
            Number::Open => Settlement::Filled,
            Number::Late => Settlement::Late,
            Number::Done => Settlement::Repeated,
        })
    }

    /// Fills a number; `None` when it is not known.
    pub(crate) fn settle(&mut self, sequence: u64) -> Option<Settlement> {
        let settlement = self.peek(sequence)?;
        if settlement == Settlement::Repeated {
            return Some(settlement);
        }
        let (block, at) = self.locate(sequence)?;
        if let Some(number) = Arc::make_mut(&mut block.numbers).get_mut(at) {
            *number = Number::Done;
        }
        if settlement == Settlement::Filled {
            block.open -= 1;
        } else {
            self.unaccounted -= 1;
        }
        Some(settlement)
    }

    /// All of it, for the head of a segment: what came before is then not needed to go on.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.unaccounted.to_le_bytes());
        for (first, block) in &self.blocks {
            out.extend_from_slice(&first.to_le_bytes());
            let count = u32::try_from(block.numbers.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&count.to_le_bytes());
            out.extend(block.numbers.iter().map(|n| *n as u8));
        }
        out
    }

    /// Reads a snapshot; `None` when it is not one.
    pub(crate) fn restore(snapshot: &[u8]) -> Option<Self> {
        let (next, rest) = snapshot.split_first_chunk::<8>()?;
        let (unaccounted, mut rest) = rest.split_first_chunk::<8>()?;
        let mut ledger = Self {
            next: u64::from_le_bytes(*next),
            blocks: BTreeMap::new(),
            unaccounted: u64::from_le_bytes(*unaccounted),
        };
        while !rest.is_empty() {
            let (first, after) = rest.split_first_chunk::<8>()?;
            let (count, after) = after.split_first_chunk::<4>()?;
            let count = u32::from_le_bytes(*count);
            if count > BLOCK_NUMBERS || ledger.blocks.len() > BLOCKS_OPEN_MAX + BLOCKS_KEPT_MAX {
                return None;
            }
            let (states, after) = after.split_at_checked(count as usize)?;
            let numbers: Vec<Number> = states
                .iter()
                .map(|s| Number::ALL.into_iter().find(|n| *n as u8 == *s))
                .collect::<Option<_>>()?;
            let open = numbers.iter().filter(|n| **n == Number::Open).count();
            let block = Block {
                open: u32::try_from(open).ok()?,
                numbers: Arc::new(numbers),
            };
            ledger.blocks.insert(u64::from_le_bytes(*first), block);
            rest = after;
        }
        Some(ledger)
    }

    /// Closes the open numbers of a gap within one block and says how many are now unaccounted for;
    /// `None` when the gap leaves its block or nothing in it is open.
    pub(crate) fn close(&mut self, gap: Gap) -> Option<u64> {
        let (block, at) = self.locate(gap.first)?;
        let end = at.checked_add(usize::try_from(gap.count).ok()?)?;
        let closed_as = if gap.reason.may_be_late() {
            Number::Late
        } else {
            Number::Done
        };
        let mut closed = 0;
        for number in Arc::make_mut(&mut block.numbers).get_mut(at..end)? {
            if *number == Number::Open {
                *number = closed_as;
                closed += 1;
            }
        }
        block.open -= closed;
        let lost = if gap.reason == GapReason::Unused {
            0
        } else {
            u64::from(closed)
        };
        self.unaccounted += lost;
        (closed > 0).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(blocks: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for i in 0..blocks {
            assert!(ledger.reserve(i * u64::from(BLOCK_NUMBERS), BLOCK_NUMBERS));
        }
        ledger
    }

    #[test]
    fn a_snapshot_reads_back_and_a_cut_one_is_refused() {
        let mut ledger = ledger(3);
        ledger.settle(5);
        ledger.close(ledger.open_blocks(GapReason::Crash)[1]);
        let snapshot = ledger.snapshot();
        assert_eq!(Ledger::restore(&snapshot), Some(ledger));
        assert_eq!(Ledger::restore(&snapshot[..snapshot.len() - 1]), None);
        assert_eq!(Ledger::restore(&[]), None);
        let mut wrong = snapshot.clone();
        *wrong.last_mut().unwrap() = 3;
        assert_eq!(Ledger::restore(&wrong), None);
    }

    #[test]
    fn each_number_is_filled_once_and_a_repetition_changes_nothing() {
        let mut ledger = ledger(1);
        assert_eq!(ledger.settle(5), Some(Settlement::Filled));
        assert_eq!(ledger.settle(5), Some(Settlement::Repeated));
        assert_eq!(ledger.open_numbers(), 1023);
        assert_eq!(ledger.settle(1024), None);
    }

    #[test]
    fn a_crash_counts_what_was_open_and_a_late_settlement_takes_it_back() {
        let mut ledger = ledger(1);
        ledger.settle(0);
        let gap = ledger.open_blocks(GapReason::Crash)[0];
        assert_eq!(ledger.close(gap), Some(1023));
        assert_eq!(ledger.unaccounted(), 1023);
        assert_eq!(ledger.settle(1), Some(Settlement::Late));
        assert_eq!(ledger.settle(1), Some(Settlement::Repeated));
        assert_eq!(ledger.unaccounted(), 1022);
        assert_eq!(ledger.close(gap), None);
    }

    #[test]
    fn unused_numbers_are_accounted_for_and_dropped_ones_are_not() {
        let mut ledger = ledger(1);
        let part = |first, count, reason| Gap {
            first,
            count,
            reason,
        };
        assert_eq!(ledger.close(part(0, 1, GapReason::Dropped)), Some(1));
        assert_eq!(ledger.settle(0), Some(Settlement::Repeated));
        assert_eq!(ledger.close(part(1, 1023, GapReason::Unused)), Some(0));
        assert_eq!((ledger.unaccounted(), ledger.open_numbers()), (1, 0));
        assert_eq!(ledger.close(part(1024, 1, GapReason::Unused)), None);
    }

    #[test]
    fn blocks_follow_each_other_and_their_size_is_limited() {
        let mut ledger = ledger(1);
        assert!(!ledger.reserve(0, 1), "numbers are never given twice");
        assert!(!ledger.reserve(1025, 1), "and leave no hole");
        assert!(!ledger.reserve(1024, BLOCK_NUMBERS + 1));
        assert!(!ledger.reserve(1024, 0));
        assert!(ledger.reserve(1024, BLOCK_NUMBERS));
    }

    #[test]
    fn blocks_are_opened_up_to_the_limit() {
        assert!(ledger(BLOCKS_OPEN_MAX as u64 - 1).may_reserve());
        assert!(!ledger(BLOCKS_OPEN_MAX as u64).may_reserve());
    }

    #[test]
    fn finished_blocks_are_forgotten_beyond_the_limit_and_open_ones_never() {
        let mut ledger = Ledger::default();
        assert!(ledger.reserve(0, 2));
        for i in 0..BLOCKS_KEPT_MAX as u64 + 2 {
            assert!(ledger.reserve(2 + i, 1));
            ledger.settle(2 + i);
        }
        assert_eq!(ledger.settle(2), None, "the oldest finished one");
        assert_eq!(ledger.settle(4), Some(Settlement::Repeated), "a newer one");
        assert_eq!(ledger.settle(0), Some(Settlement::Filled), "the open one");
    }
}
