//! What looks at text, as the pipeline sees it. The matching itself is in `detect`.

use crate::config::GuardConfig;
use ringfence_core::detection::{Channel, GuardAction, Hit, Label, Scan, Step, Stream};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_detect::shield::Shield;
use ringfence_detect::stream::{Filter, FilterPlan};

/// Looks at text. `NotScanned` from any of it denies.
pub trait Guard: Send + Sync {
    /// Prompt attacks in a whole text.
    fn scan(&self, channel: Channel, text: &str) -> Scan;
    /// A fresh filter of personal data for a text on its way in.
    fn inbound(&self) -> Box<dyn Stream>;
    /// A fresh filter for one channel of one choice on its way out.
    fn outbound(&self, channel: Channel) -> Box<dyn Stream>;
}

/// The personal data that is looked for in traffic. Addresses of machines, days and web addresses are
/// not among them: answers about computers are full of them, and they name nobody by themselves.
pub const PERSONAL: [Label; 9] = [
    Label::PaymentCard,
    Label::Iban,
    Label::Email,
    Label::NationalId,
    Label::TaxId,
    Label::Passport,
    Label::DriverLicence,
    Label::Medical,
    Label::Phone,
];

/// The detectors of this house.
pub struct DetectGuard {
    shield: Shield,
    inbound: FilterPlan,
    outbound: FilterPlan,
}

impl DetectGuard {
    /// The detectors with the actions of the configuration.
    pub fn new(config: &GuardConfig) -> Result<Self, Explained> {
        config.validate()?;
        let plan = |action| {
            let actions = PERSONAL.map(|label| (label, action));
            FilterPlan::for_labels(&actions).map_err(|e| refused(&e.to_string()))
        };
        Ok(Self {
            shield: Shield::new().map_err(|e| refused(&e.to_string()))?,
            inbound: plan(config.pii_inbound)?,
            outbound: plan(config.pii_outbound)?,
        })
    }
}

impl Guard for DetectGuard {
    fn scan(&self, channel: Channel, text: &str) -> Scan {
        self.shield.scan(channel, text)
    }

    fn inbound(&self) -> Box<dyn Stream> {
        Box::new(Filter::new(self.inbound.clone()))
    }

    fn outbound(&self, _channel: Channel) -> Box<dyn Stream> {
        Box::new(Filter::new(self.outbound.clone()))
    }
}

fn refused(why: &str) -> Explained {
    Explained::new(
        ErrorCode("run/guard-config"),
        "the guard cannot be set up as configured",
        "look at [guard]: ringfence config explain",
    )
    .because(why)
}

impl GuardConfig {
    /// Refuses an action that a field cannot carry out. A wish that is not carried out would be a
    /// control that fails open.
    pub fn validate(&self) -> Result<(), Explained> {
        use GuardAction::{Block, Pass, Redact, Tag};
        let check = |field: &str, action: GuardAction, allowed: &[GuardAction]| {
            if allowed.contains(&action) {
                return Ok(());
            }
            Err(refused(&format!("guard.{field} cannot be {action:?}")))
        };
        check("shield", self.shield, &[Block, Tag, Pass])?;
        check("shield_tools", self.shield_tools, &[Block, Tag, Pass])?;
        check("pii_inbound", self.pii_inbound, &[Redact, Block, Tag, Pass])?;
        check("pii_outbound", self.pii_outbound, &[Redact, Block, Pass])?;
        check("unscanned", self.unscanned, &[Block, Pass])
    }
}

/// Puts a whole text through a filter.
pub fn filter_whole(mut stream: Box<dyn Stream>, text: &str) -> (String, Vec<Hit>, Step) {
    let mut out = String::with_capacity(text.len());
    let mut step = stream.push(text, &mut out);
    if step == Step::Continue {
        step = stream.finish(&mut out);
    }
    (out, stream.hits().to_vec(), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_that_cannot_be_carried_out_is_refused() {
        assert_eq!(GuardConfig::default().validate(), Ok(()));
        assert_eq!(GuardConfig::off().validate(), Ok(()));
        let ask = GuardConfig {
            shield: GuardAction::Ask,
            ..GuardConfig::default()
        };
        assert!(ask.validate().is_err());
        let redact = GuardConfig {
            unscanned: GuardAction::Redact,
            ..GuardConfig::default()
        };
        assert!(redact.validate().is_err());
    }
}
