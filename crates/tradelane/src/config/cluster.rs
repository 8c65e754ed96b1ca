//! The section `[cluster]`: the cluster of Apache Kafka behind the hub, for `kafka.engine = "kafka"`.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tradelane_kafka::{Login, LoginMechanism, Password, UpstreamConfig};

/// The cluster behind.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// `host:port` of some of its brokers.
    pub(crate) bootstrap: Vec<String>,
    /// PEM of the authorities that its certificates are of; empty: no TLS.
    pub(crate) authorities: PathBuf,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; empty: no login.
    pub(crate) mechanism: String,
    pub(crate) username: String,
    /// The file that holds the password.
    pub(crate) password_file: PathBuf,
    pub(crate) topic_prefix: String,
    pub(crate) create_topics: bool,
    pub(crate) replication_factor: i16,
    pub(crate) first_node: i32,
    pub(crate) nodes: u16,
    pub(crate) first_node_port: u16,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            authorities: PathBuf::new(),
            mechanism: String::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            topic_prefix: String::new(),
            create_topics: true,
            replication_factor: -1,
            first_node: 0,
            nodes: 10,
            first_node_port: 0,
        }
    }
}

impl Cluster {
    pub(crate) fn anchor(&mut self, root: impl Fn(&mut PathBuf)) {
        root(&mut self.authorities);
        root(&mut self.password_file);
    }

    /// The setting that cannot be meant, and why; none if all can.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let valid = |address: &String| address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let no_login = self.mechanism.is_empty();
        if self.bootstrap.is_empty() || !self.bootstrap.iter().all(valid) {
            Some(("cluster.bootstrap", "lists brokers of the cluster, each as host:port"))
        } else if !no_login && LoginMechanism::named(&self.mechanism).is_none() {
            Some(("cluster.mechanism", "is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or empty"))
        } else if no_login != self.username.is_empty() || no_login != self.password_file.as_os_str().is_empty() {
            Some(("cluster.username", "and `cluster.password_file` go with `cluster.mechanism`"))
        } else if self.authorities.as_os_str().is_empty() && self.mechanism == "PLAIN" && !self.is_loopback() {
            Some((
                "cluster.mechanism",
                "would show the password to the network: PLAIN needs `cluster.authorities` (TLS)",
            ))
        } else if self.nodes == 0 || self.first_node < 0 {
            Some(("cluster.nodes", "must be above 0, and `cluster.first_node` not below 0"))
        } else if self.first_node_port != 0 && self.first_node_port.checked_add(self.nodes - 1).is_none() {
            Some(("cluster.first_node_port", "leaves no ports for all of `cluster.nodes`"))
        } else {
            None
        }
    }

    fn is_loopback(&self) -> bool {
        let loopback = |address: &String| match address.to_socket_addrs() {
            Ok(mut addresses) => addresses.all(|address| IpAddr::is_loopback(&address.ip())),
            Err(_) => false,
        };
        self.bootstrap.iter().all(loopback)
    }

    /// What the engine is told. Reads the password.
    pub(crate) fn upstream(&self) -> Result<UpstreamConfig, (PathBuf, std::io::Error)> {
        let login = match LoginMechanism::named(&self.mechanism) {
            None => None,
            Some(mechanism) => {
                let text = std::fs::read_to_string(&self.password_file);
                let text = text.map_err(|error| (self.password_file.clone(), error))?;
                let password = Password::new(text.trim_end_matches(['\r', '\n']).to_owned());
                Some(Login { mechanism, username: self.username.clone(), password })
            }
        };
        let given = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
        Ok(UpstreamConfig {
            bootstrap: self.bootstrap.clone(),
            authorities: given(&self.authorities),
            login,
            topic_prefix: self.topic_prefix.clone(),
            create_topics: self.create_topics,
            replication_factor: self.replication_factor,
            first_node: self.first_node,
            nodes: self.nodes,
            first_node_port: self.first_node_port,
        })
    }
}
