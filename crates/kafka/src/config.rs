//! What the listener is told: where to listen, as whom, what clients are told to connect to, and every limit. Knows no
//! file format: the binary reads the configuration file and fills these in.

use std::net::SocketAddr;
use std::time::Duration;

use tradelane_groups::GroupLimits;
pub use tradelane_transport::{Rate, Transport};

/// Everything the listener is told.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The name that clients are told to connect to; empty for the address listened on.
    pub advertised_host: String,
    /// The port that clients are told to connect to; 0 for the port listened on.
    pub advertised_port: u16,
    /// Every limit.
    pub limits: KafkaLimits,
}

/// Limits on size, time, number and rate. A limit that is reached refuses or slows down; none can be switched off.
#[derive(Debug, Clone)]
pub struct KafkaLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address (one /64 for IPv6).
    pub connections_per_peer: usize,
    /// Connections at once of one credential.
    pub connections_per_credential: usize,
    /// Connections at once of one organization.
    pub connections_per_organization: usize,
    /// Time for the TLS handshake and the authentication together.
    pub authenticate: Duration,
    /// Time that a connection may pass without a byte in either direction.
    pub idle: Duration,
    /// Time for a request to arrive once it has begun.
    pub request_arrives: Duration,
    /// Bytes of a request before authentication.
    pub small_request: usize,
    /// Bytes of a request.
    pub request: usize,
    /// Bytes of large requests (above 64 KiB) that are held at once, of all connections.
    pub requests_memory: usize,
    /// Bytes of one answer to a fetch, about; the first batch comes whole.
    pub fetch_bytes: usize,
    /// Partitions of one request.
    pub partitions: usize,
    /// Longest wait of a fetch. Clients that beat for their group on the same connection must not wait longer.
    pub fetch_wait: Duration,
    /// Longest time that an answer tells a client to be quiet.
    pub throttle: Duration,
    /// Requests a second of one credential.
    pub requests_per_credential: Rate,
    /// Requests a second of all credentials of one organization.
    pub requests_per_organization: Rate,
    /// Bytes published a second by one credential.
    pub bytes_in_per_credential: Rate,
    /// Bytes published a second by one organization.
    pub bytes_in_per_organization: Rate,
    /// Bytes read a second by one credential.
    pub bytes_out_per_credential: Rate,
    /// Bytes read a second by one organization.
    pub bytes_out_per_organization: Rate,
    /// Offset commits a second of one credential.
    pub commits_per_credential: Rate,
    /// Offset commits a second of one organization.
    pub commits_per_organization: Rate,
    /// Credentials that one address may present in vain.
    pub refusals_per_peer: Rate,
    /// Idempotent producers, by partition, whose sequences are remembered.
    pub producers: usize,
    /// Fetch sessions at once.
    pub fetch_sessions: usize,
    /// Fetch sessions at once of one principal; its oldest gives way.
    pub fetch_sessions_per_principal: usize,
    /// Partitions of all fetch sessions together.
    pub fetch_session_partitions: usize,
    /// Limits of groups.
    pub groups: GroupLimits,
    /// Time that open requests have to end after the listener was told to stop.
    pub drain: Duration,
}

impl Default for KafkaLimits {
    fn default() -> Self {
        let bytes = |per_second: u32| Rate { per_second: f64::from(per_second), burst: per_second.saturating_mul(2) };
        Self {
            connections: 4_096,
            connections_per_peer: 512,
            connections_per_credential: 256,
            connections_per_organization: 1_024,
            authenticate: Duration::from_secs(15),
            idle: Duration::from_secs(600),
            request_arrives: Duration::from_secs(30),
            small_request: 64 << 10,
            request: 32 << 20,
            requests_memory: 512 << 20,
            fetch_bytes: 16 << 20,
            partitions: 4_000,
            fetch_wait: Duration::from_secs(5),
            throttle: Duration::from_secs(5),
            requests_per_credential: Rate { per_second: 2_000.0, burst: 4_000 },
            requests_per_organization: Rate { per_second: 5_000.0, burst: 10_000 },
            bytes_in_per_credential: bytes(256 << 20),
            bytes_in_per_organization: bytes(512 << 20),
            bytes_out_per_credential: bytes(512 << 20),
            bytes_out_per_organization: bytes(1 << 30),
            commits_per_credential: Rate { per_second: 100.0, burst: 400 },
            commits_per_organization: Rate { per_second: 500.0, burst: 2_000 },
            refusals_per_peer: Rate { per_second: 5.0, burst: 50 },
            producers: 100_000,
            fetch_sessions: 4_096,
            fetch_sessions_per_principal: 256,
            fetch_session_partitions: 200_000,
            // All offsets of a group are one stored value, which has a limit of its own (`offsets`).
            groups: GroupLimits { offsets_per_group: 4_000, offset_metadata_bytes: 1_000, ..GroupLimits::default() },
            drain: Duration::from_secs(20),
        }
    }
}
