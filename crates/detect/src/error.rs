//! Why a rule file or a filter plan is refused. Text that is scanned never causes an error.

use ringfence_core::detection::{GuardAction, Label};
use ringfence_core::error::{ErrorCode, Explain};

/// Errors of this crate: all of them at construction, none while scanning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// A rule file is not what it should be.
    #[error("the rule file {file} cannot be read: {reason}")]
    RuleFile {
        /// Name of the file inside the binary.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// The weights inside the binary are not what they should be.
    #[error("the bundle of weights is refused: {reason}")]
    Bundle {
        /// What is wrong with it.
        reason: String,
    },
    /// One rule is refused.
    #[error("rule {rule} is refused: {reason}")]
    Rule {
        /// Which rule.
        rule: String,
        /// Why.
        reason: String,
    },
    /// A detector that needs the whole text was put on a stream.
    #[error("{detector} needs the whole text and cannot filter a stream")]
    Unbounded {
        /// Which detector or label.
        detector: String,
    },
    /// An action that a running stream cannot carry out.
    #[error("the action {action:?} cannot be carried out on a running stream")]
    StreamAction {
        /// Which action.
        action: GuardAction,
    },
    /// Thresholds say nothing about the scores of other weights.
    #[error("the thresholds were made with {made_with}, and {judged_by} judges")]
    OtherBundle {
        /// The weights that the thresholds belong to.
        made_with: String,
        /// The weights of this binary.
        judged_by: String,
    },
    /// Two actions for one label.
    #[error("{label:?} is given two actions")]
    TwoActions {
        /// Which label.
        label: Label,
    },
}

impl Explain for DetectError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::RuleFile { .. } => ErrorCode("detect/rule-file"),
            Self::Bundle { .. } => ErrorCode("detect/bundle"),
            Self::Rule { .. } => ErrorCode("detect/rule-refused"),
            Self::Unbounded { .. } => ErrorCode("detect/unbounded-stream"),
            Self::StreamAction { .. } => ErrorCode("detect/stream-action"),
            Self::OtherBundle { .. } => ErrorCode("detect/other-bundle"),
            Self::TwoActions { .. } => ErrorCode("detect/two-actions"),
        }
    }

    fn help(&self) -> Option<String> {
        Some(
            match self {
                Self::RuleFile { .. } | Self::Rule { .. } => {
                    "mend the rule, or remove it; a rule that is not understood is never widened"
                }
                Self::Bundle { .. } => "make it again: cargo xtask train guard",
                Self::Unbounded { .. } => {
                    "scan the whole text for it before it is sent, or leave it out of the stream plan"
                }
                Self::StreamAction { .. } => "use redact, block, tag or pass for streams",
                Self::OtherBundle { .. } => "calibrate again: ringfence guard calibrate",
                Self::TwoActions { .. } => "name each label once",
            }
            .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_error_has_its_own_code_and_a_next_step() {
        let all = [
            DetectError::RuleFile {
                file: "a".into(),
                reason: "b".into(),
            },
            DetectError::Bundle { reason: "a".into() },
            DetectError::Rule {
                rule: "a".into(),
                reason: "b".into(),
            },
            DetectError::Unbounded {
                detector: "a".into(),
            },
            DetectError::StreamAction {
                action: GuardAction::Ask,
            },
            DetectError::OtherBundle {
                made_with: "a".into(),
                judged_by: "b".into(),
            },
            DetectError::TwoActions {
                label: Label::Email,
            },
        ];
        let codes: BTreeSet<_> = all.iter().map(Explain::code).collect();
        assert_eq!(codes.len(), all.len());
        assert!(all.iter().all(|e| e.help().is_some()));
    }
}
