//! The cluster as the hub knows it: where its brokers are, which versions they speak, and which ports of ours stand for
//! them. One for all connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{ApiVersionsRequest, BrokerId, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use tradelane_transport::TlsConnector;

use super::config::UpstreamConfig;
use super::link::{Down, Link};
use super::names::Names;
use crate::wire::table::{Api, Key};
use crate::wire::text;

/// The version of Metadata in which the cluster is asked: with topic ids.
pub(super) const METADATA: i16 = 12;

/// A cluster.
pub(crate) struct Cluster {
    pub(super) config: UpstreamConfig,
    pub(super) names: Names,
    tls: Option<TlsConnector>,
    /// By API: the least and the highest version.
    versions: BTreeMap<i16, (i16, i16)>,
    addresses: RwLock<BTreeMap<i32, (String, u16)>>,
    /// The ports of ours.
    ports: BTreeMap<i32, u16>,
    host: String,
    next: AtomicUsize,
}

impl Cluster {
    /// Asks the cluster what it speaks and where its brokers are.
    pub(crate) async fn find(config: UpstreamConfig, tls: Option<TlsConnector>) -> Result<Self, Down> {
        let names = Names::new(&config.topic_prefix);
        let mut cluster = Self {
            config,
            names,
            tls,
            versions: BTreeMap::new(),
            addresses: RwLock::default(),
            ports: BTreeMap::new(),
            host: String::new(),
            next: AtomicUsize::new(0),
        };
        let mut link = cluster.connect(None, text("tradelane")).await?;
        let versions = link
            .call(
                3,
                &ApiVersionsRequest::default()
                    .with_client_software_name(text("tradelane"))
                    .with_client_software_version(text(env!("CARGO_PKG_VERSION"))),
            )
            .await?;
        let range = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (api.api_key, (api.min_version, api.max_version))
        };
        cluster.versions = versions.api_keys.iter().map(range).collect();
        let metadata = link.call(METADATA, &MetadataRequest::default().with_topics(Some(Vec::new()))).await?;
        cluster.learn(&metadata.brokers);
        Ok(cluster)
    }

    /// Which ports stand for the brokers, and the name under which clients find them.
    pub(crate) fn advertise(&mut self, host: &str, ports: BTreeMap<i32, u16>) {
        self.host = host.to_owned();
        self.ports = ports;
    }

    /// The versions in which an API is offered; none if it is not.
    pub(crate) fn offers(&self, api: &Api) -> Option<(i16, i16)> {
        match api.key {
            Key::ApiVersions | Key::SaslHandshake | Key::SaslAuthenticate | Key::DescribeConfigs => {
                Some((api.advertised, api.max))
            }
            // Clients fall back to Metadata.
            Key::DescribeTopicPartitions => None,
            _ => {
                let (min, max) = self.versions.get(&(api.key as i16))?;
                let (least, most) = (api.advertised.max(*min), api.max.min(*max));
                (least <= most).then_some((least, most))
            }
        }
    }

    /// Where brokers are, as one of them says.
    pub(super) fn learn(&self, brokers: &[MetadataResponseBroker]) {
        if brokers.is_empty() {
            return;
        }
        let address = |broker: &MetadataResponseBroker| {
            Some((broker.node_id.0, (broker.host.to_string(), u16::try_from(broker.port).ok()?)))
        };
        let known = brokers.iter().filter_map(address).collect();
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// A connection to that broker, or to any.
    pub(super) async fn connect(&self, node: Option<i32>, client: StrBytes) -> Result<Link, Down> {
        let Some(node) = node else { return self.connect_any(client).await };
        match self.address(node) {
            Some((host, port)) => self.open(&host, port, client).await,
            None => {
                // It may be new, or was away.
                let mut any = self.connect_any(client.clone()).await?;
                let metadata = any.call(METADATA, &MetadataRequest::default().with_topics(Some(Vec::new()))).await?;
                self.learn(&metadata.brokers);
                let (host, port) = self.address(node).ok_or(Down::NoNode(node))?;
                self.open(&host, port, client).await
            }
        }
    }

    async fn connect_any(&self, client: StrBytes) -> Result<Link, Down> {
        let known: Vec<(String, u16)> = {
            let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
            addresses.values().cloned().collect()
        };
        let configured = self.config.bootstrap.iter().filter_map(|address| {
            let (host, port) = address.rsplit_once(':')?;
            Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port.parse().ok()?))
        });
        let mut all: Vec<_> = known.into_iter().chain(configured).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if !all.is_empty() {
            let middle = turn % all.len();
            all.rotate_left(middle);
        }
        let mut last = Down::NoNode(-1);
        for (host, port) in all {
            match self.open(&host, port, client.clone()).await {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, host: &str, port: u16, client: StrBytes) -> Result<Link, Down> {
        Link::open(host, port, self.tls.as_ref(), self.config.login.as_ref(), client).await
    }

    fn address(&self, node: i32) -> Option<(String, u16)> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// Where clients find that broker: a port of ours. None if no port stands for it.
    pub(super) fn place(&self, node: BrokerId) -> Option<(StrBytes, i32)> {
        self.ports.get(&node.0).map(|port| (text(self.host.as_str()), i32::from(*port)))
    }
}
