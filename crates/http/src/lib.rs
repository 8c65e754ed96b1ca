//! The HTTP listener: REST, EPCIS 2.0 and OAuth over TLS 1.3.
//!
//! It knows how callers speak (media types, headers, paths, problems) and nothing of how events are stored, sealed or
//! shown: every use case is one call of the hub.
//!
//! The way of a request: [`serve`] takes the connection within limits, `front` gives the request an id and a line in the
//! log, `routes` finds its route, `door` lets the caller in (or not) and demands that the access is on record, the
//! route's handler calls the hub, and `reply` or `problem` is what goes back.

mod api;
#[cfg(feature = "bench")]
pub mod bench_peer;
mod cloudevents;
pub mod config;
mod door;
mod front;
mod media;
mod metrics;
mod pages;
mod params;
mod presented;
mod problem;
mod reply;
mod routes;
pub mod serve;
mod sse;
mod streams;
mod unread;

pub use config::{HttpConfig, MetricsFor, Rate, ServerLimits, Transport};
pub use serve::{ServeError, Server};
pub use tradelane_transport::{CA_CERTIFICATE, TlsAcceptor};

/// The OpenAPI 3.1 document of the listener, as `/openapi.json` serves it.
pub fn openapi() -> &'static str {
    routes::openapi_text()
}
