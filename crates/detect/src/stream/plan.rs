//! Which detectors a stream uses and what each hit leads to. Refuses what a stream cannot do.

use crate::error::DetectError;
use crate::lexer::Lexer;
use crate::pii;
use crate::secrets::SecretDetector;
use ringfence_core::detection::{Bound, GuardAction, Label};
use std::sync::Arc;

/// A detector and its action.
#[derive(Clone)]
pub struct PlannedDetector {
    /// What finds.
    pub lexer: Arc<dyn Lexer>,
    /// What then happens.
    pub action: GuardAction,
}

/// What a [`super::Filter`] does; cheap to clone, one for many streams.
#[derive(Clone)]
pub struct FilterPlan {
    detectors: Arc<[PlannedDetector]>,
    bound: usize,
    left_context: usize,
}

impl FilterPlan {
    /// A plan from detectors. Refused: a detector without a longest match, and the action `Ask`,
    /// because a stream that waits for a person is a stream that blocks.
    pub fn new(detectors: Vec<PlannedDetector>) -> Result<Self, DetectError> {
        let mut bound = 0;
        let mut left_context = 0;
        for planned in &detectors {
            if planned.action == GuardAction::Ask {
                return Err(DetectError::StreamAction {
                    action: planned.action,
                });
            }
            match planned.lexer.bound() {
                Bound::Bytes(bytes) => bound = bound.max(bytes),
                Bound::Buffer => {
                    return Err(DetectError::Unbounded {
                        detector: planned.lexer.id().to_owned(),
                    });
                }
            }
            left_context = left_context.max(planned.lexer.left_context());
        }
        // Four bytes: the widest character may straddle the cut.
        Ok(Self {
            detectors: detectors.into(),
            bound,
            left_context: left_context + 4,
        })
    }

    /// The built-in detectors for these labels.
    pub fn for_labels(actions: &[(Label, GuardAction)]) -> Result<Self, DetectError> {
        let mut detectors: Vec<PlannedDetector> = Vec::new();
        for &(label, action) in actions {
            if detectors
                .iter()
                .any(|planned| planned.lexer.label() == label)
            {
                return Err(DetectError::TwoActions { label });
            }
            detectors.push(PlannedDetector {
                lexer: built_in(label)?,
                action,
            });
        }
        Self::new(detectors)
    }

    /// The detectors, in order of precedence.
    pub fn detectors(&self) -> &[PlannedDetector] {
        &self.detectors
    }

    /// The longest match of any detector.
    pub fn bound_bytes(&self) -> usize {
        self.bound
    }

    /// Sent text that a stream must remember.
    pub fn left_context_bytes(&self) -> usize {
        self.left_context
    }
}

fn built_in(label: Label) -> Result<Arc<dyn Lexer>, DetectError> {
    Ok(match label {
        Label::PaymentCard => Arc::new(pii::PaymentCards),
        Label::Iban => Arc::new(pii::Ibans),
        Label::Email => Arc::new(pii::Emails),
        Label::Phone => Arc::new(pii::Phones::new()?),
        Label::Secret => Arc::new(SecretDetector::new()?),
        Label::Injection
        | Label::Jailbreak
        | Label::Extraction
        | Label::Leak
        | Label::Harmful
        | Label::Smuggling => {
            return Err(DetectError::Unbounded {
                detector: format!("{label:?}"),
            });
        }
    })
}
