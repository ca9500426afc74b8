//! The bytes of an index, version 1.
//!
//! ```text
//! 0   "RFADVIDX"          8 octets
//! 8   version             u32, all numbers little-endian
//! 12  header length       u32
//! 16  slots               u32, a power of two
//! 20  blob length         u32
//! 24  checksum            u64, over everything after it
//! 32  header              JSON: counts and dates of each ecosystem, and what was left out
//!     slots               u32 each: 0, or 1 + the offset of a package in the blob
//!     blob                vectors, advisories, packages
//! ```
//!
//! A package is found by open addressing over a 64-bit hash, and its name is compared, so that a
//! collision is never a hit. The checksum finds damage; it is no signature.

use super::bytes::{Reader, hash, hash_words, slot_of};
use super::identifier;
use super::osv::Kind;
use super::span::{End, Span};
use super::writer::assemble;
use crate::component::Ecosystem;
use crate::error::SupplyError;
use ringfence_core::severity::{Cvss, Severity};
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_core::verdict::DataAge;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;

/// LIMIT: octets of an index.
pub(super) const INDEX_BYTES_MAX: u64 = 256 * 1024 * 1024;
pub(super) const MAGIC: &[u8; 8] = b"RFADVIDX";
pub(super) const VERSION: u32 = 1;
pub(super) const PREFIX: usize = 32;

static EMBEDDED: &[u8] = include_bytes!("../../data/advisories.idx");

/// What an index holds of one ecosystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcosystemHeader {
    /// Which.
    pub ecosystem: Ecosystem,
    /// Live records that name a package of it.
    pub records: u64,
    /// Records that were withdrawn and are left out.
    pub withdrawn: u64,
    /// Ranges or names of those records that could not be used.
    pub unusable: u64,
    /// Packages with at least one advisory.
    pub packages: u64,
    /// Intervals and single versions.
    pub spans: u64,
    /// When the newest record was changed; `None` if the records do not say.
    pub newest: Option<Timestamp>,
}

impl EcosystemHeader {
    pub(super) fn of(ecosystem: Ecosystem) -> Self {
        Self {
            ecosystem,
            records: 0,
            withdrawn: 0,
            unusable: 0,
            packages: 0,
            spans: 0,
            newest: None,
        }
    }
}

/// What an index holds and what was left out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// One for each ecosystem with data.
    pub ecosystems: Vec<EcosystemHeader>,
    /// Records about other ecosystems only.
    pub foreign: u64,
    /// Documents that could not be read or used.
    pub unreadable: u64,
    /// Records whose id came more than once.
    pub duplicates: u64,
    /// Where the data comes from, for people.
    pub note: String,
}

/// An advisory index in memory.
pub struct Index {
    bytes: Cow<'static, [u8]>,
    header: Header,
    slots: std::ops::Range<usize>,
    blob: std::ops::Range<usize>,
}

/// An advisory as the blob holds it.
pub(super) struct Advisory {
    pub(super) kind: Kind,
    pub(super) stated: Option<Severity>,
    pub(super) cvss: Option<Cvss>,
    /// The record's own id first, then the others.
    pub(super) ids: Vec<String>,
    pub(super) group: usize,
}

pub(super) fn damaged(reason: &'static str) -> SupplyError {
    SupplyError::Index { reason }
}

impl Index {
    /// The default set that is part of the program: small, and as old as [`Index::ages`] says.
    pub fn embedded() -> Result<Self, SupplyError> {
        Self::open(Cow::Borrowed(EMBEDDED))
    }

    /// Reads an index from a file, in one read.
    pub fn load(path: &Path) -> Result<Self, SupplyError> {
        let error = |source| SupplyError::Io {
            verb: "read",
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(error)?;
        let size = file.metadata().map_err(error)?.len();
        bytes.reserve_exact(usize::try_from(size.min(INDEX_BYTES_MAX)).unwrap_or(0));
        file.take(INDEX_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(error)?;
        if bytes.len() as u64 > INDEX_BYTES_MAX {
            return Err(SupplyError::Limit {
                what: "size in bytes",
                place: path.display().to_string(),
                limit: INDEX_BYTES_MAX,
            });
        }
        Self::from_bytes(bytes)
    }

    /// Reads an index from memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SupplyError> {
        Self::open(Cow::Owned(bytes))
    }

    /// Writes the index beside the path and moves it there, so that no reader sees half of it.
    pub fn save(&self, path: &Path) -> Result<(), SupplyError> {
        let error = |source| SupplyError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        };
        let partial = path.with_extension("idx.partial");
        std::fs::write(&partial, &*self.bytes).map_err(error)?;
        std::fs::File::open(&partial)
            .and_then(|f| f.sync_all())
            .map_err(error)?;
        std::fs::rename(&partial, path).map_err(error)
    }

    /// The bytes, for a digest.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The same index with a note on where its data comes from.
    pub fn with_note(mut self, note: &str) -> Result<Self, SupplyError> {
        note.clone_into(&mut self.header.note);
        let slots = self
            .bytes
            .get(self.slots.clone())
            .unwrap_or_default()
            .to_vec();
        let blob = self
            .bytes
            .get(self.blob.clone())
            .unwrap_or_default()
            .to_vec();
        assemble(&self.header, &slots, &blob)
    }

    /// How old the data of each ecosystem is. Data without a date, from more than a day in the
    /// future, or older than `days_max` is stale.
    pub fn ages(&self, now: Timestamp, days_max: u32) -> Vec<DataAge> {
        let age = |header: &EcosystemHeader| {
            let since_ms = header.newest.map(|newest| now.since_ms(newest));
            let days = since_ms.map_or(0, |ms| {
                u32::try_from(ms.max(0) / DAY_MS).unwrap_or(u32::MAX)
            });
            let dated = since_ms.is_some_and(|ms| ms >= -DAY_MS);
            DataAge {
                name: format!("advisories:{}", header.ecosystem.as_str()),
                days,
                stale: !dated || days > days_max,
            }
        };
        self.header.ecosystems.iter().map(age).collect()
    }

    /// Whether there is any record of an ecosystem.
    pub fn has(&self, ecosystem: Ecosystem) -> bool {
        self.header
            .ecosystems
            .iter()
            .any(|h| h.ecosystem == ecosystem && h.records > 0)
    }

    fn open(bytes: Cow<'static, [u8]>) -> Result<Self, SupplyError> {
        let mut reader = Reader::new(&bytes, 0);
        if reader.take(8) != Some(MAGIC) {
            return Err(damaged("it does not begin as an index does"));
        }
        let short = || damaged("it is cut off");
        if reader.u32().ok_or_else(short)? != VERSION {
            return Err(damaged("it is of another version"));
        }
        let header_length = reader.u32().ok_or_else(short)? as usize;
        let slot_count = reader.u32().ok_or_else(short)? as usize;
        let blob_length = reader.u32().ok_or_else(short)? as usize;
        let checksum = reader.u64().ok_or_else(short)?;
        let slots_at = PREFIX + header_length;
        let blob_at = slots_at + slot_count * 4;
        if bytes.len() != blob_at + blob_length {
            return Err(damaged("its length is not what it says"));
        }
        if hash_words(bytes.get(PREFIX..).unwrap_or_default()) != checksum {
            return Err(damaged("its checksum is wrong"));
        }
        if !slot_count.is_power_of_two() {
            return Err(damaged("its table is broken"));
        }
        let header = bytes.get(PREFIX..slots_at).unwrap_or_default();
        let header = serde_json::from_slice(header).map_err(|_| damaged("its header is broken"))?;
        let index = Self {
            header,
            slots: slots_at..blob_at,
            blob: blob_at..bytes.len(),
            bytes,
        };
        index.check().ok_or(damaged("a package in it is broken"))?;
        Ok(index)
    }

    /// Reads every package and advisory once, so that a lookup cannot meet a broken one.
    fn check(&self) -> Option<()> {
        let mut checked = std::collections::HashSet::new();
        let mut empty = 0_usize;
        for slot in 0..self.slots.len() / 4 {
            match self.slot(slot)? {
                0 => empty += 1,
                value => {
                    let (_, _, mut package) = self.package(u64::from(value) - 1)?;
                    while let Some(entry) = package.next_entry().ok()? {
                        if checked.insert(entry.advisory) {
                            self.advisory(entry.advisory)?;
                        }
                    }
                }
            }
        }
        // A full table would make the search for an absent name endless.
        (empty > 0).then_some(())
    }

    /// The value of a slot: 0 is empty.
    fn slot(&self, slot: usize) -> Option<u32> {
        let at = self.slots.start + slot * 4;
        Reader::new(self.bytes.get(..self.slots.end)?, at).u32()
    }

    fn blob(&self) -> &[u8] {
        self.bytes.get(self.blob.clone()).unwrap_or_default()
    }

    fn package(&self, offset: u64) -> Option<(Ecosystem, &str, Entries<'_>)> {
        let mut reader = Reader::new(self.blob(), usize::try_from(offset).ok()?);
        let ecosystem = *Ecosystem::ALL.get(usize::from(reader.byte()?))?;
        let name = reader.text()?;
        let left = reader.varint()?;
        Some((ecosystem, name, Entries { reader, left }))
    }

    /// The entries of a package by its name; `None` if there is none.
    pub(super) fn find(&self, ecosystem: Ecosystem, name: &str) -> Option<Entries<'_>> {
        let count = self.slots.len() / 4;
        let mut slot = slot_of(hash(ecosystem, name), count);
        loop {
            let offset = u64::from(self.slot(slot)?).checked_sub(1)?;
            let (found, found_name, entries) = self.package(offset)?;
            if found == ecosystem && found_name == name {
                return Some(entries);
            }
            slot = (slot + 1) % count;
        }
    }

    pub(super) fn advisory(&self, offset: u64) -> Option<Advisory> {
        let mut reader = Reader::new(self.blob(), usize::try_from(offset).ok()?);
        let kind = *Kind::ALL.get(usize::from(reader.byte()?))?;
        let stated = match reader.byte()? {
            0 => None,
            n => Some(*SEVERITIES.get(usize::from(n) - 1)?),
        };
        let tenths = reader.byte()?;
        let vector = reader.varint()?;
        let cvss = match vector.checked_sub(1) {
            None => None,
            Some(at) if tenths <= 100 => {
                let vector = Reader::new(self.blob(), usize::try_from(at).ok()?).text()?;
                Some(Cvss {
                    vector: vector.to_owned(),
                    tenths,
                })
            }
            Some(_) => return None,
        };
        let group = usize::try_from(reader.varint()?).ok()?;
        let count = reader.varint()?;
        let ids: Vec<String> = (0..count)
            .map(|_| identifier::take(&mut reader))
            .collect::<Option<_>>()?;
        (group < ids.len()).then_some(Advisory {
            kind,
            stated,
            cvss,
            ids,
            group,
        })
    }
}

pub(super) const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

/// The advisories of one package.
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    left: u64,
}

/// The bytes end or contradict themselves.
#[derive(Debug)]
pub(super) struct Damage;

/// One advisory of a package.
pub(super) struct Entry {
    pub(super) advisory: u64,
    pub(super) spans: Vec<Span>,
}

impl Entries<'_> {
    pub(super) fn len(&self) -> u64 {
        self.left
    }

    /// The next one.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Damage> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        self.entry().map(Some).ok_or(Damage)
    }

    fn entry(&mut self) -> Option<Entry> {
        let advisory = self.reader.varint()?;
        let count = self.reader.varint()?;
        let spans = (0..count).map(|_| self.span()).collect::<Option<_>>()?;
        Some(Entry { advisory, spans })
    }

    fn span(&mut self) -> Option<Span> {
        let tag = self.reader.byte()?;
        let mut text = || self.reader.text().map(str::to_owned);
        if tag == EXACT {
            return text().map(Span::Exact);
        }
        let from = if tag & HAS_FROM != 0 {
            Some(text()?)
        } else {
            None
        };
        let end = match tag & (ENDS_BEFORE | ENDS_WITH) {
            0 => End::Open,
            ENDS_BEFORE => End::Before(text()?),
            ENDS_WITH => End::UpTo(text()?),
            _ => return None,
        };
        Some(Span::Range { from, end })
    }
}

pub(super) const EXACT: u8 = 16;
pub(super) const HAS_FROM: u8 = 1;
pub(super) const ENDS_BEFORE: u8 = 2;
pub(super) const ENDS_WITH: u8 = 4;
