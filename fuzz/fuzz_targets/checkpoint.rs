//! A checkpoint has one spelling: what parses is written back octet for octet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_crypto::checkpoint::Checkpoint;

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text(), text);
    }
});
