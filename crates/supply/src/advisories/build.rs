//! From OSV records to the bytes of an index: a pure function of the records and the date of the
//! import.

use super::format::{EcosystemHeader, Header, Index};
use super::identifier;
use super::osv::{Reading, Record, read};
use super::writer::{Package, Writer};
use crate::component::Ecosystem;
use crate::error::SupplyError;
use ringfence_core::time::{DAY_MS, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Collects records and writes the index. Nothing is dropped without being counted in the header.
pub struct Builder {
    as_of: Timestamp,
    records: BTreeMap<String, Record>,
    withdrawn: BTreeMap<Ecosystem, u64>,
    foreign: u64,
    unreadable: u64,
    duplicates: u64,
}

impl Builder {
    /// An empty builder. A record dated after `as_of` does not make the index look younger: a
    /// forged date would otherwise keep old data fresh for ever.
    pub fn new(as_of: Timestamp) -> Self {
        Self {
            as_of,
            records: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            foreign: 0,
            unreadable: 0,
            duplicates: 0,
        }
    }

    /// Takes one OSV document.
    pub fn add(&mut self, document: &[u8]) {
        match read(document) {
            Reading::Unreadable => self.unreadable += 1,
            Reading::Foreign => self.foreign += 1,
            Reading::Withdrawn(ecosystems) => {
                for ecosystem in ecosystems {
                    *self.withdrawn.entry(ecosystem).or_default() += 1;
                }
            }
            Reading::Live(record) => match self.records.get(&record.id) {
                // The same id twice: the one changed last holds.
                Some(known) => {
                    self.duplicates += 1;
                    if record.modified >= known.modified {
                        self.records.insert(record.id.clone(), record);
                    }
                }
                None => {
                    self.records.insert(record.id.clone(), record);
                }
            },
        }
    }

    /// Counts something that could not be read at all.
    pub fn add_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Writes the index.
    pub fn finish(self) -> Result<Index, SupplyError> {
        let groups = groups(self.records.values());
        let mut writer = Writer::default();
        let mut packages: BTreeMap<(Ecosystem, &str), Package> = BTreeMap::new();
        let mut headers: BTreeMap<Ecosystem, EcosystemHeader> = BTreeMap::new();
        for record in self.records.values() {
            let mut used = BTreeSet::new();
            if !record.affected.is_empty() {
                let group = groups
                    .get(record.id.as_str())
                    .copied()
                    .unwrap_or(&record.id);
                let offset = writer.advisory(record, group)?;
                for part in &record.affected {
                    used.insert(part.ecosystem);
                    let package = packages.entry((part.ecosystem, &part.name)).or_default();
                    package
                        .advisories
                        .entry(offset)
                        .or_default()
                        .extend(part.spans.iter().cloned());
                }
            }
            for ecosystem in &record.ecosystems {
                let header = headers
                    .entry(*ecosystem)
                    .or_insert_with(|| EcosystemHeader::of(*ecosystem));
                header.records += u64::from(used.contains(ecosystem));
                header.unusable += record.unusable;
                let date = record
                    .modified
                    .filter(|m| *m <= self.as_of.plus_ms(DAY_MS) && m.0 > 0);
                header.newest = header.newest.max(date);
            }
        }
        for (ecosystem, count) in &self.withdrawn {
            let header = headers
                .entry(*ecosystem)
                .or_insert_with(|| EcosystemHeader::of(*ecosystem));
            header.withdrawn = *count;
        }
        for ((ecosystem, name), package) in &packages {
            if let Some(header) = headers.get_mut(ecosystem) {
                header.packages += 1;
                header.spans += package
                    .advisories
                    .values()
                    .map(|s| s.len() as u64)
                    .sum::<u64>();
            }
            writer.package(*ecosystem, name, package)?;
        }
        writer.finish(&Header {
            ecosystems: headers.into_values().collect(),
            foreign: self.foreign,
            unreadable: self.unreadable,
            duplicates: self.duplicates,
            note: String::new(),
        })
    }
}

/// The name of each record's alias group: connected components over ids and aliases of *live*
/// records. A withdrawn record takes no part: it can neither join two flaws nor hide one.
fn groups<'a>(records: impl Iterator<Item = &'a Record>) -> HashMap<&'a str, &'a str> {
    let mut parent: HashMap<&str, &str> = HashMap::new();
    let mut ids = Vec::new();
    for record in records {
        ids.push(record.id.as_str());
        parent.entry(&record.id).or_insert(&record.id);
        for alias in &record.aliases {
            parent.entry(alias).or_insert(alias);
            let (a, b) = (root(&mut parent, &record.id), root(&mut parent, alias));
            // The better name is the root, so that the root names the group.
            let (top, below) = if identifier::rank(a) <= identifier::rank(b) {
                (a, b)
            } else {
                (b, a)
            };
            parent.insert(below, top);
        }
    }
    ids.into_iter()
        .map(|id| (id, root(&mut parent, id)))
        .collect()
}

/// The root of an id, with the path to it shortened so that long alias chains stay linear.
fn root<'a>(parent: &mut HashMap<&'a str, &'a str>, id: &'a str) -> &'a str {
    let mut top = id;
    while let Some(next) = parent.get(top).copied().filter(|next| *next != top) {
        top = next;
    }
    let mut at = id;
    while at != top {
        at = parent.insert(at, top).unwrap_or(top);
    }
    top
}
