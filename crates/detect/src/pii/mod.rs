//! Personal data with a structure that can be checked: cards, bank accounts, addresses, the numbers
//! of persons in many countries, days.
//!
//! Names and places are in [`crate::names`]: they need a model, these need arithmetic. Every recogniser is a
//! [`Lexer`], so the same decision is taken in a whole text and in a stream. Plain numbers, dates,
//! identifiers and versions must not match: a checksum, a separator form or a word nearby decides.

mod card;
mod checks;
mod context;
mod crypto;
pub mod custom;
mod dates;
mod dialling;
mod digest;
mod digits;
mod email;
mod iban;
mod ids;
mod national;
mod network;
mod phone;
mod run;
mod table;
pub(crate) mod url;

pub use card::PaymentCards;
pub use crypto::CryptoAddresses;
pub use dates::Dates;
pub use email::Emails;
pub use iban::Ibans;
pub use ids::PersonNumbers;
pub use network::NetworkAddresses;
pub use phone::Phones;
pub use url::Urls;

use crate::error::DetectError;
use ringfence_core::detection::Detector;

#[cfg(doc)]
use crate::lexer::Lexer;

/// All recognisers, in order of precedence.
pub fn detectors() -> Result<Vec<Box<dyn Detector>>, DetectError> {
    Ok(vec![
        Box::new(PaymentCards),
        Box::new(Ibans),
        Box::new(Emails),
        Box::new(CryptoAddresses),
        Box::new(NetworkAddresses::new()?),
        Box::new(PersonNumbers::new()?),
        Box::new(Phones::new()?),
        Box::new(Dates::new()?),
        Box::new(Urls),
    ])
}

/// Implements the batch form of a lexer with a bounded match.
macro_rules! detector {
    ($type:ty, $id:literal, $label:expr, $bound:expr) => {
        impl ringfence_core::detection::Detector for $type {
            fn id(&self) -> &'static str {
                $id
            }
            fn labels(&self) -> &[ringfence_core::detection::Label] {
                &[$label]
            }
            fn bound(&self) -> ringfence_core::detection::Bound {
                ringfence_core::detection::Bound::Bytes($bound)
            }
            fn scan(&self, text: &str, hits: &mut Vec<ringfence_core::detection::Hit>) {
                crate::lexer::scan_all(self, text, hits);
            }
        }
    };
}
pub(crate) use detector;

#[cfg(test)]
mod ids_tests;
#[cfg(test)]
mod tests;
