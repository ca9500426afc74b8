//! The server: it joins the stages and runs them as one service.
//!
//! Start with [`startup`], which is the order in which the house is opened. [`config`] is the whole
//! configuration; [`wire`] is where one stage is handed to another through a port; [`service`] is
//! what can be done to a running service, each thing once, for [`control`] (the API of the
//! commands) and [`console`] (pages for people). [`hosted`] keeps the assistant.
//!
//! It decides nothing that a stage can decide, and prints nothing.
//! INVARIANT: the process that runs this holds no root, no log key and no secret-store key.
#![forbid(unsafe_code)]

pub mod admission;
pub mod app;
pub mod config;
pub mod console;
pub mod control;
pub mod documents;
pub mod doors;
pub mod health;
pub mod hosted;
pub mod incidents;
pub mod instances;
pub mod offline;
pub mod output;
pub mod sealed;
pub mod selftest;
pub mod service;
pub mod space;
pub mod startup;
pub mod tasks;
pub mod text;
pub mod web;
pub mod wire;
pub mod witnesses;
