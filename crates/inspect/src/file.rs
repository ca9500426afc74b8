//! What an inspector gets and what it gives back.

use crate::rule::Observation;
use ringfence_core::finding::Finding;
use ringfence_core::verdict::Skip;

/// LIMIT: observations one inspector makes in one file; more end its look with a counted skip.
pub const OBSERVATIONS_MAX: usize = 1_000;

/// One file, whole, as the walk read it.
#[derive(Clone, Copy, Debug)]
pub struct FileView<'a> {
    /// Path relative to the project, with `/`; members of archives follow after `!`.
    pub path: &'a str,
    /// Its octets.
    pub bytes: &'a [u8],
}

impl<'a> FileView<'a> {
    /// The last component of the path.
    pub fn name(&self) -> &'a str {
        self.path.rsplit(['/', '!']).next().unwrap_or(self.path)
    }

    /// The text after the last dot of the name, in lower case, or nothing.
    pub fn extension(&self) -> String {
        match self.name().rsplit_once('.') {
            Some((_, extension)) => extension.to_ascii_lowercase(),
            None => String::new(),
        }
    }

    /// The octets as UTF-8 text, if they are that and hold no NUL.
    pub fn text(&self) -> Option<&'a str> {
        if self.bytes.contains(&0) {
            return None;
        }
        std::str::from_utf8(self.bytes).ok()
    }
}

/// A text member of an archive, to be looked at by the other inspectors too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `archive!member`.
    pub path: String,
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// What one inspector says about one file.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What it saw.
    pub observations: Vec<Observation>,
    /// Octets of the file that it understood.
    pub bytes_understood: u64,
    /// What it could not look at.
    pub skips: Vec<Skip>,
    /// Text found inside the file.
    pub members: Vec<Member>,
    /// Data that nothing runs, found inside the file: its kind and octets ([`crate::inert`]).
    pub inert: Vec<(&'static str, u64)>,
    /// Archive members and streams looked at, beside the file itself.
    pub items: u64,
}

impl Inspection {
    /// Everything understood, nothing seen.
    pub fn understood(bytes: usize) -> Self {
        Self {
            bytes_understood: bytes as u64,
            ..Self::default()
        }
    }

    /// Adds something that could not be looked at.
    pub fn skip(&mut self, path: &str, reason: &str, bytes: u64) {
        let reason = reason.to_owned();
        self.skips.push(Skip {
            path: path.to_owned(),
            reason,
            bytes,
        });
    }

    /// Whether an observation was refused: further looking would change nothing.
    pub fn full(&self) -> bool {
        self.observations.len() >= OBSERVATIONS_MAX
            && self.skips.iter().any(|s| s.reason == "too-many-findings")
    }

    /// Adds an observation, or a skip in place of the first one over the limit.
    pub fn observe(&mut self, observation: Observation) {
        match self.observations.len() {
            n if n < OBSERVATIONS_MAX => self.observations.push(observation),
            _ if self.skips.iter().any(|s| s.reason == "too-many-findings") => {}
            _ => self.skip(observation.subject.path(), "too-many-findings", 0),
        }
    }
}

/// What all inspectors together say about one file.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// Findings with fingerprints.
    pub findings: Vec<Finding>,
    /// Octets that at least one inspector understood.
    pub bytes_understood: u64,
    /// What nobody could look at.
    pub skips: Vec<Skip>,
    /// Data that nothing runs, found inside the file: its kind and octets ([`crate::inert`]).
    pub inert: Vec<(&'static str, u64)>,
    /// Archive members and streams looked at.
    pub items: u64,
}

/// Looks at one file for one kind of weakness.
pub trait FileInspector: Send + Sync {
    /// Its name in lists, `kebab-case`.
    fn id(&self) -> &'static str;
    /// One sentence: what it finds.
    fn description(&self) -> &'static str;
    /// Whether this file is its business.
    fn wants(&self, file: &FileView<'_>) -> bool;
    /// Looks. Called only when [`FileInspector::wants`] said so.
    fn inspect(&self, file: &FileView<'_>) -> Inspection;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::RULE_ROOT;
    use ringfence_core::finding::Subject;

    fn at(n: usize) -> Observation {
        let subject = Subject::Source {
            path: "f".into(),
            line: None,
            normalised: n.to_string(),
            symbol: None,
            ordinal: 0,
        };
        Observation::new(&RULE_ROOT, subject, "")
    }

    #[test]
    fn names_and_extensions_are_read_after_slash_and_bang() {
        let file = FileView {
            path: "a.d/b.zip!c/Data.PKL",
            bytes: b"",
        };
        assert_eq!(file.name(), "Data.PKL");
        assert_eq!(file.extension(), "pkl");
        assert_eq!(
            FileView {
                path: "Makefile",
                bytes: b""
            }
            .extension(),
            ""
        );
    }

    #[test]
    fn one_observation_over_the_limit_becomes_one_counted_skip() {
        let mut inspection = Inspection::default();
        (0..OBSERVATIONS_MAX).for_each(|n| inspection.observe(at(n)));
        assert!(inspection.skips.is_empty());
        inspection.observe(at(OBSERVATIONS_MAX));
        inspection.observe(at(OBSERVATIONS_MAX + 1));
        assert_eq!(inspection.observations.len(), OBSERVATIONS_MAX);
        assert_eq!(inspection.skips.len(), 1);
    }
}
