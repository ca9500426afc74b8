//! Records of a table (RFC 4180): each field is looked at behind the name of its column; a field
//! that changes is quoted, all else leaves octet for octet.

use super::report::Counts;
use super::scan::Plan;

/// The names of the columns.
pub(super) fn names(header: &str, delimiter: u8) -> Vec<String> {
    let mut names = Vec::new();
    let line = header
        .trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n']);
    let mut at = 0;
    while let Some((field, end)) = field(line, at, delimiter) {
        names.push(field.value);
        at = end;
    }
    names
}

struct Field {
    start: usize,
    end: usize,
    value: String,
}

/// The field at `at` and the place where the next begins; past the end there is none.
fn field(line: &str, at: usize, delimiter: u8) -> Option<(Field, usize)> {
    if at > line.len() {
        return None;
    }
    let bytes = line.as_bytes();
    let mut end = at;
    if bytes.get(at) == Some(&b'"') {
        end += 1;
        while let Some(b) = bytes.get(end) {
            if *b == b'"' {
                if bytes.get(end + 1) != Some(&b'"') {
                    break;
                }
                end += 1;
            }
            end += 1;
        }
        end = (end + 1).min(line.len());
    }
    while bytes.get(end).is_some_and(|b| *b != delimiter) {
        end += 1;
    }
    let raw = line.get(at..end).unwrap_or_default();
    let value = match raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => raw.to_owned(),
    };
    Some((
        Field {
            start: at,
            end,
            value,
        },
        end + 1,
    ))
}

/// The octet after the record at the start of `text`.
pub(super) fn record_end(text: &str) -> usize {
    let mut quoted = false;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// One record without its end of line, appended to `out`.
pub(super) fn record(
    plan: &Plan,
    columns: &[String],
    delimiter: u8,
    line: &str,
    counts: &mut Counts,
    out: &mut Vec<u8>,
) {
    let mut row = vec![String::new(); plan.identifying.len()];
    let (mut at, mut column) = (0, 0);
    while let Some((field, next)) = field(line, at, delimiter) {
        if column > 0 {
            out.push(delimiter);
        }
        let name = columns.get(column).map_or("", String::as_str);
        for (wanted, slot) in plan.identifying.iter().zip(&mut row) {
            if wanted == name {
                field.value.clone_into(slot);
            }
        }
        match plan.value(name, &field.value, counts) {
            Some(changed) => {
                out.push(b'"');
                out.extend_from_slice(changed.replace('"', "\"\"").as_bytes());
                out.push(b'"');
            }
            None => {
                let raw = line.get(field.start..field.end).unwrap_or_default();
                out.extend_from_slice(raw.as_bytes());
            }
        }
        (at, column) = (next, column + 1);
    }
    counts.combination(&row);
}
