//! The cluster as the hub knows it: where its brokers are, which versions they speak, and which ports of ours stand for
//! them. One for all connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{ApiVersionsRequest, BrokerId, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use tradelane_transport::TlsConnector;

use super::config::UpstreamConfig;
use super::ids::Ids;
use super::link::{Down, Link};
use crate::names::Names;
use crate::wire::table::{Api, Key};
use crate::wire::text;

/// How often the cluster is looked at while it answers, and while it does not.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The version of Metadata in which the cluster is asked: with topic ids.
pub(super) const METADATA: i16 = 12;

/// The last version of Produce and of Fetch in which topics have names.
pub(super) const BY_NAME: i16 = 12;

/// A cluster.
pub(crate) struct Cluster {
    pub(super) config: UpstreamConfig,
    pub(super) names: Names,
    tls: Option<TlsConnector>,
    /// By API: the least and the highest version. Empty until the cluster was reached.
    versions: RwLock<BTreeMap<i16, (i16, i16)>>,
    reachable: AtomicBool,
    addresses: RwLock<BTreeMap<i32, (String, u16)>>,
    /// What it calls the topics of products by number.
    pub(super) ids: Ids,
    /// The ports of ours.
    ports: BTreeMap<i32, u16>,
    host: String,
    next: AtomicUsize,
}

impl Cluster {
    /// A cluster that nothing is known of yet. `ports` stand for its brokers, at `host`.
    pub(crate) fn new(
        config: UpstreamConfig,
        tls: Option<TlsConnector>,
        host: &str,
        ports: BTreeMap<i32, u16>,
    ) -> Self {
        Self {
            names: Names::new(&config.topic_prefix),
            config,
            tls,
            versions: RwLock::default(),
            reachable: AtomicBool::new(false),
            addresses: RwLock::default(),
            ids: Ids::default(),
            ports,
            host: host.to_owned(),
            next: AtomicUsize::new(0),
        }
    }

    /// Looks at the cluster for ever, and says when it goes and comes.
    pub(crate) async fn watch(&self) {
        let mut link = None;
        let mut before = None;
        loop {
            let looked = tokio::time::timeout(PATIENCE, self.look(&mut link)).await.unwrap_or(Err(Down::Slow));
            self.reachable.store(looked.is_ok(), Ordering::Relaxed);
            match &looked {
                Ok(brokers) if before != Some(true) => {
                    tracing::info!(target: "tradelane::kafka", brokers, "the cluster answers");
                }
                Err(error) if before != Some(false) => {
                    let bootstrap = self.config.bootstrap.join(",");
                    tracing::warn!(target: "tradelane::kafka", bootstrap, %error, "the cluster cannot be used; trying on until it can");
                }
                _ => {}
            }
            before = Some(looked.is_ok());
            if looked.is_err() {
                link = None;
            }
            tokio::time::sleep(if looked.is_ok() { LOOK } else { LOOK_AGAIN }).await;
        }
    }

    /// Does the cluster answer?
    pub(crate) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Has it ever, so that it is known what can be offered?
    pub(crate) fn is_known(&self) -> bool {
        !self.versions.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Asks what the cluster speaks and where its brokers are; returns how many there are.
    async fn look(&self, kept: &mut Option<Link>) -> Result<usize, Down> {
        let link = match kept.take() {
            Some(link) => link,
            None => self.connect(None, text("tradelane")).await?,
        };
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
        let versions = versions.api_keys.iter().map(range).collect();
        let metadata = link.call(METADATA, &MetadataRequest::default().with_topics(Some(Vec::new()))).await?;
        self.learn(&metadata.brokers);
        *self.versions.write().unwrap_or_else(PoisonError::into_inner) = versions;
        *kept = Some(link);
        Ok(metadata.brokers.len())
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
                let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
                let (min, max) = *versions.get(&(api.key as i16))?;
                let (least, most) = (api.advertised.max(min), api.max.min(max));
                // Ids of topics are ours: the cluster is asked by its own names.
                let most = if max >= BY_NAME && matches!(api.key, Key::Produce | Key::Fetch) { api.max } else { most };
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
                let any = self.connect_any(client.clone()).await?;
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
