//! A client of one bucket of an S3 store: put with a lock, and read back what the store made of it.
//!
//! It covers what an export to write-once storage needs and no more: objects up to
//! [`OBJECT_BYTES_MAX`], Object Lock, conditional writes, checksums. Sources: Amazon S3 API reference
//! (`PutObject`, `GetObjectRetention`, `PutObjectRetention`, `HeadObject`, `ListObjectsV2`).
//!
//! A request is tried again only if doing it twice is the same as doing it once, at most
//! [`ATTEMPTS_MAX`] times and only after a broken connection, a timeout or a status that asks for
//! it. The pauses double and have no random part: there is one client, not a herd.
//!
//! INVARIANT: no answer is believed half: its body is read whole and within a limit, or the request
//! failed.

mod answer;
mod call;

pub use answer::{Listing, XML_BYTES_MAX};
pub use call::{ATTEMPTS_MAX, Answer, Call};

use crate::client::ClientLimits;
use crate::error::NetError;
use crate::https::{Endpoint, Roots};
use crate::sigv4::{Credentials, PathEncoding, Scope};
use bytes::Bytes;
use http::Method;
use ringfence_core::ports::Clock;
use ringfence_core::time::{SECOND_MS, Timestamp};
use ringfence_crypto::hash::sha256;
use ringfence_crypto::{base64_decode, base64_encode};
use std::sync::Arc;

/// LIMIT: octets of one object. The largest that the log has is a bundle of 256 entries.
pub const OBJECT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// LIMIT: octets of a key (Amazon S3 user guide, "Naming objects").
pub const KEY_BYTES_MAX: usize = 1024;

/// How a bucket is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://bucket.endpoint/key`.
    VirtualHost,
}

/// Which bucket, where, and as whom.
#[derive(Clone, Debug)]
pub struct Place {
    /// The service.
    pub endpoint: Endpoint,
    /// For example `eu-central-1`.
    pub region: String,
    /// 3 to 63 lower-case letters, digits, `-` and `.`.
    pub bucket: String,
    /// How the bucket enters the address.
    pub style: Style,
    /// Who signs.
    pub credentials: Credentials,
    /// By whom the service is verified; needed for https.
    pub roots: Option<Roots>,
    /// How long it may take.
    pub limits: ClientLimits,
}

/// Who may end a lock early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Those who hold a special permission.
    Governance,
    /// Nobody, not even the owner of the account.
    Compliance,
}

impl LockMode {
    /// As it stands in headers and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "GOVERNANCE" => Some(Self::Governance),
            "COMPLIANCE" => Some(Self::Compliance),
            _ => None,
        }
    }
}

/// Until when an object version can be neither overwritten nor deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Who may end it early.
    pub mode: LockMode,
    /// The store keeps seconds.
    pub until: Timestamp,
}

impl Lock {
    /// A lock until the last whole second before `until`, so that what comes back compares.
    pub fn new(mode: LockMode, until: Timestamp) -> Self {
        Self {
            mode,
            until: Timestamp(until.0 - until.0.rem_euclid(SECOND_MS)),
        }
    }

    /// Whether this lock holds at least as fast and as long as another.
    pub fn covers(&self, other: &Self) -> bool {
        self.until >= other.until
            && (self.mode == LockMode::Compliance || other.mode == LockMode::Governance)
    }
}

/// What to put.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// The whole key.
    pub key: &'a str,
    /// The content.
    pub content: Bytes,
    /// How it is locked, if it is.
    pub lock: Option<Lock>,
    /// Refuse to put over an object that is there (`If-None-Match: *`).
    pub only_new: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored, under this version if the bucket has versions.
    Stored(Option<String>),
    /// Not stored: an object of this key is there.
    Exists,
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Octets.
    pub length: u64,
    /// Its version.
    pub version: Option<String>,
    /// SHA-256 as the store computed it when the object was put, if it keeps it.
    pub sha256: Option<[u8; 32]>,
}

/// A client of one bucket.
pub struct Bucket {
    place: Place,
    host: Endpoint,
    scope: Scope,
    clock: Arc<dyn Clock>,
}

impl Bucket {
    /// A client of this bucket. Names and combinations that cannot work are refused.
    pub fn new(place: Place, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        let name = place.bucket.as_bytes();
        let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let named = (3..=63).contains(&name.len())
            && name.iter().all(|b| word(b) || matches!(b, b'-' | b'.'))
            && name.first().is_some_and(word)
            && name.last().is_some_and(word);
        if !named {
            return Err(NetError::StoreConfig("the bucket's name is not one"));
        }
        let region = place.region.as_bytes();
        if !(1..=63).contains(&region.len())
            || !region
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        {
            return Err(NetError::StoreConfig("the region is not one"));
        }
        if place.endpoint.is_tls() && place.roots.is_none() {
            return Err(NetError::StoreConfig("no file of authorities for https"));
        }
        let host = match place.style {
            Style::Path => place.endpoint.clone(),
            Style::VirtualHost if place.endpoint.is_address() => {
                return Err(NetError::StoreConfig("an address has no names below it"));
            }
            Style::VirtualHost => place.endpoint.below(&place.bucket),
        };
        let scope = Scope {
            region: place.region.clone(),
            service: "s3".to_owned(),
            path: PathEncoding::Once,
        };
        Ok(Self {
            place,
            host,
            scope,
            clock,
        })
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.place.bucket
    }

    /// Puts an object with its checksum, and with a lock if one is given.
    pub async fn put(&self, put: Put<'_>) -> Result<PutOutcome, NetError> {
        if put.content.len() > OBJECT_BYTES_MAX {
            return Err(NetError::TooLong {
                limit: OBJECT_BYTES_MAX,
            });
        }
        let checksum = base64_encode(&sha256(&put.content));
        let until = put.lock.map(|lock| seconds(lock.until));
        let mut call = Call::new("put an object", Method::PUT, put.key)
            .header("content-type", "application/octet-stream")
            .header("x-amz-sdk-checksum-algorithm", "SHA256")
            .header("x-amz-checksum-sha256", &checksum)
            .body(put.content);
        if let (Some(lock), Some(until)) = (put.lock, &until) {
            call = call
                .header("x-amz-object-lock-mode", lock.mode.as_str())
                .header("x-amz-object-lock-retain-until-date", until);
        }
        if put.only_new {
            call = call.header("if-none-match", "*").repeatable();
        }
        let answer = self.call(&call).await?;
        match answer.status {
            200 => Ok(PutOutcome::Stored(answer.header("x-amz-version-id"))),
            412 if put.only_new => Ok(PutOutcome::Exists),
            _ => Err(answer.refused(&call)),
        }
    }

    /// Reads an object of at most `limit` octets; `None` if there is none.
    pub async fn get(&self, key: &str, limit: usize) -> Result<Option<Bytes>, NetError> {
        let call = Call::new("read an object", Method::GET, key).expect_at_most(limit);
        let answer = self.call(&call).await?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 if answer.code() == "NoSuchKey" => Ok(None),
            _ => Err(answer.refused(&call)),
        }
    }

    /// Asks what is stored under a key; `None` if nothing is. An answer to HEAD has no body, so a
    /// bucket that is not there looks the same here as an object that is not.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, NetError> {
        let call = Call::new("look at an object", Method::HEAD, key)
            .header("x-amz-checksum-mode", "ENABLED");
        let answer = self.call(&call).await?;
        match answer.status {
            200 => {
                let length = answer
                    .header("content-length")
                    .and_then(|text| text.parse().ok())
                    .ok_or(NetError::StoreAnswer("no length of an object"))?;
                let sha256 = answer
                    .header("x-amz-checksum-sha256")
                    .and_then(|text| base64_decode(&text)?.try_into().ok());
                Ok(Some(Head {
                    length,
                    version: answer.header("x-amz-version-id"),
                    sha256,
                }))
            }
            404 => Ok(None),
            _ => Err(answer.refused(&call)),
        }
    }

    /// Asks how an object, or one version of it, is locked; `None` if it is not.
    pub async fn retention(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<Lock>, NetError> {
        let mut call = Call::new("read the retention of an object", Method::GET, key)
            .query("retention", "")
            .expect_at_most(XML_BYTES_MAX);
        if let Some(version) = version {
            call = call.query("versionId", version);
        }
        let answer = self.call(&call).await?;
        match answer.status {
            200 => answer::retention(&answer.body).map(Some),
            // The first where the object has no lock, the second where its bucket cannot have any.
            404 if answer.code() == "NoSuchObjectLockConfiguration" => Ok(None),
            400 if answer.code() == "InvalidRequest" => Ok(None),
            _ => Err(answer.refused(&call)),
        }
    }

    /// Locks a version that is stored, or extends its lock. A lock of mode
    /// [`LockMode::Compliance`] is never shortened by a store that keeps its word.
    pub async fn put_retention(
        &self,
        key: &str,
        version: Option<&str>,
        lock: Lock,
    ) -> Result<(), NetError> {
        let body = answer::retention_text(lock);
        let checksum = base64_encode(&sha256(body.as_bytes()));
        let mut call = Call::new("lock an object", Method::PUT, key)
            .query("retention", "")
            .header("content-type", "application/xml")
            .header("x-amz-sdk-checksum-algorithm", "SHA256")
            .header("x-amz-checksum-sha256", &checksum)
            .body(Bytes::from(body))
            .repeatable();
        if let Some(version) = version {
            call = call.query("versionId", version);
        }
        let answer = self.call(&call).await?;
        match answer.status {
            200 => Ok(()),
            _ => Err(answer.refused(&call)),
        }
    }

    /// One page of the keys with a prefix, in order; `after` is [`Listing::next`] of the page
    /// before.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing, NetError> {
        let mut call = Call::new("list objects", Method::GET, "")
            .query("list-type", "2")
            .query("prefix", prefix)
            .expect_at_most(XML_BYTES_MAX);
        if let Some(after) = after {
            call = call.query("continuation-token", after);
        }
        let answer = self.call(&call).await?;
        match answer.status {
            200 => answer::listing(&answer.body),
            _ => Err(answer.refused(&call)),
        }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bucket({} at {})", self.place.bucket, self.host)
    }
}

/// ISO 8601 in whole seconds.
fn seconds(at: Timestamp) -> String {
    let text: String = at.to_string().chars().take(19).collect();
    format!("{text}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_covers_what_is_not_longer_and_not_stricter() {
        let lock = |mode, until| Lock::new(mode, Timestamp(until));
        let (g, c) = (LockMode::Governance, LockMode::Compliance);
        assert_eq!(lock(g, 5_999).until, Timestamp(5_000));
        assert!(lock(c, 5_000).covers(&lock(c, 5_000)));
        assert!(lock(c, 5_000).covers(&lock(g, 5_000)));
        assert!(!lock(c, 5_000).covers(&lock(c, 6_000)));
        assert!(!lock(g, 9_000).covers(&lock(c, 5_000)));
        assert_eq!(seconds(Timestamp(5_000)), "1970-01-01T00:00:05Z");
    }
}
