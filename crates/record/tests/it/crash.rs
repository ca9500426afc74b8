//! Whatever moment the machine stops at: nothing acknowledged is lost, changed or given twice, and
//! no second root is ever signed for a size.

use crate::sim::{SimDisk, Stop};
use crate::support::{Dice, clock, keys, leaf};
use ringfence_core::error::Explain as _;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::Hash;
use ringfence_crypto::note::Note;
use ringfence_record::RecordError;
use ringfence_record::log::disk::Disk;
use ringfence_record::log::ledger::{Gap, GapReason};
use ringfence_record::log::{Done, Log, LogOptions, Operation, Recovery, Space};
use ringfence_record::verify::{Demands, verify_disk};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Small, so that short runs see many segments.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 8_000,
    reserve_bytes: 3000,
};

fn open(disk: &SimDisk) -> Result<(Log, Recovery), RecordError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, keys(), clock(), OPTIONS)
}

/// What the world outside has been told.
#[derive(Default)]
struct Told {
    leaves: BTreeMap<u64, Leaf>,
    roots: BTreeMap<u64, Hash>,
    blocks: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    /// Numbers in hand and not yet used.
    open: Vec<u64>,
    next: u64,
    /// How often segments were let go.
    retired: u64,
}

impl Told {
    fn note(&mut self, note: &str, seed: u64) {
        let checkpoint = Checkpoint::parse(Note::parse(note).unwrap().text()).unwrap();
        let before = self.roots.insert(checkpoint.size, checkpoint.root);
        assert!(
            before.is_none_or(|r| r == checkpoint.root),
            "seed {seed}: two roots for a size"
        );
    }

    /// One random commit, until the disk fails.
    fn act(
        &mut self,
        log: &mut Log,
        disk: &SimDisk,
        dice: &mut Dice,
        seed: u64,
    ) -> Result<(), RecordError> {
        match dice.below(9) {
            8 => {
                if let Some(retirement) = log.retirement() {
                    retirement.force(disk)?;
                    log.retired(retirement)?;
                    self.retired += 1;
                }
            }
            0 => {
                let done = log.commit(vec![Operation::Reserve])?.pop().unwrap()?;
                let Done::Reserved { first, count } = done else {
                    panic!("seed {seed}")
                };
                assert!(
                    self.blocks.insert(first),
                    "seed {seed}: numbers given twice"
                );
                self.open.extend((first..first + u64::from(count)).take(9));
            }
            1 => self.note(&log.checkpoint()?, seed),
            2 if !self.open.is_empty() => {
                let first = self.open.remove(0);
                let gap = Gap {
                    first,
                    count: 1,
                    reason: GapReason::Dropped,
                };
                log.commit(vec![Operation::Close(gap)])?;
            }
            3 | 4 if !self.open.is_empty() => {
                let sequence = self.open.remove(0);
                let operation = Operation::Settle {
                    sequence,
                    leaf: leaf(self.next),
                };
                self.next += 1;
                log.commit(vec![operation])?.pop().unwrap()?;
                self.settled.insert(sequence);
            }
            _ => {
                let leaves: Vec<Leaf> = (0..=dice.below(40))
                    .map(|_| {
                        self.next += 1;
                        leaf(self.next)
                            .with("fill", "x".repeat(usize::try_from(dice.below(16)).unwrap()))
                    })
                    .collect();
                let operations = leaves.iter().cloned().map(Operation::Append).collect();
                for (done, leaf) in log.commit(operations)?.into_iter().zip(leaves) {
                    let Ok(Done::Appended(receipt)) = done else {
                        panic!("seed {seed}")
                    };
                    let before = self.leaves.insert(receipt.index(), leaf);
                    assert!(before.is_none(), "seed {seed}: an index given twice");
                }
            }
        }
        Ok(())
    }

    fn check(&self, log: &mut Log, seed: u64) {
        let all = everything(log);
        for (index, leaf) in &self.leaves {
            assert_eq!(all.get(index), Some(leaf), "seed {seed}: leaf {index}");
        }
        let filled: BTreeSet<u64> = all
            .values()
            .filter(|l| l.action == LeafAction::RequestSettle)
            .filter_map(|l| number(l, "sequence"))
            .collect();
        assert!(
            self.settled.is_subset(&filled),
            "seed {seed}: a settlement is lost"
        );
        if let Some(index) = all.len().checked_sub(1) {
            log.prove(index as u64).unwrap();
        }
    }
}

fn number(leaf: &Leaf, name: &str) -> Option<u64> {
    let value = serde_json::to_value(leaf).unwrap();
    value["detail"][name].as_u64()
}

fn everything(log: &Log) -> BTreeMap<u64, Leaf> {
    let mut all = BTreeMap::new();
    loop {
        let some = log.read(all.len() as u64, 1024).unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// Four starts that end at a random step, and one that must find everything. Says how many of the
/// four were cut short, and how often segments were let go.
fn one_life(seed: u64, stop: Stop) -> [u64; 2] {
    let mut dice = Dice(seed);
    let mut disk = SimDisk::new(seed);
    let mut told = Told::default();
    let mut stops = 0;
    for _ in 0..4 {
        disk.stop_after(dice.below(140));
        let outcome = (|| -> Result<(), RecordError> {
            let (mut log, _) = open(&disk)?;
            told.note(&log.state().checkpoint, seed);
            for _ in 0..25 {
                told.act(&mut log, &disk, &mut dice, seed)?;
            }
            Ok(())
        })();
        if let Err(error) = &outcome {
            let stopped = matches!(error, RecordError::Io { .. } | RecordError::Poisoned);
            assert!(stopped, "seed {seed}: {} {error}", error.code());
            stops += 1;
        }
        disk = disk.restart(stop);
        // Open numbers are closed by the next opening.
        told.open.clear();
    }
    let (mut log, _) = open(&disk).unwrap_or_else(|e| panic!("seed {seed}: {} {e}", e.code()));
    told.check(&mut log, seed);
    told.note(&log.checkpoint().unwrap(), seed);
    let report =
        verify_disk(&disk, &Demands::default()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    assert_eq!(report.size, log.state().size);
    assert_eq!(report.open_numbers, 0);
    let all = everything(&log);
    for (size, root) in &told.roots {
        let mut tree = ringfence_crypto::merkle::Frontier::new();
        for leaf in all.values().take(usize::try_from(*size).unwrap()) {
            let bytes = leaf.canonical().unwrap();
            tree.append(ringfence_crypto::merkle::leaf_hash(&bytes), &mut |_| ());
        }
        assert_eq!(
            (tree.size(), tree.root()),
            (*size, *root),
            "seed {seed}: history rewritten"
        );
    }
    [stops, told.retired]
}

/// How many lives; `cargo xtask soak log` asks for many.
fn count() -> u64 {
    std::env::var("RINGFENCE_LOG_LIVES").map_or(150, |n| n.parse().unwrap())
}

fn lives(seeds: Range<u64>, stop: Stop) -> [u64; 2] {
    seeds.fold([0, 0], |[stops, retired], seed| {
        let life = one_life(seed, stop);
        [stops + life[0], retired + life[1]]
    })
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_power_goes() {
    let count = count();
    let [stops, retired] = lives(0..count, Stop::PowerCut);
    println!("{count} lives with power cuts: {stops} stops, {retired} times segments were let go");
    // The test would prove little if the machine hardly ever stopped.
    assert!(
        stops > count * 2 && retired > count / 10,
        "{stops} {retired}"
    );
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_process_is_killed() {
    let count = count();
    let [stops, retired] = lives(1_000_000..1_000_000 + count, Stop::Kill);
    println!("{count} lives with kills: {stops} stops, {retired} times segments were let go");
    assert!(
        stops > count * 2 && retired > count / 10,
        "{stops} {retired}"
    );
}

#[test]
fn a_log_that_does_not_force_names_to_disk_would_be_caught() {
    // The control off: the same run on a log whose last segment's name was never forced. The
    // simulated disk must be able to lose it, else the test above shows nothing.
    let lost = (0..50).any(|seed| {
        let disk = SimDisk::new(seed);
        let file = disk.open("wal/00000000.rfw", true).unwrap();
        file.write_at(b"acknowledged", 0).unwrap();
        file.sync().unwrap();
        disk.restart(Stop::PowerCut)
            .content("wal/00000000.rfw")
            .is_none()
    });
    assert!(lost);
}

#[test]
fn a_log_that_does_not_force_content_to_disk_would_be_caught() {
    let lost = (0..50).any(|seed| {
        let disk = SimDisk::new(seed);
        let file = disk.open("f", true).unwrap();
        disk.sync_names("").unwrap();
        file.write_at(b"acknowledged", 0).unwrap();
        disk.restart(Stop::PowerCut)
            .content("f")
            .is_some_and(|c| c != b"acknowledged")
    });
    assert!(lost);
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_space() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    disk.space(4000);
    let mut told = 0;
    let error = loop {
        match log.append(leaf(told)) {
            Ok(receipt) => {
                assert_eq!(receipt.index(), told);
                told += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.code().0, "record/disk-full");
    assert!(told > 5);
    assert_eq!(
        log.append(leaf(99)).unwrap_err().code().0,
        "record/disk-full",
        "still full"
    );
    assert_eq!(log.state().size, told);
    assert!(!log.is_poisoned());
    disk.space(1_000_000);
    assert_eq!(
        log.append(leaf(told)).unwrap().index(),
        told,
        "space returned"
    );
    log.checkpoint().unwrap();
    drop(log);
    let (log, recovery) = open(&disk.restart(Stop::PowerCut)).unwrap();
    assert_eq!(recovery.leaves, told + 1);
    let objects: Vec<String> = everything(&log).into_values().map(|l| l.object).collect();
    let expected: Vec<String> = (0..=told).map(|n| format!("request:{n}")).collect();
    assert_eq!(objects, expected, "nothing of the refused appends is left");
}

#[test]
fn a_reserve_whose_space_was_lost_is_taken_again() {
    let disk = SimDisk::new(2);
    drop(disk.open("reserve", true).unwrap());
    let (log, _) = open(&disk).unwrap();
    let length = disk.open("reserve", false).unwrap().length().unwrap();
    assert_eq!(length, OPTIONS.reserve_bytes);
    assert_eq!(log.state().space, Space::Ample);
}

#[test]
fn a_crash_on_a_full_disk_loses_nothing_acknowledged() {
    for space in 0..1200 {
        let disk = SimDisk::new(space);
        let (mut log, _) = open(&disk).unwrap();
        disk.space(space);
        let mut told = 0;
        while log.append(leaf(told)).is_ok() {
            told += 1;
        }
        drop(log.checkpoint());
        let after = disk.restart(Stop::PowerCut);
        let (log, _) = open(&after).unwrap_or_else(|e| panic!("space {space}: {e}"));
        assert!(everything(&log).len() as u64 >= told, "space {space}");
    }
}

#[test]
fn after_a_failed_fsync_nothing_is_acknowledged_until_the_log_is_opened_again() {
    let disk = SimDisk::new(7);
    let (mut log, _) = open(&disk).unwrap();
    log.append(leaf(0)).unwrap();
    disk.fail_sync(true);
    assert!(matches!(log.append(leaf(1)), Err(RecordError::Poisoned)));
    disk.fail_sync(false);
    assert!(matches!(log.append(leaf(2)), Err(RecordError::Poisoned)));
    assert!(matches!(log.checkpoint(), Err(RecordError::Poisoned)));
    let (mut log, recovery) = open(&disk.restart(Stop::PowerCut)).unwrap();
    assert!(
        (1..=2).contains(&recovery.leaves),
        "the one in doubt may be there or not"
    );
    assert_eq!(log.append(leaf(2)).unwrap().index(), recovery.leaves);
}

#[test]
fn damage_before_the_last_frame_is_never_taken_for_a_torn_write() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk).unwrap();
    let before = disk.content("wal/00000000.rfw").unwrap().len();
    log.append(leaf(0)).unwrap();
    log.append(leaf(1)).unwrap();
    drop(log);
    // Neither leaf is under a checkpoint yet; the first is followed by a whole frame.
    disk.damage("wal/00000000.rfw", before + 30);
    let error = open(&disk).err().unwrap();
    assert_eq!(error.code().0, "record/corrupt");
}

#[test]
fn an_unfinished_write_at_the_end_is_cut_and_reported() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk).unwrap();
    log.append(leaf(0)).unwrap();
    let end = disk.content("wal/00000000.rfw").unwrap().len();
    let (other, _) = open(&disk).unwrap();
    drop(other);
    disk.open("wal/00000000.rfw", false)
        .unwrap()
        .write_at(b"\xffRF1 torn", end as u64)
        .unwrap();
    let (_, recovery) = open(&disk).unwrap();
    assert_eq!((recovery.leaves, recovery.torn_bytes), (1, 9));
    assert_eq!(disk.content("wal/00000000.rfw").unwrap().len(), end);
}

#[test]
fn a_crash_says_how_many_numbers_are_unaccounted_for() {
    let disk = SimDisk::new(5);
    let (mut log, _) = open(&disk).unwrap();
    log.commit(vec![Operation::Reserve]).unwrap();
    for sequence in [0, 1, 5] {
        log.commit(vec![Operation::Settle {
            sequence,
            leaf: leaf(sequence),
        }])
        .unwrap();
    }
    drop(log);
    let (mut log, recovery) = open(&disk.restart(Stop::Kill)).unwrap();
    assert_eq!(recovery.unaccounted, 1024 - 3);
    let gap = log.read(3, 1).unwrap().pop().unwrap().1;
    assert_eq!(gap.action, LeafAction::LogGap);
    assert_eq!(number(&gap, "unaccounted"), Some(1021));
    // The owner of a number outlived the recorder: its leaf still counts.
    let late = Operation::Settle {
        sequence: 2,
        leaf: leaf(2),
    };
    let again = log.commit(vec![late.clone(), late]).unwrap();
    assert!(matches!(
        &again[..],
        [Ok(Done::Appended(_)), Ok(Done::Nothing)]
    ));
    assert_eq!(log.state().unaccounted, 1020);
    let unknown = Operation::Settle {
        sequence: 1024,
        leaf: leaf(9),
    };
    let refused = log.commit(vec![unknown]).unwrap().pop().unwrap();
    assert!(matches!(refused, Err(RecordError::SequenceUnknown(1024))));
}
