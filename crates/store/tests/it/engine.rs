//! The engine: transactions, concurrency, full disks, damaged files.

use crate::fixtures::*;
use ringfence_core::error::Explain;
use ringfence_core::ids::ProjectId;
use ringfence_store::{Store, StoreError, StoreOptions, settings};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Barrier, mpsc};

fn put(store: &Store, name: String, value: Vec<u8>) -> Outcome<()> {
    store.write(move |tx| settings::put(tx, &ProjectId::host(), &name, &value))
}

fn find(store: &Store, name: &str) -> Option<Vec<u8>> {
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
fn a_full_disk_is_said_clearly_and_costs_nothing_that_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sqlite");
    let options = StoreOptions {
        pages_max: Some(60),
        ..StoreOptions::default()
    };
    let store = Store::open(&path, options).unwrap();
    let mut kept = 0_u32;
    let full = loop {
        match put(&store, format!("n{kept}"), vec![0; 16_000]) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 60, "the limit never bit");
    };
    assert_eq!(full, StoreError::Full);
    assert_eq!(full.code().0, "record/store-full");
    for n in 0..kept {
        assert!(find(&store, &format!("n{n}")).is_some());
    }
    assert_eq!(find(&store, &format!("n{kept}")), None);
    drop(store);
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    put(&store, "room again".into(), vec![0; 16_000]).unwrap();
}

#[test]
fn a_damaged_file_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sqlite");
    std::fs::write(
        &path,
        b"this is not a database, however long one looks at it",
    )
    .unwrap();
    let error = Store::open(&path, StoreOptions::default()).unwrap_err();
    assert_eq!(error.code().0, "record/store-corrupt");
    assert!(error.help().is_some_and(|h| h.contains("backup")));

    let missing = dir.path().join("no/such/dir/db.sqlite");
    let error = Store::open(&missing, StoreOptions::default()).unwrap_err();
    assert_eq!(error.code().0, "record/store-open");
    assert!(error.place().is_some_and(|p| p.ends_with("db.sqlite")));
}

#[test]
fn only_the_owner_can_read_the_file() {
    let (dir, store) = store(&[]);
    put(&store, "a".into(), vec![1]).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
