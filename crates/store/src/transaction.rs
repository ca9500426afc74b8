//! What a repository is given: a [`View`] can only read, a [`Tx`] can also write.
//!
//! The connection inside is not reachable from other crates, so SQL cannot leave this one. Every
//! statement is `'static`: none is put together from input. There is one text for all engines, in
//! the common tongue of `SQLite` and `PostgreSQL` with parameters written `?1`.

use crate::error::StoreError;
use crate::value::{Row, Value, Values};
use rusqlite::Connection;
use std::cell::RefCell;
use std::ops::Deref;

/// A connection of one engine, borrowed for one transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine<'a> {
    /// A connection to the file.
    Sqlite(&'a Connection),
    /// A session of the server.
    #[cfg(feature = "scale")]
    Postgres(&'a crate::postgres::Session),
}

/// A consistent snapshot to read from.
#[derive(Debug)]
pub struct View<'a> {
    engine: Engine<'a>,
    /// The first statement that failed. `PostgreSQL` refuses everything after it until the
    /// transaction ends; so that both engines do the same, nothing after it is run on either.
    failed: RefCell<Option<StoreError>>,
}

/// A write transaction; also a [`View`] that sees its own writes. A statement that failed dooms it:
/// nothing of it is kept, even if the caller passes over the error.
#[derive(Debug)]
pub struct Tx<'a> {
    view: View<'a>,
}

impl<'a> Deref for Tx<'a> {
    type Target = View<'a>;
    fn deref(&self) -> &View<'a> {
        &self.view
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(engine: Engine<'a>) -> Self {
        Self {
            engine,
            failed: RefCell::new(None),
        }
    }

    /// The engine's own connection, for what has no common tongue.
    pub(crate) fn engine(&self) -> Engine<'a> {
        self.engine
    }

    /// The first failure of a statement.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failed.borrow().clone()
    }

    /// Runs `step` unless an earlier one failed, and remembers its failure.
    fn guarded<T>(&self, step: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(earlier) = self.failure() {
            return Err(earlier);
        }
        step().inspect_err(|e| {
            self.failed.replace(Some(e.clone()));
        })
    }

    /// Up to `limit` rows of a query, each through `map`.
    fn rows<T>(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        limit: usize,
        map: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self.engine {
            Engine::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                let mut found = Vec::new();
                while found.len() < limit
                    && let Some(row) = rows.next()?
                {
                    found.push(map(&Row::Sqlite(row))?);
                }
                Ok(found)
            }
            #[cfg(feature = "scale")]
            Engine::Postgres(session) => session
                .query(sql, values)?
                .iter()
                .take(limit)
                .map(|row| map(&Row::Postgres(row)))
                .collect(),
        }
    }

    /// All rows of a query, each through `map`.
    pub(crate) fn all<'v, T>(
        &self,
        sql: &'static str,
        values: impl Values<'v>,
        map: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let values = values.list();
        self.guarded(|| self.rows(sql, &values, usize::MAX, map))
    }

    /// The first row of a query, if there is one.
    pub(crate) fn first<'v, T>(
        &self,
        sql: &'static str,
        values: impl Values<'v>,
        map: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let values = values.list();
        self.guarded(|| Ok(self.rows(sql, &values, 1, map)?.pop()))
    }

    /// The single number of a query, in its column `n`.
    pub(crate) fn number<'v>(
        &self,
        sql: &'static str,
        values: impl Values<'v>,
    ) -> Result<u64, StoreError> {
        let number = self.first(sql, values, |row| {
            row.cell::<i64>("n").map_err(|cause| StoreError::Row {
                table: "a counting query",
                cause,
            })
        })?;
        Ok(u64::try_from(number.unwrap_or_default()).unwrap_or_default())
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn new(engine: Engine<'a>) -> Self {
        Self {
            view: View::new(engine),
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) fn execute<'v>(
        &self,
        sql: &'static str,
        values: impl Values<'v>,
    ) -> Result<usize, StoreError> {
        let values = values.list();
        self.guarded(|| match self.engine {
            Engine::Sqlite(connection) => Ok(connection
                .prepare_cached(sql)?
                .execute(rusqlite::params_from_iter(&values))?),
            #[cfg(feature = "scale")]
            Engine::Postgres(session) => session.execute(sql, &values),
        })
    }

    /// Runs a script of several statements, such as a step of the schema.
    pub(crate) fn script(&self, sql: &'static str) -> Result<(), StoreError> {
        self.guarded(|| match self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            #[cfg(feature = "scale")]
            Engine::Postgres(session) => session.run(sql),
        })
    }
}
