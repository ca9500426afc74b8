//! Refuses a policy file that reads a field the input does not have.
//!
//! In Rego an unknown field is undefined and the rule that reads it never fires: a misspelt
//! `input.fidnings` passes everything. This is a lexical check, not a type checker: it follows
//! paths that start at `input`, and at names bound by `some x in input.…` or `x := input.…[_]`.
//! What it cannot follow (a computed key, a helper function) it accepts.

use crate::error::PolicyError;
use std::collections::BTreeMap;

/// The shape of the input: a leaf, an array of a shape, or named fields.
enum Shape {
    Leaf,
    Each(&'static Shape),
    Fields(&'static [(&'static str, &'static Shape)]),
}

const LEAF: &Shape = &Shape::Leaf;
const FINDING: &Shape = &Shape::Fields(&[
    ("fingerprint", LEAF),
    ("path", LEAF),
    ("rule", LEAF),
    ("severity", LEAF),
    ("waived", LEAF),
]);
const AGE: &Shape = &Shape::Fields(&[("days", LEAF), ("name", LEAF), ("stale", LEAF)]);
const COVERAGE: &Shape = &Shape::Fields(&[
    ("bytes_seen", LEAF),
    ("bytes_skipped", LEAF),
    ("bytes_understood", LEAF),
    ("complete", LEAF),
    ("data_age", &Shape::Each(AGE)),
    ("items", LEAF),
    ("skips", LEAF),
]);
const THRESHOLDS: &Shape = &Shape::Fields(&[("advisories_age_days_max", LEAF), ("deny_at", LEAF)]);
const INPUT: &Shape = &Shape::Fields(&[
    ("coverage", COVERAGE),
    ("findings", &Shape::Each(FINDING)),
    ("now", LEAF),
    ("thresholds", THRESHOLDS),
]);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Mark(char),
}

/// Cuts Rego into names, strings and single marks; comments and white space vanish.
fn tokens(text: &str) -> Vec<(u32, Token)> {
    let mut out = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' | '`' => {
                let start = line;
                let mut inside = String::new();
                while let Some(d) = chars.next() {
                    match d {
                        d if d == c => break,
                        '\\' if c == '"' => inside.extend(chars.next()),
                        '\n' => line += 1,
                        d => inside.push(d),
                    }
                }
                out.push((start, Token::Text(inside)));
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut name = String::from(c);
                while let Some(d) = chars.next_if(|d| d.is_alphanumeric() || *d == '_') {
                    name.push(d);
                }
                out.push((line, Token::Name(name)));
            }
            c if c.is_whitespace() => {}
            c => out.push((line, Token::Mark(c))),
        }
    }
    out
}

type Tokens<'a> = &'a [(u32, Token)];

fn mark(rest: Tokens<'_>, at: usize, wanted: char) -> bool {
    matches!(rest.get(at), Some((_, Token::Mark(c))) if *c == wanted)
}

fn name(rest: Tokens<'_>, at: usize) -> Option<&str> {
    match rest.get(at) {
        Some((_, Token::Name(text))) => Some(text),
        _ => None,
    }
}

/// Follows `.field`, `["field"]` and `[anything]` from a shape. `Err` names the unknown path.
fn follow(
    root: &str,
    mut shape: &'static Shape,
    mut rest: Tokens<'_>,
) -> Result<&'static Shape, (String, Vec<&'static str>)> {
    let mut path = root.to_owned();
    loop {
        let (field, used) = if mark(rest, 0, '.') {
            (name(rest, 1).map(str::to_owned), 2)
        } else if mark(rest, 0, '[') {
            match (rest.get(1), mark(rest, 2, ']')) {
                (Some((_, Token::Text(text))), true) => (Some(text.clone()), 3),
                (Some(_), true) => (None, 3),
                _ => return Ok(LEAF),
            }
        } else {
            return Ok(shape);
        };
        rest = rest.get(used..).unwrap_or_default();
        match (shape, field) {
            (Shape::Fields(fields), Some(field)) => {
                path = format!("{path}.{field}");
                match fields.iter().find(|(known, _)| *known == field) {
                    Some((_, next)) => shape = next,
                    None => return Err((path, fields.iter().map(|(known, _)| *known).collect())),
                }
            }
            (Shape::Each(next), None) => {
                path.push_str("[_]");
                shape = next;
            }
            (Shape::Each(_), Some(field)) if field.parse::<u32>().is_err() => {
                return Err((format!("{path}.{field}"), vec!["[_]"]));
            }
            // A field of a leaf never exists; a computed key of an object cannot be followed.
            (Shape::Leaf, Some(field)) => return Err((format!("{path}.{field}"), Vec::new())),
            _ => return Ok(LEAF),
        }
    }
}

/// The names bound to elements or parts of the input, with every shape they are bound to.
fn bindings(all: Tokens<'_>) -> BTreeMap<String, Vec<&'static Shape>> {
    let mut bound: BTreeMap<String, Vec<&'static Shape>> = BTreeMap::new();
    for at in 0..all.len() {
        let Some(variable) = name(all, at) else {
            continue;
        };
        let (start, element) =
            if name(all, at + 1) == Some("in") && name(all, at + 2) == Some("input") {
                (at + 3, true)
            } else if mark(all, at + 1, ':')
                && mark(all, at + 2, '=')
                && name(all, at + 3) == Some("input")
            {
                (at + 4, false)
            } else {
                // Bound to something else as well: what it is cannot be known here.
                let elsewhere = name(all, at + 1) == Some("in")
                    || (mark(all, at + 1, ':') && mark(all, at + 2, '='));
                if elsewhere {
                    bound.entry(variable.to_owned()).or_default().push(LEAF);
                }
                continue;
            };
        let shape = follow("input", INPUT, all.get(start..).unwrap_or_default()).unwrap_or(LEAF);
        let shape = match (element, shape) {
            (true, Shape::Each(each)) => each,
            (true, _) => LEAF,
            (false, shape) => shape,
        };
        bound.entry(variable.to_owned()).or_default().push(shape);
    }
    bound
}

/// Namespaces of built-in functions that allocate what one number asks for: the time limit cannot
/// stop `numbers.range(0, 1e18)` or `bits.lsh(1, 1e18)`, which would end the process.
const UNBOUNDED: [&str; 2] = ["numbers", "bits"];

/// Refuses the module if it reads a field that is not there or calls what has no bound.
pub(crate) fn check(module: &str, text: &str) -> Result<(), PolicyError> {
    let all = tokens(text);
    let unbounded = all.iter().find_map(|(line, token)| match token {
        Token::Name(name) => UNBOUNDED.iter().find(|u| *u == name).map(|u| (*line, *u)),
        _ => None,
    });
    if let Some((line, namespace)) = unbounded {
        return Err(PolicyError::Unbounded {
            module: module.to_owned(),
            line,
            namespace,
        });
    }
    let bound = bindings(&all);
    for (at, (line, token)) in all.iter().enumerate() {
        let Token::Name(variable) = token else {
            continue;
        };
        let is_field = at > 0 && mark(&all, at - 1, '.');
        if is_field {
            continue;
        }
        let rest = all.get(at + 1..).unwrap_or_default();
        let refusal = if variable == "input" {
            follow("input", INPUT, rest).err()
        } else if let Some(shapes) = bound.get(variable) {
            // `LEAF` in the list means "unknown": then nothing is refused.
            if shapes.iter().any(|s| matches!(s, Shape::Leaf)) {
                None
            } else {
                let all_refuse: Option<Vec<_>> = shapes
                    .iter()
                    .map(|shape| follow(variable, shape, rest).err())
                    .collect();
                all_refuse.and_then(|refusals| refusals.into_iter().next())
            }
        } else {
            None
        };
        if let Some((path, known)) = refusal {
            return Err(PolicyError::UnknownInput {
                module: module.to_owned(),
                line: *line,
                path,
                known,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GateConfig;
    use crate::input::{GateFinding, GateInput};
    use ringfence_core::severity::Severity;
    use ringfence_core::time::Timestamp;
    use ringfence_core::verdict::{Coverage, DataAge};
    use serde_json::Value;

    fn refused(body: &str) -> Option<String> {
        match check(
            "m",
            &format!("package ringfence.gate\ndeny contains \"x\" if {{ {body} }}"),
        ) {
            Ok(()) => None,
            Err(PolicyError::UnknownInput { path, .. }) => Some(path),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_misspelt_field_is_refused_wherever_the_path_can_be_followed() {
        let cases = [
            ("input.fidnings[_].rule == \"x\"", "input.fidnings"),
            (
                "input.findings[_].sevrity == \"high\"",
                "input.findings[_].sevrity",
            ),
            ("input[\"coverge\"].skips > 0", "input.coverge"),
            ("input.findings.rule == \"x\"", "input.findings.rule"),
            ("some f in input.findings; f.waved", "f.waved"),
            ("some i, f in input.findings; f.waved", "f.waved"),
            ("f := input.findings[_]; f.ruel == \"x\"", "f.ruel"),
            ("some a in input.coverage.data_age; a.day > 3", "a.day"),
            ("input.now.year == 1", "input.now.year"),
        ];
        for (body, path) in cases {
            assert_eq!(refused(body).as_deref(), Some(path), "{body}");
        }
    }

    #[test]
    fn right_paths_computed_keys_strings_and_comments_are_accepted() {
        let cases = [
            "some f in input.findings; f.rule == \"input.nonsense\"",
            "input.findings[_].severity == \"high\" # input.nonsense",
            "input.coverage.skips > 3",
            "input[key] == 1",
            "f := input.findings[0]; f.path == `input.nonsense`",
            "some f in input.findings; some f in data.other; f.what",
            "x.input.whatever == 1",
        ];
        for body in cases {
            assert_eq!(refused(body), None, "{body}");
        }
    }

    #[test]
    fn functions_that_allocate_what_a_number_asks_for_are_refused() {
        for body in [
            "x := numbers.range(0, 1e18)",
            "x := bits.lsh(1, 1e18)",
            "numbers[\"range\"]",
        ] {
            let refused = check("m", body).err().unwrap();
            assert!(
                matches!(refused, PolicyError::Unbounded { line: 1, .. }),
                "{body}"
            );
        }
        assert_eq!(check("m", "x := \"numbers.range\" # bits.lsh"), Ok(()));
    }

    /// Every field of the real document is known here, and every known field is in the document.
    fn agree(shape: &Shape, value: &Value, path: &str) {
        match (shape, value) {
            (Shape::Fields(fields), Value::Object(map)) => {
                let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                let mut real: Vec<&str> = map.keys().map(String::as_str).collect();
                real.sort_unstable();
                assert_eq!(known, real, "{path}");
                for (name, next) in *fields {
                    agree(next, &map[*name], &format!("{path}.{name}"));
                }
            }
            (Shape::Each(next), Value::Array(items)) => agree(next, &items[0], path),
            (Shape::Leaf, Value::Object(_) | Value::Array(_)) => panic!("{path} is not a leaf"),
            (Shape::Leaf, _) => {}
            _ => panic!("{path} has another shape"),
        }
    }

    #[test]
    fn the_shape_is_that_of_the_document() {
        let input = GateInput {
            findings: vec![GateFinding {
                rule: "r".into(),
                severity: Severity::Low,
                fingerprint: "f".into(),
                path: "p".into(),
                waived: false,
            }],
            coverage: Coverage {
                data_age: vec![DataAge {
                    name: "n".into(),
                    days: 1,
                    stale: false,
                }],
                ..Coverage::default()
            },
            now: Timestamp(0),
        };
        agree(INPUT, &input.document(&GateConfig::default()), "input");
    }
}
