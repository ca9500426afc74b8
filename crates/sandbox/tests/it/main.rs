//! The fence against attacks, on the real kernel. One binary; needs root.
//!
//! Each test of a wall also shows that the attack works where the wall is not.

#[cfg(test)]
mod doors;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod life;
#[cfg(test)]
mod oneshot;
#[cfg(test)]
mod supervisor;
#[cfg(test)]
mod support;
