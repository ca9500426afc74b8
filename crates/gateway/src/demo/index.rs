//! Ranking of passages by BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75), over paragraphs
//! with the headings above them.

use std::collections::{BTreeMap, BTreeSet};

/// LIMIT: passages that are kept.
pub(crate) const PASSAGES_MAX: usize = 50_000;
/// LIMIT: lines of one passage.
pub(crate) const PASSAGE_LINES_MAX: usize = 12;
/// LIMIT: octets of one passage.
pub(crate) const PASSAGE_BYTES_MAX: usize = 2_000;
/// LIMIT: different words of a question that are looked up.
const WORDS_MAX: usize = 64;
/// How many passages an answer names.
const FOUND_MAX: usize = 3;
/// The share of a question's weight that a passage must speak of, in percent; below it, the
/// answer is "I do not know".
const COVERAGE_PERCENT: f64 = 50.0;
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// Words that say nothing about what a question is about.
const STOP_WORDS: [&str; 60] = [
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "by", "can", "could", "do", "doe",
    "did", "does", "for", "from", "get", "had", "has", "have", "how", "i", "if", "in", "is", "it",
    "its", "me", "my", "no", "not", "of", "on", "or", "our", "please", "should", "so", "tell",
    "that", "the", "their", "there", "they", "this", "to", "was", "we", "what", "when", "where",
    "which", "who", "why", "will", "with", "you", "your",
];

/// A passage with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) path: String,
    /// 1-based.
    pub(crate) line: usize,
    pub(crate) text: String,
}

struct Entry {
    passage: Passage,
    counts: BTreeMap<String, u32>,
    length: u32,
}

/// All passages.
pub(crate) struct Index {
    entries: Vec<Entry>,
    documents_with: BTreeMap<String, u32>,
    average_length: f64,
}

impl Index {
    pub(crate) fn build(documents: &[(String, String)]) -> Self {
        let mut entries = Vec::new();
        for (path, text) in documents {
            passages(path, text, &mut entries);
            entries.truncate(PASSAGES_MAX);
        }
        let mut documents_with = BTreeMap::new();
        for entry in &entries {
            for word in entry.counts.keys() {
                *documents_with.entry(word.clone()).or_insert(0) += 1;
            }
        }
        let total: f64 = entries.iter().map(|e| f64::from(e.length)).sum();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX).max(1);
        Self {
            entries,
            documents_with,
            average_length: (total / f64::from(count)).max(1.0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The passages that answer a question, best first; none if none speaks of enough of it.
    pub(crate) fn search(&self, question: &str) -> Vec<&Passage> {
        let words: BTreeSet<String> = words(question).take(WORDS_MAX).collect();
        let whole: f64 = words.iter().map(|word| self.weight(word)).sum();
        let mut ranked: Vec<(f64, usize)> = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let mut covered = 0.0;
            let mut score = 0.0;
            for word in &words {
                if let Some(count) = entry.counts.get(word) {
                    covered += self.weight(word);
                    score += self.weight(word) * self.saturation(f64::from(*count), entry.length);
                }
            }
            if score > 0.0 && covered * 100.0 >= whole * COVERAGE_PERCENT {
                ranked.push((score, at));
            }
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let found = ranked.into_iter().take(FOUND_MAX);
        found
            .filter_map(|(_, at)| self.entries.get(at))
            .map(|e| &e.passage)
            .collect()
    }

    /// How much a word tells: rare ones more. A word that stands nowhere tells most.
    fn weight(&self, word: &str) -> f64 {
        let with = f64::from(self.documents_with.get(word).copied().unwrap_or(0));
        let all = f64::from(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    fn saturation(&self, count: f64, length: u32) -> f64 {
        let relative = f64::from(length) / self.average_length;
        count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative))
    }
}

fn passages(path: &str, text: &str, entries: &mut Vec<Entry>) {
    let mut heading = String::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut first = 1;
    for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l)) {
        let is_heading = line.starts_with('#');
        if line.trim().is_empty() || is_heading || lines.len() >= PASSAGE_LINES_MAX {
            keep(path, first, &heading, &mut lines, entries);
        }
        if is_heading {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        } else if !line.trim().is_empty() {
            if lines.is_empty() {
                first = number;
            }
            lines.push(line);
        }
    }
    keep(path, first, &heading, &mut lines, entries);
}

fn keep(path: &str, line: usize, heading: &str, lines: &mut Vec<&str>, entries: &mut Vec<Entry>) {
    if lines.is_empty() {
        return;
    }
    let mut text = std::mem::take(lines).join("\n");
    let mut end = PASSAGE_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let mut counts = BTreeMap::new();
    let mut length = 0;
    for word in words(&text).chain(words(heading)) {
        *counts.entry(word).or_insert(0) += 1;
        length += 1;
    }
    let passage = Passage {
        path: path.to_owned(),
        line,
        text,
    };
    entries.push(Entry {
        passage,
        counts,
        length,
    });
}

/// The words that a text is about, in lower case and without the ending of the plural. Signs of
/// scripts without spaces between words count one by one.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .flat_map(|run| {
            if run.chars().any(|c| ('\u{2e80}'..='\u{9fff}').contains(&c)) {
                run.chars().map(String::from).collect()
            } else {
                vec![run.to_lowercase()]
            }
        })
        .map(|word| match word.strip_suffix('s') {
            Some(stem) if stem.len() >= 3 && !stem.ends_with('s') => stem.to_owned(),
            _ => word,
        })
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Index {
        Index::build(&[("a.md".to_owned(), text.to_owned())])
    }

    #[test]
    fn a_passage_is_cut_at_the_limit_of_lines() {
        assert_eq!(index(&"line\n".repeat(PASSAGE_LINES_MAX)).len(), 1);
        assert_eq!(index(&"line\n".repeat(PASSAGE_LINES_MAX + 1)).len(), 2);
    }

    #[test]
    fn a_passage_is_cut_at_the_limit_of_octets_on_a_character() {
        let long = index(&"ä".repeat(PASSAGE_BYTES_MAX));
        assert_eq!(long.entries[0].passage.text.len(), PASSAGE_BYTES_MAX);
        let odd = index(&format!("x{}", "ä".repeat(PASSAGE_BYTES_MAX)));
        assert_eq!(odd.entries[0].passage.text.len(), PASSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn passages_are_kept_up_to_the_limit() {
        assert_eq!(index(&"w\n\n".repeat(PASSAGES_MAX + 1)).len(), PASSAGES_MAX);
    }

    #[test]
    fn the_rarer_word_decides() {
        let index = index("the gateway listens\n\nthe gateway logs\n\nthe gateway filters cards\n");
        assert_eq!(index.search("which gateway filters?")[0].line, 5);
    }

    #[test]
    fn plurals_and_signs_without_spaces_are_found() {
        let index = index("A card is redacted.\n\n备份 每晚 写入\n");
        assert_eq!(index.search("cards redacted")[0].line, 1);
        assert_eq!(index.search("备份")[0].line, 3);
    }
}
