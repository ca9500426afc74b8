//! Cosignatures of witnesses on the published checkpoint.

use super::Log;
use super::disk;
use super::scan::CHECKPOINT_FILE;
use crate::error::RecordError;
use ringfence_crypto::note::{Note, NoteKey, signature_lines};

impl Log {
    /// Adds to the published checkpoint the lines that are cosignatures by these keys, and says
    /// whether it did. A checkpoint that has been followed by another is left alone: the witnesses
    /// will have cosigned the next one.
    pub fn cosign(
        &mut self,
        text: &str,
        lines: &str,
        keys: &[NoteKey],
    ) -> Result<bool, RecordError> {
        let Some(signed) = &mut self.signed else {
            return Ok(false);
        };
        let mut note = Note::parse(&signed.note)?;
        if note.text() != text {
            return Ok(false);
        }
        for line in signature_lines(lines)? {
            let known = |k: &&NoteKey| k.name() == line.name && k.id() == line.id;
            let Some(key) = keys.iter().find(known).filter(|k| k.is_of_a_witness()) else {
                continue;
            };
            let mut alone = Note::parse(&signed.note)?;
            alone.add(line.clone())?;
            // Whoever hands them over is not believed: a line that verifies nothing is an error.
            alone.signed_by(key)?;
            if !note.signatures().contains(&line) {
                note.add(line)?;
            }
        }
        let cosigned = note.to_string();
        if cosigned == signed.note {
            return Ok(false);
        }
        disk::replace(&*self.disk, CHECKPOINT_FILE, cosigned.as_bytes())?;
        signed.note = cosigned;
        self.cosigned = Some(signed.clone());
        Ok(true)
    }
}
