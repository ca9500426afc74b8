//! The server as a whole: real recorder, real state, real pages and sockets; only the walls around
//! what it hosts are stood in for.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod config;
#[cfg(test)]
mod console;
#[cfg(test)]
mod control;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod inert;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod respond;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod start;
