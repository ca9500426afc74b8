//! The port for a second opinion: an encoder, or a model that the operator already hosts. The shield asks
//! only where it is unsure; nothing is behind the port by default.

use super::verdict::{Judgement, Millionths};
use ringfence_core::detection::Channel;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Somebody slower who knows more. Called synchronously; who waits for a network does so behind it,
/// with a time limit.
pub trait SecondOpinion: Send + Sync {
    /// Stands in the verdict.
    fn name(&self) -> &str;
    /// A score on the shield's own scale, or nothing: no answer, too late, an error.
    fn score(&self, channel: Channel, text: &str, first: &Judgement) -> Option<Millionths>;
}

/// A second opinion and when it is asked.
#[derive(Clone)]
pub struct Second {
    /// Whom to ask.
    pub opinion: Arc<dyn SecondOpinion>,
    /// Between which scores the shield is unsure.
    pub band: RangeInclusive<Millionths>,
}

impl fmt::Debug for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Second({}, {:?})", self.opinion.name(), self.band)
    }
}
