//! One file for each command.

pub(crate) mod advisories;
pub(crate) mod attack;
pub(crate) mod case;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod guard;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod offline;
pub(crate) mod redact;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod shell;
pub(crate) mod up;
pub(crate) mod witness;
