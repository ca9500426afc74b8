//! A disk that forgets what was not forced to it.
//!
//! Content is kept twice: as the process sees it and as the disk holds it. A power cut keeps, of
//! each file, any mixture of 512-octet sectors of both and any length between; of the names, what
//! was forced and any number of the changes after it, in order. A killed process loses nothing.

use crate::support::Dice;
use ringfence_record::log::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    held: Vec<u8>,
}

#[derive(Clone)]
enum Change {
    Make(String, usize),
    Rename(String, String),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Make(name, file) => drop(names.insert(name.clone(), *file)),
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(name) => drop(names.remove(name)),
    }
}

struct Inner {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    names_held: BTreeMap<String, usize>,
    changes: Vec<Change>,
    steps_left: u64,
    space_left: u64,
    sync_fails: bool,
    dice: Dice,
}

/// How the machine stops.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    PowerCut,
    Kill,
}

#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            files: Vec::new(),
            names: BTreeMap::new(),
            names_held: BTreeMap::new(),
            changes: Vec::new(),
            steps_left: u64::MAX,
            space_left: u64::MAX,
            sync_fails: false,
            dice: Dice(seed),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Everything fails after so many steps.
    pub(crate) fn stop_after(&self, steps: u64) {
        self.inner().steps_left = steps;
    }

    pub(crate) fn space(&self, octets: u64) {
        self.inner().space_left = octets;
    }

    pub(crate) fn fail_sync(&self, fails: bool) {
        self.inner().sync_fails = fails;
    }

    /// Flips one bit of a file, as seen and as held.
    pub(crate) fn damage(&self, name: &str, offset: usize) {
        let mut inner = self.inner();
        let file = inner.names[name];
        inner.files[file].seen[offset] ^= 4;
        let seen = inner.files[file].seen.clone();
        inner.files[file].held = seen;
    }

    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner();
        inner.names.get(name).map(|f| inner.files[*f].seen.clone())
    }

    /// The disk as the next start finds it.
    pub(crate) fn restart(&self, stop: Stop) -> Self {
        let mut inner = self.inner();
        let seed = inner.dice.next();
        let after = Self::new(seed);
        let mut next = after.inner();
        if let Stop::Kill = stop {
            next.files.clone_from(&inner.files);
            next.names = inner.names.clone();
            next.names_held = inner.names_held.clone();
            next.changes.clone_from(&inner.changes);
        } else {
            let mut names = inner.names_held.clone();
            let changes = inner.changes.len() as u64;
            let kept = inner.dice.below(changes + 1);
            for change in inner.changes.iter().take(usize::try_from(kept).unwrap()) {
                apply(&mut names, change);
            }
            next.names = names.clone();
            next.names_held = names;
            let files = inner.files.clone();
            next.files = files.iter().map(|f| mix(f, &mut inner.dice)).collect();
        }
        drop(next);
        after
    }
}

fn mix(file: &Content, dice: &mut Dice) -> Content {
    let (seen, held) = (&file.seen, &file.held);
    let span = seen.len().abs_diff(held.len()) as u64;
    let shorter = seen.len().min(held.len());
    let length = shorter + usize::try_from(dice.below(span + 1)).unwrap();
    let mut mixed = vec![0; length];
    for (i, sector) in mixed.chunks_mut(SECTOR).enumerate() {
        let source = if dice.chance(2) { seen } else { held };
        for (j, octet) in sector.iter_mut().enumerate() {
            *octet = source.get(i * SECTOR + j).copied().unwrap_or(0);
        }
    }
    Content {
        seen: mixed.clone(),
        held: mixed,
    }
}

impl Inner {
    fn step(&mut self) -> io::Result<()> {
        if self.steps_left == 0 {
            return Err(io::Error::other("the machine stopped"));
        }
        self.steps_left -= 1;
        Ok(())
    }
}

impl Disk for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.inner();
        let file = match inner.names.get(name) {
            Some(file) => *file,
            None if create => {
                inner.step()?;
                let file = inner.files.len();
                inner.files.push(Content::default());
                inner.names.insert(name.to_owned(), file);
                inner.changes.push(Change::Make(name.to_owned(), file));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        let change = Change::Rename(from.to_owned(), to.to_owned());
        apply(&mut inner.names, &change);
        inner.changes.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        let change = Change::Remove(name.to_owned());
        apply(&mut inner.names, &change);
        inner.changes.push(change);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        inner.names_held = inner.names.clone();
        inner.changes.clear();
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.inner().files[self.file].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.inner();
        let content = &inner.files[self.file].seen;
        let start = usize::try_from(offset).unwrap().min(content.len());
        let count = buffer.len().min(content.len() - start);
        buffer[..count].copy_from_slice(&content[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let stopped = inner.step();
        let offset = usize::try_from(offset).unwrap();
        let length = inner.files[self.file].seen.len();
        let growth = (offset + bytes.len()).saturating_sub(length) as u64;
        // A write that fails may have written some of what it was given.
        let written = if stopped.is_err() {
            usize::try_from(inner.dice.below(bytes.len() as u64)).unwrap()
        } else if growth > inner.space_left {
            bytes.len() - usize::try_from(growth - inner.space_left).unwrap()
        } else {
            bytes.len()
        };
        let end = offset + written;
        let content = &mut inner.files[self.file].seen;
        if end > content.len() {
            content.resize(end, 0);
        }
        content[offset..end].copy_from_slice(&bytes[..written]);
        let grown = content.len().saturating_sub(length) as u64;
        inner.space_left = inner.space_left.saturating_sub(grown);
        stopped?;
        if written < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.step()?;
        let content = &mut inner.files[self.file].seen;
        let freed = (content.len() as u64).saturating_sub(length);
        content.resize(usize::try_from(length).unwrap(), 0);
        inner.space_left = inner.space_left.saturating_add(freed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.step()?;
        if inner.sync_fails {
            return Err(io::Error::other("the disk says no"));
        }
        let seen = inner.files[self.file].seen.clone();
        inner.files[self.file].held = seen;
        Ok(())
    }
}
