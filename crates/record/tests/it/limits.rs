//! Each named limit of the log, at the limit and one above; what it reads and proves in bulk.

use crate::sim::SimDisk;
use crate::support::{clock, entropy, keys, leaf};
use proptest::prelude::*;
use ringfence_core::error::Explain as _;
use ringfence_core::limits::LEAF_BYTES_MAX;
use ringfence_record::log::ledger::{BLOCK_NUMBERS, BLOCKS_OPEN_MAX, Gap, GapReason};
use ringfence_record::log::{
    Done, GROUP_OPERATIONS_MAX, Log, LogOptions, Operation, READ_BYTES_MAX, READ_LEAVES_MAX,
};
use ringfence_record::proof::{PROOF_BYTES_MAX, Proof};
use ringfence_record::protocol::SEALED_BYTES_MAX;
use ringfence_record::{Purpose, RecordError, Recorder};
use std::sync::Arc;

fn log(segment_bytes: u64) -> Log {
    let disk = Arc::new(SimDisk::new(0));
    let options = LogOptions {
        segment_bytes,
        ..LogOptions::default()
    };
    Log::open(disk, keys(), clock(), options).unwrap().0
}

fn appends(count: usize) -> Vec<Operation> {
    (0..count as u64)
        .map(|n| Operation::Append(leaf(n)))
        .collect()
}

#[test]
fn a_group_is_written_at_the_limit_and_refused_one_above() {
    let mut log = log(1 << 20);
    assert_eq!(
        log.commit(appends(GROUP_OPERATIONS_MAX)).unwrap().len(),
        GROUP_OPERATIONS_MAX
    );
    let above = log.commit(appends(GROUP_OPERATIONS_MAX + 1)).unwrap_err();
    assert_eq!(above.code().0, "record/too-many");
    assert_eq!(log.state().size, GROUP_OPERATIONS_MAX as u64);
}

#[test]
fn a_full_group_of_the_longest_leaves_fits_a_frame() {
    let base = leaf(0).with("t", "").canonical().unwrap().len();
    let longest = leaf(0).with("t", "x".repeat(LEAF_BYTES_MAX - base));
    let mut log = log(1 << 30);
    let group = vec![Operation::Append(longest); GROUP_OPERATIONS_MAX];
    assert!(log.commit(group).unwrap().iter().all(Result::is_ok));
    let read = log.read(0, READ_LEAVES_MAX).unwrap();
    assert_eq!(
        read.len(),
        READ_BYTES_MAX / LEAF_BYTES_MAX,
        "the rest is for the next read"
    );
}

#[test]
fn a_leaf_too_long_is_refused_alone_and_its_number_is_counted() {
    let mut log = log(1 << 20);
    let long = leaf(0).with("t", "x".repeat(LEAF_BYTES_MAX));
    let group = vec![
        Operation::Reserve,
        Operation::Settle {
            sequence: 0,
            leaf: long.clone(),
        },
        Operation::Append(long),
        Operation::Append(leaf(1)),
    ];
    let results = log.commit(group).unwrap();
    assert!(matches!(
        &results[..],
        [
            Ok(Done::Reserved { .. }),
            Err(RecordError::Leaf(_)),
            Err(RecordError::Leaf(_)),
            Ok(_)
        ]
    ));
    assert_eq!(log.state().unaccounted, 1);
}

#[test]
fn blocks_are_open_up_to_the_limit_and_refused_one_above() {
    let mut log = log(1 << 20);
    let at = log
        .commit(vec![Operation::Reserve; BLOCKS_OPEN_MAX])
        .unwrap();
    assert!(at.iter().all(Result::is_ok));
    let above = log.commit(vec![Operation::Reserve]).unwrap().pop().unwrap();
    assert!(matches!(above, Err(RecordError::TooMany { .. })));
    let close = |count| {
        Operation::Close(Gap {
            first: 0,
            count,
            reason: GapReason::Unused,
        })
    };
    let wide = log
        .commit(vec![close(BLOCK_NUMBERS + 1)])
        .unwrap()
        .pop()
        .unwrap();
    assert!(matches!(wide, Err(RecordError::TooMany { .. })));
    assert!(
        log.commit(vec![close(BLOCK_NUMBERS)])
            .unwrap()
            .pop()
            .unwrap()
            .is_ok()
    );
    assert!(
        log.commit(vec![Operation::Reserve])
            .unwrap()
            .pop()
            .unwrap()
            .is_ok()
    );
}

#[test]
fn a_read_is_answered_at_the_limit_and_refused_one_above() {
    let mut log = log(1 << 20);
    log.commit(appends(GROUP_OPERATIONS_MAX)).unwrap();
    assert_eq!(
        log.read(0, READ_LEAVES_MAX).unwrap().len(),
        READ_LEAVES_MAX as usize
    );
    assert!(matches!(
        log.read(0, READ_LEAVES_MAX + 1),
        Err(RecordError::TooMany { .. })
    ));
    assert!(log.read(u64::MAX, 5).unwrap().is_empty());
}

#[test]
fn a_value_is_sealed_at_the_limit_and_refused_one_above() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(dir.path(), clock(), entropy()).unwrap();
    let sealed = recorder
        .seal(Purpose::TlsKey, &vec![7; SEALED_BYTES_MAX])
        .unwrap();
    let opened = recorder.unseal(Purpose::TlsKey, &sealed).unwrap();
    assert_eq!(opened.danger_expose().len(), SEALED_BYTES_MAX);
    let above = recorder.seal(Purpose::TlsKey, &vec![7; SEALED_BYTES_MAX + 1]);
    assert!(matches!(above, Err(RecordError::TooMany { .. })));
    assert!(
        recorder.unseal(Purpose::WebhookKey, &sealed).is_err(),
        "another purpose"
    );
}

#[test]
fn a_proof_longer_than_any_is_refused() {
    let text = "x".repeat(PROOF_BYTES_MAX + 1);
    assert!(matches!(
        text.parse::<Proof>(),
        Err(RecordError::Proof("longer than a proof can be"))
    ));
    let at = "x".repeat(PROOF_BYTES_MAX);
    assert!(matches!(
        at.parse::<Proof>(),
        Err(RecordError::Proof("no checkpoint"))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_leaf_reads_back_from_anywhere_over_any_segments(
        groups in proptest::collection::vec(1..70_usize, 1..12),
        segment in 200..6000_u64,
        from in 0..800_u64,
        count in 0..300_u32,
    ) {
        let mut log = log(segment);
        let mut total = 0;
        for group in groups {
            let operations =
                (total..total + group as u64).map(|n| Operation::Append(leaf(n))).collect();
            log.commit(operations).unwrap();
            total += group as u64;
        }
        let read = log.read(from, count).unwrap();
        let end = total.min(from + u64::from(count));
        prop_assert_eq!(read.len() as u64, end.saturating_sub(from));
        for (i, (index, found)) in read.iter().enumerate() {
            prop_assert_eq!(*index, from + i as u64);
            prop_assert_eq!(found, &leaf(*index));
        }
        let proof = log.prove(from % total).unwrap();
        prop_assert_eq!(proof.to_string().parse::<Proof>().unwrap(), proof);
    }
}
