//! The readers: a few read-only connections that are lent out and come back.

use crate::error::StoreError;
use rusqlite::Connection;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// LIMIT: reading connections; a reader beyond waits for one to come back.
pub(crate) const READERS_MAX: usize = 8;

#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<Connection>,
    open: usize,
}

/// Lends connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shelf: Mutex<Shelf>,
    returned: Condvar,
}

impl Pool {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection from the shelf, or a new one, or the next that comes back.
    pub(crate) fn lend(
        &self,
        open: impl FnOnce() -> Result<Connection, StoreError>,
    ) -> Result<Lent<'_>, StoreError> {
        let mut shelf = self.shelf();
        loop {
            if let Some(connection) = shelf.idle.pop() {
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
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Lent<'_> {
    /// The connection, unless opening it failed.
    pub(crate) fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or(StoreError::Stopped)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut shelf = self.pool.shelf();
        // One that is still inside a transaction is closed instead of lent on.
        match self.connection.take().filter(Connection::is_autocommit) {
            Some(connection) => shelf.idle.push(connection),
            None => shelf.open = shelf.open.saturating_sub(1),
        }
        self.pool.returned.notify_one();
    }
}
