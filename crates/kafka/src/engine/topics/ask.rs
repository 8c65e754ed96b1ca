//! Who leads a partition, and a few connections to each broker. A broker takes one request of a connection at a time, so that
//! each connection here has one at most, and what waits for a connection waits here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, TopicName};
use kafka_protocol::protocol::Request;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tradelane_storage::StreamId;

use super::super::cluster::{Cluster, METADATA};
use super::super::link::{Down, Link};
use super::super::metadata::{CREATE_TOPICS, creation, made};
use crate::codes;
use crate::wire::text;

/// What the brokers are told as the client's id.
const CLIENT: &str = "tradelane-events";
/// Connections to one broker for one kind of request.
const CONNECTIONS: usize = 8;
/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// No number of a broker's: any of them.
const ANY: i32 = -1;

/// Kinds of requests, none of which waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// For records.
    Read,
    /// With records.
    Write,
    /// For offsets, leaders and numbers.
    Look,
}

/// Asks the brokers.
pub(super) struct Asking {
    cluster: Cluster,
    /// By product and partition.
    leaders: Mutex<HashMap<Arc<str>, Vec<i32>>>,
    links: Mutex<HashMap<(i32, Kind), Arc<Links>>>,
}

struct Links {
    idle: Mutex<Vec<Link>>,
    room: Semaphore,
}

impl Asking {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, leaders: Mutex::default(), links: Mutex::default() }
    }

    /// The topic of a stream.
    pub(super) fn topic(&self, stream: &StreamId) -> TopicName {
        self.cluster.names.topic(&stream.product)
    }

    /// Asks that broker, and waits for the answer.
    pub(super) async fn call<R: Request>(
        &self,
        node: i32,
        kind: Kind,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Down> {
        let links = self.links(node, kind);
        let _place = links.room.acquire().await.map_err(|_| Down::Ended)?;
        let kept = locked(&links.idle).pop().filter(|link| !link.is_over());
        let link = match kept {
            Some(link) => link,
            None => self.cluster.connect((node != ANY).then_some(node), text(CLIENT)).await?,
        };
        let answer = timeout(PATIENCE, link.call(version, request)).await.map_err(|_| Down::Slow)??;
        locked(&links.idle).push(link);
        Ok(answer)
    }

    /// The same of any broker.
    pub(super) async fn call_any<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, Down> {
        self.call(ANY, Kind::Look, version, request).await
    }

    fn links(&self, node: i32, kind: Kind) -> Arc<Links> {
        let new = || Arc::new(Links { idle: Mutex::default(), room: Semaphore::new(CONNECTIONS) });
        Arc::clone(locked(&self.links).entry((node, kind)).or_insert_with(new))
    }

    /// The broker that led the partition when it was last asked; none if that is not known.
    pub(super) fn known_leader(&self, stream: &StreamId) -> Option<i32> {
        let partition = usize::try_from(stream.partition).ok()?;
        let leaders = locked(&self.leaders);
        leaders.get(&stream.product)?.get(partition).copied().filter(|leader| *leader >= 0)
    }

    /// The broker that leads the partition; none if there is no such partition.
    pub(super) async fn leader(&self, stream: &StreamId) -> Result<Option<i32>, Down> {
        if let Some(leader) = self.known_leader(stream) {
            return Ok(Some(leader));
        }
        let partition = usize::try_from(stream.partition).unwrap_or(usize::MAX);
        let wanted = MetadataRequestTopic::default().with_name(Some(self.topic(stream)));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
        let answer = self.call_any(METADATA, &request).await?;
        self.cluster.learn(&answer.brokers);
        let Some(topic) = answer.topics.first() else { return Err(Down::Answer("nothing of the topic")) };
        if topic.error_code == codes::UNKNOWN_TOPIC_OR_PARTITION {
            return Ok(None);
        }
        let mut leaders = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let Ok(at) = usize::try_from(partition.partition_index) else { continue };
            // A topic has each of its partitions once, whatever is said of it.
            if at >= topic.partitions.len() {
                continue;
            }
            if leaders.len() <= at {
                leaders.resize(at + 1, ANY);
            }
            if let Some(leader) = leaders.get_mut(at) {
                *leader = partition.leader_id.0;
            }
        }
        let found = leaders.get(partition).copied();
        locked(&self.leaders).insert(Arc::clone(&stream.product), leaders);
        match found {
            Some(leader) if leader >= 0 => Ok(Some(leader)),
            Some(_) => Err(Down::Answer("the partition has no leader")),
            None if topic.error_code == codes::NONE => Ok(None),
            None => Err(Down::Answer("the topic has no leaders")),
        }
    }

    /// Whoever led it may do so no more.
    pub(super) fn forget(&self, stream: &StreamId) {
        locked(&self.leaders).remove(&stream.product);
    }

    /// Makes the topic of a product, if that is the hub's to do.
    pub(super) async fn create(&self, stream: &StreamId, partitions: u32) -> Result<(), Down> {
        if !self.cluster.config.create_topics {
            return Err(Down::Answer("it has no such topic, and the hub makes none"));
        }
        let request = creation(&self.cluster, [(&*stream.product, partitions)]);
        made(&self.call_any(CREATE_TOPICS, &request).await?);
        Ok(())
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
