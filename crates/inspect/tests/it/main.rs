//! The inspectors together, from outside, on input made to break them.

#[cfg(test)]
mod hostile;
