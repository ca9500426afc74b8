//! What every user-visible error says: a code, what, where, why and one next step.

use std::fmt;

/// `stage/kebab-name`: stable, unique, and the name of its page in `docs/errors.md`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub &'static str);

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Implemented by each crate's error enum; the binary renders it as
/// `error[CODE]: WHAT` / `  at WHERE` / `  why: WHY` / `help: HELP`.
///
/// WHAT is the error's own `Display`. Texts never contain a secret, a prompt or a key.
pub trait Explain: std::error::Error {
    /// The stable code.
    fn code(&self) -> ErrorCode;
    /// File, line, key or request the error is about.
    fn place(&self) -> Option<String> {
        None
    }
    /// The cause, when the first line does not already say it.
    fn why(&self) -> Option<String> {
        self.source().map(ToString::to_string)
    }
    /// One next step that the reader can take.
    fn help(&self) -> Option<String>;
}

/// An error already put into words, for crossing a port or a process boundary.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Explained {
    /// The code as text.
    pub code: String,
    /// What went wrong.
    pub what: String,
    /// Where.
    pub place: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// The next step.
    pub help: Option<String>,
}

impl Explained {
    /// Puts an error into words.
    pub fn of(error: &dyn Explain) -> Self {
        Self {
            code: error.code().0.to_owned(),
            what: error.to_string(),
            place: error.place(),
            why: error.why(),
            help: error.help(),
        }
    }

    /// An error in words from its parts.
    pub fn new(code: ErrorCode, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code: code.0.to_owned(),
            what: what.into(),
            place: None,
            why: None,
            help: Some(help.into()),
        }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.what)?;
        if let Some(place) = &self.place {
            write!(f, "\n  at {place}")?;
        }
        if let Some(why) = &self.why {
            write!(f, "\n  why: {why}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Explained {}
