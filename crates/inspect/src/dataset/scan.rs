//! What is looked for in one value, and what stands in its place.

use super::report::Counts;
use ringfence_core::detection::{Channel, Detector, Hit, Label, Scan};
use ringfence_detect::DetectError;
use ringfence_detect::pii::custom::{Allowed, CustomConfig};
use ringfence_detect::redact::{Operator, everything, replace_with, resolve};
use ringfence_detect::secrets::SecretDetector;
use ringfence_detect::shield::Shield;
use std::sync::Arc;

/// What to do.
#[derive(Clone, Debug)]
pub struct PlanConfig {
    /// How hits are replaced.
    pub operator: Operator,
    /// Labels that are looked for; empty means all but dates and web addresses.
    pub labels: Vec<Label>,
    /// Also report instructions planted for a model. They are counted, not cut.
    pub instructions: bool,
    /// The operator's own recognisers and allow-list.
    pub custom: CustomConfig,
    /// Columns or top-level fields whose combinations are counted.
    pub identifying: Vec<String>,
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self {
            operator: Operator::Redact,
            labels: Vec::new(),
            instructions: true,
            custom: CustomConfig::default(),
            identifying: Vec::new(),
        }
    }
}

/// A keyed or plain digest, shared by all threads.
pub type SharedDigest = Arc<dyn Fn(&[u8]) -> [u8; 32] + Send + Sync>;

/// Everything that is needed to look at a value; shared by all threads.
pub struct Plan {
    detectors: Vec<Box<dyn Detector>>,
    shield: Option<Shield>,
    allowed: Allowed,
    operator: Operator,
    labels: Vec<Label>,
    /// There are recognisers of the operator's, which may match letters alone.
    own: bool,
    digest: SharedDigest,
    pub(super) identifying: Vec<String>,
}

// LIMIT: octets of a value that is read together with the name of its field.
const NAMED_VALUE_BYTES_MAX: usize = 128;
// LIMIT: octets of a name of letters that is not looked at; keys of providers are longer.
const PLAIN_NAME_BYTES_MAX: usize = 20;

impl Plan {
    /// Builds all detectors. `digest` serves the operators that need one.
    pub fn new(config: &PlanConfig, digest: SharedDigest) -> Result<Self, DetectError> {
        let (custom, allowed) = config.custom.compile()?;
        let mut detectors = everything()?;
        detectors.push(Box::new(SecretDetector::new()?));
        detectors.push(Box::new(custom));
        let wanted = |label: &Label| {
            if config.labels.is_empty() {
                !matches!(label, Label::Date | Label::Url)
            } else {
                config.labels.contains(label)
            }
        };
        detectors.retain(|detector| detector.labels().iter().any(wanted));
        let mut labels: Vec<Label> = detectors
            .iter()
            .flat_map(|detector| detector.labels().to_vec())
            .filter(wanted)
            .collect();
        labels.sort_unstable();
        labels.dedup();
        Ok(Self {
            detectors,
            shield: config.instructions.then(Shield::new).transpose()?,
            allowed,
            operator: config.operator,
            labels,
            own: !config.custom.recogniser.is_empty(),
            digest,
            identifying: config.identifying.clone(),
        })
    }

    /// The hits of one text that count.
    fn hits(&self, text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        for detector in &self.detectors {
            detector.scan(text, &mut hits);
        }
        hits.retain(|hit| {
            self.labels.contains(&hit.label)
                && !self
                    .allowed
                    .holds(text.get(hit.span.clone()).unwrap_or_default())
        });
        hits.sort_by_key(|hit| hit.span.start);
        hits
    }

    /// The name of a field without what was found in it. A name has no sentence around it, so the
    /// tagger of names is not asked.
    pub(super) fn name(&self, name: &str, counts: &mut Counts) -> Option<String> {
        // "text" and "user_id" are most of the names there are, and hold no number.
        let plain = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        if name.len() <= PLAIN_NAME_BYTES_MAX && name.bytes().all(plain) && !self.own {
            return None;
        }
        let mut hits = self.hits(name);
        hits.retain(|hit| {
            !matches!(
                hit.label,
                Label::Person | Label::Place | Label::Organisation | Label::Address
            )
        });
        self.replaced("(name)", name, hits, counts)
    }

    /// The value without what was found, or nothing when nothing was. A short value is read
    /// behind the name of its field, which says what a bare number is.
    pub(super) fn value(&self, field: &str, value: &str, counts: &mut Counts) -> Option<String> {
        if let Some(shield) = &self.shield
            && let Scan::Scanned(planted) = shield.scan(Channel::Document, value)
        {
            for hit in planted {
                counts.planted(field, hit.label);
            }
        }
        let named = !field.is_empty() && value.len() <= NAMED_VALUE_BYTES_MAX;
        let hits = if named {
            let lead = field
                .rsplit('.')
                .next()
                .unwrap_or(field)
                .replace(['_', '-'], " ");
            let text = format!("{lead}: {value}");
            let offset = lead.len() + 2;
            let mut hits = self.hits(&text);
            hits.retain(|hit| hit.span.start >= offset);
            for hit in &mut hits {
                hit.span = hit.span.start - offset..hit.span.end - offset;
            }
            hits
        } else {
            self.hits(value)
        };
        self.replaced(field, value, hits, counts)
    }

    fn replaced(
        &self,
        field: &str,
        value: &str,
        hits: Vec<Hit>,
        counts: &mut Counts,
    ) -> Option<String> {
        if hits.is_empty() {
            return None;
        }
        let changed = replace_with(value, &hits, |hit, found| {
            self.operator.apply(hit.label, found, &*self.digest)
        });
        for hit in resolve(hits) {
            counts.hit(field, hit.label, value.get(hit.span).unwrap_or_default());
        }
        Some(changed)
    }
}
