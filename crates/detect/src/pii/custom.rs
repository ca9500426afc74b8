//! The operator's own recognisers, and what is never personal data for him.
//!
//! A recogniser is data: a name, a pattern whose longest match is known, and words of which one
//! must stand before it. A pattern that could match any length, or that is not understood, refuses the
//! whole file.

use super::context::{CONTEXT_BYTES, Words, before};
use crate::error::DetectError;
use crate::pattern::{Alphabet, Pattern};
use ringfence_core::detection::{Bound, Detector, Hit, Label, View};
use ringfence_core::ids::RuleId;
use serde::Deserialize;
use std::collections::BTreeSet;

// LIMIT: recognisers of one file.
/// How many recognisers one file may have.
pub const RECOGNISERS_MAX: usize = 64;
// LIMIT: values of one allow-list.
/// How many values one file may allow.
pub const ALLOWED_MAX: usize = 100_000;

/// The file: `[[recogniser]]` tables and `allow = ["value"]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomConfig {
    /// Values that are left alone, compared without case.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Further recognisers.
    #[serde(default)]
    pub recogniser: Vec<CustomRecogniser>,
}

/// One recogniser.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomRecogniser {
    /// Lower-case words and hyphens; hits are reported as `custom/NAME`.
    pub name: String,
    /// A regular expression with a bounded match, in linear time.
    pub pattern: String,
    /// Words of which one must stand within the 64 octets before; none asks for none.
    #[serde(default)]
    pub context: Vec<String>,
    /// 1 to 1000.
    #[serde(default = "certain")]
    pub score: u32,
}

fn certain() -> u32 {
    900
}

struct Compiled {
    rule: RuleId,
    pattern: Pattern,
    words: Option<Words>,
    score: u32,
}

/// The recognisers of one file.
pub struct Custom {
    recognisers: Vec<Compiled>,
}

/// The allow-list of one file.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    values: BTreeSet<String>,
}

impl Allowed {
    /// Whether a found value is left alone.
    pub fn holds(&self, value: &str) -> bool {
        !self.values.is_empty() && self.values.contains(&value.to_lowercase())
    }
}

impl CustomConfig {
    /// Reads the file; `name` is how an error calls it.
    pub fn parse(name: &str, text: &str) -> Result<Self, DetectError> {
        toml::from_str(text).map_err(|e| DetectError::RuleFile {
            file: name.to_owned(),
            reason: e.to_string(),
        })
    }

    /// Compiles everything, or refuses everything.
    pub fn compile(&self) -> Result<(Custom, Allowed), DetectError> {
        let refuse = |rule: &str, reason: &str| DetectError::Rule {
            rule: rule.to_owned(),
            reason: reason.to_owned(),
        };
        if self.recogniser.len() > RECOGNISERS_MAX || self.allow.len() > ALLOWED_MAX {
            return Err(refuse(
                "custom",
                "there are more entries than the limit allows",
            ));
        }
        let mut recognisers = Vec::new();
        for own in &self.recogniser {
            let id = format!("custom/{}", own.name);
            let rule: RuleId = id
                .parse()
                .map_err(|_| refuse(&own.name, "its name is not well formed"))?;
            if !(1..=1000).contains(&own.score) {
                return Err(refuse(&own.name, "its score is not from 1 to 1000"));
            }
            let pattern = Pattern::new(&own.name, &own.pattern, Alphabet::Unicode)?;
            let list: Vec<&str> = own.context.iter().map(String::as_str).collect();
            let words = if list.is_empty() {
                None
            } else {
                Some(Words::new(&own.name, &[&list])?)
            };
            recognisers.push(Compiled {
                rule,
                pattern,
                words,
                score: own.score,
            });
        }
        let values = self.allow.iter().map(|v| v.to_lowercase()).collect();
        Ok((Custom { recognisers }, Allowed { values }))
    }
}

impl Detector for Custom {
    fn id(&self) -> &'static str {
        "detect/custom"
    }

    fn labels(&self) -> &[Label] {
        &[Label::Custom]
    }

    fn bound(&self) -> Bound {
        Bound::Bytes(
            self.recognisers
                .iter()
                .map(|r| r.pattern.bytes_max)
                .max()
                .unwrap_or(0),
        )
    }

    fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        let first = hits.len();
        for own in &self.recognisers {
            let mut window = 0..text.len();
            while let Some((found, _)) = own.pattern.find(text, window.clone(), false) {
                window.start = found.end.max(found.start + 1);
                let vouched = own
                    .words
                    .as_ref()
                    .is_none_or(|w| w.lists_in(before(text, found.start, CONTEXT_BYTES)) != 0);
                if !found.is_empty() && vouched {
                    hits.push(Hit {
                        rule: own.rule.clone(),
                        label: Label::Custom,
                        span: found,
                        view: View::Original,
                        score: own.score,
                    });
                }
            }
        }
        if let Some(own) = hits.get_mut(first..) {
            own.sort_by_key(|hit| hit.span.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<(Custom, Allowed), DetectError> {
        CustomConfig::parse("own.toml", text)?.compile()
    }

    #[test]
    fn an_own_recogniser_finds_beside_its_word_and_an_allowed_value_is_held() {
        let (custom, allowed) = config(
            "allow = [\"EMP-000000\"]\n[[recogniser]]\nname = \"employee\"\npattern = 'EMP-[0-9]{6}'\ncontext = [\"staff\"]\n",
        )
        .expect("valid");
        let mut hits = Vec::new();
        custom.scan("staff EMP-123456", &mut hits);
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].span, 6..16);
        hits.clear();
        custom.scan("EMP-123456", &mut hits);
        assert_eq!(hits, []);
        assert!(allowed.holds("emp-000000") && !allowed.holds("EMP-123456"));
    }

    #[test]
    fn what_is_not_understood_or_unbounded_refuses_the_file() {
        for bad in [
            "[[recogniser]]\nname = \"a\"\npattern = 'a+'\n",
            "[[recogniser]]\nname = \"a\"\npattern = '('\n",
            "[[recogniser]]\nname = \"A b\"\npattern = 'a'\n",
            "[[recogniser]]\nname = \"a\"\npattern = 'a'\nscore = 1001\n",
            "colour = 1\n",
        ] {
            assert!(config(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn recognisers_are_taken_up_to_the_limit() {
        let many = |n: usize| "[[recogniser]]\nname = \"a\"\npattern = 'ab'\n".repeat(n);
        assert!(config(&many(RECOGNISERS_MAX)).is_ok());
        assert!(config(&many(RECOGNISERS_MAX + 1)).is_err());
    }
}
