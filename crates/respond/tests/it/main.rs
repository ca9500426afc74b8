//! RESPOND over a real state database: cases, waivers, alerts and their way out.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod dispatch;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod waivers;
