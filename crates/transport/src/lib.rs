//! What every listener has under its protocol: TLS 1.3, places for connections, silence that ends, token buckets.
//!
//! It knows no protocol, no caller and no configuration file: listeners say what they allow, and what a limit means to
//! a peer is theirs.

mod client;
mod connections;
mod idle;
mod rate;
mod tls;

pub use client::{SecuredClient, TlsConnector};
pub use connections::{Connections, Peer, Place};
pub use idle::Idle;
pub use rate::{Buckets, Rate, Verdict};
pub use tls::{
    CA_CERTIFICATE, Secured, TlsAcceptor, TlsError, TlsOptions, Transport, TransportError, client_certificate,
};

/// Work that runs to its end: a listener that serves, or what it waits for before it stops.
pub type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
