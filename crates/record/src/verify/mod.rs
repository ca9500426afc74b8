//! Checking a log offline: without its keys, its recorder or any database.
//!
//! Everything is computed anew from the entries. What this cannot show is that the whole is not an
//! older copy or a rewritten one: that takes a checkpoint kept elsewhere ([`Demands::since`]) or
//! witnesses, and the report says so.

mod export;
mod fsck;
mod source;
mod tiles;

pub use export::{Exported, export, export_dir};
pub use source::Source;

use crate::blob::{Audit, Mentions};
use crate::error::RecordError;
use crate::log::disk::{Disk, RealDisk};
use crate::log::{
    CHECKPOINT_FILE, RESERVE_FILE, STATE_FILE, VKEY_FILE, WAL_FOLDER, read_facts, segment_ordinal,
};
use crate::recorder::BLOB_FOLDER;
use ringfence_core::digest::Digest;
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::note::{NOTE_BYTES_MAX, Note, NoteKey, NoteSignature};
use serde::{Deserialize, Serialize};
use source::OnDisk;
use std::path::{Path, PathBuf};

/// Every report of a log that nobody outside has signed says this.
pub const NO_WITNESS: &str = "no outside witness: not tamper-evident against root of this machine; \
    compare the root with a checkpoint kept elsewhere (--since)";
/// Said when the key was not given by who asks.
pub const NO_KEY: &str = "no verifier key given: the ones beside the log were used, which whoever \
    rewrites the log can replace";
/// How often a log that changes while it is read is read again.
const ATTEMPTS_MAX: u32 = 5;

/// What who asks knows already.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Keys every one of which must have signed; with none, those beside the log are taken.
    pub vkeys: Vec<NoteKey>,
    /// A checkpoint of the same log kept elsewhere: the log must extend it.
    pub since: Option<String>,
}

/// What a check found. It is a pass: what fails is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Which log.
    pub origin: String,
    /// Leaves read, each canonical.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Leaves under the signed checkpoint.
    pub checkpoint_size: u64,
    /// Root of the signed checkpoint.
    pub checkpoint_root: Digest,
    /// The size that the log was shown to extend, if a checkpoint kept elsewhere was given.
    pub since: Option<u64>,
    /// Tiles and bundles compared.
    pub files: u64,
    /// Octets of them.
    pub octets: u64,
    /// Sequence numbers that no leaf tells about.
    pub unaccounted: u64,
    /// Sequence numbers reserved and neither filled nor closed: a recorder runs, or crashed.
    pub open_numbers: u64,
    /// Octets of an unfinished write at the end.
    pub torn_bytes: u64,
    /// Whether the write-ahead log and the high-water mark were checked too.
    pub fsck: bool,
    /// Sealed payloads beside the log, where they were checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payloads: Option<Audit>,
    /// What a reader should know before trusting this.
    pub warnings: Vec<String>,
}

/// Where a directory's log is: itself, or `log` below a record directory.
pub fn log_of(directory: &Path) -> PathBuf {
    let below = directory.join("log");
    if below.join(CHECKPOINT_FILE).exists() {
        below
    } else {
        directory.to_owned()
    }
}

/// Checks the files that the world may see, in a directory, with all that stands beside them.
pub fn verify_dir(directory: &Path, demands: &Demands) -> Result<VerifyReport, RecordError> {
    verify_disk(&RealDisk::read_only(log_of(directory)), demands)
}

/// Checks the record directory of this machine: the log with its write-ahead log, and the sealed
/// payloads beside it. One that is missing or damaged is [`RecordError::Payloads`].
pub fn fsck_dir(directory: &Path) -> Result<VerifyReport, RecordError> {
    let log = RealDisk::read_only(log_of(directory));
    let blobs = RealDisk::read_only(directory.join(BLOB_FOLDER));
    let mut attempt = 1;
    loop {
        let (mut report, mentions) = check_disk(&log, &Demands::default())?;
        let audit = mentions.audit(&blobs)?;
        if audit.is_sound() {
            report.payloads = Some(audit);
            return Ok(report);
        }
        // A subject's payloads go before the leaf that says so comes; then the log has grown.
        let grown = check_disk(&log, &Demands::default())?.0.size != report.size;
        if attempt == ATTEMPTS_MAX || !grown {
            return Err(RecordError::Payloads(Box::new(audit)));
        }
        attempt += 1;
    }
}

/// Checks the log on a disk. Where a write-ahead log stands beside the tiles, it is checked too.
pub fn verify_disk(disk: &dyn Disk, demands: &Demands) -> Result<VerifyReport, RecordError> {
    check_disk(disk, demands).map(|(report, _)| report)
}

/// The same, and which payloads the leaves speak of.
fn check_disk(disk: &dyn Disk, demands: &Demands) -> Result<(VerifyReport, Mentions), RecordError> {
    let mut attempt = 1;
    loop {
        let before = read_facts(disk)?;
        let result = verify_once(disk, demands);
        // A recorder may run: what looks wrong may only be newer than what was read before.
        let moved = || -> Result<bool, RecordError> {
            let after = read_facts(disk)?;
            let text = |f: &crate::log::Facts| f.checkpoint.as_ref().map(|(text, ..)| text.clone());
            Ok(text(&before) != text(&after) || before.first_segment() != after.first_segment())
        };
        if result.is_ok() || attempt == ATTEMPTS_MAX || !moved()? {
            return result;
        }
        attempt += 1;
    }
}

fn verify_once(
    disk: &dyn Disk,
    demands: &Demands,
) -> Result<(VerifyReport, Mentions), RecordError> {
    let facts = read_facts(disk)?;
    let mut checked = public(&OnDisk(disk), demands)?;
    if let (Some(keys), Some((text, ..))) = (&facts.vkeys, &facts.checkpoint) {
        signed(text, keys)?;
        no_other_key(text, keys)?;
    }
    let names = disk
        .names("")
        .map_err(|e| RecordError::io("list", "log", e))?;
    let own = [WAL_FOLDER, STATE_FILE].map(|own| names.iter().any(|n| n == own));
    let size = checked.walked.frontier.size();
    let mut mentions = Mentions::default();
    let limit = match own {
        // A copy of what the world may see.
        [false, false] => size,
        [true, true] => {
            let ahead = fsck::check(disk, &facts, checked.walked)?;
            let report = &mut checked.report;
            report.fsck = true;
            report.size = ahead.frontier.size();
            report.root = Digest(ahead.frontier.root());
            report.unaccounted = ahead.ledger.unaccounted();
            report.open_numbers = ahead.ledger.open_numbers();
            report.torn_bytes = ahead.torn_bytes;
            mentions = ahead.mentions;
            ahead.frontier.size()
        }
        [wal, _] => {
            let missing = if wal { STATE_FILE } else { WAL_FOLDER };
            return Err(RecordError::ForkRisk(format!("{missing} is missing")));
        }
    };
    let mut report = checked.report;
    let ahead = tiles::beyond(&OnDisk(disk), size, limit)?;
    let mut warn = |text: String| report.warnings.push(text);
    if ahead > 0 {
        warn(format!(
            "{ahead} files are ahead of the checkpoint and not checked: the next opening derives them again"
        ));
    }
    if report.torn_bytes > 0 {
        let torn = report.torn_bytes;
        warn(format!("{torn} octets of an unfinished write at the end"));
    }
    if limit > size {
        warn(format!(
            "{} leaves are newer than the checkpoint",
            limit - size
        ));
    }
    let strange = names.iter().filter(|n| !is_ours(n)).count();
    let strange = strange + strange_segments(disk)?;
    if strange > 0 {
        warn(format!(
            "{strange} files in the log directory are not part of the log"
        ));
    }
    Ok((report, mentions))
}

/// Checks what a log shows to the world, from any source of its files.
pub fn verify_public(source: &dyn Source, demands: &Demands) -> Result<VerifyReport, RecordError> {
    public(source, demands).map(|checked| checked.report)
}

struct Checked {
    walked: tiles::Walked,
    report: VerifyReport,
}

fn public(source: &dyn Source, demands: &Demands) -> Result<Checked, RecordError> {
    let mut warnings = vec![];
    let text = |name: &str| -> Result<Option<String>, RecordError> {
        let bytes = source.fetch(name, NOTE_BYTES_MAX as u64)?;
        bytes
            .map(|b| String::from_utf8(b).map_err(|_| RecordError::corrupt(name, 0, "not text")))
            .transpose()
    };
    let note = text(CHECKPOINT_FILE)?
        .ok_or_else(|| RecordError::ForkRisk(format!("the {CHECKPOINT_FILE} is missing")))?;
    let keys = if demands.vkeys.is_empty() {
        warnings.push(NO_KEY.to_owned());
        let keys = keys_beside(text(VKEY_FILE)?)?;
        no_other_key(&note, &keys)?;
        keys
    } else {
        demands.vkeys.clone()
    };
    let checkpoint = signed(&note, &keys)?;
    let since = demands
        .since
        .as_deref()
        .map(|since| signed(since, &keys))
        .transpose()?;
    if let Some(since) = &since
        && since.size > checkpoint.size
    {
        return Err(RecordError::ForkRisk(format!(
            "the checkpoint kept elsewhere is of {} leaves, this log of {}: it was rolled back",
            since.size, checkpoint.size
        )));
    }
    let walked = tiles::walk(source, checkpoint.size, since.as_ref().map(|s| s.size))?;
    let fork = |why: &str| Err(RecordError::ForkRisk(why.to_owned()));
    if walked.frontier.root() != checkpoint.root {
        return fork("the entries make another root than the one that was signed");
    }
    match &since {
        Some(since) if walked.root_at != Some(since.root) => {
            return fork("it does not extend the checkpoint kept elsewhere");
        }
        Some(_) => {}
        None => warnings.push(NO_WITNESS.to_owned()),
    }
    let tally = &walked.tally;
    if tally.clock_back > 0 {
        warnings.push(format!(
            "the clock was set back {} times: a leaf is more than a minute older than the one before",
            tally.clock_back
        ));
    }
    let report = VerifyReport {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: Digest(checkpoint.root),
        checkpoint_size: checkpoint.size,
        checkpoint_root: Digest(checkpoint.root),
        since: since.map(|s| s.size),
        files: tally.files,
        octets: tally.octets,
        unaccounted: u64::try_from(tally.unaccounted).unwrap_or(0),
        open_numbers: 0,
        torn_bytes: 0,
        fsck: false,
        payloads: None,
        warnings,
    };
    Ok(Checked { walked, report })
}

/// The keys that lie beside a log.
fn keys_beside(text: Option<String>) -> Result<Vec<NoteKey>, RecordError> {
    let text = text.ok_or_else(|| {
        RecordError::ForkRisk("no verifier key is given or lies there".to_owned())
    })?;
    let keys = text.lines().map(str::parse).collect::<Result<_, _>>();
    keys.map_err(|_| RecordError::corrupt(VKEY_FILE, 0, "not verifier keys"))
}

/// Refuses a note that bears a signature under the log's name of a key that does not lie beside it:
/// the key was taken away.
fn no_other_key(note: &str, keys: &[NoteKey]) -> Result<(), RecordError> {
    let note = Note::parse(note)?;
    let known = |name: &str, id| keys.iter().any(|k| k.name() == name && k.id() == id);
    let other =
        |s: &&NoteSignature| keys.iter().any(|k| k.name() == s.name) && !known(&s.name, s.id);
    match note.signatures().iter().find(other) {
        None => Ok(()),
        Some(_) => Err(RecordError::corrupt(
            VKEY_FILE,
            0,
            "a key that signed the checkpoint is missing",
        )),
    }
}

/// A checkpoint that every key has signed, of the log of that name.
fn signed(note: &str, keys: &[NoteKey]) -> Result<Checkpoint, RecordError> {
    let note = Note::parse(note)?;
    note.verify(keys)?;
    let checkpoint = Checkpoint::parse(note.text())?;
    if keys.iter().any(|k| k.name() != checkpoint.origin) {
        return Err(RecordError::ForkRisk(
            "the checkpoint is of another log".to_owned(),
        ));
    }
    Ok(checkpoint)
}

fn is_ours(name: &str) -> bool {
    let base = name.strip_suffix(".tmp").unwrap_or(name);
    [
        CHECKPOINT_FILE,
        VKEY_FILE,
        STATE_FILE,
        RESERVE_FILE,
        WAL_FOLDER,
        "tile",
    ]
    .contains(&base)
}

fn strange_segments(disk: &dyn Disk) -> Result<usize, RecordError> {
    let names = disk
        .names(WAL_FOLDER)
        .map_err(|e| RecordError::io("list", WAL_FOLDER, e))?;
    let strange = |n: &&String| segment_ordinal(&format!("{WAL_FOLDER}/{n}")).is_none();
    Ok(names.iter().filter(strange).count())
}

/// The verifier keys that lie beside a log, to be noted elsewhere.
pub fn vkeys_of(directory: &Path) -> Result<Vec<NoteKey>, RecordError> {
    let facts = read_facts(&RealDisk::read_only(log_of(directory)))?;
    facts
        .vkeys
        .ok_or_else(|| RecordError::ForkRisk("the verifier keys are missing".to_owned()))
}
