//! The readers: a few connections that are lent out and come back. The same for every engine, and
//! the reason why no crate for pools is needed: callers block, so a condition variable is enough.

use crate::error::StoreError;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// LIMIT: reading connections; a reader beyond waits for one to come back.
pub(crate) const READERS_MAX: usize = 8;

/// A connection that can be lent again.
pub(crate) trait Reusable {
    /// Whether it is connected and outside of any transaction.
    fn reusable(&self) -> bool;
}

#[derive(Debug)]
struct Shelf<C> {
    idle: Vec<C>,
    open: usize,
}

/// Lends connections.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    shelf: Mutex<Shelf<C>>,
    returned: Condvar,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        let shelf = Shelf {
            idle: Vec::new(),
            open: 0,
        };
        Self {
            shelf: Mutex::new(shelf),
            returned: Condvar::new(),
        }
    }
}

impl<C: Reusable> Pool<C> {
    fn shelf(&self) -> MutexGuard<'_, Shelf<C>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection from the shelf, or a new one, or the next that comes back.
    pub(crate) fn lend(
        &self,
        open: impl FnOnce() -> Result<C, StoreError>,
    ) -> Result<Lent<'_, C>, StoreError> {
        let mut shelf = self.shelf();
        loop {
            if let Some(connection) = shelf.idle.pop() {
                if !connection.reusable() {
                    // The server ended it while it lay there.
                    shelf.open = shelf.open.saturating_sub(1);
                    continue;
                }
                return Ok(Lent {
                    pool: self,
                    connection: Some(connection),
                });
            }
            if shelf.open < READERS_MAX {
                shelf.open += 1;
                drop(shelf);
                // Dropping the empty loan on failure gives the place back.
                let mut lent = Lent {
                    pool: self,
                    connection: None,
                };
                lent.connection = Some(open()?);
                return Ok(lent);
            }
            shelf = self
                .returned
                .wait(shelf)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A lent connection; goes back when dropped, also after a panic.
pub(crate) struct Lent<'a, C: Reusable> {
    pool: &'a Pool<C>,
    connection: Option<C>,
}

impl<C: Reusable> Lent<'_, C> {
    /// The connection, unless opening it failed.
    pub(crate) fn connection(&self) -> Result<&C, StoreError> {
        self.connection.as_ref().ok_or(StoreError::Stopped)
    }
}

impl<C: Reusable> Drop for Lent<'_, C> {
    fn drop(&mut self) {
        let mut shelf = self.pool.shelf();
        // One that is still inside a transaction is closed instead of lent on.
        match self.connection.take().filter(C::reusable) {
            Some(connection) => shelf.idle.push(connection),
            None => shelf.open = shelf.open.saturating_sub(1),
        }
        self.pool.returned.notify_one();
    }
}
