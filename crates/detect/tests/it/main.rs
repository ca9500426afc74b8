//! The laws of the stream filter, and the hard benign texts of the shield.

#[path = "laws.rs"]
mod laws;
