//! C2SP signed-note: a text, an empty line, and one line for each signature.
//!
//! A verifier ignores signatures of keys it does not know, refuses a note where a key it knows
//! signed something else, and asks for those keys that its caller requires. [`Kind`] says what a
//! signature covers: the text (0x01), the text and a time (0x04), or what a checkpoint says and a
//! time (0x06), so that the latter two are for checkpoints only.

mod cosign;
mod key;

pub use cosign::cosign;
pub use key::{Kind, NAME_BYTES_MAX, NoteKey, VKEY_BYTES_MAX};

use crate::error::CryptoError;
use crate::sign::SigningKey;
use crate::text::{base64_decode, base64_encode};
use std::fmt;
use std::str::FromStr;

/// LIMIT: octets of a note. Sixteen ML-DSA-44 signatures, which a verifier must accept, are 54 KB.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: signature lines of a note.
pub const SIGNATURES_MAX: usize = 100;

const MARK: &str = "\u{2014} ";

/// One signature line; as text it is the line without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Who says to have signed.
    pub name: String,
    /// The id of the key.
    pub id: [u8; 4],
    /// The signature, behind its time if it has one.
    pub signature: Vec<u8>,
}

/// What a signature that verified says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// When it was made, in seconds since the epoch; 0 where no time is stated.
    pub seconds: u64,
}

/// A note whose form is right; [`Note::verify`] says whether its signatures are. As text it is the
/// note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Signs a text that ends with a newline, with each key in turn, as the log of that name. An
/// ML-DSA-44 key signs checkpoints only.
pub fn sign(text: &str, name: &str, keys: &[&SigningKey]) -> Result<String, CryptoError> {
    check_text(text)?;
    if keys.is_empty() {
        return Err(CryptoError::Note("nobody signs it"));
    }
    let signatures = keys
        .iter()
        .map(|key| cosign::sign_as_log(text, name, key))
        .collect::<Result<_, _>>()?;
    let note = Note {
        text: text.to_owned(),
        signatures,
    };
    note.check_limits()?;
    Ok(note.to_string())
}

fn check_text(text: &str) -> Result<(), CryptoError> {
    if !text.ends_with('\n') {
        return Err(CryptoError::Note("the text does not end with a newline"));
    }
    if text.bytes().any(|b| b < b' ' && b != b'\n') {
        return Err(CryptoError::Note("the text holds a control character"));
    }
    Ok(())
}

impl Note {
    /// Reads a note; the last empty line parts text from signatures.
    pub fn parse(note: &str) -> Result<Self, CryptoError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        let split = note
            .rfind("\n\n")
            .ok_or(CryptoError::Note("no empty line"))?;
        let (text, rest) = note.split_at(split + 1);
        check_text(text)?;
        let lines = rest
            .strip_prefix('\n')
            .ok_or(CryptoError::Note("no signature lines"))?;
        Ok(Self {
            text: text.to_owned(),
            signatures: signature_lines(lines)?,
        })
    }

    /// The text that was signed, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line; whether it verifies is for [`Note::signed_by`] to say.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), CryptoError> {
        self.signatures.push(signature);
        self.check_limits().inspect_err(|_| {
            self.signatures.pop();
        })
    }

    /// Succeeds when *every* key given has signed the text, and none of them something else.
    /// Nothing given is nothing verified, and fails.
    pub fn verify(&self, keys: &[NoteKey]) -> Result<(), CryptoError> {
        if keys.is_empty() {
            return Err(CryptoError::Unsigned(
                "any known key: none was given".to_owned(),
            ));
        }
        for key in keys {
            if self.signed_by(key)?.is_none() {
                return Err(CryptoError::Unsigned(key.to_string()));
            }
        }
        Ok(())
    }

    /// What the key says about the text: `None` if it did not sign, the latest time if it signed
    /// more than once, an error if one of its signatures is of something else.
    pub fn signed_by(&self, key: &NoteKey) -> Result<Option<Signed>, CryptoError> {
        let (name, id) = (key.name(), key.id());
        let mut latest: Option<Signed> = None;
        for line in &self.signatures {
            if line.name != name || line.id != id {
                continue;
            }
            let signed = cosign::verify(&self.text, key, &line.signature)
                .ok_or_else(|| CryptoError::Signature(name.to_owned()))?;
            if latest.is_none_or(|l| l.seconds < signed.seconds) {
                latest = Some(signed);
            }
        }
        Ok(latest)
    }

    fn check_limits(&self) -> Result<(), CryptoError> {
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(TOO_MANY);
        }
        if self.to_string().len() > NOTE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        Ok(())
    }
}

const TOO_LONG: CryptoError = CryptoError::Note("longer than a note may be");
const TOO_MANY: CryptoError = CryptoError::Note("more signature lines than a note may have");

/// Reads one or more signature lines, each with its newline: the end of a note, or what a witness
/// answers.
pub fn signature_lines(text: &str) -> Result<Vec<NoteSignature>, CryptoError> {
    if text.len() > NOTE_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let lines = text
        .strip_suffix('\n')
        .ok_or(CryptoError::Note("no signature lines"))?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == SIGNATURES_MAX {
            return Err(TOO_MANY);
        }
        signatures.push(line.parse()?);
    }
    Ok(signatures)
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_slice(), &self.signature].concat();
        write!(f, "{MARK}{} {}", self.name, base64_encode(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = CryptoError;

    fn from_str(line: &str) -> Result<Self, CryptoError> {
        let malformed = CryptoError::Note("a signature line is malformed");
        let (name, coded) = line
            .strip_prefix(MARK)
            .and_then(|rest| rest.split_once(' '))
            .ok_or_else(|| malformed.clone())?;
        let bytes = base64_decode(coded).ok_or_else(|| malformed.clone())?;
        match bytes.split_first_chunk::<4>() {
            Some((id, signature)) if key::name_is_valid(name) && !signature.is_empty() => {
                Ok(Self {
                    name: name.to_owned(),
                    id: *id,
                    signature: signature.to_vec(),
                })
            }
            _ => Err(malformed),
        }
    }
}

#[cfg(test)]
mod tests;
