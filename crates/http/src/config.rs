//! What the listener is told: where to listen, as whom, and every limit. Knows no file format: the binary reads the
//! configuration file and fills these in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use tradelane_transport::{Rate, Transport};

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsFor {
    /// Peers on this machine.
    #[default]
    Loopback,
    /// Anyone who reaches the listener.
    Anyone,
}

/// Everything the listener is told.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How.
    pub transport: Transport,
    /// Every limit.
    pub limits: ServerLimits,
    /// Who may read `/metrics`.
    pub metrics_for: MetricsFor,
}

/// Limits on size, time, number and rate. A limit that is reached refuses, and says so; none can be switched off.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address (one /64 for IPv6).
    pub connections_per_peer: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for a request's head to arrive, and for an idle connection to send the next one.
    pub header_read: Duration,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Time between two pieces of a body.
    pub body_idle: Duration,
    /// Time from a request's head to the head of its answer; waiting for events comes on top.
    pub request: Duration,
    /// Time that a connection may pass without a byte in either direction.
    pub connection_idle: Duration,
    /// Bytes of a body with events or a capture document.
    pub event_body: usize,
    /// Bytes of a body with manifests.
    pub manifest_body: usize,
    /// Bytes of any other body.
    pub small_body: usize,
    /// Bytes of a refused body that are taken and thrown away, so that its sender sees the answer.
    pub unread_body: u64,
    /// Bytes of a request's path and query.
    pub uri_bytes: usize,
    /// Longest wait for events that a reader may ask for.
    pub longest_wait: Duration,
    /// Most events in one answer.
    pub page_events: u32,
    /// Most bytes of events in one answer.
    pub page_bytes: usize,
    /// Event streams (SSE) at once of one credential.
    pub streams_per_credential: usize,
    /// Time between two signs of life on an event stream.
    pub heartbeat: Duration,
    /// Requests of one credential.
    pub per_credential: Rate,
    /// Requests of all credentials of one organization.
    pub per_organization: Rate,
    /// Requests without credentials (tokens, proofs, documentation) of one address.
    pub per_peer: Rate,
    /// Credentials that one address may present in vain.
    pub refusals_per_peer: Rate,
    /// Time that open requests have to end after the listener was told to stop.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_peer: 512,
            streams_per_connection: 128,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(15),
            header_bytes: 32 * 1024,
            headers: 64,
            body_idle: Duration::from_secs(10),
            request: Duration::from_secs(60),
            connection_idle: Duration::from_secs(120),
            event_body: 16 << 20,
            manifest_body: 8 << 20,
            small_body: 256 * 1024,
            unread_body: 64 << 20,
            uri_bytes: 8 * 1024,
            longest_wait: Duration::from_secs(20),
            page_events: 10_000,
            page_bytes: 8 << 20,
            streams_per_credential: 64,
            heartbeat: Duration::from_secs(15),
            per_credential: Rate { per_second: 2_000.0, burst: 4_000 },
            per_organization: Rate { per_second: 5_000.0, burst: 10_000 },
            per_peer: Rate { per_second: 200.0, burst: 1_000 },
            refusals_per_peer: Rate { per_second: 20.0, burst: 200 },
            drain: Duration::from_secs(20),
        }
    }
}

impl HttpConfig {
    /// TLS with a development certificate on `listen`, and the default limits.
    pub fn development(listen: SocketAddr, directory: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            transport: Transport::Development { directory: directory.into(), names: Vec::new() },
            limits: ServerLimits::default(),
            metrics_for: MetricsFor::default(),
        }
    }
}
