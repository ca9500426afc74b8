//! The gateway as its callers and its upstreams see it: in-memory sinks, a scripted upstream on a
//! real socket, the detectors of the house.

#[cfg(test)]
mod apps;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limit;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod world;
