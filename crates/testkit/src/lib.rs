//! Strict doubles and private servers that tests of several crates share. Never part of the product.
#![forbid(unsafe_code)]

pub mod postgres;
