//! Base64 as signed notes need it: one spelling for each value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// RFC 4648 section 4, with padding.
pub fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads what [`base64_encode`] writes and nothing else: missing padding and stray trailing bits
/// are refused, since two spellings of one signature would be two notes.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    (base64_encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_vectors_read_and_write() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64_encode(plain.as_bytes()), coded);
            assert_eq!(base64_decode(coded), Some(plain.as_bytes().to_vec()));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in ["Zg", "Zg=", "Zh==", "Zm8=\n", " Zm8=", "Zm9-", "===="] {
            assert_eq!(base64_decode(text), None, "{text:?}");
        }
    }
}
