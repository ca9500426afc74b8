//! A leaf has one spelling: what parses is canonical and short enough.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_core::leaf::Leaf;
use ringfence_core::limits::LEAF_BYTES_MAX;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::parse(bytes) {
        assert!(bytes.len() <= LEAF_BYTES_MAX);
        assert_eq!(leaf.canonical().as_deref(), Ok(bytes));
    }
    drop(ringfence_core::json::parse_strict(bytes));
});
