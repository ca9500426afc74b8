//! C2SP signed-note: a text, an empty line, and one line for each signature.
//!
//! A verifier ignores signatures of keys it does not know, refuses a note where a key it knows
//! signed something else, and asks for those keys that its caller requires.

use crate::error::CryptoError;
use crate::sign::{SigningKey, VerifyingKey};
use crate::text::{base64_decode, base64_encode};
use std::fmt;
use std::str::FromStr;

/// LIMIT: octets of a note.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: signature lines of a note.
pub const SIGNATURES_MAX: usize = 100;

/// The signature type of Ed25519 in the specification.
const ED25519: u8 = 0x01;
const MARK: &str = "\u{2014} ";

/// Name, id and public key of who signs: the `name+id+key` text that people pass around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    key: VerifyingKey,
}

impl NoteKey {
    /// Names a key. A name is not empty and has neither white space nor `+`.
    pub fn new(name: impl Into<String>, key: VerifyingKey) -> Result<Self, CryptoError> {
        let name = name.into();
        if !name_is_valid(&name) {
            return Err(CryptoError::Note(
                "a key name has no white space and no plus sign",
            ));
        }
        Ok(Self { name, key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The first four octets of SHA-256 over name, newline, type and key.
    pub fn id(&self) -> [u8; 4] {
        let mut hash = crate::hash::Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update(&[b'\n', ED25519]);
        hash.update(self.key.as_bytes());
        let [a, b, c, d, ..] = hash.finish();
        [a, b, c, d]
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![ED25519];
        typed.extend_from_slice(self.key.as_bytes());
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, base64_encode(&typed))
    }
}

impl FromStr for NoteKey {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        let malformed = CryptoError::Key("verifier key (name+id+key)");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed);
        };
        let typed = base64_decode(key).ok_or(malformed.clone())?;
        let Some((&ED25519, bytes)) = typed.split_first() else {
            return Err(CryptoError::Key("Ed25519 verifier key"));
        };
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| malformed.clone())?;
        let this = Self::new(name, VerifyingKey::from_bytes(bytes))?;
        if format!("{:08x}", u32::from_be_bytes(this.id())) != id {
            return Err(CryptoError::Key(
                "verifier key: its id is not that of its name and key",
            ));
        }
        Ok(this)
    }
}

fn name_is_valid(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Who says to have signed.
    pub name: String,
    /// The id of the key.
    pub id: [u8; 4],
    /// The signature.
    pub signature: Vec<u8>,
}

/// A note whose form is right; [`Note::verify`] says whether its signatures are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Signs a text that ends with a newline.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<String, CryptoError> {
    check_text(text)?;
    let signer = NoteKey::new(name, key.verifying_key())?;
    let mut bytes = signer.id().to_vec();
    bytes.extend_from_slice(&key.sign(text.as_bytes()));
    let note = format!("{text}\n{MARK}{name} {}\n", base64_encode(&bytes));
    if note.len() > NOTE_BYTES_MAX {
        return Err(CryptoError::Note("longer than a note may be"));
    }
    Ok(note)
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
            return Err(CryptoError::Note("longer than a note may be"));
        }
        let split = note
            .rfind("\n\n")
            .ok_or(CryptoError::Note("no empty line"))?;
        let (text, rest) = note.split_at(split + 1);
        check_text(text)?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|r| r.strip_suffix('\n'))
            .ok_or(CryptoError::Note("no signature lines"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(CryptoError::Note(
                    "more signature lines than a note may have",
                ));
            }
            signatures.push(parse_line(line)?);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
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

    /// Succeeds when *every* key given has signed the text, and none of them something else.
    /// Nothing given is nothing verified, and fails.
    pub fn verify(&self, keys: &[NoteKey]) -> Result<(), CryptoError> {
        if keys.is_empty() {
            return Err(CryptoError::Unsigned(
                "any known key: none was given".to_owned(),
            ));
        }
        for key in keys {
            let (name, id) = (key.name(), key.id());
            let mut signed = false;
            for line in self
                .signatures
                .iter()
                .filter(|s| s.name == name && s.id == id)
            {
                if !key.key().verify(self.text.as_bytes(), &line.signature) {
                    return Err(CryptoError::Signature(name.to_owned()));
                }
                signed = true;
            }
            if !signed {
                return Err(CryptoError::Unsigned(key.to_string()));
            }
        }
        Ok(())
    }
}

fn parse_line(line: &str) -> Result<NoteSignature, CryptoError> {
    let malformed = CryptoError::Note("a signature line is malformed");
    let (name, coded) = line
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| malformed.clone())?;
    let bytes = base64_decode(coded).ok_or_else(|| malformed.clone())?;
    match bytes.split_first_chunk::<4>() {
        Some((id, signature)) if name_is_valid(name) && !signature.is_empty() => {
            Ok(NoteSignature {
                name: name.to_owned(),
                id: *id,
                signature: signature.to_vec(),
            })
        }
        _ => Err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FixedEntropy;
    use proptest::prelude::*;

    // The example of the Go checksum database's note package: another implementation's output.
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> (SigningKey, NoteKey) {
        let key = SigningKey::generate(&FixedEntropy(3)).unwrap();
        let verifier = NoteKey::new("example.com/log", key.verifying_key()).unwrap();
        (key, verifier)
    }

    #[test]
    fn a_note_of_the_reference_implementation_verifies() {
        let key: NoteKey = VKEY.parse().unwrap();
        assert_eq!(key.to_string(), VKEY);
        let note = Note::parse(NOTE).unwrap();
        assert_eq!(note.verify(&[key]), Ok(()));
        assert_eq!(note.signatures().len(), 1);
    }

    #[test]
    fn every_changed_octet_of_a_note_is_noticed() {
        let key: NoteKey = VKEY.parse().unwrap();
        for i in 0..NOTE.len() {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[i] ^= 0x01;
            let accepted = String::from_utf8(bytes)
                .ok()
                .and_then(|t| Note::parse(&t).ok())
                .is_some_and(|n| n.verify(std::slice::from_ref(&key)).is_ok());
            assert!(!accepted, "octet {i}");
        }
    }

    #[test]
    fn every_required_key_must_have_signed() {
        let (key, verifier) = signer();
        let other: NoteKey = VKEY.parse().unwrap();
        let note = Note::parse(&sign("t\n", "example.com/log", &key).unwrap()).unwrap();
        assert_eq!(note.verify(std::slice::from_ref(&verifier)), Ok(()));
        assert!(matches!(
            note.verify(&[verifier, other]),
            Err(CryptoError::Unsigned(_))
        ));
        assert!(matches!(note.verify(&[]), Err(CryptoError::Unsigned(_))));
    }

    #[test]
    fn a_wrong_signature_by_a_known_key_spoils_the_note() {
        let (key, verifier) = signer();
        let good = sign("t\n", "example.com/log", &key).unwrap();
        let bad = sign("other\n", "example.com/log", &key).unwrap();
        let line = bad.lines().last().unwrap();
        let both = format!("{good}{line}\n");
        let verdict = Note::parse(&both).unwrap().verify(&[verifier]);
        assert!(matches!(verdict, Err(CryptoError::Signature(_))));
    }

    #[test]
    fn malformed_notes_and_keys_are_refused() {
        for text in [
            "",
            "\n",
            "t\n",
            "t\n\n",
            "t\n\nx\n",
            "t\n\n\u{2014} n\n",
            "t\r\n\n\u{2014} n AAAAAAA=\n",
        ] {
            assert!(Note::parse(text).is_err(), "{text:?}");
        }
        for text in [
            "",
            "a",
            "a+b+c",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(text.parse::<NoteKey>().is_err(), "{text:?}");
        }
        let (key, _) = signer();
        assert!(sign("no newline", "n", &key).is_err());
        assert!(sign("t\n", "two words", &key).is_err());
        assert!(sign("t\n", "a+b", &key).is_err());
    }

    #[test]
    fn signature_lines_and_length_are_limited() {
        let line = NOTE.lines().last().unwrap();
        let of = |n: usize| format!("t\n\n{}", format!("{line}\n").repeat(n));
        assert!(Note::parse(&of(SIGNATURES_MAX)).is_ok());
        assert!(Note::parse(&of(SIGNATURES_MAX + 1)).is_err());
        let (key, _) = signer();
        let base = sign("\n", "n", &key).unwrap().len();
        let long = |n: usize| sign(&format!("{}\n", "x".repeat(n)), "n", &key);
        assert!(Note::parse(&long(NOTE_BYTES_MAX - base).unwrap()).is_ok());
        assert!(long(NOTE_BYTES_MAX - base + 1).is_err());
    }

    proptest! {
        #[test]
        fn what_is_signed_reads_back(text in "([ -~é]{0,30}\n){1,5}") {
            let (key, verifier) = signer();
            let note = Note::parse(&sign(&text, verifier.name(), &key).unwrap()).unwrap();
            prop_assert_eq!(note.text(), text.as_str());
            prop_assert_eq!(note.verify(&[verifier]), Ok(()));
        }

        #[test]
        fn whatever_is_read_has_one_spelling(text in "(\u{2014} |[a-zA+ =/\n]|\n\n){0,40}") {
            if let Ok(key) = text.parse::<NoteKey>() {
                prop_assert_eq!(key.to_string(), text.clone());
            }
            if let Ok(note) = Note::parse(&text) {
                prop_assert!(text.starts_with(note.text()) && note.text().ends_with('\n'));
            }
        }
    }
}
