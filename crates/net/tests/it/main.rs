//! Listener, TLS, client and framing on real sockets and under random cuts.

#[cfg(test)]
mod client;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod world;
