//! One connection to the server: prepared statements, and what its errors mean for us.

use super::wait::wait;
use crate::error::StoreError;
use crate::pool::Reusable;
use crate::value::Value;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

/// LIMIT: how long an answer is waited for; above the server's own limit on a statement.
pub(super) const ANSWER_MS_MAX: u64 = 60_000;

/// What every connection is told first. `pg_temp` last, or else a table of a session could take the
/// name of one of ours. The write-ahead log is forced before a commit is answered, whatever the
/// database's own default is.
const SETTINGS: &str = "
    SET search_path = ringfence, pg_temp;
    SET client_min_messages = warning;
    SET lock_timeout = '10s';
    SET statement_timeout = '30s';
    SET idle_in_transaction_session_timeout = '60s';
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

/// A connection whose other end is driven elsewhere. Used by one thread at a time.
pub(crate) struct Session {
    client: Client,
    /// By the text of ours; finite, because every text is part of this program.
    statements: RefCell<HashMap<&'static str, Statement>>,
    /// Whether a transaction was begun and not ended.
    open: Cell<bool>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Reusable for Session {
    fn reusable(&self) -> bool {
        !self.open.get() && !self.client.is_closed()
    }
}

impl Session {
    /// A session with our settings.
    pub(super) fn new(client: Client) -> Result<Self, StoreError> {
        let session = Self {
            client,
            statements: RefCell::default(),
            open: Cell::new(false),
        };
        session.run(SETTINGS)?;
        Ok(session)
    }

    /// Whether the connection is gone.
    pub(super) fn closed(&self) -> bool {
        self.client.is_closed()
    }

    fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        match wait(question, ANSWER_MS_MAX) {
            Some(answer) => answer.map_err(|e| explain(&e)),
            None => {
                // Its answer may still come: this session is never used again.
                self.open.set(true);
                let cause = format!("no answer within {ANSWER_MS_MAX} ms");
                Err(StoreError::Unreachable { cause })
            }
        }
    }

    /// Begins a transaction with a statement of ours.
    pub(super) fn begin(&self, sql: &'static str) -> Result<(), StoreError> {
        self.open.set(true);
        self.run(sql)
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(super) fn end(&self, sql: &'static str) -> Result<(), StoreError> {
        self.run(sql)?;
        self.open.set(false);
        Ok(())
    }

    /// Runs statements that return nothing.
    pub(crate) fn run(&self, sql: &'static str) -> Result<(), StoreError> {
        self.ask(self.client.batch_execute(sql))
    }

    /// The rows of a query.
    pub(crate) fn query(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql)?;
        self.ask(self.client.query(&statement, &list(values)))
    }

    /// How many rows a statement changed. One with `RETURNING` is a query.
    pub(crate) fn execute(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<usize, StoreError> {
        let statement = self.prepared(sql)?;
        let changed = self.ask(self.client.execute(&statement, &list(values)))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    fn prepared(&self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.ask(self.client.prepare(&numbered(sql)))?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

fn list<'v>(values: &'v [Value<'v>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values.iter().map(|v| v as &(dyn ToSql + Sync)).collect()
}

/// `?1` as `PostgreSQL` writes it: `$1`. A question mark inside quotes stays.
fn numbered(sql: &str) -> String {
    let mut quote = None;
    sql.chars()
        .map(|c| match (quote, c) {
            (None, '?') => '$',
            (None, '\'' | '"') => {
                quote = Some(c);
                c
            }
            (Some(open), _) if c == open => {
                quote = None;
                c
            }
            _ => c,
        })
        .collect()
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT8 => number.to_sql(kind, out),
            Self::Text(text) if *kind == Type::TEXT => text.as_ref().to_sql(kind, out),
            Self::Octets(octets) if *kind == Type::BYTEA => octets.as_ref().to_sql(kind, out),
            _ => Err(format!("a parameter of another kind than {kind}").into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    tokio_postgres::types::to_sql_checked!();
}

impl<'r> FromSql<'r> for Value<'static> {
    fn from_sql(kind: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::BYTEA => Self::Octets(Cow::Owned(raw.to_vec())),
            _ => Self::Text(Cow::Owned(String::from_sql(kind, raw)?)),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT8 | Type::TEXT | Type::BYTEA)
    }
}

/// Whether the connection is gone, as against something that was said over it.
pub(super) fn broken(error: &tokio_postgres::Error) -> bool {
    let io = |source: &(dyn Error + 'static)| source.is::<std::io::Error>();
    error.is_closed() || error.source().is_some_and(io)
}

/// What an error of the server or of the connection means (`PostgreSQL` manual, appendix A). The
/// server's message names relations and constraints; its detail, which holds values of rows, is
/// left out.
pub(super) fn explain(error: &tokio_postgres::Error) -> StoreError {
    let Some(told) = error.as_db_error() else {
        let cause = match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        return if broken(error) {
            StoreError::Unreachable { cause }
        } else {
            StoreError::Failed { cause }
        };
    };
    let code = told.code().code();
    let cause = format!("{} (SQLSTATE {code})", told.message());
    match (code.get(..2).unwrap_or_default(), code) {
        ("23", _) | (_, "P0001" | "22021") => StoreError::Constraint { cause },
        (_, "53100") => StoreError::Full,
        (_, "55P03" | "40001" | "40P01" | "53300") => StoreError::Busy,
        ("08" | "28" | "3D", _) | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03") => {
            StoreError::Unreachable { cause }
        }
        (_, "XX001" | "XX002") => StoreError::Corrupt { cause },
        _ => StoreError::Failed { cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_parameters_are_translated_outside_of_quotes_only() {
        let ours = "SELECT '?1 it''s', \"a?\" FROM t WHERE a = ?1 AND b = ?12 AND c <> 'x'";
        let theirs = "SELECT '?1 it''s', \"a?\" FROM t WHERE a = $1 AND b = $12 AND c <> 'x'";
        assert_eq!(numbered(ours), theirs);
    }

    #[test]
    fn a_value_goes_only_where_its_kind_fits() {
        let mut out = BytesMut::new();
        assert!(Value::Integer(1).to_sql(&Type::TEXT, &mut out).is_err());
        assert!(Value::Integer(1).to_sql(&Type::INT8, &mut out).is_ok());
        assert_eq!(out.as_ref(), 1_i64.to_be_bytes());
    }
}
