//! Sealed payloads, through the recorder: it alone has the subjects' keys.

use super::RecorderClient;
use crate::blob::{Erasure, Kept, Pseudonym};
use crate::error::RecordError;
use crate::protocol::{Answer, Ask, Hidden};
use ringfence_core::digest::{Digest, unhex};
use ringfence_core::ids::ProjectId;
use ringfence_core::secret::Secret;

fn hidden(octets: &[u8]) -> Hidden {
    Hidden(Secret::new(octets.to_vec()))
}

impl RecorderClient {
    /// Seals a payload for a subject and keeps it; see [`crate::Recorder::keep`].
    pub async fn keep(&self, subject: &str, content: &[u8]) -> Result<Kept, RecordError> {
        let ask = Ask::Keep {
            subject: hidden(subject.as_bytes()),
            content: hidden(content),
        };
        match self.call(ask).await? {
            Answer::Kept { digest, subject } => Ok(Kept {
                digest,
                subject: Pseudonym(subject.0),
            }),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Opens a payload.
    pub async fn kept(&self, digest: Digest) -> Result<Secret<Vec<u8>>, RecordError> {
        match self.call(Ask::Kept { digest }).await? {
            Answer::Bytes { bytes } => Ok(bytes.0),
            _ => Err(RecordError::Protocol("another answer")),
        }
    }

    /// Forgets a subject; the leaf that says so bears this project and actor. After a
    /// [`RecordError::Timeout`] it ends all the same.
    pub async fn erase(
        &self,
        subject: &str,
        project: ProjectId,
        actor: &str,
    ) -> Result<Erasure, RecordError> {
        let ask = Ask::Erase {
            subject: hidden(subject.as_bytes()),
            project,
            actor: actor.to_owned(),
        };
        let Answer::Erased { subject, id, left } = self.call(ask).await? else {
            return Err(RecordError::Protocol("another answer"));
        };
        let id = unhex(&id).and_then(|id| id.try_into().ok());
        Ok(Erasure {
            subject: Pseudonym(subject.0),
            id: id.ok_or(RecordError::Protocol("not the number of an erasure"))?,
            left,
        })
    }
}
