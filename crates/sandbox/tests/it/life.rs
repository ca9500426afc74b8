//! From start to end: handles, doors, freezing, owners that vanish, and nothing left behind.
