//! A regular expression whose longest match is known, which is what bounds a window and a hold.
//!
//! Patterns are read from the rule files of this binary, never from input. The engine is linear in the text;
//! the bound comes from the parsed expression itself and cannot disagree with it.

use crate::error::DetectError;
use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use std::ops::Range;

/// Whether classes and boundaries know Unicode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Bytes; only ASCII is ever matched by the rule files.
    Ascii,
    /// Characters.
    Unicode,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Bytes of its longest match.
    pub(crate) bytes_max: usize,
}

// LIMIT: a rule that needs more memory than this is refused.
const PROGRAM_BYTES_MAX: usize = 8 << 20;

impl Pattern {
    pub(crate) fn new(rule: &str, text: &str, alphabet: Alphabet) -> Result<Self, DetectError> {
        let refuse = |reason: String| DetectError::Rule {
            rule: rule.to_owned(),
            reason,
        };
        let unicode = alphabet == Alphabet::Unicode;
        let config = syntax::Config::new().unicode(unicode).utf8(unicode);
        let parsed = syntax::parse_with(text, &config).map_err(|e| refuse(e.to_string()))?;
        let bytes_max = parsed
            .properties()
            .maximum_len()
            .ok_or_else(|| refuse("a match could be of any length".to_owned()))?;
        let regex = Regex::builder()
            .configure(
                Config::new()
                    .utf8_empty(unicode)
                    .nfa_size_limit(Some(PROGRAM_BYTES_MAX)),
            )
            .syntax(config)
            .build(text)
            .map_err(|e| refuse(e.to_string()))?;
        Ok(Self { regex, bytes_max })
    }

    /// The first match inside `window`, with what surrounds the window visible to boundaries. The
    /// second range is the first group, or the match where there is none.
    pub(crate) fn find(
        &self,
        text: &str,
        window: Range<usize>,
        anchored: bool,
    ) -> Option<(Range<usize>, Range<usize>)> {
        let window = window.start.min(text.len())..window.end.min(text.len());
        if window.start > window.end {
            return None;
        }
        let anchor = if anchored {
            Anchored::Yes
        } else {
            Anchored::No
        };
        let input = Input::new(text.as_bytes()).range(window).anchored(anchor);
        let whole = self.regex.search(&input)?.range();
        if self.regex.captures_len() < 2 {
            return Some((whole.clone(), whole));
        }
        let mut captures = self.regex.create_captures();
        self.regex.search_captures(&input, &mut captures);
        let group = captures.get_group(1).map_or(whole.clone(), |s| s.range());
        Some((whole, group))
    }
}
