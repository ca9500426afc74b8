//! What goes into a statement and what comes out of it, the same for every engine: four kinds of
//! value, no more. Moments and counts are whole numbers, documents are text.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use std::borrow::Cow;

/// One parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Octets(Cow<'a, [u8]>),
}

/// `PostgreSQL` has no text with a zero octet, so no engine gets one: it becomes the replacement
/// character, both when it is written and when it is looked for.
fn text<'a>(text: impl Into<Cow<'a, str>>) -> Value<'a> {
    let text = text.into();
    Value::Text(if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        text
    })
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(content: &'a str) -> Self {
        text(content)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(content: &'a String) -> Self {
        text(content)
    }
}

impl From<String> for Value<'_> {
    fn from(content: String) -> Self {
        text(content)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(octets: &'a [u8]) -> Self {
        Self::Octets(Cow::Borrowed(octets))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_ref().into()
    }
}

/// The parameters of one statement: a tuple, an array, or `()` for none.
pub(crate) trait Values<'a> {
    /// In the order of their numbers.
    fn list(self) -> Vec<Value<'a>>;
}

impl<'a> Values<'a> for () {
    fn list(self) -> Vec<Value<'a>> {
        Vec::new()
    }
}

impl<'a, T: Into<Value<'a>>, const N: usize> Values<'a> for [T; N] {
    fn list(self) -> Vec<Value<'a>> {
        self.into_iter().map(Into::into).collect()
    }
}

macro_rules! tuples {
    ($($names:ident)+) => {
        impl<'a, $($names: Into<Value<'a>>),+> Values<'a> for ($($names,)+) {
            #[expect(non_snake_case, reason = "the type's name is also its value's")]
            fn list(self) -> Vec<Value<'a>> {
                let ($($names,)+) = self;
                vec![$($names.into()),+]
            }
        }
    };
}
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Octets(octets) => ValueRef::Blob(octets),
        }))
    }
}

/// A type that a column can be read as.
pub(crate) trait Cell: Sized {
    /// From the value of a column; says what it found instead.
    fn of(value: Value<'static>) -> Result<Self, &'static str>;
}

fn found(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "is null",
        Value::Integer(_) => "is a number",
        Value::Text(_) => "is text",
        Value::Octets(_) => "is octets",
    }
}

impl Cell for i64 {
    fn of(value: Value<'static>) -> Result<Self, &'static str> {
        match value {
            Value::Integer(number) => Ok(number),
            other => Err(found(&other)),
        }
    }
}

impl Cell for String {
    fn of(value: Value<'static>) -> Result<Self, &'static str> {
        match value {
            Value::Text(text) => Ok(text.into_owned()),
            other => Err(found(&other)),
        }
    }
}

impl Cell for Vec<u8> {
    fn of(value: Value<'static>) -> Result<Self, &'static str> {
        match value {
            Value::Octets(octets) => Ok(octets.into_owned()),
            other => Err(found(&other)),
        }
    }
}

impl<T: Cell> Cell for Option<T> {
    fn of(value: Value<'static>) -> Result<Self, &'static str> {
        match value {
            Value::Null => Ok(None),
            other => T::of(other).map(Some),
        }
    }
}

/// A row of an answer.
pub(crate) enum Row<'r> {
    /// Valid until the next step of its statement.
    Sqlite(&'r rusqlite::Row<'r>),
    /// Whole in memory.
    #[cfg(feature = "scale")]
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// A column by its name.
    pub(crate) fn cell<T: Cell>(&self, name: &str) -> Result<T, String> {
        let value = match self {
            Self::Sqlite(row) => match row.get_ref(name).map_err(|e| e.to_string())? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Text(text) => {
                    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
                    Value::Text(Cow::Owned(text.to_owned()))
                }
                ValueRef::Blob(octets) => Value::Octets(Cow::Owned(octets.to_vec())),
                ValueRef::Real(_) => return Err("is a fraction".to_owned()),
            },
            #[cfg(feature = "scale")]
            Self::Postgres(row) => row.try_get(name).map_err(|e| e.to_string())?,
        };
        T::of(value).map_err(str::to_owned)
    }
}
