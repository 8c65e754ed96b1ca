//! What the engine is told of the cluster behind it.

use std::path::PathBuf;

use tradelane_keys::ScramHash;
use zeroize::Zeroizing;

/// A cluster of Apache Kafka that keeps the records, and how the hub reaches it.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// `host:port` of some of its brokers.
    pub bootstrap: Vec<String>,
    /// Certificates of the authorities that the brokers' are of, PEM; none: no TLS.
    pub authorities: Option<PathBuf>,
    /// As whom the hub comes; none: as nobody.
    pub login: Option<Login>,
    /// What a topic's name begins with, before the product's id.
    pub topic_prefix: String,
    /// Make the topic of a product that has none yet.
    pub create_topics: bool,
    /// Replicas of topics that are made; -1: as the cluster has it.
    pub replication_factor: i16,
    /// The lowest number of a broker.
    pub first_node: i32,
    /// How many numbers there are from it on; each has a port of the listener.
    pub nodes: u16,
    /// The port for the first number; those of the others follow. 0 takes free ones.
    pub first_node_port: u16,
}

/// The hub's own user at the cluster.
#[derive(Debug, Clone)]
pub struct Login {
    /// How it proves who it is.
    pub mechanism: LoginMechanism,
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: Password,
}

/// SASL mechanisms towards the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMechanism {
    /// PLAIN: inside TLS, or on loopback.
    Plain,
    /// SCRAM-SHA-256 or SCRAM-SHA-512.
    Scram(ScramHash),
}

impl LoginMechanism {
    /// The mechanism of that registered name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "SCRAM-SHA-256" => Some(Self::Scram(ScramHash::Sha256)),
            "SCRAM-SHA-512" => Some(Self::Scram(ScramHash::Sha512)),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(hash) => hash.mechanism(),
        }
    }
}

/// A password; it does not print.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Of that text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}
