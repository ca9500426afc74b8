//! Why a gate cannot be compiled. What goes wrong later, while it is evaluated, is not an error
//! but a denial with a reason.

use ringfence_core::error::{ErrorCode, Explain};

/// Why a gate cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A Rego text does not parse.
    #[error("policy {module} is not valid Rego")]
    Rego {
        /// Name of the module.
        module: String,
        /// What the parser says.
        reason: String,
    },
    /// A module stands in another package, so that its denials would never be read.
    #[error("policy {module} is in package {package}, not ringfence.gate")]
    Package {
        /// Name of the module.
        module: String,
        /// The package it names.
        package: String,
    },
    /// A module adds no denial: a misspelt `deny` would pass everything in silence.
    #[error("policy {module} has no deny rule")]
    NoDenial {
        /// Name of the module.
        module: String,
    },
    /// A module defines the verdict itself.
    #[error("policy {module} defines `{rule}`, which belongs to the gate")]
    Reserved {
        /// Name of the module.
        module: String,
        /// The rule.
        rule: &'static str,
    },
    /// A module reads a field that the input does not have.
    #[error("policy {module} reads {path}, which the input does not have")]
    UnknownInput {
        /// Name of the module.
        module: String,
        /// 1-based line.
        line: u32,
        /// The path as written, up to the unknown field.
        path: String,
        /// The fields that stand there.
        known: Vec<&'static str>,
    },
    /// A module calls a function whose memory no limit bounds.
    #[error("policy {module} uses `{namespace}`, which has no bound")]
    Unbounded {
        /// Name of the module.
        module: String,
        /// 1-based line.
        line: u32,
        /// The namespace of the function.
        namespace: &'static str,
    },
    /// More modules than the limit, or two of one name.
    #[error("policy {module} cannot be added: {reason}")]
    Modules {
        /// Name of the module.
        module: String,
        /// Which rule it breaks.
        reason: String,
    },
}

impl Explain for PolicyError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Rego { .. } => "admit/policy-rego",
            Self::Package { .. } => "admit/policy-package",
            Self::NoDenial { .. } => "admit/policy-no-denial",
            Self::Reserved { .. } => "admit/policy-reserved",
            Self::UnknownInput { .. } => "admit/policy-unknown-input",
            Self::Unbounded { .. } => "admit/policy-unbounded",
            Self::Modules { .. } => "admit/policy-modules",
        })
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::UnknownInput { module, line, .. } | Self::Unbounded { module, line, .. } => {
                Some(format!("{module}:{line}"))
            }
            Self::Rego { module, .. }
            | Self::Package { module, .. }
            | Self::NoDenial { module }
            | Self::Reserved { module, .. }
            | Self::Modules { module, .. } => Some(module.clone()),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Rego { reason, .. } | Self::Modules { reason, .. } => Some(reason.clone()),
            Self::Package { .. } => {
                Some("the gate reads denials from package ringfence.gate only".to_owned())
            }
            Self::NoDenial { .. } => {
                Some("a misspelt rule would let everything pass without a word".to_owned())
            }
            Self::Reserved { .. } => Some("a policy file may only add denials".to_owned()),
            Self::Unbounded { .. } => {
                Some("one call can ask for more memory than there is".to_owned())
            }
            Self::UnknownInput { .. } => {
                Some("an unknown field is undefined, and the rule would never fire".to_owned())
            }
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Rego { .. } => "write Rego v1: `deny contains msg if { … }`".to_owned(),
            Self::Package { .. } => "begin the file with `package ringfence.gate`".to_owned(),
            Self::NoDenial { .. } => "add a rule `deny contains msg if { … }`".to_owned(),
            Self::Reserved { rule, .. } => {
                format!("remove `{rule}`, and say what is refused with `deny contains msg if`")
            }
            Self::UnknownInput { known, .. } => format!("the fields are: {}", known.join(", ")),
            Self::Unbounded { .. } => "count over input.findings instead".to_owned(),
            Self::Modules { .. } => "merge or rename the policy files".to_owned(),
        })
    }
}
