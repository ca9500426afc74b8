//! Which detectors a stream uses and what each hit leads to. Refuses what a stream cannot do.

use crate::error::DetectError;
use crate::lexer::Lexer;
use crate::pii;
use crate::secrets::SecretDetector;
use ringfence_core::detection::{Bound, GuardAction, Label};
use std::sync::Arc;

/// A detector and what its hits lead to, label by label.
#[derive(Clone)]
pub struct PlannedDetector {
    /// What finds.
    pub lexer: Arc<dyn Lexer>,
    /// What then happens. A label that is not named is not acted upon and not reported.
    pub actions: Vec<(Label, GuardAction)>,
}

impl PlannedDetector {
    /// One action for everything the detector finds.
    pub fn all(lexer: Arc<dyn Lexer>, action: GuardAction) -> Self {
        let actions = lexer
            .labels()
            .iter()
            .map(|label| (*label, action))
            .collect();
        Self { lexer, actions }
    }

    /// What a hit of this label leads to.
    pub fn action(&self, label: Label) -> Option<GuardAction> {
        self.actions
            .iter()
            .find(|(l, _)| *l == label)
            .map(|(_, action)| *action)
    }
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
            if let Some((_, action)) = planned
                .actions
                .iter()
                .find(|(_, action)| *action == GuardAction::Ask)
            {
                return Err(DetectError::StreamAction { action: *action });
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

    /// The built-in detectors for these labels. Labels of one detector share it.
    pub fn for_labels(actions: &[(Label, GuardAction)]) -> Result<Self, DetectError> {
        let mut detectors: Vec<PlannedDetector> = Vec::new();
        for (index, &(label, action)) in actions.iter().enumerate() {
            if actions.iter().take(index).any(|(known, _)| *known == label) {
                return Err(DetectError::TwoActions { label });
            }
            match detectors
                .iter_mut()
                .find(|planned| planned.lexer.labels().contains(&label))
            {
                Some(planned) => planned.actions.push((label, action)),
                None => detectors.push(PlannedDetector {
                    lexer: built_in(label)?,
                    actions: vec![(label, action)],
                }),
            }
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
        Label::NationalId
        | Label::TaxId
        | Label::Passport
        | Label::DriverLicence
        | Label::Medical => Arc::new(pii::PersonNumbers::new()?),
        Label::IpAddress | Label::MacAddress => Arc::new(pii::NetworkAddresses::new()?),
        Label::Url | Label::UrlCredential => Arc::new(pii::Urls),
        Label::CryptoAddress => Arc::new(pii::CryptoAddresses),
        Label::Date | Label::BirthDate | Label::Coordinates => Arc::new(pii::Dates::new()?),
        _ => {
            return Err(DetectError::Unbounded {
                detector: format!("{label:?}"),
            });
        }
    })
}
