//! Export to a bucket that locks objects, to one that does not, and to a folder of immutable files.

use crate::support::keys;
use bytes::Bytes;
use ringfence_core::ports::Clock;
use ringfence_core::secret::Secret;
use ringfence_core::time::{DAY_MS, HOUR_MS, Timestamp};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::merkle::{Frontier, Hash, leaf_hash};
use ringfence_crypto::note::{NoteKey, sign};
use ringfence_crypto::tiles::{Tile, fold, push_entry};
use ringfence_net::client::ClientLimits;
use ringfence_net::s3::{Bucket, LockMode, Place, Put, Style};
use ringfence_net::sigv4::Credentials;
use ringfence_record::worm::{
    Directory, Exporter, ImmutableFolder, LockedBucket, Report, Vault, WormError, plan,
};
use ringfence_testkit::clock::SetClock;
use ringfence_testkit::s3::{Identity, Mode, S3Double};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const ORIGIN: &str = "ringfence.test/log";
const DAYS: u32 = 30;

/// Writes a whole log as a C2SP tlog-tiles directory, the slow and plain way.
fn write_log(directory: &Path, size: u64, flavour: &str) {
    let leaves: Vec<Vec<u8>> = (0..size)
        .map(|n| format!("{flavour} {n}").into_bytes())
        .collect();
    let mut frontier = Frontier::new();
    let hashes: Vec<Hash> = leaves.iter().map(|l| leaf_hash(l)).collect();
    for hash in &hashes {
        frontier.append(*hash, &mut |_| {});
    }
    let put = |path: &str, bytes: &[u8]| {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut rows = vec![hashes];
    while rows.last().unwrap().len() >= 256 {
        let row = rows.last().unwrap();
        rows.push(row.chunks_exact(256).map(|c| fold(c).unwrap()).collect());
    }
    let mut tiles: Vec<Tile> = plan::partial(size);
    let mut done = 0;
    while plan::stride(done, size) > done {
        let next = plan::stride(done, size);
        tiles.extend(plan::full(done, next));
        done = next;
    }
    for tile in tiles {
        let start = usize::try_from(tile.number).unwrap() * 256;
        let range = start..start + usize::from(tile.width);
        let bytes = match tile.kind {
            ringfence_crypto::tiles::Kind::Entries => {
                let mut bundle = Vec::new();
                leaves[range]
                    .iter()
                    .for_each(|l| assert!(push_entry(&mut bundle, l)));
                bundle
            }
            ringfence_crypto::tiles::Kind::Hashes(level) => {
                rows[level as usize][range].as_flattened().to_vec()
            }
        };
        put(&tile.path(), &bytes);
    }
    let text = Checkpoint::new(ORIGIN, size, frontier.root()).text();
    put(
        "checkpoint",
        sign(&text, ORIGIN, &[&keys().ed25519]).unwrap().as_bytes(),
    );
}

struct World {
    double: S3Double,
    clock: Arc<SetClock>,
    scratch: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let now = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
        let clock = Arc::new(SetClock::at(now));
        let double = S3Double::start(Identity::default(), true, Arc::clone(&clock));
        Self {
            double: double.await.unwrap(),
            clock,
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    fn bucket(&self) -> Bucket {
        let identity = Identity::default();
        let secret = Secret::new(identity.secret_key);
        let place = Place {
            endpoint: format!("http://{}", self.double.address).parse().unwrap(),
            region: identity.region,
            bucket: identity.bucket,
            style: Style::Path,
            credentials: Credentials::new(identity.access_key, secret, None).unwrap(),
            roots: None,
            limits: ClientLimits::default(),
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Bucket::new(place, clock).unwrap()
    }

    fn log(&self) -> std::path::PathBuf {
        self.scratch.path().join("log")
    }

    fn exporter_to(&self, vault: Arc<dyn Vault>) -> Exporter {
        Exporter {
            source: Arc::new(Directory(self.log())),
            keys: vec![NoteKey::new(ORIGIN, keys().ed25519.verifying_key()).unwrap()],
            vault,
            cursor: self.scratch.path().join("cursor"),
            clock: Arc::clone(&self.clock) as _,
        }
    }

    fn exporter(&self) -> Exporter {
        let mode = LockMode::Compliance;
        let vault = LockedBucket::new(self.bucket(), "logs/", mode, DAYS);
        self.exporter_to(Arc::new(vault))
    }

    async fn run(&self) -> Result<Report, WormError> {
        self.exporter().run().await
    }

    /// Every file of the log is in the bucket, once, locked, and nothing else is.
    fn assert_exported(&self, size: u64) {
        let objects = self.double.objects();
        let mut expected: BTreeSet<String> = BTreeSet::new();
        for tile in plan::full(0, size).iter().chain(&plan::partial(size)) {
            expected.insert(format!("logs/{}", tile.path()));
        }
        for path in ["checkpoint".to_owned(), format!("checkpoints/{size:020}")] {
            expected.insert(format!("logs/{path}"));
        }
        let held: BTreeSet<String> = objects.keys().into_iter().map(|(key, _)| key).collect();
        assert_eq!(held, expected);
        for key in held {
            let versions = objects.versions(&key);
            assert_eq!(versions.len(), 1, "{key}");
            let retention = versions[0].retention.unwrap();
            assert_eq!(retention.mode, Mode::Compliance);
            let days = i64::from(DAYS) * DAY_MS;
            assert!(retention.until.since_ms(self.clock.now()) > days - HOUR_MS);
            let path = key.strip_prefix("logs/").unwrap();
            let path = if path.starts_with("checkpoints/") {
                "checkpoint"
            } else {
                path
            };
            let file = fs::read(self.log().join(path)).unwrap();
            assert_eq!(versions[0].content.as_ref().unwrap(), &file, "{key}");
        }
    }
}

#[tokio::test]
async fn a_log_is_exported_whole_locked_and_not_beyond_its_checkpoint() {
    let world = World::start().await;
    // Longer on disk than what was signed: files of leaves that no checkpoint vouches for.
    write_log(&world.log(), 2_000, "leaf");
    write_log(&world.log(), 1_000, "leaf");
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.exported, report.checkpoint, report.lag()),
        (768, 1_000, 0)
    );
    world.assert_exported(1_000);
    let again = world.run().await.unwrap();
    assert_eq!((again.stored, again.found), (0, 0));
    world.double.end().await;
}

#[tokio::test]
async fn an_interrupted_export_goes_on_and_stores_nothing_twice() {
    let world = World::start().await;
    write_log(&world.log(), 1_000, "leaf");
    // The first run dies of a store that is gone, the second on the way, the third ends.
    world.double.faults().lose_requests = 32;
    assert!(matches!(world.run().await, Err(WormError::Store(_))));
    world.double.faults().lose_requests = 0;
    let exporter = world.exporter();
    let halfway = async {
        while world.double.objects().keys().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = exporter.run() => panic!("it ended before it was cut: {outcome:?}"),
        () = halfway => {}
    }
    world.double.faults().lose_answers = 3;
    let report = world.run().await.unwrap();
    assert!(report.found >= 3, "{report:?}");
    world.assert_exported(1_000);
    // Without its cursor it compares everything and stores nothing but the newest checkpoint.
    fs::remove_file(world.scratch.path().join("cursor")).unwrap();
    let report = world.run().await.unwrap();
    assert_eq!(report.stored, 0);
    assert_eq!(report.found, 10);
    world.double.end().await;
}

#[tokio::test]
async fn a_bucket_that_ignores_locks_is_a_finding_and_not_a_success() {
    let world = World::start().await;
    write_log(&world.log(), 300, "leaf");
    world.double.faults().ignore_locks = true;
    let error = world.run().await.unwrap_err();
    assert!(matches!(&error, WormError::NotLocked { .. }), "{error}");
    assert!(error.is_finding());
    // Nothing counts as exported, now or later: what stands there is looked at again.
    assert!(!world.scratch.path().join("cursor").exists());
    assert!(world.run().await.is_err());
    // What stands there without a lock gets one as soon as the store honours it.
    world.double.faults().ignore_locks = false;
    let report = world.run().await.unwrap();
    assert!(report.found > 0);
    world.assert_exported(300);
    world.double.end().await;
}

#[tokio::test]
async fn a_lock_that_is_shorter_than_asked_is_a_finding() {
    let world = World::start().await;
    write_log(&world.log(), 300, "leaf");
    world.double.faults().shorten_locks_s = 1;
    let error = world.run().await.unwrap_err();
    assert!(matches!(&error, WormError::NotLocked { .. }), "{error}");
    world.double.end().await;
}

#[tokio::test]
async fn other_content_under_a_key_of_the_log_is_a_finding() {
    let world = World::start().await;
    write_log(&world.log(), 300, "leaf");
    let put = Put {
        key: "logs/tile/0/000",
        content: Bytes::from_static(b"planted"),
        lock: None,
        only_new: true,
    };
    world.bucket().put(put).await.unwrap();
    let error = world.run().await.unwrap_err();
    assert!(
        matches!(&error, WormError::Differs(key) if key == "logs/tile/0/000"),
        "{error}"
    );
    world.double.end().await;
}

#[tokio::test]
async fn a_log_that_was_rolled_back_or_rewritten_is_not_exported() {
    let world = World::start().await;
    write_log(&world.log(), 1_000, "leaf");
    world.run().await.unwrap();
    world.clock.advance_ms(2 * HOUR_MS);
    for (size, flavour) in [(900, "leaf"), (1_000, "other"), (1_300, "other")] {
        write_log(&world.log(), size, flavour);
        let error = world.run().await.unwrap_err();
        assert!(
            matches!(error, WormError::Rewritten(_)),
            "{size} {flavour}: {error}"
        );
    }
    // The same growth of the same log goes out.
    write_log(&world.log(), 1_300, "leaf");
    assert_eq!(world.run().await.unwrap().checkpoint, 1_300);
    world.double.end().await;
}

#[tokio::test]
async fn damage_on_disk_does_not_leave() {
    let world = World::start().await;
    for path in [
        "tile/entries/000",
        "tile/0/000",
        "tile/entries/001.p/44",
        "tile/1/000.p/1",
    ] {
        write_log(&world.log(), 300, "leaf");
        let file = world.log().join(path);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        let error = world.run().await.unwrap_err();
        assert!(matches!(error, WormError::Rotten { .. }), "{path}: {error}");
        let key = format!("logs/{path}");
        assert!(
            world.double.objects().versions(&key).is_empty(),
            "{path} left"
        );
    }
    world.double.end().await;
}

#[tokio::test]
async fn a_checkpoint_without_the_logs_signature_exports_nothing() {
    let world = World::start().await;
    write_log(&world.log(), 300, "leaf");
    let mut exporter = world.exporter();
    let other = ringfence_crypto::sign::SigningKey::from_seed(
        ringfence_crypto::sign::Algorithm::Ed25519,
        &[43; 32],
    );
    exporter.keys = vec![NoteKey::new(ORIGIN, other.unwrap().verifying_key()).unwrap()];
    assert!(matches!(exporter.run().await, Err(WormError::Crypto(_))));
    exporter.keys.clear();
    assert!(exporter.run().await.is_err());
    assert!(world.double.objects().keys().is_empty());
    world.double.end().await;
}

#[tokio::test]
async fn partial_files_go_out_once_an_hour_and_full_ones_at_once() {
    let world = World::start().await;
    write_log(&world.log(), 100, "leaf");
    assert_eq!(world.run().await.unwrap().checkpoint, 100);
    world.clock.advance_ms(HOUR_MS - 1);
    write_log(&world.log(), 300, "leaf");
    let report = world.run().await.unwrap();
    assert_eq!((report.exported, report.checkpoint), (256, 100));
    world.clock.advance_ms(1);
    assert_eq!(world.run().await.unwrap().checkpoint, 300);
    // A clock that was set back does not stop the export.
    world.clock.advance_ms(-5 * HOUR_MS);
    write_log(&world.log(), 301, "leaf");
    assert_eq!(world.run().await.unwrap().checkpoint, 301);
    let versions = world.double.objects().versions("logs/checkpoint").len();
    assert_eq!(versions, 3, "what a checkpoint replaces stays as a version");
    world.double.end().await;
}

#[tokio::test]
async fn a_damaged_cursor_is_reported_and_another_target_begins_anew() {
    let world = World::start().await;
    write_log(&world.log(), 300, "leaf");
    world.run().await.unwrap();
    let vault = LockedBucket::new(world.bucket(), "other/", LockMode::Compliance, DAYS);
    let report = world.exporter_to(Arc::new(vault)).run().await.unwrap();
    assert_eq!((report.exported, report.stored), (256, 6));
    fs::write(world.scratch.path().join("cursor"), b"{}").unwrap();
    assert!(matches!(world.run().await, Err(WormError::Cursor(_))));
    world.double.end().await;
}

/// Takes the flag off again, so that the folder can be removed.
fn release(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            release(&path);
        } else {
            let file = fs::File::open(&path).unwrap();
            ringfence_sys::immutable::set(&file, false).unwrap();
        }
    }
}

#[tokio::test]
async fn a_local_export_cannot_be_changed_and_is_resumed() {
    // Needs root on a file system with the flag; without either the export itself says why not.
    let skipping = std::env::var_os("RINGFENCE_TEST_NO_PRIVILEGED").is_some_and(|v| v == "1");
    if skipping {
        println!("SKIPPED a_local_export_cannot_be_changed_and_is_resumed: needs root");
        return;
    }
    let world = World::start().await;
    write_log(&world.log(), 300, "leaf");
    let out = world.scratch.path().join("out");
    let exporter = world.exporter_to(Arc::new(ImmutableFolder(out.clone())));
    let first = exporter.run().await.unwrap();
    fs::remove_file(world.scratch.path().join("cursor")).unwrap();
    let again = exporter.run().await.unwrap();
    let tile = out.join("tile/0/000");
    let acts = [
        fs::write(&tile, b"x").is_err(),
        fs::remove_file(&tile).is_err(),
        fs::rename(&tile, out.join("gone")).is_err(),
        fs::write(world.log().join("tile/0/000"), b"x").is_ok(),
    ];
    release(&out);
    assert_eq!(acts, [true; 4]);
    assert_eq!((first.stored, again.stored, again.found), (6, 0, 6));
    world.double.end().await;
}
