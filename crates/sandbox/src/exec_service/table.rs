//! Which sandboxes live, what runs in them, and since when they are idle. Synchronous; the lock is
//! never held over a wait.

use super::EXECS_PER_SANDBOX_MAX;
use ringfence_core::ids::SandboxId;
use ringfence_core::ports::Sandbox;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The sandboxes of one service.
pub(super) struct Table {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    live: BTreeMap<SandboxId, Entry>,
    /// Places taken by sandboxes that start now.
    starting: usize,
}

struct Entry {
    sandbox: Arc<dyn Sandbox>,
    running: usize,
    idle_since_ns: u64,
}

/// A sandbox that was taken out of the table in order to be closed.
pub(super) struct Closing {
    pub(super) id: SandboxId,
    pub(super) sandbox: Arc<dyn Sandbox>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such sandbox, or not this caller's.
    Unknown,
    /// Too many at once.
    Full,
}

impl Table {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            inner: Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        // Every change below is complete before anything can panic, so a poisoned state is whole.
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a place for a sandbox that is about to start.
    pub(super) fn reserve(&self) -> Result<Reservation<'_>, Refusal> {
        self.with(|inner| {
            if inner.live.len() + inner.starting >= self.limit {
                return Err(Refusal::Full);
            }
            inner.starting += 1;
            Ok(Reservation { table: self })
        })
    }

    /// Counts a program in; the sandbox is not idle until [`leave`](Self::leave).
    pub(super) fn enter(&self, id: &SandboxId) -> Result<Arc<dyn Sandbox>, Refusal> {
        self.with(|inner| {
            let entry = inner.live.get_mut(id).ok_or(Refusal::Unknown)?;
            if entry.running >= EXECS_PER_SANDBOX_MAX {
                return Err(Refusal::Full);
            }
            entry.running += 1;
            Ok(Arc::clone(&entry.sandbox))
        })
    }

    /// Counts a program out.
    pub(super) fn leave(&self, id: &SandboxId, now_ns: u64) {
        self.with(|inner| {
            if let Some(entry) = inner.live.get_mut(id) {
                entry.running = entry.running.saturating_sub(1);
                entry.idle_since_ns = now_ns;
            }
        });
    }

    /// Takes one out in order to close it.
    pub(super) fn take(&self, id: &SandboxId) -> Option<Closing> {
        self.with(|inner| inner.live.remove(id))
            .map(|entry| Closing {
                id: id.clone(),
                sandbox: entry.sandbox,
            })
    }

    /// Takes all out that have been idle for longer than `idle_ns`.
    pub(super) fn take_idle(&self, now_ns: u64, idle_ns: u64) -> Vec<Closing> {
        self.take_if(|e| e.running == 0 && now_ns.saturating_sub(e.idle_since_ns) > idle_ns)
    }

    /// Takes all out.
    pub(super) fn take_all(&self) -> Vec<Closing> {
        self.take_if(|_| true)
    }

    fn take_if(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Closing> {
        self.with(|inner| {
            inner
                .live
                .extract_if(.., |_, entry| wanted(entry))
                .map(|(id, entry)| Closing {
                    id,
                    sandbox: entry.sandbox,
                })
                .collect()
        })
    }
}

/// A place that is given back when it is dropped, unless a sandbox took it.
pub(super) struct Reservation<'a> {
    table: &'a Table,
}

impl Reservation<'_> {
    /// The sandbox started: it takes the place.
    pub(super) fn fill(self, sandbox: Arc<dyn Sandbox>, now_ns: u64) {
        let entry = Entry {
            sandbox,
            running: 0,
            idle_since_ns: now_ns,
        };
        self.table
            .with(|inner| inner.live.insert(entry.sandbox.id().clone(), entry));
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.table
            .with(|inner| inner.starting = inner.starting.saturating_sub(1));
    }
}
