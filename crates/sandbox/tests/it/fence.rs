//! Attacks from inside. Each also runs outside, where it must succeed, or it proves nothing.
