//! `cargo xtask bench pii`: placeholder.
fn main() {}
