//! One JSON value on a line: the strings and long numbers in it are looked at, all else leaves
//! octet for octet.

use super::report::Counts;
use super::scan::Plan;
use serde::de::IgnoredAny;

/// Digits of a number that may be a card, a telephone or an id.
const DIGITS_MIN: usize = 7;

/// The line without what was found, appended to `out`. An error says why it is refused.
pub(super) fn line(
    plan: &Plan,
    line: &str,
    counts: &mut Counts,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    serde_json::from_str::<IgnoredAny>(line).map_err(|_| "no JSON")?;
    let mut walk = Walk {
        line,
        at: 0,
        done: 0,
        path: Vec::new(),
        out: Vec::with_capacity(line.len() + 64),
        row: vec![String::new(); plan.identifying.len()],
    };
    walk.run(plan, counts)?;
    out.extend_from_slice(&walk.out);
    counts.combination(&walk.row);
    Ok(())
}

/// What the walk is inside of: an object with the name of its field, or a list.
enum Level {
    Object { name: String, value: bool },
    List,
}

struct Walk<'line> {
    line: &'line str,
    at: usize,
    /// Everything before it is written.
    done: usize,
    path: Vec<Level>,
    out: Vec<u8>,
    /// Values of the identifying fields.
    row: Vec<String>,
}

impl Walk<'_> {
    /// The line was found well formed before: what opens closes.
    fn run(&mut self, plan: &Plan, counts: &mut Counts) -> Result<(), &'static str> {
        while let Some(b) = self.line.as_bytes().get(self.at).copied() {
            match b {
                b'{' => self.path.push(Level::Object {
                    name: String::new(),
                    value: false,
                }),
                b'[' => self.path.push(Level::List),
                b'}' | b']' => {
                    self.path.pop();
                }
                b',' => {
                    if let Some(Level::Object { value, .. }) = self.path.last_mut() {
                        *value = false;
                    }
                }
                b':' => {
                    if let Some(Level::Object { value, .. }) = self.path.last_mut() {
                        *value = true;
                    }
                }
                b'"' => {
                    self.string(plan, counts)?;
                    continue;
                }
                b'0'..=b'9' | b'-' => {
                    self.number(plan, counts);
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.write_to(self.line.len());
        Ok(())
    }

    fn write_to(&mut self, to: usize) {
        let bytes = self.line.as_bytes().get(self.done..to).unwrap_or_default();
        self.out.extend_from_slice(bytes);
        self.done = to;
    }

    fn replace(&mut self, end: usize, value: &str) {
        self.write_to(self.at);
        let quoted = serde_json::Value::from(value).to_string();
        self.out.extend_from_slice(quoted.as_bytes());
        self.done = end;
    }

    /// Names of the objects around, joined by points.
    fn field(&self) -> String {
        let names: Vec<&str> = self
            .path
            .iter()
            .filter_map(|level| match level {
                Level::Object { name, .. } => Some(name.as_str()),
                Level::List => None,
            })
            .collect();
        names.join(".")
    }

    fn remember(&mut self, plan: &Plan, field: &str, value: &str) {
        for (wanted, slot) in plan.identifying.iter().zip(&mut self.row) {
            if wanted == field {
                value.clone_into(slot);
            }
        }
    }

    fn string(&mut self, plan: &Plan, counts: &mut Counts) -> Result<(), &'static str> {
        let bytes = self.line.as_bytes();
        let mut end = self.at + 1;
        let mut escaped = false;
        while let Some(b) = bytes.get(end) {
            match b {
                b'\\' => {
                    escaped = true;
                    end += 1;
                }
                b'"' => break,
                _ => {}
            }
            end += 1;
        }
        let end = end + 1;
        let raw = self.line.get(self.at..end).unwrap_or_default();
        let decoded;
        let text = if escaped {
            // Half a surrogate pair is JSON but no text: it cannot be looked at.
            decoded = serde_json::from_str::<String>(raw).map_err(|_| "no Unicode")?;
            decoded.as_str()
        } else {
            raw.get(1..raw.len() - 1).unwrap_or_default()
        };
        let is_name = matches!(self.path.last(), Some(Level::Object { value: false, .. }));
        if is_name {
            if let Some(Level::Object { name, .. }) = self.path.last_mut() {
                text.clone_into(name);
            }
            if let Some(changed) = plan.name(text, counts) {
                self.replace(end, &changed);
            }
        } else {
            let field = self.field();
            self.remember(plan, &field, text);
            if let Some(changed) = plan.value(&field, text, counts) {
                self.replace(end, &changed);
            }
        }
        self.at = end;
        Ok(())
    }

    /// A number that is too long for a count becomes a text when something is found in it.
    fn number(&mut self, plan: &Plan, counts: &mut Counts) {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let length = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b))
            .count();
        let end = self.at + length;
        let text = rest.get(..length).unwrap_or_default();
        let field = self.field();
        self.remember(plan, &field, text);
        if text.len() >= DIGITS_MIN
            && text.bytes().all(|b| b.is_ascii_digit())
            && let Some(changed) = plan.value(&field, text, counts)
        {
            self.replace(end, &changed);
        }
        self.at = end;
    }
}
