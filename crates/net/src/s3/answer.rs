//! The XML of answers, read strictly: the element that an answer must be, and in it what was asked
//! for. Elements are known by their local name: stores differ in whether they declare the
//! namespace. A document type, more nodes than [`XML_NODES_MAX`] or a missing element is an error.

use super::{KEY_BYTES_MAX, Lock, LockMode};
use crate::error::NetError;
use ringfence_core::time::Timestamp;
use roxmltree::{Document, Node, ParsingOptions};

/// LIMIT: octets of an XML answer: a page of 1,000 keys of the greatest length.
pub const XML_BYTES_MAX: usize = 4 * 1024 * 1024;
/// LIMIT: nodes of an XML answer; a page of 1,000 keys has about 20,000.
const XML_NODES_MAX: u32 = 64 * 1024;
/// LIMIT: keys on one page, as the interface has it.
const PAGE_KEYS_MAX: usize = 1_000;
/// LIMIT: octets of an error code that is repeated to people.
const CODE_BYTES_MAX: usize = 64;

/// One page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Keys and lengths, in order of the keys.
    pub keys: Vec<(String, u64)>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

fn parse(bytes: &[u8]) -> Result<Document<'_>, NetError> {
    let wrong = NetError::StoreAnswer("what is not XML");
    if bytes.len() > XML_BYTES_MAX {
        return Err(wrong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| wrong.clone())?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: XML_NODES_MAX,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(|_| wrong)
}

/// The text of the only child of this name.
fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let mut children = node.children().filter(|n| n.tag_name().name() == name);
    let child = children.next()?;
    match children.next() {
        None => child.text(),
        Some(_) => None,
    }
}

fn root<'a, 'd>(document: &'a Document<'d>, name: &str) -> Result<Node<'a, 'd>, NetError> {
    let root = document.root_element();
    if root.tag_name().name() == name {
        Ok(root)
    } else {
        Err(NetError::StoreAnswer("another document than was asked for"))
    }
}

/// The code of an error, if it is one word: it is shown to people and compared, never interpreted.
pub(super) fn error_code(bytes: &[u8]) -> Option<String> {
    let document = parse(bytes).ok()?;
    let code = text(root(&document, "Error").ok()?, "Code")?;
    let plain = (1..=CODE_BYTES_MAX).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    plain.then(|| code.to_owned())
}

/// `GetObjectRetention`.
pub(super) fn retention(bytes: &[u8]) -> Result<Lock, NetError> {
    let document = parse(bytes)?;
    let node = root(&document, "Retention")?;
    let mode = text(node, "Mode").and_then(LockMode::parse);
    let until = text(node, "RetainUntilDate").and_then(|t| Timestamp::parse(t).ok());
    match (mode, until) {
        (Some(mode), Some(until)) => Ok(Lock { mode, until }),
        _ => Err(NetError::StoreAnswer("a retention without mode or date")),
    }
}

/// The body of `PutObjectRetention`.
pub(super) fn retention_text(lock: Lock) -> String {
    format!(
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{}</Mode>\
         <RetainUntilDate>{}</RetainUntilDate></Retention>",
        lock.mode.as_str(),
        super::seconds(lock.until)
    )
}

/// `ListObjectsV2`.
pub(super) fn listing(bytes: &[u8]) -> Result<Listing, NetError> {
    let wrong = NetError::StoreAnswer("a malformed list of objects");
    let document = parse(bytes)?;
    let node = root(&document, "ListBucketResult")?;
    let mut keys = Vec::new();
    for entry in node
        .children()
        .filter(|n| n.tag_name().name() == "Contents")
    {
        let key = text(entry, "Key").filter(|k| k.len() <= KEY_BYTES_MAX);
        let length = text(entry, "Size").and_then(|t| t.parse().ok());
        match (key, length) {
            (Some(key), Some(length)) if keys.len() < PAGE_KEYS_MAX => {
                keys.push((key.to_owned(), length));
            }
            _ => return Err(wrong),
        }
    }
    let next = match text(node, "IsTruncated") {
        Some("false") => None,
        Some("true") => {
            let token = text(node, "NextContinuationToken").ok_or(wrong)?;
            Some(token.to_owned())
        }
        _ => return Err(wrong),
    };
    Ok(Listing { keys, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_reads_back_what_is_sent() {
        let lock = Lock::new(LockMode::Compliance, Timestamp(1_000_000_000_000));
        assert_eq!(retention(retention_text(lock).as_bytes()), Ok(lock));
    }

    #[test]
    fn answers_that_say_too_little_or_too_much_are_refused() {
        for text in [
            "",
            "Retention",
            "<Retention/>",
            "<Retention><Mode>COMPLIANCE</Mode></Retention>",
            "<Retention><Mode>NONE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
            "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>",
            "<Retention><Mode>COMPLIANCE</Mode><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
            "<Other><Mode>COMPLIANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Other>",
            "<!DOCTYPE a [<!ENTITY m 'COMPLIANCE'>]><Retention><Mode>&m;</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
        ] {
            assert!(retention(text.as_bytes()).is_err(), "{text}");
        }
        assert!(retention(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn an_error_code_is_one_word_or_none() {
        let of = |code: &str| error_code(format!("<Error><Code>{code}</Code></Error>").as_bytes());
        assert_eq!(of("NoSuchKey").as_deref(), Some("NoSuchKey"));
        assert_eq!(of(&"x".repeat(CODE_BYTES_MAX)).map(|c| c.len()), Some(64));
        assert_eq!(of(&"x".repeat(CODE_BYTES_MAX + 1)), None);
        assert_eq!(of("two words"), None);
        assert_eq!(of(""), None);
        assert_eq!(error_code(b"<html>503</html>"), None);
    }

    #[test]
    fn a_page_is_read_with_its_limit_on_keys_and_nodes() {
        let page = |n: usize, rest: &str| {
            let entries = "<Contents><Key>k</Key><Size>1</Size></Contents>".repeat(n);
            listing(format!("<ListBucketResult>{entries}{rest}</ListBucketResult>").as_bytes())
        };
        let end = "<IsTruncated>false</IsTruncated>";
        assert_eq!(page(PAGE_KEYS_MAX, end).unwrap().keys.len(), PAGE_KEYS_MAX);
        assert!(page(PAGE_KEYS_MAX + 1, end).is_err());
        assert!(page(1, "").is_err());
        assert!(page(1, "<IsTruncated>true</IsTruncated>").is_err());
        let more =
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
        assert_eq!(page(0, more).unwrap().next.as_deref(), Some("t"));
        let wide = |n: usize| parse(format!("<r>{}</r>", "<a/>".repeat(n)).as_bytes()).is_ok();
        // The document and its root element are nodes too.
        assert!(wide(XML_NODES_MAX as usize - 2));
        assert!(!wide(XML_NODES_MAX as usize - 1));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_full_stack() {
        let depth = XML_NODES_MAX as usize;
        let text = format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(text.as_bytes()).is_err());
        let inside = depth - 2;
        let text = format!("{}{}", "<a>".repeat(inside), "</a>".repeat(inside));
        assert!(retention(text.as_bytes()).is_err());
    }
}
