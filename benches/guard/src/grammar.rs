//! Texts from lists of alternatives: `grammar/*.txt`.
//!
//! `[name]` starts a list, each line after it is an alternative. In an alternative `{name}` stands for
//! a line of another list and `{a|b}` for a choice in place, which may hold further braces; `{nl}` is
//! the end of a line, and a backslash takes a character as it is. A choice of one word that is not a
//! list is an error: a slip of the pen must not become training data.

use crate::chance::Chance;
use std::collections::{BTreeMap, BTreeSet};

/// The parts of the grammar that may be trained on.
const TRAINING: [&str; 4] = [
    include_str!("../grammar/override.txt"),
    include_str!("../grammar/jailbreak.txt"),
    include_str!("../grammar/data.txt"),
    include_str!("../grammar/benign.txt"),
];
/// The part that is only measured with.
const HELD_OUT: [&str; 1] = [include_str!("../grammar/heldout.txt")];

/// Lists that need no braces of their own inside a choice.
const BARE: [&str; 15] = [
    "adj", "noun", "topic", "org", "job", "month", "weekday", "year", "n", "name", "place",
    "language", "audience", "persona", "thing",
];

// LIMIT: lists within lists of one text.
const DEPTH_MAX: usize = 24;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    List(String),
    Choice(Vec<Vec<Part>>),
}

/// Lists by name.
#[derive(Clone, Debug, Default)]
pub struct Grammar(BTreeMap<String, Vec<Vec<Part>>>);

impl Grammar {
    /// The grammar that training uses.
    pub fn training() -> Result<Self, String> {
        Self::parse(&TRAINING)
    }

    /// The grammar of harmless texts that nothing is fitted on.
    pub fn held_out() -> Result<Self, String> {
        Self::parse(&HELD_OUT)
    }

    fn parse(files: &[&str]) -> Result<Self, String> {
        let mut lists: BTreeMap<String, Vec<Vec<Part>>> = BTreeMap::new();
        let names: BTreeSet<&str> = files
            .iter()
            .flat_map(|f| f.lines())
            .filter_map(header)
            .collect();
        let mut name = String::new();
        for line in files.iter().flat_map(|f| f.lines()) {
            match header(line) {
                Some(header) => header.clone_into(&mut name),
                _ if line.is_empty() || line.starts_with("# ") && line.ends_with(['.', ':']) => {}
                _ => {
                    let mut rest = line;
                    let alternative = sequence(&mut rest, false, &names)?;
                    if !rest.is_empty() {
                        return Err(format!("[{name}] {line}: a brace closes nothing"));
                    }
                    lists.entry(name.clone()).or_default().push(alternative);
                }
            }
        }
        let grammar = Self(lists);
        for (name, alternatives) in &grammar.0 {
            for part in alternatives.iter().flatten() {
                grammar.check(name, part)?;
            }
        }
        Ok(grammar)
    }

    fn check(&self, list: &str, part: &Part) -> Result<(), String> {
        match part {
            Part::List(name) if name != "nl" && !self.0.contains_key(name) => {
                Err(format!("[{list}] names {{{name}}}, which is no list"))
            }
            Part::Choice(ways) => ways.iter().flatten().try_for_each(|p| self.check(list, p)),
            _ => Ok(()),
        }
    }

    /// One text of a list.
    pub fn text(&self, list: &str, chance: &mut Chance) -> String {
        let mut out = String::new();
        self.expand(list, chance, &mut out, 0);
        out
    }

    /// Different texts of a list: as many as asked for, or as many as it easily gives.
    pub fn texts(&self, list: &str, count: usize, chance: &mut Chance) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut out = Vec::with_capacity(count);
        for _ in 0..count * 4 {
            let text = self.text(list, chance).trim().to_owned();
            if !text.is_empty() && seen.insert(text.clone()) {
                out.push(text);
            }
            if out.len() == count {
                break;
            }
        }
        out
    }

    fn expand(&self, list: &str, chance: &mut Chance, out: &mut String, depth: usize) {
        let Some(ways) = self.0.get(list).filter(|_| depth < DEPTH_MAX) else {
            return;
        };
        if let Some(way) = ways.get(chance.below(ways.len())) {
            self.write(way, chance, out, depth);
        }
    }

    fn write(&self, parts: &[Part], chance: &mut Chance, out: &mut String, depth: usize) {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::List(name) if name == "nl" => out.push('\n'),
                Part::List(name) => self.expand(name, chance, out, depth + 1),
                Part::Choice(ways) => {
                    if let Some(way) = ways.get(chance.below(ways.len())) {
                        self.write(way, chance, out, depth);
                    }
                }
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Reads parts up to the end, or inside braces up to `|` or `}`.
fn sequence(rest: &mut &str, inside: bool, names: &BTreeSet<&str>) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let escaped = tail
                    .chars()
                    .next()
                    .ok_or("a backslash at the end of a line")?;
                text.push(escaped);
                *rest = &tail[escaped.len_utf8()..];
            }
            '{' => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                *rest = tail;
                parts.push(choice(rest, names)?);
            }
            '|' | '}' if inside => break,
            '}' => break,
            _ => {
                text.push(c);
                *rest = tail;
            }
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

/// Reads what stands behind an opening brace.
fn choice(rest: &mut &str, names: &BTreeSet<&str>) -> Result<Part, String> {
    let mut ways = Vec::new();
    loop {
        ways.push(sequence(rest, true, names)?);
        match rest.chars().next() {
            Some('|') => *rest = &rest[1..],
            Some(_) => {
                *rest = &rest[1..];
                break;
            }
            None => return Err("a brace is not closed".to_owned()),
        }
    }
    Ok(match ways.as_slice() {
        [way] => match way.as_slice() {
            [Part::Text(name)] if is_name(name) => Part::List(name.clone()),
            _ => return Err(format!("{way:?} in braces is neither a list nor a choice")),
        },
        _ => Part::Choice(ways.into_iter().map(|way| bare_names(way, names)).collect()),
    })
}

/// In a choice of several, a word is that word, unless it is one of [`BARE`] or a list's name with an
/// underscore: `{order|invoice}` are words, `{topic|the weather}` is a list and words.
fn bare_names(way: Vec<Part>, names: &BTreeSet<&str>) -> Vec<Part> {
    match way.as_slice() {
        [Part::Text(word)]
            if BARE.contains(&word.as_str())
                || word.contains('_') && names.contains(word.as_str()) =>
        {
            vec![Part::List(word.clone())]
        }
        _ => way,
    }
}

/// The name of the list that a line starts.
fn header(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    is_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(file: &str) -> Result<Grammar, String> {
        Grammar::parse(&[file])
    }

    #[test]
    fn lists_choices_and_escapes_are_expanded() {
        let grammar = one("[a]\nx{b}{y|y}\\{z\\}{nl}\n[b]\n{1|1}").unwrap();
        assert_eq!(grammar.text("a", &mut Chance::new(1)), "x1y{z}\n");
    }

    #[test]
    fn words_of_a_choice_are_words_unless_they_are_known_lists() {
        let grammar =
            one("[a]\n{order|order} {topic|topic} {b_c|b_c}\n[order]\nbad\n[topic]\ntea\n[b_c]\nd")
                .unwrap();
        assert_eq!(grammar.text("a", &mut Chance::new(1)), "order tea d");
    }

    #[test]
    fn a_slip_of_the_pen_is_an_error() {
        for file in ["[a]\n{nobody}", "[a]\n{x|y", "[a]\nx}", "[a]\n{x y}"] {
            assert!(one(file).is_err(), "{file}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_texts_and_both_grammars_are_sound() {
        let grammar = Grammar::training().unwrap();
        let texts = |seed| grammar.texts("benign", 50, &mut Chance::new(seed));
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        for list in [
            "injection",
            "jailbreak",
            "leak",
            "extraction",
            "harmful",
            "order",
            "document",
            "tool_output",
            "tool_schema",
            "schema_order",
        ] {
            assert!(
                grammar.texts(list, 100, &mut Chance::new(3)).len() > 90,
                "{list}"
            );
        }
        let held_out = Grammar::held_out().unwrap();
        assert!(held_out.texts("heldout", 600, &mut Chance::new(4)).len() >= 500);
    }
}
