//! What can be wrong with the configuration of WATCH.

use ringfence_core::error::{ErrorCode, Explain};

/// Why WATCH cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// A setting is outside its range.
    #[error("[watch.breaker] {key} = {value} is out of range")]
    Setting {
        /// Which setting.
        key: &'static str,
        /// What was given.
        value: u64,
        /// What is accepted.
        range: &'static str,
    },
    /// No randomness to tell this start from others.
    #[error("no random boot id")]
    Boot {
        /// Why.
        cause: String,
    },
}

impl Explain for WatchError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Setting { .. } => "watch/setting-range",
            Self::Boot { .. } => "watch/boot-id",
        })
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Setting { range, .. } => Some(format!("it must be {range}")),
            Self::Boot { cause } => Some(cause.clone()),
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Setting { key, .. } => format!("change {key} or leave it out for the default"),
            Self::Boot { .. } => "check that the kernel's random source works".to_owned(),
        })
    }
}
