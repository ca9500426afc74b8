//! A signed note parses or is refused; no key signed what a fuzzer made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_crypto::note::{Note, NoteKey};
use ringfence_crypto::sign::{Algorithm, SigningKey};
use std::sync::LazyLock;

static KEY: LazyLock<NoteKey> = LazyLock::new(|| {
    let key = SigningKey::from_seed(Algorithm::Ed25519, &[42; 32]).expect("a seed is a key");
    NoteKey::new("example.com/log", key.verifying_key()).expect("a name is a name")
});

fuzz_target!(|text: &str| {
    if let Ok(note) = Note::parse(text) {
        assert!(text.starts_with(note.text()));
        assert!(!note.signatures().is_empty());
        assert!(note.verify(std::slice::from_ref(&*KEY)).is_err(), "forged");
    }
    drop(text.parse::<NoteKey>());
});
