//! Why RESPOND refuses.

use crate::lifecycle::State;
use ringfence_core::error::{ErrorCode, Explain};
use ringfence_core::time::Timestamp;
use ringfence_store::StoreError;

/// Why a case, a waiver or an alert is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lifecycle has no such step.
    #[error("case {case} is {from} and cannot become {to}")]
    Transition {
        /// Which case.
        case: String,
        /// Its state.
        from: State,
        /// The state asked for.
        to: State,
    },
    /// There is no such case in the project.
    #[error("there is no case {0:?} in this project")]
    NoCase(String),
    /// A step lacks what makes it accountable.
    #[error("{what} needs {field}")]
    Missing {
        /// What lacks it.
        what: &'static str,
        /// What it lacks.
        field: &'static str,
    },
    /// A text is too long.
    #[error("{field} has at most {limit} characters")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// How long it may be.
        limit: usize,
    },
    /// A waiver would end before it begins.
    #[error("a waiver must end after now, {until} does not")]
    Past {
        /// The end asked for.
        until: Timestamp,
    },
    /// A waiver would last too long.
    #[error("a waiver of {what} lasts at most {days} days")]
    TooFar {
        /// Of what.
        what: &'static str,
        /// How long it may last.
        days: i64,
    },
    /// The configuration is wrong.
    #[error("{key}: {reason}")]
    Config {
        /// Which key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A stored document is not what was written.
    #[error("a stored {what} cannot be read")]
    Stored {
        /// What.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// A task ended before its answer.
    #[error("an alert task was ended early")]
    Cancelled,
}

impl Explain for RespondError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Store(error) => return error.code(),
            Self::Transition { .. } => "respond/transition",
            Self::NoCase(_) => "respond/no-case",
            Self::Missing { .. } => "respond/missing-field",
            Self::TooLong { .. } => "respond/too-long",
            Self::Past { .. } => "respond/waiver-past",
            Self::TooFar { .. } => "respond/waiver-too-far",
            Self::Config { .. } => "respond/config",
            Self::Stored { .. } => "respond/stored",
            Self::Cancelled => "respond/cancelled",
        })
    }

    fn place(&self) -> Option<String> {
        if let Self::Store(error) = self {
            error.place()
        } else {
            None
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.why(),
            Self::Stored { cause, .. } => Some(cause.clone()),
            Self::TooFar { .. } => {
                Some("a waiver that outlives its reason is a hole nobody watches".to_owned())
            }
            _ => None,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.help(),
            Self::Transition { from, .. } => {
                let next: Vec<_> = from.next().iter().map(|s| s.as_str()).collect();
                if next.is_empty() {
                    "it is over; if it comes back, a new case is opened by itself".to_owned()
                } else {
                    format!("from here it can become {}", next.join(", "))
                }
            }
            Self::NoCase(_) => "see what there is with: ringfence case list".to_owned(),
            Self::Missing { field, .. } => format!("say {field}"),
            Self::TooLong { .. } => "shorten it; put the rest where the link points".to_owned(),
            Self::Past { .. } => "give an end in the future, for example --until 14d".to_owned(),
            Self::TooFar { days, .. } => format!("use --until {days}d or less, and renew it"),
            Self::Config { key, .. } => format!("change {key} in ringfence.toml"),
            Self::Stored { .. } | Self::Cancelled => {
                "this is a defect of ringfence: report it".to_owned()
            }
        })
    }
}
