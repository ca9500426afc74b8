//! Where an export goes: a bucket that locks objects, or a folder of immutable files.

use super::cursor::replace;
use super::error::WormError;
use bytes::Bytes;
use ringfence_core::ports::BoxFuture;
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_crypto::hash::sha256;
use ringfence_net::s3::{Bucket, Lock, LockMode, OBJECT_BYTES_MAX, Put, PutOutcome};
use ringfence_sys::immutable;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// How much shorter than asked an object's lock may be that an earlier run put: a resumed export asks
/// for a later end than the one that was interrupted.
const RESUME_MS: i64 = DAY_MS;

/// Whether an object came now or was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was stored now.
    New,
    /// It was there with the same content and a lock that holds.
    Already,
}

/// Something that keeps what it is given.
pub trait Vault: Send + Sync {
    /// Its name in the cursor.
    fn name(&self) -> String;
    /// Keeps a file under a path for good: the answer comes after the vault was asked what it holds.
    fn keep(
        &self,
        path: String,
        content: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Kept, WormError>>;
    /// Puts a file that later ones take the place of. What it replaces stays where the vault can.
    fn publish(
        &self,
        path: String,
        content: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), WormError>>;
}

/// A bucket with Object Lock.
#[derive(Debug)]
pub struct LockedBucket {
    bucket: Bucket,
    prefix: String,
    mode: LockMode,
    days: u32,
}

impl LockedBucket {
    /// A vault below `prefix`, in which each object is locked for so many days.
    pub fn new(bucket: Bucket, prefix: impl Into<String>, mode: LockMode, days: u32) -> Self {
        Self {
            bucket,
            prefix: prefix.into(),
            mode,
            days,
        }
    }

    fn lock(&self, now: Timestamp) -> Lock {
        Lock::new(self.mode, now.plus_ms(i64::from(self.days) * DAY_MS))
    }

    /// Asks the bucket what it holds and compares.
    async fn locked(
        &self,
        key: &str,
        version: Option<&str>,
        wanted: Lock,
    ) -> Result<(), WormError> {
        let held = self.bucket.retention(key, version).await?;
        if held.is_some_and(|held| held.covers(&wanted)) {
            return Ok(());
        }
        Err(WormError::NotLocked {
            key: key.to_owned(),
            held: held.map_or_else(
                || "it has no retention".to_owned(),
                |held| format!("{} until {}", held.mode.as_str(), held.until),
            ),
        })
    }

    async fn keep(&self, path: &str, content: Bytes, now: Timestamp) -> Result<Kept, WormError> {
        let key = format!("{}{path}", self.prefix);
        let wanted = self.lock(now);
        let digest = sha256(&content);
        let put = Put {
            key: &key,
            content,
            lock: Some(wanted),
            only_new: true,
        };
        if let PutOutcome::Stored(version) = self.bucket.put(put).await? {
            self.locked(&key, version.as_deref(), wanted).await?;
            return Ok(Kept::New);
        }
        let gone = || WormError::Differs(key.clone());
        let head = self.bucket.head(&key).await?.ok_or_else(gone)?;
        let held = match head.sha256 {
            Some(digest) => digest,
            None => {
                let content = self.bucket.get(&key, OBJECT_BYTES_MAX).await?;
                sha256(&content.ok_or_else(gone)?)
            }
        };
        if held != digest {
            return Err(WormError::Differs(key));
        }
        let enough = Lock::new(self.mode, wanted.until.plus_ms(-RESUME_MS));
        let version = head.version.as_deref();
        match self.locked(&key, version, enough).await {
            Err(WormError::NotLocked { .. }) => {
                self.bucket.put_retention(&key, version, wanted).await?;
                self.locked(&key, version, wanted).await?;
            }
            settled => settled?,
        }
        Ok(Kept::Already)
    }

    async fn publish(&self, path: &str, content: Bytes, now: Timestamp) -> Result<(), WormError> {
        let key = format!("{}{path}", self.prefix);
        let wanted = self.lock(now);
        let put = Put {
            key: &key,
            content,
            lock: Some(wanted),
            only_new: false,
        };
        match self.bucket.put(put).await? {
            PutOutcome::Stored(version) => self.locked(&key, version.as_deref(), wanted).await,
            PutOutcome::Exists => Err(WormError::Differs(key)),
        }
    }
}

impl Vault for LockedBucket {
    fn name(&self) -> String {
        format!("{:?}/{}", self.bucket, self.prefix)
    }

    fn keep(
        &self,
        path: String,
        content: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Kept, WormError>> {
        Box::pin(async move { LockedBucket::keep(self, &path, content, now).await })
    }

    fn publish(
        &self,
        path: String,
        content: Bytes,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), WormError>> {
        Box::pin(async move { LockedBucket::publish(self, &path, content, now).await })
    }
}

/// A folder whose files are made immutable. The flag has no end; who takes it off is root.
///
/// Its methods block on the disk: it is for commands, not for a task of the server.
#[derive(Clone, Debug)]
pub struct ImmutableFolder(pub PathBuf);

impl ImmutableFolder {
    fn keep(&self, path: &str, content: &[u8]) -> Result<Kept, WormError> {
        let target = self.0.join(path);
        let name = || target.display().to_string();
        match File::open(&target) {
            Ok(file) => {
                let mut held = Vec::new();
                (&file)
                    .take(content.len() as u64 + 1)
                    .read_to_end(&mut held)
                    .map_err(|e| WormError::io("read", name(), e))?;
                if held != content {
                    return Err(WormError::Differs(name()));
                }
                fixed(&target, &file)?;
                Ok(Kept::Already)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.write(&target, content)?;
                let file = File::open(&target).map_err(|e| WormError::io("open", name(), e))?;
                fixed(&target, &file)?;
                Ok(Kept::New)
            }
            Err(e) => Err(WormError::io("open", name(), e)),
        }
    }

    fn write(&self, target: &Path, content: &[u8]) -> Result<(), WormError> {
        let fail = |e| WormError::io("write", target.display().to_string(), e);
        let folder = target.parent().unwrap_or(&self.0);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(fail)?;
        replace(target, content, 0o644).map_err(fail)?;
        // The folders above may be new: force their names too, up to the root of the export.
        let above = folder.ancestors().take_while(|f| f.starts_with(&self.0));
        for folder in above {
            File::open(folder)
                .and_then(|f| f.sync_all())
                .map_err(fail)?;
        }
        Ok(())
    }
}

/// Sets the flag where it is not set, and says why it cannot be.
fn fixed(path: &Path, file: &File) -> Result<(), WormError> {
    let fail = |source| WormError::NotImmutable {
        path: path.display().to_string(),
        source,
    };
    if immutable::is_set(file).map_err(fail)? {
        return Ok(());
    }
    immutable::set(file, true).map_err(fail)
}

impl Vault for ImmutableFolder {
    fn name(&self) -> String {
        let path = fs::canonicalize(&self.0).unwrap_or_else(|_| self.0.clone());
        path.display().to_string()
    }

    fn keep(
        &self,
        path: String,
        content: Bytes,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<Kept, WormError>> {
        Box::pin(async move { ImmutableFolder::keep(self, &path, &content) })
    }

    fn publish(
        &self,
        path: String,
        content: Bytes,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<(), WormError>> {
        Box::pin(async move { self.write(&self.0.join(path), &content) })
    }
}
