//! A bundle of entries is read without loss: writing its entries again gives the same octets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_crypto::tiles::{entries, hashes, push_entry};

fuzz_target!(|bytes: &[u8]| {
    if let Some(held) = entries(bytes) {
        let mut again = Vec::new();
        for entry in held {
            assert!(push_entry(&mut again, entry));
        }
        assert_eq!(again, bytes);
    }
    if let Some(row) = hashes(bytes) {
        assert_eq!(row.as_flattened(), bytes);
    }
});
