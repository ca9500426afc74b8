//! A disk that forgets what was not forced to it.
//!
//! Content is kept twice: as the process sees it and as the disk holds it. A power cut keeps, of
//! each file, any mixture of 512-octet sectors of both and any length between; of the names in each
//! folder, what was forced and any number of the changes after it, in order; and nothing below a
//! folder whose own name was lost. A killed process loses nothing.

use crate::support::Dice;
use ringfence_record::log::disk::{Disk, DiskFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    held: Vec<u8>,
    /// Octets that were taken from the disk without being written; the file is at least so long.
    allocated: u64,
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
    /// Changes of names not yet forced, by folder.
    changes: BTreeMap<String, Vec<Change>>,
    /// Folders as they are seen; their names are forced with those of the folder above.
    folders: BTreeSet<String>,
    folders_held: BTreeSet<String>,
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
            changes: BTreeMap::new(),
            folders: BTreeSet::new(),
            folders_held: BTreeSet::new(),
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
            next.folders.clone_from(&inner.folders);
            next.folders_held.clone_from(&inner.folders_held);
        } else {
            let mut names = inner.names_held.clone();
            for (folder, changes) in inner.changes.clone() {
                let kept = inner.dice.below(changes.len() as u64 + 1);
                for change in changes.iter().take(usize::try_from(kept).unwrap()) {
                    apply(&mut names, change);
                }
                // With the change of a file's name the name of its folder may be kept too.
                if inner.dice.chance(2) {
                    inner.folders_held.extend(above(&format!("{folder}/")));
                }
            }
            let folders = inner.folders_held.clone();
            names.retain(|name, _| above(name).iter().all(|f| folders.contains(f)));
            next.folders.clone_from(&folders);
            next.folders_held = folders;
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
        allocated: file.allocated,
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

    fn change(&mut self, change: Change, name: &str) {
        let folder = folder_of(name).to_owned();
        self.changes.entry(folder).or_default().push(change);
    }
}

impl Disk for SimDisk {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let inner = self.inner();
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let below: BTreeSet<String> = inner
            .names
            .keys()
            .filter_map(|n| n.strip_prefix(&prefix))
            .filter_map(|n| n.split('/').next())
            .map(str::to_owned)
            .collect();
        Ok(below.into_iter().collect())
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
                inner.folders.extend(above(name));
                inner.change(Change::Make(name.to_owned(), file), name);
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
        inner.change(change, from);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        if let Some(file) = inner.names.get(name).copied() {
            let freed = inner.files[file].allocated + inner.files[file].seen.len() as u64;
            inner.space_left = inner.space_left.saturating_add(freed);
        }
        let change = Change::Remove(name.to_owned());
        apply(&mut inner.names, &change);
        inner.change(change, name);
        Ok(())
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        let prefix = format!("{name}/");
        assert!(!inner.names.keys().any(|n| n.starts_with(&prefix)));
        inner.folders.remove(name);
        Ok(())
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        let mut held = inner.names_held.clone();
        for change in inner.changes.remove(folder).unwrap_or_default() {
            apply(&mut held, &change);
        }
        inner.names_held = held;
        let here = |f: &String| folder_of(f) == folder;
        let seen: Vec<String> = inner.folders.iter().filter(|f| here(f)).cloned().collect();
        inner.folders_held.retain(|f| !here(f));
        inner.folders_held.extend(seen);
        // A folder whose removal is durable does not come back with what was in it.
        let folders = inner.folders.clone();
        let stands = |name: &str| above(name).iter().all(|f| folders.contains(f));
        inner.names_held.retain(|name, _| stands(name));
        inner
            .changes
            .retain(|folder, _| stands(&format!("{folder}/")) || folder.is_empty());
        Ok(())
    }

    fn space(&self) -> io::Result<(u64, u64)> {
        Ok((self.inner().space_left, u64::MAX))
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The folders that a name stands in, its own first.
fn above(name: &str) -> Vec<String> {
    std::iter::successors(Some(folder_of(name)), |f| Some(folder_of(f)))
        .take_while(|f| !f.is_empty())
        .map(str::to_owned)
        .collect()
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        let inner = self.disk.inner();
        let content = &inner.files[self.file];
        Ok((content.seen.len() as u64).max(content.allocated))
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

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.step()?;
        if length > inner.space_left {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.space_left -= length;
        inner.files[self.file].allocated = length;
        Ok(())
    }
}
