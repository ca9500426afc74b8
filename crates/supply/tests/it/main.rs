//! What the crate promises to its callers, through its public interface.

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod index;
#[cfg(test)]
mod locks;
