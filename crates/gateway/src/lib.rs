//! The front door of every model: one pipeline that each request takes, and no other way in.
//!
//! [`pipeline`] is the page to read first: it is the life of a request in the order in which it
//! happens. [`routes`] is the table of what exists; what is not in it is refused. Who may call is
//! [`keys`] and [`identity`]; how often, [`limit`]; what may be said, [`guard`], [`inbound`] and
//! [`outbound`]; where it goes, [`upstream`] and [`demo`]; what remains of it, [`settle`].
//!
//! It listens nowhere (the server hands it requests), stores no key and prints nothing.
//! INVARIANT: no request reaches an upstream or an app without a settled leaf slot, and no text
//! leaves toward the client that the stream filter has not passed.
#![forbid(unsafe_code)]

pub mod apps;
pub mod backoff;
pub mod config;
pub mod demo;
pub mod error;
pub mod framing;
pub mod guard;
pub mod identity;
pub mod inbound;
pub mod keys;
pub mod limit;
pub mod outbound;
pub mod pipeline;
pub mod reply;
pub mod routes;
pub mod settle;
pub mod upstream;

pub use apps::{App, AppDirectory, Lease};
pub use config::GatewayConfig;
pub use error::GatewayError;
pub use guard::{DetectGuard, Guard};
pub use identity::Peer;
pub use keys::{KeyDirectory, KeyRecord};
pub use pipeline::{Gateway, GatewayParts};
pub use upstream::Upstream;
