//! The engine: transactions, concurrency, several starters.

use crate::fixtures::*;
use crate::under_test::Place;
use ringfence_core::ids::ProjectId;
use ringfence_store::{Store, StoreError, settings};
use std::sync::{Barrier, mpsc};

pub(crate) fn put(store: &Store, name: String, value: Vec<u8>) -> Outcome<()> {
    store.write(move |tx| settings::put(tx, &ProjectId::host(), &name, &value))
}

pub(crate) fn find(store: &Store, name: &str) -> Option<Vec<u8>> {
    store
        .read(|v| settings::find(v, &ProjectId::host(), name))
        .unwrap()
}

#[test]
fn writers_from_many_threads_all_get_in_once() {
    let (_dir, store) = store(&[]);
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for n in 0..25_u8 {
                    put(store, format!("{thread}-{n}"), vec![thread, n]).unwrap();
                }
            });
        }
    });
    for thread in 0..8_u8 {
        for n in 0..25_u8 {
            assert_eq!(
                find(&store, &format!("{thread}-{n}")),
                Some(vec![thread, n])
            );
        }
    }
}

#[test]
fn a_failed_or_panicking_job_undoes_only_itself() {
    let (_dir, store) = store(&[]);
    // The first job holds the writer until the others wait behind it: they share its commit.
    let (started, is_started) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            store.write(move |tx| -> Outcome<()> {
                started.send(()).unwrap();
                may_go.recv().unwrap();
                settings::put(tx, &ProjectId::host(), "first", b"1")
            })
        });
        is_started.recv().unwrap();
        let failing = scope.spawn(|| {
            store.write(|tx| -> Outcome<()> {
                settings::put(tx, &ProjectId::host(), "failing", b"1")?;
                Err(StoreError::Busy)
            })
        });
        let panicking = scope.spawn(|| {
            store.write(|tx| -> Outcome<()> {
                settings::put(tx, &ProjectId::host(), "panicking", b"1")?;
                panic!("a defect in one job")
            })
        });
        let good = scope.spawn(|| put(&store, "good".into(), vec![1]));
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(()));
        assert_eq!(failing.join().unwrap(), Err(StoreError::Busy));
        assert_eq!(panicking.join().unwrap(), Err(StoreError::Stopped));
        assert_eq!(good.join().unwrap(), Ok(()));
    });
    assert_eq!(
        (find(&store, "failing"), find(&store, "panicking")),
        (None, None)
    );
    assert!(find(&store, "first").is_some() && find(&store, "good").is_some());
}

#[test]
fn a_reader_sees_one_moment() {
    let (_dir, store) = store(&[]);
    put(&store, "a".into(), vec![1]).unwrap();
    store
        .read(|view| -> Outcome<()> {
            let before = settings::find(view, &ProjectId::host(), "a")?;
            put(&store, "a".into(), vec![2])?;
            assert_eq!(settings::find(view, &ProjectId::host(), "a")?, before);
            Ok(())
        })
        .unwrap();
    assert_eq!(find(&store, "a"), Some(vec![2]));
}

#[test]
fn more_readers_than_connections_wait_for_their_turn() {
    let (_dir, store) = store(&[]);
    put(&store, "a".into(), vec![1]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(find(&store, "a"), Some(vec![1])));
        }
    });
}

#[test]
fn starters_that_race_make_one_schema() {
    let place = Place::new();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for n in 0..4_u8 {
            let (place, barrier) = (&place, &barrier);
            scope.spawn(move || {
                barrier.wait();
                put(&place.open(), format!("s{n}"), vec![n]).unwrap();
            });
        }
    });
    let store = place.open();
    for n in 0..4_u8 {
        assert_eq!(find(&store, &format!("s{n}")), Some(vec![n]));
    }
}

#[test]
fn a_newer_schema_is_refused_at_the_start() {
    let (place, store) = store(&[]);
    drop(store);
    place
        .raw("INSERT INTO schema_versions VALUES (99, 'ff')")
        .unwrap();
    let newer = StoreError::Newer {
        found: 99,
        known: ringfence_store::SCHEMA_VERSION,
    };
    assert_eq!(place.try_open().map(drop), Err(newer));
}

#[test]
fn two_servers_on_one_state_take_turns() {
    let (place, first) = store(&[]);
    let second = place.open();
    let count = |store: &Store| -> Vec<u64> {
        (0..25)
            .map(|_| store.write(|tx| ringfence_store::counters::next(tx, "case")))
            .collect::<Result<_, StoreError>>()
            .unwrap()
    };
    let mut given = std::thread::scope(|scope| {
        let other = scope.spawn(|| count(&second));
        let mut given = count(&first);
        given.extend(other.join().unwrap());
        given
    });
    given.sort_unstable();
    assert_eq!(given, (1..=50).collect::<Vec<u64>>());
}

#[test]
fn a_step_of_another_program_is_refused_at_the_start() {
    let (place, store) = store(&[]);
    drop(store);
    let changed = "UPDATE schema_versions SET checksum = 'ff' WHERE version = 1";
    place.raw(changed).unwrap();
    let refused = place.try_open().map(drop);
    assert_eq!(refused, Err(StoreError::Changed { version: 1 }));
}

#[test]
fn a_failed_statement_dooms_its_job_even_if_the_job_passes_over_it() {
    let (_place, store) = store(&["desk"]);
    let answer = store.write(|tx| -> Outcome<()> {
        ringfence_store::keys::add(tx, &key("desk", "k1"))?;
        drop(ringfence_store::keys::add(tx, &key("desk", "k1")));
        Ok(())
    });
    assert!(matches!(answer, Err(StoreError::Constraint { .. })));
    let kept = store.read(|v| ringfence_store::keys::list(v, &project_id("desk")));
    assert_eq!(kept, Ok(vec![]));
}

#[test]
fn any_text_and_any_octets_come_back_and_a_zero_octet_in_a_text_is_replaced() {
    let (_place, store) = store(&["desk"]);
    let odd = "ä €\u{1f512}'\"\\?1$1\u{1}\u{202e}";
    put(&store, odd.to_owned(), vec![0, 255, 0]).unwrap();
    assert_eq!(find(&store, odd), Some(vec![0, 255, 0]));
    put(&store, "a\0b".to_owned(), vec![1]).unwrap();
    assert_eq!(find(&store, "a\0b"), Some(vec![1]));
    assert_eq!(find(&store, "a\u{fffd}b"), Some(vec![1]));
    assert_eq!(find(&store, "ab"), None);
}
