//! The S3 double against the client of `net`, and against requests that AWS refuses.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod client;
#[cfg(test)]
mod world;
