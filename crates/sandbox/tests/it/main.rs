//! The fence against attacks, on the real kernel. One binary; needs root.
//!
//! Each test of a wall also shows that the attack works where the wall is not.

mod fence;
mod life;
mod oneshot;
mod support;
