//! From operations to the records of one group: what is refused is refused here, before the disk.

use super::frame::Record;
use super::ledger::{BLOCK_NUMBERS, BLOCKS_OPEN_MAX, Gap, GapReason, Ledger, Settlement};
use super::{Done, Log, Operation, Space};
use crate::error::RecordError;
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Detail, Leaf, LeafAction, LeafError, Outcome};
use ringfence_core::ports::Clock;

/// A group on its way to disk.
pub(super) struct Staged {
    pub(super) body: Vec<u8>,
    pub(super) leaves: Vec<Vec<u8>>,
    pub(super) ledger: Ledger,
}

impl Staged {
    fn push(&mut self, record: &Record<'_>) {
        record.write(&mut self.body);
        if let Some(leaf) = record.leaf() {
            self.leaves.push(leaf.to_vec());
        }
    }
}

/// What an operation will have done when its group is on disk.
pub(super) enum Pending {
    Leaf(usize),
    Done(Done),
    Refused(RecordError),
}

impl Log {
    pub(super) fn stage(&self, operation: Operation, staged: &mut Staged) -> Pending {
        match operation {
            Operation::Append(leaf) => match leaf.canonical() {
                Ok(bytes) => {
                    staged.push(&Record::Leaf(&bytes));
                    Pending::Leaf(staged.leaves.len() - 1)
                }
                Err(error) => Pending::Refused(error.into()),
            },
            Operation::Settle { sequence, leaf } => self.stage_settle(sequence, leaf, staged),
            Operation::Reserve => {
                if self.space == Space::Reserve {
                    return Pending::Refused(RecordError::DiskFull);
                }
                if !staged.ledger.may_reserve() {
                    let limit = BLOCKS_OPEN_MAX as u64;
                    return Pending::Refused(RecordError::TooMany {
                        what: "open blocks",
                        limit,
                    });
                }
                let (first, count) = (staged.ledger.next(), BLOCK_NUMBERS);
                staged.ledger.reserve(first, count);
                staged.push(&Record::Block { first, count });
                Pending::Done(Done::Reserved { first, count })
            }
            Operation::Close(gap) => self.stage_gap(gap, staged),
        }
    }

    fn stage_settle(&self, sequence: u64, leaf: Leaf, staged: &mut Staged) -> Pending {
        let late = match staged.ledger.peek(sequence) {
            None => return Pending::Refused(RecordError::SequenceUnknown(sequence)),
            Some(Settlement::Repeated) => return Pending::Done(Done::Nothing),
            Some(Settlement::Late) => true,
            Some(Settlement::Filled) => false,
        };
        match numbered(leaf, sequence, late) {
            Ok(bytes) => {
                staged.ledger.settle(sequence);
                staged.push(&Record::Settled {
                    sequence,
                    leaf: &bytes,
                });
                Pending::Leaf(staged.leaves.len() - 1)
            }
            Err(error) => {
                // The number must not stay open for ever because its leaf was bad.
                let gap = Gap {
                    first: sequence,
                    count: 1,
                    reason: GapReason::Refused,
                };
                self.stage_gap(gap, staged);
                Pending::Refused(error.into())
            }
        }
    }

    fn stage_gap(&self, gap: Gap, staged: &mut Staged) -> Pending {
        if gap.count == 0 || gap.count > BLOCK_NUMBERS {
            let limit = u64::from(BLOCK_NUMBERS);
            return Pending::Refused(RecordError::TooMany {
                what: "numbers closed at once",
                limit,
            });
        }
        let mut ledger = staged.ledger.clone();
        let Some(lost) = ledger.close(gap) else {
            return Pending::Done(Done::Nothing);
        };
        let leaf = gap_leaf(gap, lost, &*self.clock);
        match leaf.canonical() {
            Ok(bytes) => {
                staged.ledger = ledger;
                staged.push(&Record::Gap { gap, leaf: &bytes });
                Pending::Leaf(staged.leaves.len() - 1)
            }
            Err(error) => Pending::Refused(error.into()),
        }
    }
}

/// The octets of a leaf that fills a sequence number; `late` when a gap had counted the number as
/// unaccounted for, so that the leaves alone say how many are.
fn numbered(leaf: Leaf, sequence: u64, late: bool) -> Result<Vec<u8>, LeafError> {
    let number = i64::try_from(sequence).unwrap_or(i64::MAX);
    let leaf = leaf.with("sequence", Detail::Integer(number));
    let leaf = if late { leaf.with("late", true) } else { leaf };
    leaf.canonical()
}

/// The leaf that closes a run of numbers.
fn gap_leaf(gap: Gap, unaccounted: u64, clock: &dyn Clock) -> Leaf {
    let last = gap.first + u64::from(gap.count) - 1;
    let outcome = if unaccounted == 0 {
        Outcome::Ok
    } else {
        Outcome::Failed
    };
    let number = |n: u64| Detail::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    Leaf::new(
        clock.now(),
        ProjectId::host(),
        "service",
        LeafAction::LogGap,
        format!("sequence:{}-{last}", gap.first),
    )
    .outcome(outcome)
    .with("first", number(gap.first))
    .with("count", gap.count)
    .with("unaccounted", number(unaccounted))
    .with("reason", gap.reason.as_str())
}
