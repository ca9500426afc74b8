//! One secret for each subject, in a file that is written anew for each change.
//!
//! The file is a generation: `subjects.N`. A change writes N+1 beside it, forces that to disk, and
//! then overwrites and removes N. At opening the highest generation counts and all others are
//! destroyed the same way, so a key that was dropped comes back by no crash.

use super::{names, sync_names};
use crate::error::RecordError;
use crate::log::disk::{Disk, read_whole, replace};
use ringfence_core::digest::{hex, unhex};
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use ringfence_crypto::CryptoError;
use ringfence_crypto::aead;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::hmac::HmacKey;
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

/// LIMIT: subjects of one log. The table is written whole, so each new subject costs what all cost.
pub const SUBJECTS_MAX: usize = 65_536;
/// LIMIT: octets of a subject's name.
pub const SUBJECT_BYTES_MAX: usize = 1_024;

const TITLE: &str = "ringfence-subjects/v0";
const PREFIX: &str = "subjects.";
const LINE_BYTES: usize = 64 + 1 + 64 + 1;
/// LIMIT: octets of the table.
const TABLE_BYTES_MAX: usize = TITLE.len() + 1 + 65 + SUBJECTS_MAX * LINE_BYTES + 65;
/// Octets that are overwritten at once.
const SHRED_BYTES: usize = 8 * 1024;

/// What a leaf calls a subject: a code under a key that the subject alone has, so that it says
/// nothing to who does not hold the key and nothing to anybody once the key is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(pub [u8; 32]);

impl Pseudonym {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonym({self})")
    }
}

/// A subject's secret, and what follows from it.
#[derive(Clone)]
pub(super) struct Subject {
    secret: Secret<Vec<u8>>,
    pseudonym: Pseudonym,
}

impl Subject {
    fn new(secret: Secret<Vec<u8>>) -> Result<Self, CryptoError> {
        let key = HmacKey::from_bytes(secret.danger_expose())?;
        let pseudonym = Pseudonym(key.sign(b"ringfence-pseudonym/v0"));
        Ok(Self { secret, pseudonym })
    }

    pub(super) fn pseudonym(&self) -> Pseudonym {
        self.pseudonym
    }

    /// The key that seals this subject's blobs.
    pub(super) fn sealing(&self) -> Result<aead::Key, CryptoError> {
        let key = HmacKey::from_bytes(self.secret.danger_expose())?;
        let octets = Secret::new(key.sign(b"ringfence-seal/v0"));
        aead::Key::from_bytes(octets.danger_expose())
    }
}

/// The table, as it is on disk.
pub(super) struct Table {
    pub(super) disk: Arc<dyn Disk>,
    generation: u64,
    /// Files of earlier generations that still have to be destroyed.
    superseded: Vec<String>,
    /// Under which subjects are looked up. Its codes stand in this file and nowhere else.
    lookup: Secret<Vec<u8>>,
    subjects: BTreeMap<[u8; 32], Subject>,
}

impl Table {
    /// Reads the newest generation, or makes the first, and destroys every other.
    pub(super) fn open(disk: &Arc<dyn Disk>, entropy: &dyn Entropy) -> Result<Self, RecordError> {
        let mut newest = None;
        let mut others = Vec::new();
        for name in names(&**disk)?
            .into_iter()
            .filter(|n| n.starts_with(PREFIX))
        {
            match generation(&name) {
                Some(number) if newest.is_none_or(|n| number > n) => {
                    others.extend(newest.replace(number).map(file_name));
                }
                _ => others.push(name),
            }
        }
        let mut table = match newest {
            Some(number) => Self::read(disk, number)?,
            None => {
                for name in others.drain(..) {
                    shred(&**disk, &name)?;
                }
                let mut lookup = vec![0; HmacKey::BYTES];
                fill(entropy, &mut lookup)?;
                let mut table = Self {
                    disk: Arc::clone(disk),
                    generation: 0,
                    superseded: Vec::new(),
                    lookup: Secret::new(lookup),
                    subjects: BTreeMap::new(),
                };
                table.save()?;
                table
            }
        };
        table.superseded = others;
        table.destroy_superseded()?;
        Ok(table)
    }

    fn read(disk: &Arc<dyn Disk>, generation: u64) -> Result<Self, RecordError> {
        let name = file_name(generation);
        let bytes = read_whole(&**disk, &name, TABLE_BYTES_MAX as u64)?.map(Secret::new);
        let damaged = || RecordError::KeyMalformed(name.clone());
        let bytes = bytes.ok_or_else(damaged)?;
        let text = std::str::from_utf8(bytes.danger_expose()).map_err(|_| damaged())?;
        let (lookup, subjects) = parse(text).ok_or_else(damaged)?;
        Ok(Self {
            disk: Arc::clone(disk),
            generation,
            superseded: Vec::new(),
            lookup,
            subjects,
        })
    }

    fn code(&self, subject: &str) -> Result<[u8; 32], RecordError> {
        let key = HmacKey::from_bytes(self.lookup.danger_expose())?;
        Ok(key.sign(subject.as_bytes()))
    }

    pub(super) fn find(&self, subject: &str) -> Option<&Subject> {
        self.subjects.get(&self.code(subject).ok()?)
    }

    pub(super) fn of(&self, pseudonym: Pseudonym) -> Option<&Subject> {
        self.subjects.values().find(|s| s.pseudonym == pseudonym)
    }

    /// The subject's secret, made and forced to disk if there is none.
    pub(super) fn make(
        &mut self,
        subject: &str,
        entropy: &dyn Entropy,
    ) -> Result<Subject, RecordError> {
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
            return Err(RecordError::TooMany {
                what: "octets of a subject's name",
                limit: SUBJECT_BYTES_MAX as u64,
            });
        }
        let code = self.code(subject)?;
        if let Some(held) = self.subjects.get(&code) {
            return Ok(held.clone());
        }
        if self.subjects.len() >= SUBJECTS_MAX {
            return Err(RecordError::TooMany {
                what: "subjects of one log",
                limit: SUBJECTS_MAX as u64,
            });
        }
        let mut octets = vec![0; HmacKey::BYTES];
        fill(entropy, &mut octets)?;
        let made = Subject::new(Secret::new(octets))?;
        self.subjects.insert(code, made.clone());
        let saved = self.save();
        if saved.is_err() {
            self.subjects.remove(&code);
        }
        saved.map(|()| made)
    }

    /// Destroys a subject's secret, on disk first.
    pub(super) fn destroy(&mut self, pseudonym: Pseudonym) -> Result<(), RecordError> {
        let code = self
            .subjects
            .iter()
            .find(|(_, s)| s.pseudonym == pseudonym)
            .map(|(code, _)| *code);
        let Some((code, held)) = code.and_then(|c| self.subjects.remove_entry(&c)) else {
            // Dropped before, by an attempt that may have failed to destroy the older file.
            return self.destroy_superseded();
        };
        let saved = self.save();
        if saved.is_err() {
            self.subjects.insert(code, held);
        }
        saved
    }

    /// Writes the next generation, then destroys this one.
    fn save(&mut self) -> Result<(), RecordError> {
        let next = self.generation + 1;
        let text = self.text();
        replace(&*self.disk, &file_name(next), text.danger_expose())?;
        let old = std::mem::replace(&mut self.generation, next);
        if old > 0 {
            self.superseded.push(file_name(old));
        }
        self.destroy_superseded()
    }

    fn destroy_superseded(&mut self) -> Result<(), RecordError> {
        while let Some(name) = self.superseded.last() {
            shred(&*self.disk, name)?;
            self.superseded.pop();
        }
        Ok(())
    }

    fn text(&self) -> Secret<Vec<u8>> {
        // Room for all of it: growing would leave copies of secrets behind in freed memory.
        let mut text = Vec::with_capacity(
            TABLE_BYTES_MAX.min(TITLE.len() + 1 + 65 + self.subjects.len() * LINE_BYTES + 65),
        );
        text.extend_from_slice(TITLE.as_bytes());
        text.push(b'\n');
        put_hex(&mut text, self.lookup.danger_expose(), b'\n');
        for (code, subject) in &self.subjects {
            put_hex(&mut text, code, b' ');
            put_hex(&mut text, subject.secret.danger_expose(), b'\n');
        }
        let sum = sha256(&text);
        put_hex(&mut text, &sum, b'\n');
        Secret::new(text)
    }
}

fn put_hex(text: &mut Vec<u8>, octets: &[u8], end: u8) {
    let coded = Secret::new(hex(octets));
    text.extend_from_slice(coded.danger_expose().as_bytes());
    text.push(end);
}

type Parsed = (Secret<Vec<u8>>, BTreeMap<[u8; 32], Subject>);

fn parse(text: &str) -> Option<Parsed> {
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    if hex(&sha256(format!("{body}\n").as_bytes())) != sum {
        return None;
    }
    let mut lines = body.split('\n');
    if lines.next() != Some(TITLE) {
        return None;
    }
    let octets = |text: &str| unhex(text).filter(|o| o.len() == 32).map(Secret::new);
    let lookup = octets(lines.next()?)?;
    let mut subjects = BTreeMap::new();
    for line in lines {
        let (code, secret) = line.split_once(' ')?;
        let code: [u8; 32] = unhex(code)?.try_into().ok()?;
        let subject = Subject::new(octets(secret)?).ok()?;
        if subjects.insert(code, subject).is_some() || subjects.len() > SUBJECTS_MAX {
            return None;
        }
    }
    Some((lookup, subjects))
}

fn file_name(generation: u64) -> String {
    format!("{PREFIX}{generation:020}")
}

/// The number of a table's file; none for a temporary one.
fn generation(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

fn fill(entropy: &dyn Entropy, octets: &mut [u8]) -> Result<(), RecordError> {
    entropy
        .fill(octets)
        .map_err(|e| RecordError::Crypto(CryptoError::Random(e.what)))
}

/// Overwrites a file, forces that to disk, and removes it. One that is gone is the work of an attempt
/// that could not force the removal to disk, which this one does.
fn shred(disk: &dyn Disk, name: &str) -> Result<(), RecordError> {
    let fail = |e| RecordError::io("destroy", name, e);
    let file = match disk.open(name, false) {
        Err(e) if e.kind() == ErrorKind::NotFound => return sync_names(disk),
        opened => opened.map_err(fail)?,
    };
    let mut left = file.length().map_err(fail)?;
    let zeros = [0; SHRED_BYTES];
    let mut offset = 0;
    while left > 0 {
        let count = left.min(SHRED_BYTES as u64);
        let part = usize::try_from(count).unwrap_or(SHRED_BYTES);
        file.write_at(zeros.get(..part).unwrap_or(&zeros), offset)
            .map_err(fail)?;
        offset += count;
        left -= count;
    }
    file.sync().map_err(fail)?;
    disk.remove(name).map_err(fail)?;
    sync_names(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::RealDisk;
    use ringfence_crypto::random::SystemEntropy;
    use std::fs;
    use std::path::Path;

    fn open(path: &Path) -> Result<Table, RecordError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::writable(path));
        Table::open(&disk, &SystemEntropy)
    }

    fn only_file(path: &Path) -> std::path::PathBuf {
        let mut files: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    #[test]
    fn a_secret_is_made_once_read_back_and_gone_once_destroyed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut table = open(scratch.path()).unwrap();
        let alice = table.make("alice", &SystemEntropy).unwrap().pseudonym();
        let bob = table.make("bob", &SystemEntropy).unwrap().pseudonym();
        assert_ne!(alice, bob);
        let mut table = open(scratch.path()).unwrap();
        assert_eq!(table.find("alice").unwrap().pseudonym(), alice);
        table.destroy(alice).unwrap();
        let mut table = open(scratch.path()).unwrap();
        assert!(table.find("alice").is_none() && table.of(alice).is_none());
        assert_eq!(table.find("bob").unwrap().pseudonym(), bob);
        // Whoever comes back is somebody else to the log.
        assert_ne!(
            table.make("alice", &SystemEntropy).unwrap().pseudonym(),
            alice
        );
        only_file(scratch.path());
    }

    #[test]
    fn damage_anywhere_in_the_table_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        open(scratch.path())
            .unwrap()
            .make("a", &SystemEntropy)
            .unwrap();
        let path = only_file(scratch.path());
        let whole = fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(
                matches!(open(scratch.path()), Err(RecordError::KeyMalformed(_))),
                "{i}"
            );
            fs::write(&path, &whole[..i]).unwrap();
            assert!(
                matches!(open(scratch.path()), Err(RecordError::KeyMalformed(_))),
                "{i}"
            );
        }
        fs::write(&path, &whole).unwrap();
        open(scratch.path()).unwrap();
    }

    #[test]
    fn names_are_taken_at_the_limit_and_refused_beyond() {
        let scratch = tempfile::tempdir().unwrap();
        let mut table = open(scratch.path()).unwrap();
        let mut make = |n: usize| table.make(&"x".repeat(n), &SystemEntropy).is_ok();
        assert!(make(1) && make(SUBJECT_BYTES_MAX));
        assert!(!make(0) && !make(SUBJECT_BYTES_MAX + 1));
    }

    #[test]
    fn subjects_are_taken_up_to_the_limit_and_one_more_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let mut table = open(scratch.path()).unwrap();
        for n in 0..SUBJECTS_MAX - 1 {
            let secret = Secret::new(sha256(&n.to_be_bytes()).to_vec());
            let code = sha256(&(n + SUBJECTS_MAX).to_be_bytes());
            table.subjects.insert(code, Subject::new(secret).unwrap());
        }
        table.make("last", &SystemEntropy).unwrap();
        let refused = table.make("one more", &SystemEntropy);
        assert!(matches!(refused, Err(RecordError::TooMany { .. })));
        let length = fs::metadata(only_file(scratch.path())).unwrap().len();
        assert_eq!(length, TABLE_BYTES_MAX as u64);
        assert!(open(scratch.path()).unwrap().find("last").is_some());
    }
}
