//! The walls of one sandbox, built from inside by its init.
//!
//! [`trees`] opens what will be mounted, [`root`] puts the file system together, [`lock`] throws
//! away every privilege and closes the door behind. The order matters and is kept in `init`.

pub(crate) mod lock;
pub(crate) mod root;
pub(crate) mod trees;
