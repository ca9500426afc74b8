//! The log with its keys, in this process: what the recorder role serves, and what a command uses
//! while no server runs.

use crate::blob::{self, Blobs, Erasure, Kept};
use crate::config::WITNESSES_MAX;
use crate::error::{RecordError, explain};
use crate::keys::{Keys, private_directory};
use crate::log::disk::Disk;
use crate::log::disk::{RealDisk, sync_directory};
use crate::log::ledger::{Gap, GapReason};
use crate::log::{Appended, Done, Log, LogOptions, LogState, Operation, Recovery, Retirement};
use crate::proof::Proof;
use crate::protocol::{Purpose, SEALED_BYTES_MAX};
use ringfence_core::digest::Digest;
use ringfence_core::error::Explained;
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::{BoxFuture, Clock, Entropy, LeafSink, LeafSlot, Receipt};
use ringfence_core::secret::Secret;
use ringfence_crypto::aead;
use ringfence_crypto::merkle::Hash;
use ringfence_crypto::note::NoteKey;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Where sealed payloads lie below a record directory.
pub(crate) const BLOB_FOLDER: &str = "blob";
/// Where the subjects' secrets lie: apart from the other keys, since backups of them must expire.
const SUBJECT_FOLDER: &str = "subjects";
/// Who ends an erasure that was interrupted.
const ACTOR: &str = "recorder";

/// What a log of format 0 had, which no release ever wrote.
const OLD_FILES: [&str; 2] = ["hashes.rfh", "wal-00000000.rfw"];

/// The log, its keys and the lock that keeps others away.
pub struct Recorder {
    log: Log,
    disk: RealDisk,
    secrets: aead::Key,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    recovery: Recovery,
    _lock: File,
}

impl Recorder {
    /// Opens `<dir>/log` with `<dir>/keys`, or makes both at the first opening.
    pub fn open(
        directory: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, RecordError> {
        private_directory(directory)?;
        let lock = lock(directory)?;
        let logs = directory.join("log");
        if OLD_FILES.iter().any(|name| logs.join(name).exists()) {
            return Err(RecordError::OldFormat(logs.display().to_string()));
        }
        let log_exists = logs.join("vkey").exists() || logs.join("state").exists();
        let keys = Keys::open(&directory.join("keys"), log_exists, &*entropy)?;
        private_directory(&logs)?;
        sync_directory(directory).map_err(|e| RecordError::io("force to disk", "record", e))?;
        // Before the log takes space in advance: the first table of subjects is a few octets.
        let blobs = open_blobs(directory, &entropy)?;
        let disk = RealDisk::writable(logs);
        let options = LogOptions::default();
        let (log, recovery) = Log::open(
            Arc::new(disk.clone()),
            keys.log,
            Arc::clone(&clock),
            options,
        )?;
        let mut recorder = Self {
            log,
            disk,
            secrets: keys.secrets,
            blobs,
            clock,
            entropy,
            recovery,
            _lock: lock,
        };
        recorder.end_erasure()?;
        Ok(recorder)
    }

    /// Seals a payload for a subject and keeps it; whoever asked then appends a leaf with `blob` and
    /// the detail `subject`. Returns when it is on disk.
    pub fn keep(&mut self, subject: &str, content: &[u8]) -> Result<Kept, RecordError> {
        self.end_erasure()?;
        self.blobs.keep(subject, content)
    }

    /// Opens a payload; [`RecordError::Erased`] says that its key is gone for good.
    pub fn kept(&self, digest: &Digest) -> Result<Secret<Vec<u8>>, RecordError> {
        self.blobs.read(digest)
    }

    /// Forgets a subject: destroys its key, removes its payloads, and appends the leaf that says so.
    /// What fails on the way is ended before the next change, at the latest at the next opening.
    pub fn erase(
        &mut self,
        subject: &str,
        project: &ProjectId,
        actor: &str,
    ) -> Result<Erasure, RecordError> {
        self.end_erasure()?;
        let Self {
            log, blobs, clock, ..
        } = self;
        blobs.erase(subject, &mut |erasure| {
            let who = (clock.now(), project.clone(), actor);
            log.append(blob::leaf(erasure, LeafAction::SubjectErase, who))
                .map(drop)
        })
    }

    /// Ends an erasure that was interrupted, if one was.
    fn end_erasure(&mut self) -> Result<(), RecordError> {
        let Self {
            log, blobs, clock, ..
        } = self;
        let ended = blobs.resume(&mut |erasure| {
            let who = (clock.now(), ProjectId::host(), ACTOR);
            log.append(blob::leaf(erasure, LeafAction::SubjectErase, who))
                .map(drop)
        });
        ended.map(drop)
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Appends a leaf; returns after fdatasync.
    pub fn append(&mut self, leaf: Leaf) -> Result<Appended, RecordError> {
        self.log.append(leaf)
    }

    /// Carries out many operations with one fdatasync.
    pub fn commit(
        &mut self,
        operations: Vec<Operation>,
    ) -> Result<Vec<Result<Done, RecordError>>, RecordError> {
        self.log.commit(operations)
    }

    /// Seals a value for a purpose.
    pub fn seal(&self, purpose: Purpose, value: &[u8]) -> Result<Vec<u8>, RecordError> {
        if value.len() > SEALED_BYTES_MAX {
            let limit = SEALED_BYTES_MAX as u64;
            return Err(RecordError::TooMany {
                what: "octets to seal",
                limit,
            });
        }
        Ok(aead::seal(
            &self.secrets,
            &*self.entropy,
            purpose.aad().as_bytes(),
            value,
        )?)
    }

    /// Opens a value that was sealed for this purpose.
    pub fn unseal(&self, purpose: Purpose, sealed: &[u8]) -> Result<Secret<Vec<u8>>, RecordError> {
        Ok(aead::open(&self.secrets, purpose.aad().as_bytes(), sealed)?)
    }

    /// The log in numbers.
    pub fn state(&self) -> LogState {
        self.log.state()
    }

    /// Leaves from an index on; see [`Log::read`] for the limits.
    pub fn read(&self, from: u64, count: u32) -> Result<Vec<(u64, Leaf)>, RecordError> {
        self.log.read(from, count)
    }

    /// A proof that a leaf is in the log.
    pub fn prove(&mut self, index: u64) -> Result<Proof, RecordError> {
        self.log.prove(index)
    }

    /// Signs and publishes the present size and root.
    pub fn checkpoint(&mut self) -> Result<String, RecordError> {
        self.log.checkpoint()
    }

    /// Looks how much space is left.
    pub(crate) fn look_at_space(&mut self) {
        self.log.look_at_space();
    }

    /// What of the write-ahead log can be let go, and the disk it is to be forced to first.
    pub(crate) fn retirement(&self) -> Option<(Retirement, Arc<dyn Disk>)> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        self.log.retirement().map(|r| (r, disk))
    }

    /// Lets it go.
    pub(crate) fn retired(&mut self, done: Retirement) -> Result<(), RecordError> {
        self.log.retired(done)
    }

    /// A checkpoint of the present size, and the proofs that it extends trees of these sizes.
    pub fn extend(&mut self, olds: &[u64]) -> Result<(String, Vec<Vec<Hash>>), RecordError> {
        if olds.len() > WITNESSES_MAX {
            return Err(RecordError::TooMany {
                what: "proofs at once",
                limit: WITNESSES_MAX as u64,
            });
        }
        let note = self.log.checkpoint()?;
        let proofs = olds.iter().map(|old| Ok(self.log.extend(*old)?.1));
        Ok((note, proofs.collect::<Result<_, RecordError>>()?))
    }

    /// Adds cosignatures to the published checkpoint; see [`Log::cosign`].
    pub fn cosign(
        &mut self,
        text: &str,
        lines: &str,
        vkeys: &[String],
    ) -> Result<bool, RecordError> {
        let keys = vkeys
            .iter()
            .take(WITNESSES_MAX)
            .map(|vkey| Ok(vkey.parse()?))
            .collect::<Result<Vec<NoteKey>, RecordError>>()?;
        self.log.cosign(text, lines, &keys)
    }

    /// Whether the log must be opened again before it can go on.
    pub fn is_poisoned(&self) -> bool {
        self.log.is_poisoned()
    }

    /// Sequence blocks that are open, as gaps that would close them.
    pub(crate) fn open_blocks(&self, reason: GapReason) -> Vec<Gap> {
        self.log.open_blocks(reason)
    }

    /// Counts what is open as unaccounted for, and signs a last checkpoint.
    pub fn close(mut self) -> Result<(), RecordError> {
        self.log.close_open_blocks(GapReason::Gone)?;
        self.log.checkpoint().map(drop)
    }
}

fn open_blobs(directory: &Path, entropy: &Arc<dyn Entropy>) -> Result<Blobs, RecordError> {
    let folder = |name| -> Result<Arc<dyn Disk>, RecordError> {
        let path = directory.join(name);
        private_directory(&path)?;
        Ok(Arc::new(RealDisk::writable(path)))
    };
    let files = folder(BLOB_FOLDER)?;
    let keys = folder(SUBJECT_FOLDER)?;
    sync_directory(directory).map_err(|e| RecordError::io("force to disk", "record", e))?;
    Blobs::open(files, &keys, Arc::clone(entropy))
}

fn lock(directory: &Path) -> Result<File, RecordError> {
    let path = directory.join("lock");
    let fail = |e| RecordError::io("lock", path.display().to_string(), e);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RecordError::Busy(directory.display().to_string())),
        Err(TryLockError::Error(e)) => Err(fail(e)),
    }
}

/// A recorder of this process as the port that stages write to. Each call forces to disk while it
/// is polled: for commands, not for a server.
pub struct LocalSink(Arc<Mutex<Recorder>>);

impl LocalSink {
    /// Takes the recorder in.
    pub fn new(recorder: Recorder) -> Self {
        Self(Arc::new(Mutex::new(recorder)))
    }

    /// Does something with the recorder.
    pub fn with<T>(&self, act: impl FnOnce(&mut Recorder) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LeafSink for LocalSink {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        Box::pin(async move {
            let appended = self.with(|r| r.append(leaf)).map_err(explain)?;
            Ok(appended.receipt())
        })
    }

    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        // One number of a block for each slot; the rest is given back at once.
        let first = self
            .with(|r| {
                let done = r.commit(vec![Operation::Reserve])?.pop();
                let Some(Ok(Done::Reserved { first, count })) = done else {
                    return Err(RecordError::Poisoned);
                };
                let gap = Gap {
                    first: first + 1,
                    count: count - 1,
                    reason: GapReason::Unused,
                };
                r.commit(vec![Operation::Close(gap)])?;
                Ok(first)
            })
            .map_err(explain)?;
        Ok(Box::new(LocalSlot {
            recorder: Arc::clone(&self.0),
            sequence: first,
            settled: false,
        }))
    }
}

struct LocalSlot {
    recorder: Arc<Mutex<Recorder>>,
    sequence: u64,
    settled: bool,
}

impl LocalSlot {
    fn commit(&mut self, operation: Operation) {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        // A failure leaves the number open, and the next opening counts it as unaccounted for.
        drop(recorder.commit(vec![operation]));
    }
}

impl LeafSlot for LocalSlot {
    fn sequence(&self) -> u64 {
        self.sequence
    }
    fn settle(mut self: Box<Self>, leaf: Leaf) {
        self.settled = true;
        let sequence = self.sequence;
        self.commit(Operation::Settle { sequence, leaf });
    }
}

impl Drop for LocalSlot {
    fn drop(&mut self) {
        if !self.settled {
            let gap = Gap {
                first: self.sequence,
                count: 1,
                reason: GapReason::Dropped,
            };
            self.commit(Operation::Close(gap));
        }
    }
}
