//! The key files: two that sign the log and one that seals secrets.
//!
//! Made at the first opening, readable by their owner only, each with a checksum so that damage is
//! found at opening and not at the first secret that does not open. A key whose log exists is never
//! made anew: that would hide a loss.

use crate::error::RecordError;
use crate::log::LogKeys;
use crate::log::disk::sync_directory;
use ringfence_core::digest::hex;
use ringfence_core::ports::Entropy;
use ringfence_core::secret::Secret;
use ringfence_crypto::hash::sha256;
use ringfence_crypto::sign::{Algorithm, SigningKey};
use ringfence_crypto::{aead, base64_decode, base64_encode};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// LIMIT: octets of a key file.
const KEY_FILE_BYTES_MAX: u64 = 4096;
const LOG_KEYS: [(Algorithm, (&str, &str)); 2] = [
    (Algorithm::Ed25519, ("log.key", "ringfence-log-key/v0")),
    (
        Algorithm::MlDsa44,
        ("log-ml-dsa.key", "ringfence-log-ml-dsa-key/v0"),
    ),
];
const SECRETS_KEY: (&str, &str) = ("secrets.key", "ringfence-secrets-key/v0");

/// All keys.
pub(crate) struct Keys {
    pub(crate) log: LogKeys,
    pub(crate) secrets: aead::Key,
}

/// Makes a directory for its owner only, and the ones above it.
pub(crate) fn private_directory(path: &Path) -> Result<(), RecordError> {
    let fail = |e| RecordError::io("create", path.display().to_string(), e);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(fail)
}

impl Keys {
    /// Reads the keys, or makes them if no log exists yet.
    pub(crate) fn open(
        directory: &Path,
        log_exists: bool,
        entropy: &dyn Entropy,
    ) -> Result<Self, RecordError> {
        private_directory(directory)?;
        let [ed25519, ml_dsa] = LOG_KEYS
            .map(|(algorithm, file)| log_key(directory, algorithm, file, log_exists, entropy));
        let log = LogKeys {
            ed25519: ed25519?,
            ml_dsa: ml_dsa?,
        };
        let secrets = match read(directory, SECRETS_KEY)? {
            Some(bytes) => aead::Key::from_bytes(bytes.danger_expose())
                .map_err(|_| RecordError::KeyMalformed(SECRETS_KEY.0.to_owned()))?,
            None if log_exists => return Err(RecordError::KeyMissing(SECRETS_KEY.0.to_owned())),
            None => {
                let key = aead::Key::generate(entropy)?;
                write(directory, SECRETS_KEY, key.danger_expose())?;
                key
            }
        };
        Ok(Self { log, secrets })
    }
}

fn log_key(
    directory: &Path,
    algorithm: Algorithm,
    file: (&str, &str),
    log_exists: bool,
    entropy: &dyn Entropy,
) -> Result<SigningKey, RecordError> {
    if let Some(bytes) = read(directory, file)? {
        return SigningKey::from_pkcs8(algorithm, bytes.danger_expose())
            .map_err(|_| RecordError::KeyMalformed(file.0.to_owned()));
    }
    if log_exists {
        return Err(RecordError::KeyMissing(file.0.to_owned()));
    }
    let key = SigningKey::generate(algorithm, entropy)?;
    write(directory, file, key.to_pkcs8()?.danger_expose())?;
    Ok(key)
}

pub(crate) fn read(
    directory: &Path,
    (name, title): (&str, &str),
) -> Result<Option<Secret<Vec<u8>>>, RecordError> {
    let fail = |e| RecordError::io("read", name, e);
    let file = match fs::File::open(directory.join(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let mode = file.metadata().map_err(fail)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RecordError::KeyExposed {
            file: name.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    let malformed = || RecordError::KeyMalformed(name.to_owned());
    match file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::InvalidData => return Err(malformed()),
        Err(e) => return Err(fail(e)),
    }
    let text = Secret::new(text);
    parse(text.danger_expose(), title)
        .map(Some)
        .ok_or_else(malformed)
}

fn parse(text: &str, title: &str) -> Option<Secret<Vec<u8>>> {
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    if hex(&sha256(body.as_bytes())) != sum {
        return None;
    }
    let coded = body.strip_prefix(title)?.strip_prefix('\n')?;
    base64_decode(coded).map(Secret::new)
}

pub(crate) fn write(
    directory: &Path,
    (name, title): (&str, &str),
    key: &[u8],
) -> Result<(), RecordError> {
    let fail = |e| RecordError::io("write", name, e);
    let body = Secret::new(format!("{title}\n{}", base64_encode(key)));
    let sum = hex(&sha256(body.danger_expose().as_bytes()));
    let temporary = directory.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(fail)?;
    file.write_all(body.danger_expose().as_bytes())
        .map_err(fail)?;
    file.write_all(format!("\n{sum}\n").as_bytes())
        .map_err(fail)?;
    file.sync_all().map_err(fail)?;
    fs::rename(&temporary, directory.join(name)).map_err(fail)?;
    sync_directory(directory).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_crypto::random::SystemEntropy;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    fn open(directory: &Path, log_exists: bool) -> Result<Keys, RecordError> {
        Keys::open(directory, log_exists, &SystemEntropy)
    }

    #[test]
    fn keys_are_made_once_private_and_read_back() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("keys");
        let first = open(&directory, false).unwrap();
        let again = open(&directory, true).unwrap();
        let public = |keys: &Keys| {
            let log = &keys.log;
            [log.ed25519.verifying_key(), log.ml_dsa.verifying_key()]
        };
        assert_eq!(public(&first), public(&again));
        assert_eq!(first.secrets.danger_expose(), again.secrets.danger_expose());
        for name in ["log.key", "log-ml-dsa.key", "secrets.key"] {
            assert_eq!(
                fs::metadata(directory.join(name)).unwrap().mode() & 0o777,
                0o600
            );
        }
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_lost_key_is_not_replaced_while_its_log_exists() {
        let scratch = tempfile::tempdir().unwrap();
        open(scratch.path(), false).unwrap();
        for name in ["log.key", "log-ml-dsa.key", "secrets.key"] {
            let kept = fs::read(scratch.path().join(name)).unwrap();
            fs::remove_file(scratch.path().join(name)).unwrap();
            assert!(
                matches!(open(scratch.path(), true), Err(RecordError::KeyMissing(n)) if n == name)
            );
            fs::write(scratch.path().join(name), kept).unwrap();
            fs::set_permissions(scratch.path().join(name), Permissions::from_mode(0o600)).unwrap();
        }
    }

    #[test]
    fn every_changed_octet_of_a_key_file_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        open(scratch.path(), false).unwrap();
        for name in ["log.key", "log-ml-dsa.key", "secrets.key"] {
            let path = scratch.path().join(name);
            let kept = fs::read(&path).unwrap();
            for i in 0..kept.len() {
                let mut changed = kept.clone();
                changed[i] ^= 1;
                fs::write(&path, &changed).unwrap();
                let opened = open(scratch.path(), true);
                assert!(
                    matches!(opened, Err(RecordError::KeyMalformed(_))),
                    "{name} octet {i}"
                );
            }
            fs::write(&path, kept).unwrap();
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        open(scratch.path(), false).unwrap();
        let path = scratch.path().join("log.key");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            open(scratch.path(), true),
            Err(RecordError::KeyExposed { mode: 0o640, .. })
        ));
    }
}
