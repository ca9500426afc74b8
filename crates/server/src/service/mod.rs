//! What the control API and the console do, each thing once.
//!
//! A change is a leaf first and an effect second: the log may say that something was tried, but
//! nothing takes effect that the log does not know.

pub mod cases;
pub mod exports;
pub mod keys;
pub mod leaves;
pub mod status;
pub mod subjects;
pub mod waivers;

/// Whether an error says that what was asked for does not exist.
pub(crate) fn is_missing(code: &str) -> bool {
    code.ends_with("-not-found")
        || matches!(
            code,
            "respond/no-case" | "record/no-leaf" | "record/no-subject"
        )
}
