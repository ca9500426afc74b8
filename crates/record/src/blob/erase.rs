//! Forgetting a subject, so that no crash leaves it half forgotten.
//!
//! 1. A journal names the pseudonym and the erasure; from here on it ends.
//! 2. The table of keys is written without the subject and the old one destroyed.
//! 3. The subject's blobs are removed, where the file system allows.
//! 4. A leaf is appended.
//! 5. The journal is removed.
//!
//! Each step can be done again. A crash between the last two appends the leaf a second time; both
//! carry the number of the erasure, so that readers count it once.

use super::{Blobs, HEADER_BYTES, Pseudonym, header, is_blob, names, sync_names};
use crate::error::RecordError;
use crate::log::disk::{read_up_to, read_whole, replace};
use ringfence_core::digest::{hex, unhex};
use ringfence_core::ids::ProjectId;
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::time::Timestamp;
use ringfence_crypto::CryptoError;
use ringfence_crypto::hash::sha256;
use std::io::ErrorKind;

const JOURNAL: &str = "erasing";
const TITLE: &str = "ringfence-erasure/v0";
/// LIMIT: octets of the journal.
const JOURNAL_BYTES_MAX: u64 = 512;

/// An erasure that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Whose.
    pub subject: Pseudonym,
    /// Its number, random.
    pub id: [u8; 16],
    /// Blobs whose files could not be removed. They are ciphertext without a key.
    pub left: u64,
}

/// The leaf of an erasure. `action` says what kind of leaf it is.
pub fn leaf(
    erasure: &Erasure,
    action: LeafAction,
    (time, project, actor): (Timestamp, ProjectId, &str),
) -> Leaf {
    let left = i64::try_from(erasure.left).unwrap_or(i64::MAX);
    Leaf::new(
        time,
        project,
        actor,
        action,
        format!("subject:{}", erasure.subject),
    )
    .with("erasure", hex(&erasure.id))
    .with("subject", erasure.subject.to_string())
    .with("blobs_left", left)
}

impl Blobs {
    /// Forgets a subject. `append` writes the leaf and returns once it is on disk; if it fails, the
    /// erasure stays pending and [`Blobs::resume`] ends it. Unknown subjects are
    /// [`RecordError::NoSubject`].
    pub fn erase(
        &mut self,
        subject: &str,
        append: &mut dyn FnMut(&Erasure) -> Result<(), RecordError>,
    ) -> Result<Erasure, RecordError> {
        if self.pending()?.is_some() {
            return Err(RecordError::ErasurePending);
        }
        let subject = self.pseudonym(subject).ok_or(RecordError::NoSubject)?;
        let mut id = [0; 16];
        self.entropy
            .fill(&mut id)
            .map_err(|e| RecordError::Crypto(CryptoError::Random(e.what)))?;
        let body = format!("{TITLE}\n{subject}\n{}", hex(&id));
        let text = format!("{body}\n{}\n", hex(&sha256(body.as_bytes())));
        replace(&*self.table.disk, JOURNAL, text.as_bytes())?;
        self.carry_out((subject, id), append)
    }

    /// The erasure that was interrupted, if one was.
    pub fn pending(&self) -> Result<Option<(Pseudonym, [u8; 16])>, RecordError> {
        let Some(bytes) = read_whole(&*self.table.disk, JOURNAL, JOURNAL_BYTES_MAX)? else {
            return Ok(None);
        };
        let journal = std::str::from_utf8(&bytes).ok().and_then(parse);
        journal
            .map(Some)
            .ok_or_else(|| RecordError::corrupt(JOURNAL, 0, "not a journal of an erasure"))
    }

    /// Ends the erasure that was interrupted, if one was.
    pub fn resume(
        &mut self,
        append: &mut dyn FnMut(&Erasure) -> Result<(), RecordError>,
    ) -> Result<Option<Erasure>, RecordError> {
        match self.pending()? {
            None => Ok(None),
            Some(journal) => self.carry_out(journal, append).map(Some),
        }
    }

    fn carry_out(
        &mut self,
        (subject, id): (Pseudonym, [u8; 16]),
        append: &mut dyn FnMut(&Erasure) -> Result<(), RecordError>,
    ) -> Result<Erasure, RecordError> {
        self.table.destroy(subject)?;
        let left = self.remove_blobs(subject)?;
        let erasure = Erasure { subject, id, left };
        append(&erasure)?;
        match self.table.disk.remove(JOURNAL) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(RecordError::io("remove", JOURNAL, e));
            }
            _ => {}
        }
        sync_names(&*self.table.disk)?;
        Ok(erasure)
    }

    /// Removes a subject's blobs and says how many had to stay.
    fn remove_blobs(&self, subject: Pseudonym) -> Result<u64, RecordError> {
        let mut left = 0;
        for name in names(&*self.files)?.into_iter().filter(|n| is_blob(n)) {
            if self.owner(&name)? != Some(subject) {
                continue;
            }
            match self.files.remove(&name) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) if e.kind() == ErrorKind::PermissionDenied => left += 1,
                Err(e) => return Err(RecordError::io("remove", name, e)),
            }
        }
        sync_names(&*self.files)?;
        Ok(left)
    }

    /// Whose blob a file is; `None` for one whose header is damaged, which then belongs to nobody.
    fn owner(&self, name: &str) -> Result<Option<Pseudonym>, RecordError> {
        let fail = |e| RecordError::io("read", name, e);
        let file = self.files.open(name, false).map_err(fail)?;
        let mut start = [0; HEADER_BYTES];
        let read = read_up_to(&*file, &mut start, 0).map_err(fail)?;
        Ok(start.get(..read).and_then(header).map(|(owner, _)| owner))
    }
}

fn parse(text: &str) -> Option<(Pseudonym, [u8; 16])> {
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    if hex(&sha256(body.as_bytes())) != sum {
        return None;
    }
    let mut lines = body.split('\n');
    let (title, subject, id) = (lines.next()?, lines.next()?, lines.next()?);
    if title != TITLE || lines.next().is_some() {
        return None;
    }
    Some((Pseudonym::parse(subject)?, unhex(id)?.try_into().ok()?))
}
