//! WATCH through its public functions: events in, windows, breakers and the metrics text out.

#[cfg(test)]
mod breaker;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod sink;
