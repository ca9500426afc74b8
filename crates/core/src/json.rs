//! Strict reading and canonical writing of JSON.
//!
//! Reading refuses duplicate keys, nesting beyond a limit and trailing data, so that two readers
//! can never see two different requests in the same bytes. Writing follows RFC 8785 for the types
//! leaves are made of: strings, booleans, null, arrays, objects and integers within ±2^53.

use crate::limits::JSON_DEPTH_MAX;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Why bytes are not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line} column {column}")]
pub struct StrictJsonError {
    /// What is wrong, without any of the input.
    pub reason: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column.
    pub column: usize,
}

/// Parses one JSON document strictly: no duplicate keys, at most [`JSON_DEPTH_MAX`] levels, nothing
/// after it but white space.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, StrictJsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }
        .deserialize(&mut reader)
        .map_err(|e| describe(&e))?;
    reader.end().map_err(|e| describe(&e))?;
    Ok(value)
}

fn describe(error: &serde_json::Error) -> StrictJsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let suffix = format!(" at line {line} column {column}");
    let reason = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
    StrictJsonError {
        reason,
        line,
        column,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= JSON_DEPTH_MAX {
            return Err(E::custom(format_args!(
                "nested deeper than {JSON_DEPTH_MAX} levels"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Value, E> {
        Number::from_f64(n)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::String(s.to_owned()))
    }
    fn visit_string<E>(self, s: String) -> Result<Value, E> {
        Ok(Value::String(s))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("duplicate key in an object"));
            }
        }
        Ok(Value::Object(map))
    }
}

/// LIMIT: magnitude of an integer in canonical JSON; every reader of numbers has it exactly
/// (RFC 7493 section 2.2).
pub const SAFE_INTEGER_MAX: u64 = 1 << 53;

/// A value that RFC 8785 as narrowed here cannot write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("canonical JSON holds integers within ±2^53 and no fractions")]
pub struct CanonicalError;

/// Writes a value as RFC 8785 canonical JSON: keys sorted by UTF-16 code units, no white space,
/// shortest escapes.
pub fn canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write_canonical(value, &mut out)?;
    Ok(out)
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) => {
            let magnitude = match (n.as_u64(), n.as_i64()) {
                (Some(u), _) => u,
                (None, Some(i)) => i.unsigned_abs(),
                (None, None) => return Err(CanonicalError),
            };
            if magnitude > SAFE_INTEGER_MAX {
                return Err(CanonicalError);
            }
            out.extend_from_slice(n.to_string().as_bytes());
        }
        Value::String(s) => write_string(s, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_canonical(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write_canonical(&map[key], out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reason(text: &str) -> String {
        parse_strict(text.as_bytes())
            .map(|v| v.to_string())
            .unwrap_or_else(|e| e.reason)
    }

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        assert_eq!(reason(r#"{"a":1,"a":2}"#), "duplicate key in an object");
        assert_eq!(
            reason(r#"[{"x":{"b":1,"\u0062":2}}]"#),
            "duplicate key in an object"
        );
        assert_eq!(
            reason(r#"{"a":{"b":1},"c":{"b":1}}"#),
            r#"{"a":{"b":1},"c":{"b":1}}"#
        );
    }

    #[test]
    fn trailing_data_is_refused() {
        assert_eq!(reason("{} {}"), "trailing characters");
        assert_eq!(reason("{}\n"), "{}");
    }

    #[test]
    fn nesting_is_accepted_at_the_limit_and_refused_one_deeper() {
        let nest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse_strict(nest(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(
            reason(&nest(JSON_DEPTH_MAX + 1)),
            "nested deeper than 64 levels"
        );
    }

    #[test]
    fn canonical_form_sorts_keys_by_utf16_as_rfc_8785_section_3_2_3_shows() {
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
            "\u{f6}": "Latin Small Letter O With Diaeresis"
        });
        let text = String::from_utf8(canonical(&value).unwrap()).unwrap();
        let order: Vec<usize> = [
            "Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew",
        ]
        .iter()
        .map(|w| text.find(w).unwrap())
        .collect();
        assert!(order.is_sorted(), "{text}");
    }

    #[test]
    fn fractions_and_integers_beyond_two_to_the_53_are_refused() {
        assert_eq!(
            canonical(&json!(9_007_199_254_740_992_u64)).map(|v| v.len()),
            Ok(16)
        );
        assert_eq!(
            canonical(&json!(9_007_199_254_740_993_u64)),
            Err(CanonicalError)
        );
        assert_eq!(
            canonical(&json!(-9_007_199_254_740_993_i64)),
            Err(CanonicalError)
        );
        assert_eq!(canonical(&json!(0.5)), Err(CanonicalError));
    }
}
