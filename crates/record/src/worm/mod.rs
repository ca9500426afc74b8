//! Export of the log to where it cannot be taken back: a bucket with Object Lock, or immutable files.
//!
//! What goes out is the C2SP tlog-tiles directory as any verifier reads it: every bundle of entries
//! and tile of hashes once it is full, and at most once an hour the partial ones with the signed
//! checkpoint they belong to. That checkpoint stands under `checkpoints/SIZE` for good and under
//! `checkpoint` until the next. Sealed payloads never go out: what is locked cannot be erased.
//!
//! What it proves and what not: that what is there was not changed or removed since. That nothing is
//! missing from it, and that the log did not tell others another story, is for witnesses to say.
//!
//! Read [`plan`] first, then [`Exporter::run`].
//!
//! INVARIANT: nothing beyond the signed checkpoint leaves, and nothing that does not hash to it.
//! INVARIANT: a file counts as exported after the store was asked how it holds it, never before.

mod config;
mod cursor;
mod error;
pub mod plan;
mod source;
mod vault;

pub use config::{CREDENTIALS_BYTES_MAX, RETENTION_DAYS_MAX, WormConfig, WormMode, credentials};
pub use cursor::Cursor;
pub use error::WormError;
pub use source::{Directory, Signed, Source};
pub use vault::{ImmutableFolder, Kept, LockedBucket, Vault};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use ringfence_core::digest::hex;
use ringfence_core::ports::Clock;
use ringfence_core::time::{HOUR_MS, Timestamp};
use ringfence_crypto::note::NoteKey;
use ringfence_crypto::tiles::{TILE_WIDTH, Tile};
use source::Tree;
use std::path::PathBuf;
use std::sync::Arc;

/// LIMIT: files on their way at once.
pub const UPLOADS_MAX: usize = 8;
/// LIMIT: strides of one run; the rest is for the next, so that one run ends within minutes.
pub const STRIDES_MAX: u32 = 64;
/// How long a partial set waits after the one before.
pub const PARTIAL_MS: i64 = HOUR_MS;

/// What one run did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Leaves of the signed checkpoint.
    pub size: u64,
    /// Leaves whose full files are in the vault.
    pub exported: u64,
    /// Leaves of the last checkpoint in the vault.
    pub checkpoint: u64,
    /// Files stored by this run.
    pub stored: u64,
    /// Files that were there already, unchanged and locked.
    pub found: u64,
    /// Octets stored by this run.
    pub bytes: u64,
}

impl Report {
    /// Leaves of full files that are not in the vault yet.
    pub fn lag(&self) -> u64 {
        let full = self.size - self.size % TILE_WIDTH;
        full.saturating_sub(self.exported)
    }
}

/// Brings a log into a vault, as far as it came.
pub struct Exporter {
    /// Where the log's files are.
    pub source: Arc<dyn Source>,
    /// Every key whose signature the checkpoint must carry.
    pub keys: Vec<NoteKey>,
    /// Where they go.
    pub vault: Arc<dyn Vault>,
    /// The cursor's file.
    pub cursor: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Exporter {
    /// Exports what is due. May be cancelled or killed at any point; the next run goes on from the
    /// last cursor and compares what it finds. Reads of the source block for as long as the disk
    /// takes for one file.
    pub async fn run(&self) -> Result<Report, WormError> {
        let tree = Tree::open(&*self.source, &self.keys)?;
        let target = format!("{} > {}", tree.signed.checkpoint.origin, self.vault.name());
        let mut cursor = Cursor::load(&self.cursor, target)?;
        same_log(&tree, &cursor)?;
        let mut report = Report {
            size: tree.size(),
            ..Report::default()
        };
        for _ in 0..STRIDES_MAX {
            let next = plan::stride(cursor.full, tree.size());
            if next == cursor.full {
                break;
            }
            self.keep(&tree, plan::full(cursor.full, next), &mut report)
                .await?;
            cursor.full = next;
            cursor.save(&self.cursor)?;
        }
        report.exported = cursor.full;
        if report.lag() == 0 && due(&cursor, tree.size(), self.clock.now()) {
            self.checkpoint(&tree, &mut cursor, &mut report).await?;
        }
        report.checkpoint = cursor.size;
        Ok(report)
    }

    /// The files that a checkpoint needs, then the checkpoint: a reader of the vault never sees one
    /// whose files are not there.
    async fn checkpoint(
        &self,
        tree: &Tree<'_>,
        cursor: &mut Cursor,
        report: &mut Report,
    ) -> Result<(), WormError> {
        self.keep(tree, plan::partial(tree.size()), report).await?;
        let now = self.clock.now();
        let note = Bytes::from(tree.signed.note.clone());
        let path = format!("checkpoints/{:020}", tree.size());
        let kept = self.vault.keep(path, note.clone(), now).await?;
        count(report, kept, note.len());
        self.vault
            .publish("checkpoint".to_owned(), note, now)
            .await?;
        cursor.size = tree.size();
        cursor.root = hex(&tree.signed.checkpoint.root);
        cursor.at = now;
        cursor.save(&self.cursor)
    }

    async fn keep(
        &self,
        tree: &Tree<'_>,
        files: Vec<Tile>,
        report: &mut Report,
    ) -> Result<(), WormError> {
        let now = self.clock.now();
        let one = |file: Tile| async move {
            let content = Bytes::from(tree.file(file)?);
            let length = content.len();
            let kept = self.vault.keep(file.path(), content, now).await?;
            Ok::<_, WormError>((kept, length))
        };
        stream::iter(files)
            .map(one)
            .buffer_unordered(UPLOADS_MAX)
            .try_for_each(|(kept, length)| {
                count(report, kept, length);
                std::future::ready(Ok(()))
            })
            .await
    }
}

fn count(report: &mut Report, kept: Kept, length: usize) {
    match kept {
        Kept::New => {
            report.stored += 1;
            report.bytes += length as u64;
        }
        Kept::Already => report.found += 1,
    }
}

/// The log must contain what was exported before: not be shorter, and have had that root.
fn same_log(tree: &Tree<'_>, cursor: &Cursor) -> Result<(), WormError> {
    if tree.size() < cursor.full || tree.size() < cursor.size {
        return Err(WormError::Rewritten("it has fewer leaves"));
    }
    if cursor.size > 0 && hex(&tree.root_at(cursor.size)?) != cursor.root {
        return Err(WormError::Rewritten("its root at that size is another"));
    }
    Ok(())
}

/// Whether a partial set is due. A clock that was set back does not put it off.
fn due(cursor: &Cursor, size: u64, now: Timestamp) -> bool {
    let waited = now.since_ms(cursor.at);
    size > cursor.size && !(0..PARTIAL_MS).contains(&waited)
}
