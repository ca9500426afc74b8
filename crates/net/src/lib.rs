//! Sockets and framing: everything that listens, connects or cuts a byte stream into frames.
//!
//! [`tls`] keeps a local certificate authority, [`listen`] serves HTTP/1.1 with a limit on each
//! thing a client can make us hold, [`client`] talks to one configured address and nowhere else,
//! [`sse`] and [`ndjson`] cut streams into frames without losing a byte, [`dial`] connects for
//! drivers with a protocol of their own, [`body`] has the one body type that all of it speaks.
//! [`sigv4`] signs requests, and [`s3`] keeps objects in a store that locks them, over [`https`] with a
//! list of authorities of its own. For connections that hosted programs ask for: [`host`] has the one
//! spelling of a name, [`guard`] judges addresses, [`dns`] and [`resolver`] find them, [`reach`] joins
//! the three, and [`hello`] reads which server a TLS client wants.
//!
//! It knows no route, key or policy: that is the business of the gateway and of the server.
//! INVARIANT: no task is detached. A connection lives in the `JoinSet` of its listener, and an
//! upstream connection is driven by the response body that reads from it, so dropping the body
//! closes the socket.
#![forbid(unsafe_code)]

pub mod body;
pub mod client;
pub mod dial;
pub mod dns;
pub mod error;
pub mod guard;
pub mod hello;
pub mod host;
pub mod https;
pub mod listen;
pub mod ndjson;
pub mod reach;
pub mod resolver;
pub mod s3;
pub mod sigv4;
pub mod sse;
pub mod tls;

pub use body::Body;
pub use error::NetError;
