//! The keys of a witness, in files as those of the log are.

use crate::error::RecordError;
use crate::keys::{private_directory, read, write};
use ringfence_core::ports::Entropy;
use ringfence_crypto::sign::{Algorithm, SigningKey};
use std::path::Path;

const FILES: [(Algorithm, (&str, &str)); 2] = [
    (
        Algorithm::MlDsa44,
        ("witness-ml-dsa-44.key", "ringfence-witness-ml-dsa-44/v1"),
    ),
    (
        Algorithm::Ed25519,
        ("witness-ed25519.key", "ringfence-witness-ed25519/v1"),
    ),
];

/// Reads both keys, or makes them if nothing was ever cosigned here. The one that is advised for
/// new deployments comes first.
pub(super) fn open(
    directory: &Path,
    in_use: bool,
    entropy: &dyn Entropy,
) -> Result<Vec<SigningKey>, RecordError> {
    private_directory(directory)?;
    FILES
        .into_iter()
        .map(|(algorithm, file)| match read(directory, file)? {
            Some(bytes) => SigningKey::from_pkcs8(algorithm, bytes.danger_expose())
                .map_err(|_| RecordError::KeyMalformed(file.0.to_owned())),
            None if in_use => Err(RecordError::KeyMissing(file.0.to_owned())),
            None => {
                let key = SigningKey::generate(algorithm, entropy)?;
                write(directory, file, key.to_pkcs8()?.danger_expose())?;
                Ok(key)
            }
        })
        .collect()
}
