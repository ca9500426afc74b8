//! What only a file can do: fill the disk, be damaged, be read by others.

use crate::engine::{find, put};
use crate::fixtures::*;
use ringfence_core::error::Explain;
use ringfence_store::{Store, StoreError, StoreOptions};
use std::os::unix::fs::PermissionsExt;

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
    let (place, store) = store(&[]);
    put(&store, "a".into(), vec![1]).unwrap();
    for entry in std::fs::read_dir(place.path().parent().unwrap()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
