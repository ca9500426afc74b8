//! The contract between who frames text (the gateway, a scanner) and who matches it (detectors).
//!
//! A detector is pure: text in, hits out. A [`Stream`] is the same over text that arrives in
//! pieces, and keeps four laws for every way of cutting the text:
//! 1. the output does not depend on the cuts;
//! 2. the concatenated output equals the filter of the whole text;
//! 3. no more bytes are held back than the longest match allows;
//! 4. where nothing matches, the output is the input, byte for byte.

use crate::ids::RuleId;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Who wrote a text, which matters more than what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The operator's system prompt.
    System,
    /// The person or program asking.
    User,
    /// Earlier answers of the model.
    Assistant,
    /// What a tool returned.
    ToolResult,
    /// The description of a tool.
    ToolSchema,
    /// A document handed to the model.
    Document,
    /// The model's answer.
    Content,
    /// The model's thinking, when the engine shows it.
    Reasoning,
    /// A refusal.
    Refusal,
    /// Arguments of a tool call.
    ToolArguments,
}

/// What kind of thing a hit is. Kept apart: mixing them makes false recall and over-defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Instructions that try to override the operator's.
    Injection,
    /// An attempt to unlock forbidden behaviour.
    Jailbreak,
    /// An attempt to get data, secrets or what the model remembers out.
    Extraction,
    /// An attempt to get the system prompt out.
    Leak,
    /// Harmful material, asked for or given; by itself no attack on the assistant.
    Harmful,
    /// Characters that hide text.
    Smuggling,
    /// A key or password.
    Secret,
    /// A payment card number.
    PaymentCard,
    /// An international bank account number.
    Iban,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A number a state gives to a person.
    NationalId,
    /// A number a tax office gives to a person or a company.
    TaxId,
    /// A passport number.
    Passport,
    /// A driver's licence number.
    DriverLicence,
    /// A number of a patient, an insured person or a prescriber.
    Medical,
    /// An address of a machine on a network, IPv4 or IPv6.
    IpAddress,
    /// A hardware address.
    MacAddress,
    /// An address of the web.
    Url,
    /// User and password inside an address.
    UrlCredential,
    /// An address of a crypto currency.
    CryptoAddress,
    /// A day, with or without a time.
    Date,
    /// A day beside words that say somebody was born on it.
    BirthDate,
    /// Latitude and longitude.
    Coordinates,
    /// The name of a person.
    Person,
    /// The name of a place.
    Place,
    /// The name of an organisation.
    Organisation,
    /// A postal address or a part of one.
    Address,
    /// What the operator's own recognisers find.
    Custom,
    /// A mark that was planted in a system prompt and must never come out.
    Canary,
    /// Words of the system prompt in an answer.
    PromptLeak,
    /// Words of a registered text (a contract, a training set) in an answer.
    RegisteredText,
    /// A term the operator forbids.
    BlockedTerm,
    /// An address that carries data away when it is fetched or drawn.
    ExfiltrationUrl,
    /// Markup that runs when a browser shows it.
    ActiveContent,
}

impl Label {
    /// The short name, as markers and reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Injection => "injection",
            Self::Jailbreak => "jailbreak",
            Self::Extraction => "extraction",
            Self::Smuggling => "hidden",
            Self::Leak => "leak",
            Self::Harmful => "harmful",
            Self::Secret => "secret",
            Self::PaymentCard => "card",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::NationalId => "national-id",
            Self::TaxId => "tax-id",
            Self::Passport => "passport",
            Self::DriverLicence => "driver-licence",
            Self::Medical => "medical",
            Self::IpAddress => "ip",
            Self::MacAddress => "mac",
            Self::Url => "url",
            Self::UrlCredential => "url-credential",
            Self::CryptoAddress => "crypto",
            Self::Date => "date",
            Self::BirthDate => "birth-date",
            Self::Coordinates => "coordinates",
            Self::Person => "person",
            Self::Place => "place",
            Self::Organisation => "organisation",
            Self::Address => "address",
            Self::Custom => "custom",
            Self::Canary => "canary",
            Self::PromptLeak => "prompt-leak",
            Self::RegisteredText => "registered-text",
            Self::BlockedTerm => "blocked-term",
            Self::ExfiltrationUrl => "exfiltration-url",
            Self::ActiveContent => "active-content",
        }
    }
}

/// Which reading of the text a hit was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The bytes as they came.
    Original,
    /// NFKC, confusables folded, invisible characters removed, white space folded.
    Canonical,
    /// A decoded run (base64, hex, rot13, tags, …).
    Decoded,
    /// The text with a disguise of letters taken off (digits for letters, spaced out, reversed, …).
    Plain,
}

/// One match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// Which rule.
    pub rule: RuleId,
    /// What kind of thing.
    pub label: Label,
    /// Where, in bytes of the original text.
    pub span: Range<usize>,
    /// In which reading.
    pub view: View,
    /// 0 to 1000; rules without calibration say 1000.
    pub score: u32,
}

/// How far back a detector must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A match is at most so many bytes long.
    Bytes(usize),
    /// A match can be of any length: the whole text is held back.
    Buffer,
}

/// Whether a text was looked at. `NotScanned` is never treated as clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Looked at; these were found.
    Scanned(Vec<Hit>),
    /// Not looked at, and why.
    NotScanned(String),
}

/// A pure matcher.
pub trait Detector: Send + Sync {
    /// The rules it can report.
    fn id(&self) -> &'static str;
    /// What it can find.
    fn labels(&self) -> &[Label];
    /// How long a match can be.
    fn bound(&self) -> Bound;
    /// Appends every hit in `text`, in order of start, with spans in bytes of `text`.
    fn scan(&self, text: &str, hits: &mut Vec<Hit>);
}

/// What a caller must do after a piece went through a [`Stream`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what was written to the output and go on.
    Continue,
    /// Stop: a hit demands it. Nothing of the offending text was written.
    Block(Hit),
}

/// A filter over text that arrives in pieces; one for each (choice, channel).
pub trait Stream: Send {
    /// Takes the next piece and appends to `out` what may be sent now.
    fn push(&mut self, text: &str, out: &mut String) -> Step;
    /// Ends the text and appends what was held back.
    fn finish(&mut self, out: &mut String) -> Step;
    /// Bytes held back at this moment.
    fn held_bytes(&self) -> usize;
    /// The hits so far, with spans in bytes of the whole text.
    fn hits(&self) -> &[Hit];
}

/// What to do about a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardAction {
    /// Let it through.
    Pass,
    /// Replace the span.
    Redact,
    /// Refuse the request or end the answer.
    Block,
    /// Let it through and say so in the record.
    Tag,
    /// Mark it as data for the model.
    Spotlight,
    /// Close risky tools and egress for this turn.
    Taint,
    /// Wait for a person.
    Ask,
}
