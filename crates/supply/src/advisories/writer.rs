//! Puts the bytes of an index together; see [`super::format`] for the layout.

use super::bytes::{hash, hash_words, put_text, put_varint, slot_of};
use super::format::{
    ENDS_BEFORE, ENDS_WITH, EXACT, HAS_FROM, Header, INDEX_BYTES_MAX, Index, MAGIC, PREFIX,
    SEVERITIES, VERSION, damaged,
};
use super::identifier;
use super::osv::{Kind, Record};
use super::span::{End, Span};
use crate::component::Ecosystem;
use crate::error::SupplyError;
use std::collections::{BTreeMap, HashMap};

/// The spans of one package by the offset of their advisory.
#[derive(Default)]
pub(super) struct Package {
    pub(super) advisories: BTreeMap<u64, Vec<Span>>,
}

/// Puts an index together.
#[derive(Default)]
pub(super) struct Writer {
    blob: Vec<u8>,
    vectors: HashMap<String, u64>,
    packages: Vec<(u64, u64)>,
}

impl Writer {
    /// Appends an advisory and returns its offset.
    pub(super) fn advisory(&mut self, record: &Record, group: &str) -> Result<u64, SupplyError> {
        let vector = match &record.cvss {
            None => 0,
            Some(cvss) => {
                1 + match self.vectors.get(&cvss.vector) {
                    Some(at) => *at,
                    None => {
                        let at = self.blob.len() as u64;
                        put_text(&mut self.blob, &cvss.vector);
                        self.vectors.insert(cvss.vector.clone(), at);
                        at
                    }
                }
            }
        };
        let offset = self.offset()?;
        let mut ids: Vec<&str> = std::iter::once(&record.id)
            .chain(&record.aliases)
            .map(String::as_str)
            .collect();
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        let place = ids.iter().position(|id| *id == group).unwrap_or_else(|| {
            ids.push(group);
            ids.len() - 1
        });
        let stated = record
            .stated
            .and_then(|s| SEVERITIES.iter().position(|k| *k == s));
        let kind = Kind::ALL
            .iter()
            .position(|k| *k == record.kind)
            .unwrap_or(0);
        self.blob.push(u8::try_from(kind).unwrap_or(0));
        self.blob
            .push(stated.and_then(|s| u8::try_from(s + 1).ok()).unwrap_or(0));
        self.blob.push(record.cvss.as_ref().map_or(0, |c| c.tenths));
        put_varint(&mut self.blob, vector);
        put_varint(&mut self.blob, place as u64);
        put_varint(&mut self.blob, ids.len() as u64);
        for id in ids {
            identifier::put(&mut self.blob, id);
        }
        Ok(offset)
    }

    /// Appends a package.
    pub(super) fn package(
        &mut self,
        ecosystem: Ecosystem,
        name: &str,
        package: &Package,
    ) -> Result<(), SupplyError> {
        let offset = self.offset()?;
        self.packages.push((hash(ecosystem, name), offset));
        let place = Ecosystem::ALL
            .iter()
            .position(|e| *e == ecosystem)
            .unwrap_or(0);
        self.blob.push(u8::try_from(place).unwrap_or(0));
        put_text(&mut self.blob, name);
        put_varint(&mut self.blob, package.advisories.len() as u64);
        for (advisory, spans) in &package.advisories {
            put_varint(&mut self.blob, *advisory);
            put_varint(&mut self.blob, spans.len() as u64);
            for span in spans {
                put_span(&mut self.blob, span);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, header: &Header) -> Result<Index, SupplyError> {
        // At most half full: a search for an absent name ends soon.
        let count = (self.packages.len() * 2).next_power_of_two().max(2);
        let mut slots = vec![0_u32; count];
        for (hash, offset) in &self.packages {
            let mut slot = slot_of(*hash, count);
            while slots.get(slot).is_some_and(|taken| *taken != 0) {
                slot = (slot + 1) % count;
            }
            if let Some(free) = slots.get_mut(slot) {
                *free = u32::try_from(offset + 1).map_err(|_| damaged("it would be too large"))?;
            }
        }
        let slots: Vec<u8> = slots.into_iter().flat_map(u32::to_le_bytes).collect();
        assemble(header, &slots, &self.blob)
    }

    fn offset(&self) -> Result<u64, SupplyError> {
        let offset = self.blob.len() as u64;
        if offset >= INDEX_BYTES_MAX {
            let place = "the index".to_owned();
            return Err(SupplyError::Limit {
                what: "size in bytes",
                place,
                limit: INDEX_BYTES_MAX,
            });
        }
        Ok(offset)
    }
}

pub(super) fn assemble(header: &Header, slots: &[u8], blob: &[u8]) -> Result<Index, SupplyError> {
    let header = serde_json::to_vec(header).map_err(|_| damaged("its header is broken"))?;
    let length = |n: usize| u32::try_from(n).map_err(|_| damaged("it would be too large"));
    let body = [header.as_slice(), slots, blob].concat();
    let mut bytes = Vec::with_capacity(PREFIX + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&length(header.len())?.to_le_bytes());
    bytes.extend_from_slice(&length(slots.len() / 4)?.to_le_bytes());
    bytes.extend_from_slice(&length(blob.len())?.to_le_bytes());
    bytes.extend_from_slice(&hash_words(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Index::from_bytes(bytes)
}

fn put_span(out: &mut Vec<u8>, span: &Span) {
    match span {
        Span::Exact(text) => {
            out.push(EXACT);
            put_text(out, text);
        }
        Span::Range { from, end } => {
            let (tag, last) = match end {
                End::Open => (0, None),
                End::Before(text) => (ENDS_BEFORE, Some(text)),
                End::UpTo(text) => (ENDS_WITH, Some(text)),
            };
            out.push(tag | if from.is_some() { HAS_FROM } else { 0 });
            for text in from.iter().chain(last) {
                put_text(out, text);
            }
        }
    }
}
