//! What all connections share: the hub, groups, quotas, producers' sequences, fetch sessions, and what clients are told to
//! connect to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tradelane_groups::{Clock, Coordinator, Randomness};
use tradelane_hub::Hub;
use tradelane_keys::{Random, SystemRandom};
use tradelane_transport::{Buckets, Peer};

use crate::config::KafkaLimits;
use crate::engine::Cluster;
use crate::metrics::Metrics;
use crate::offsets::KeptOffsets;
use crate::producers::Producers;
use crate::quota::Quotas;
use crate::sessions::{SessionLimits, Sessions};

/// The one broker's number.
pub(crate) const NODE: i32 = 0;
/// The one leader epoch: the leader never changes.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// All of it.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) limits: KafkaLimits,
    pub(crate) metrics: Metrics,
    pub(crate) groups: Coordinator,
    pub(crate) quotas: Quotas,
    pub(crate) producers: Producers,
    pub(crate) sessions: Sessions,
    pub(crate) refusals: Buckets<Peer>,
    /// For large requests; a permit is a KiB.
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    /// What keeps the records, if it is not the hub itself.
    pub(crate) upstream: Option<Arc<Cluster>>,
    pub(crate) closing: watch::Sender<bool>,
    start: Instant,
}

impl Shared {
    pub(crate) fn new(
        hub: Hub,
        limits: KafkaLimits,
        host: String,
        port: u16,
        upstream: Option<Arc<Cluster>>,
    ) -> Result<Self, prometheus::Error> {
        let clock = Arc::new(HubClock(hub.clone()));
        let store = Arc::new(KeptOffsets::new(hub.clone()));
        // The same name for every node in front of one hub, and none that says anything.
        let name = tradelane_keys::sha256(hub.issuer().as_bytes());
        let cluster = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &name[..16]);
        Ok(Self {
            metrics: Metrics::new()?,
            groups: Coordinator::new(store, limits.groups.clone(), clock, Arc::new(SystemBytes)),
            quotas: Quotas::new(&limits),
            producers: Producers::new(limits.producers),
            sessions: Sessions::new(SessionLimits {
                sessions: limits.fetch_sessions,
                per_principal: limits.fetch_sessions_per_principal,
                partitions: limits.partitions,
                all_partitions: limits.fetch_session_partitions,
            }),
            refusals: Buckets::new(limits.refusals_per_peer),
            memory: Arc::new(Semaphore::new((limits.requests_memory >> 10).max(limits.request >> 10) + 1)),
            closing: watch::Sender::new(false),
            start: now(),
            hub,
            limits,
            host,
            port,
            cluster,
            upstream,
        })
    }

    /// Time since the listener started, for the buckets.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Figures that are taken, not counted.
    pub(crate) fn measure(&self, connections: usize) {
        let groups = self.groups.snapshot();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.groups.set(gauge(groups.groups.iter().sum()));
        self.metrics.members.set(gauge(groups.members));
        self.metrics.connections.set(gauge(connections));
    }
}

#[expect(clippy::disallowed_methods, reason = "rates and waits are measured, never stored")]
fn now() -> Instant {
    Instant::now()
}

struct HubClock(Hub);

impl Clock for HubClock {
    fn unix_millis(&self) -> i64 {
        self.0.now().millis()
    }
}

struct SystemBytes;

impl Randomness for SystemBytes {
    fn fill(&self, buffer: &mut [u8]) {
        SystemRandom.fill(buffer);
    }
}
