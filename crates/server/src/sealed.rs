//! Keys that are made once and kept sealed by the recorder: the state database alone opens nothing.

use ringfence_core::error::Explained;
use ringfence_core::ids::ProjectId;
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use ringfence_crypto::hmac::HmacKey;
use ringfence_record::{Purpose, RecorderClient};
use ringfence_store::{Store, StoreError, settings};

/// Where sealed keys are kept, and who seals them.
pub struct Sealed<'a> {
    /// Holds the sealed octets.
    pub store: &'a Store,
    /// Seals and opens, for named purposes.
    pub recorder: &'a RecorderClient,
    /// Where new keys come from.
    pub entropy: &'a dyn Entropy,
    /// Whose keys.
    pub project: &'a ProjectId,
}

impl Sealed<'_> {
    /// The key of a purpose, made and sealed at the first call.
    pub async fn key(&self, purpose: Purpose) -> Result<HmacKey, Explained> {
        let octets = self.octets(purpose).await?;
        HmacKey::from_bytes(octets.danger_expose()).map_err(|e| Explained::of(&e))
    }

    /// Its octets, for those who must be shown them.
    pub async fn octets(&self, purpose: Purpose) -> Result<Secret<Vec<u8>>, Explained> {
        let name = format!("key.{purpose:?}");
        let held = self
            .store
            .read(|view| settings::find(view, self.project, &name))
            .map_err(|e: StoreError| Explained::of(&e))?;
        if let Some(sealed) = held {
            return self
                .recorder
                .unseal(purpose, &sealed)
                .await
                .map_err(|e| Explained::of(&e));
        }
        let mut octets = vec![0; HmacKey::BYTES];
        self.entropy.fill(&mut octets)?;
        let fresh = Secret::new(octets);
        let sealed = self
            .recorder
            .seal(purpose, fresh.danger_expose())
            .await
            .map_err(|e| Explained::of(&e))?;
        let project = self.project.clone();
        self.store
            .write(move |tx| settings::put(tx, &project, &name, &sealed))
            .map_err(|e: StoreError| Explained::of(&e))?;
        Ok(fresh)
    }
}
