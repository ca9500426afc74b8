//! What is signed by each kind of signature, and the signatures that carry a time.
//!
//! C2SP tlog-cosignature: the octets after the key's id are a time (seconds since the epoch, eight
//! octets, big-endian) and the signature. The Ed25519 kind signs two lines and the whole text; the
//! ML-DSA-44 kind signs a structure of name, time, origin, size and root, and thus *not* the
//! extension lines of a checkpoint: nothing here may act on those.

use super::key::{Kind, NAME_BYTES_MAX, NoteKey};
use super::{NoteSignature, Signed};
use crate::checkpoint::Checkpoint;
use crate::error::CryptoError;
use crate::sign::SigningKey;

/// LIMIT: the latest time that a cosignature may state.
const SECONDS_MAX: u64 = i64::MAX as u64;
/// Sets the messages of the ML-DSA-44 kind apart from all others.
const LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// Signs the text as a log does. A signature with a time states none: the log says what it holds,
/// not that nothing newer exists, and so one checkpoint stays one statement however often it is
/// published.
pub(super) fn sign_as_log(
    text: &str,
    name: &str,
    key: &SigningKey,
) -> Result<NoteSignature, CryptoError> {
    let signer = NoteKey::new(name, key.verifying_key())?;
    signature(text, &signer, key, 0)
}

/// A witness's signature over a checkpoint: "at this time it was the largest of its log that I
/// saw, and consistent with all before". The time is in seconds since the epoch and not 0.
pub fn cosign(
    text: &str,
    name: &str,
    key: &SigningKey,
    seconds: u64,
) -> Result<NoteSignature, CryptoError> {
    if seconds == 0 {
        return Err(CryptoError::Note("a cosignature states a time"));
    }
    let signer = NoteKey::witness(name, key.verifying_key())?;
    signature(text, &signer, key, seconds)
}

fn signature(
    text: &str,
    signer: &NoteKey,
    key: &SigningKey,
    seconds: u64,
) -> Result<NoteSignature, CryptoError> {
    let message = message(text, signer, seconds)?;
    let mut signature = match signer.kind() {
        Kind::Ed25519 => Vec::new(),
        Kind::Cosignature | Kind::Subtree => seconds.to_be_bytes().to_vec(),
    };
    signature.extend_from_slice(&key.sign(&message)?);
    Ok(NoteSignature {
        name: signer.name().to_owned(),
        id: signer.id(),
        signature,
    })
}

/// What the signature says, if it is one of this key over this text.
pub(super) fn verify(text: &str, key: &NoteKey, signature: &[u8]) -> Option<Signed> {
    let (seconds, raw) = match key.kind() {
        Kind::Ed25519 => (0, signature),
        Kind::Cosignature | Kind::Subtree => {
            let (seconds, raw) = signature.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*seconds), raw)
        }
    };
    let message = message(text, key, seconds).ok()?;
    key.key()
        .verify(&message, raw)
        .then_some(Signed { seconds })
}

fn message(text: &str, signer: &NoteKey, seconds: u64) -> Result<Vec<u8>, CryptoError> {
    if seconds > SECONDS_MAX {
        return Err(CryptoError::Note("a time beyond 2^63 - 1"));
    }
    match signer.kind() {
        Kind::Ed25519 => Ok(text.as_bytes().to_vec()),
        Kind::Cosignature => {
            Checkpoint::parse(text)?;
            Ok(format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes())
        }
        Kind::Subtree => subtree(&Checkpoint::parse(text)?, signer.name(), seconds),
    }
}

/// `cosigned_message` of the specification, for a whole tree.
fn subtree(checkpoint: &Checkpoint, name: &str, seconds: u64) -> Result<Vec<u8>, CryptoError> {
    let mut message = LABEL.to_vec();
    opaque(&mut message, name)?;
    message.extend_from_slice(&seconds.to_be_bytes());
    opaque(&mut message, &checkpoint.origin)?;
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&checkpoint.size.to_be_bytes());
    message.extend_from_slice(&checkpoint.root);
    Ok(message)
}

/// `opaque<1..2^8-1>` of RFC 8446.
fn opaque(message: &mut Vec<u8>, text: &str) -> Result<(), CryptoError> {
    match u8::try_from(text.len()) {
        Ok(length) if (1..=NAME_BYTES_MAX).contains(&text.len()) => {
            message.push(length);
            message.extend_from_slice(text.as_bytes());
            Ok(())
        }
        _ => Err(CryptoError::Note(
            "ML-DSA-44 signs names and origins of 1 to 255 octets",
        )),
    }
}
