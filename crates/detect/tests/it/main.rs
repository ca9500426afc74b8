//! The laws of the stream filter, and the hard benign texts of the shield.

#[path = "laws.rs"]
mod laws;
#[path = "output.rs"]
mod output;
