//! The state of a versioned bucket and the rules of Object Lock. No input or output: the moment is
//! handed in.

use bytes::Bytes;
use ringfence_core::time::{DAY_MS, SECOND_MS, Timestamp};
use std::collections::BTreeMap;

/// Who may end a retention early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Who may bypass governance and says so.
    Governance,
    /// Nobody.
    Compliance,
}

impl Mode {
    /// As it stands in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// Reads a header.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// A retention period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Who may end it early.
    pub mode: Mode,
    /// When it ends.
    pub until: Timestamp,
}

/// One version of an object; a delete marker has no content.
#[derive(Clone, Debug)]
pub struct Version {
    /// Unique in the bucket.
    pub id: String,
    /// None for a delete marker.
    pub content: Option<Bytes>,
    /// Until when it stays.
    pub retention: Option<Retention>,
    /// Stays until this is lifted.
    pub legal_hold: bool,
    /// The SHA-256 the client sent, which was compared.
    pub checksum: Option<String>,
}

/// Why an operation is refused: status and code as AWS has them.
pub type Refusal = (u16, &'static str);

/// How a lock reaches a new object.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockRequest {
    /// Mode and end, both or neither.
    pub retention: Option<Retention>,
    /// With a legal hold.
    pub legal_hold: bool,
}

/// A bucket with versions.
#[derive(Clone, Debug)]
pub struct Objects {
    object_lock: bool,
    /// Mode and days that new objects get which ask for no retention themselves.
    pub default_retention: Option<(Mode, i64)>,
    versions: BTreeMap<String, Vec<Version>>,
    next: u64,
}

impl Objects {
    /// An empty bucket.
    pub fn new(object_lock: bool) -> Self {
        Self {
            object_lock,
            default_retention: None,
            versions: BTreeMap::new(),
            next: 1,
        }
    }

    /// Whether locks can be put at all.
    pub fn has_object_lock(&self) -> bool {
        self.object_lock
    }

    /// All versions of a key, oldest first.
    pub fn versions(&self, key: &str) -> &[Version] {
        self.versions.get(key).map_or(&[], Vec::as_slice)
    }

    /// All versions of a key, to change behind the interface's back.
    pub fn versions_mut(&mut self, key: &str) -> Option<&mut Vec<Version>> {
        self.versions.get_mut(key)
    }

    /// Keys whose newest version is an object, with its octets, in order.
    pub fn keys(&self) -> Vec<(String, u64)> {
        let live = |(key, versions): (&String, &Vec<Version>)| {
            let content = versions.last()?.content.as_ref()?;
            Some((key.clone(), content.len() as u64))
        };
        self.versions.iter().filter_map(live).collect()
    }

    /// The version asked for, or the newest.
    pub fn find(&self, key: &str, version: Option<&str>) -> Result<&Version, Refusal> {
        let versions = self.versions(key);
        let Some(id) = version else {
            return versions
                .last()
                .filter(|v| v.content.is_some())
                .ok_or((404, "NoSuchKey"));
        };
        versions
            .iter()
            .find(|v| v.id == id)
            .ok_or((404, "NoSuchVersion"))
    }

    fn find_mut(&mut self, key: &str, version: Option<&str>) -> Result<&mut Version, Refusal> {
        if !self.object_lock {
            return Err((400, "InvalidRequest"));
        }
        let id = self.find(key, version)?.id.clone();
        let versions = self.versions.get_mut(key).ok_or((404, "NoSuchKey"))?;
        versions
            .iter_mut()
            .find(|v| v.id == id && v.content.is_some())
            .ok_or((405, "MethodNotAllowed"))
    }

    /// Stores a new version and returns its id.
    pub fn put(
        &mut self,
        key: &str,
        content: Bytes,
        checksum: Option<String>,
        lock: LockRequest,
        (only_new, now): (bool, Timestamp),
    ) -> Result<String, Refusal> {
        if only_new && self.find(key, None).is_ok() {
            return Err((412, "PreconditionFailed"));
        }
        if (lock.retention.is_some() || lock.legal_hold) && !self.object_lock {
            return Err((400, "InvalidRequest"));
        }
        let default = self.default_retention.map(|(mode, days)| Retention {
            mode,
            until: now.plus_ms(days * DAY_MS),
        });
        let id = self.fresh();
        self.versions
            .entry(key.to_owned())
            .or_default()
            .push(Version {
                id: id.clone(),
                content: Some(content),
                retention: lock.retention.or(default),
                legal_hold: lock.legal_hold,
                checksum,
            });
        Ok(id)
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("v{:08}", self.next)
    }

    /// Without a version: adds a delete marker, which hides and loses nothing. With one: removes it
    /// for good, if no lock is in the way. `bypass` is the header of those who may end governance.
    pub fn delete(
        &mut self,
        key: &str,
        version: Option<&str>,
        (bypass, now): (bool, Timestamp),
    ) -> Result<(), Refusal> {
        let Some(id) = version else {
            let id = self.fresh();
            self.versions
                .entry(key.to_owned())
                .or_default()
                .push(Version {
                    id,
                    content: None,
                    retention: None,
                    legal_hold: false,
                    checksum: None,
                });
            return Ok(());
        };
        let versions = self.versions.get_mut(key).ok_or((404, "NoSuchVersion"))?;
        let at = versions
            .iter()
            .position(|v| v.id == id)
            .ok_or((404, "NoSuchVersion"))?;
        let kept = versions.get(at).is_some_and(|v| {
            let retained = v
                .retention
                .is_some_and(|r| r.until > now && !(bypass && r.mode == Mode::Governance));
            v.legal_hold || retained
        });
        if kept {
            return Err((403, "AccessDenied"));
        }
        versions.remove(at);
        Ok(())
    }

    /// Sets the retention of a version. What runs can be extended; COMPLIANCE can become neither
    /// shorter nor weaker, GOVERNANCE only with `bypass`.
    pub fn retain(
        &mut self,
        key: &str,
        version: Option<&str>,
        wanted: Retention,
        (bypass, now): (bool, Timestamp),
    ) -> Result<(), Refusal> {
        if wanted.until <= now {
            return Err((400, "InvalidArgument"));
        }
        let version = self.find_mut(key, version)?;
        if let Some(held) = version.retention.filter(|r| r.until > now) {
            let weaker = wanted.until < held.until
                || (held.mode == Mode::Compliance && wanted.mode == Mode::Governance);
            if weaker && (held.mode == Mode::Compliance || !bypass) {
                return Err((403, "AccessDenied"));
            }
        }
        version.retention = Some(wanted);
        Ok(())
    }

    /// Puts or lifts a legal hold.
    pub fn hold(&mut self, key: &str, version: Option<&str>, on: bool) -> Result<(), Refusal> {
        self.find_mut(key, version)?.legal_hold = on;
        Ok(())
    }
}

/// The last whole second: stores keep no finer time.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0.rem_euclid(SECOND_MS))
}
