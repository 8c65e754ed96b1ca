//! The section `[kafka]`: the Kafka listener's settings.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tradelane_kafka::{KafkaConfig, KafkaLimits, Rate, Transport};

/// Where the records of all products are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Engine {
    /// In the hub itself.
    Embedded,
    /// In the cluster of Apache Kafka that the section `cluster` names.
    Kafka,
}

/// The Kafka listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kafka {
    pub(crate) enabled: bool,
    /// Where records are kept.
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    /// What clients are told to connect to; empty: the address listened on.
    pub(crate) advertised_host: String,
    /// 0: the port listened on.
    pub(crate) advertised_port: u16,
    /// No TLS on this port, whatever `[tls]` says; on a loopback address only.
    pub(crate) plain_loopback: bool,
    pub(crate) connections: usize,
    pub(crate) connections_per_peer: usize,
    pub(crate) connections_per_credential: usize,
    pub(crate) connections_per_organization: usize,
    pub(crate) request_bytes: usize,
    pub(crate) fetch_bytes: usize,
    pub(crate) fetch_wait_ms: u64,
    /// A second, as are all that follow. Twice as much may come at once.
    pub(crate) requests_per_credential: u32,
    pub(crate) requests_per_organization: u32,
    pub(crate) bytes_in_per_credential: u32,
    pub(crate) bytes_in_per_organization: u32,
    pub(crate) bytes_out_per_credential: u32,
    pub(crate) bytes_out_per_organization: u32,
    pub(crate) commits_per_credential: u32,
    pub(crate) commits_per_organization: u32,
}

impl Default for Kafka {
    fn default() -> Self {
        let own = KafkaLimits::default();
        Self {
            enabled: false,
            engine: Engine::Embedded,
            address: SocketAddr::from(([127, 0, 0, 1], 9092)),
            advertised_host: String::new(),
            advertised_port: 0,
            plain_loopback: false,
            connections: own.connections,
            connections_per_peer: own.connections_per_peer,
            connections_per_credential: own.connections_per_credential,
            connections_per_organization: own.connections_per_organization,
            request_bytes: own.request,
            fetch_bytes: own.fetch_bytes,
            fetch_wait_ms: u64::try_from(own.fetch_wait.as_millis()).unwrap_or(u64::MAX),
            requests_per_credential: whole(own.requests_per_credential),
            requests_per_organization: whole(own.requests_per_organization),
            bytes_in_per_credential: whole(own.bytes_in_per_credential),
            bytes_in_per_organization: whole(own.bytes_in_per_organization),
            bytes_out_per_credential: whole(own.bytes_out_per_credential),
            bytes_out_per_organization: whole(own.bytes_out_per_organization),
            commits_per_credential: whole(own.commits_per_credential),
            commits_per_organization: whole(own.commits_per_organization),
        }
    }
}

/// Rates saturate when cast; the defaults are whole numbers.
fn whole(rate: Rate) -> u32 {
    rate.per_second as u32
}

impl Kafka {
    /// The settings that must be above 0, with their values.
    pub(crate) fn positive(&self) -> impl Iterator<Item = (&'static str, usize)> {
        [
            ("kafka.connections", self.connections),
            ("kafka.connections_per_peer", self.connections_per_peer),
            ("kafka.connections_per_credential", self.connections_per_credential),
            ("kafka.connections_per_organization", self.connections_per_organization),
            ("kafka.request_bytes", self.request_bytes),
            ("kafka.fetch_bytes", self.fetch_bytes),
            ("kafka.requests_per_credential", self.requests_per_credential as usize),
            ("kafka.requests_per_organization", self.requests_per_organization as usize),
            ("kafka.bytes_in_per_credential", self.bytes_in_per_credential as usize),
            ("kafka.bytes_in_per_organization", self.bytes_in_per_organization as usize),
            ("kafka.bytes_out_per_credential", self.bytes_out_per_credential as usize),
            ("kafka.bytes_out_per_organization", self.bytes_out_per_organization as usize),
            ("kafka.commits_per_credential", self.commits_per_credential as usize),
            ("kafka.commits_per_organization", self.commits_per_organization as usize),
        ]
        .into_iter()
    }

    /// What the listener is told; nothing if there is none.
    pub(crate) fn listener(&self, transport: Transport, drain: Duration) -> Option<KafkaConfig> {
        let rate = |per_second: u32| Rate { per_second: f64::from(per_second), burst: per_second.saturating_mul(2) };
        let limits = KafkaLimits {
            connections: self.connections,
            connections_per_peer: self.connections_per_peer,
            connections_per_credential: self.connections_per_credential,
            connections_per_organization: self.connections_per_organization,
            request: self.request_bytes,
            fetch_bytes: self.fetch_bytes,
            fetch_wait: Duration::from_millis(self.fetch_wait_ms),
            requests_per_credential: rate(self.requests_per_credential),
            requests_per_organization: rate(self.requests_per_organization),
            bytes_in_per_credential: rate(self.bytes_in_per_credential),
            bytes_in_per_organization: rate(self.bytes_in_per_organization),
            bytes_out_per_credential: rate(self.bytes_out_per_credential),
            bytes_out_per_organization: rate(self.bytes_out_per_organization),
            commits_per_credential: rate(self.commits_per_credential),
            commits_per_organization: rate(self.commits_per_organization),
            drain,
            ..KafkaLimits::default()
        };
        self.enabled.then(|| KafkaConfig {
            listen: self.address,
            transport: if self.plain_loopback { Transport::PlainLoopback } else { transport },
            advertised_host: self.advertised_host.clone(),
            advertised_port: self.advertised_port,
            limits,
        })
    }
}
