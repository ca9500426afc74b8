//! From columns to types that cannot be wrong: a row that no longer parses is an error that names
//! its table, never a default.

use crate::error::StoreError;
use crate::value::{Cell, Row};
use ringfence_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;

/// A row of a known table.
pub(crate) struct Columns<'a, 'r> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a Row<'r>,
}

impl<'a, 'r> Columns<'a, 'r> {
    pub(crate) fn of(table: &'static str, row: &'a Row<'r>) -> Self {
        Self { table, row }
    }

    fn broken(&self, name: &str, cause: impl Display) -> StoreError {
        StoreError::Row {
            table: self.table,
            cause: format!("column {name}: {cause}"),
        }
    }

    /// A column as it is.
    pub(crate) fn value<T: Cell>(&self, name: &str) -> Result<T, StoreError> {
        self.row.cell(name).map_err(|e| self.broken(name, e))
    }

    /// A text column parsed into its type.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text: String = self.value(name)?;
        text.parse().map_err(|e| self.broken(name, e))
    }

    /// The same for a column that may be null.
    pub(crate) fn parsed_optional<T>(&self, name: &str) -> Result<Option<T>, StoreError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text: Option<String> = self.value(name)?;
        text.map(|t| t.parse().map_err(|e| self.broken(name, e)))
            .transpose()
    }

    /// A moment.
    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.value(name).map(Timestamp)
    }

    /// A moment that may be null.
    pub(crate) fn time_optional(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.value::<Option<i64>>(name)?.map(Timestamp))
    }

    /// A whole number that is never negative.
    pub(crate) fn count<T: TryFrom<i64>>(&self, name: &str) -> Result<T, StoreError> {
        let number: i64 = self.value(name)?;
        T::try_from(number).map_err(|_| self.broken(name, "out of range"))
    }

    /// 32 octets.
    pub(crate) fn octets32(&self, name: &str) -> Result<[u8; 32], StoreError> {
        let bytes: Vec<u8> = self.value(name)?;
        bytes
            .try_into()
            .map_err(|_| self.broken(name, "not 32 octets"))
    }

    /// A JSON document.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        let text: String = self.value(name)?;
        serde_json::from_str(&text).map_err(|e| self.broken(name, e))
    }
}

/// A document as JSON text for a column of `table`.
pub(crate) fn to_json(table: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Row {
        table,
        cause: e.to_string(),
    })
}
