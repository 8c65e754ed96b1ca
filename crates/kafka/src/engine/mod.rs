//! The engine over Apache Kafka: requests go on to a broker of the cluster, and their answers come back, with only names,
//! addresses and the contents of records changed. Groups, transactions, idempotence, compaction and replication are the
//! broker's own.
//!
//! Each broker has a port of ours that stands for it, and each client connection a connection of its own to the broker
//! behind its port. What may be asked is in the table of [`wire`](crate::wire); what is not understood in all parts is
//! never passed on. Products are topics; groups and transactional ids carry their organization's name on the inside.

mod ahead;
mod cluster;
pub(crate) mod config;
mod configs;
mod consumer_groups;
mod coordinator;
mod fetch;
mod groups;
mod ids;
mod link;
mod members;
mod metadata;
mod offsets;
mod produce;
mod topics;
mod transactions;

use std::sync::Arc;

use kafka_protocol::protocol::{Request, StrBytes};
use tokio::sync::Mutex;

pub(crate) use cluster::Cluster;
pub use topics::ClusterTopics;

use crate::apis::{self, Answer, Ask, Quiet};
use crate::flight::Turn;
use crate::names::inside;
use crate::wire::Rope;
use crate::wire::schema::Malformed;
use crate::wire::table::Key;
use ahead::ReadAhead;
use link::{Down, Link};
use members::Members;

/// A client connection's way to the cluster.
pub(crate) struct Way {
    cluster: Arc<Cluster>,
    /// The broker that the connection's port stands for; none: any.
    node: Option<i32>,
    link: Mutex<Option<Arc<Link>>>,
    /// Apart, as a fetch may wait long.
    fetching: Mutex<Option<Arc<Link>>>,
    ahead: ReadAhead,
    members: Members,
}

/// Why there is no answer to pass on.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Down(#[from] Down),
}

/// A request on its way.
struct Passing<'a> {
    ask: &'a Ask<'a>,
    way: &'a Arc<Way>,
    quiet: &'a mut Quiet,
    turn: &'a mut Turn,
}

impl Way {
    pub(crate) fn new(cluster: Arc<Cluster>, node: Option<i32>) -> Self {
        Self {
            cluster,
            node,
            link: Mutex::default(),
            fetching: Mutex::default(),
            ahead: ReadAhead::default(),
            members: Members::default(),
        }
    }

    /// Forgets what was read ahead and what members of groups said: the consumer has gone, or has shown another credential.
    pub(crate) fn give_up(&self) {
        self.ahead.give_up();
        self.members.forget_all();
    }

    /// A connection to the broker, kept in that place. One that has ended is made anew.
    async fn link(&self, place: &Mutex<Option<Arc<Link>>>, client: StrBytes) -> Result<Arc<Link>, Down> {
        let mut held = place.lock().await;
        if let Some(link) = held.as_ref().filter(|link| !link.is_over()) {
            return Ok(Arc::clone(link));
        }
        let link = Arc::new(self.cluster.connect(self.node, client).await?);
        *held = Some(Arc::clone(&link));
        Ok(link)
    }
}

/// Answers a request. A broker that cannot be reached ends the client's connection, as its own end would.
pub(crate) async fn answer(
    ask: &Ask<'_>,
    way: &Arc<Way>,
    quiet: &mut Quiet,
    turn: &mut Turn,
) -> Result<Answer, Malformed> {
    let offered = way.cluster.offers(ask.request.api);
    let in_range = offered.is_some_and(|(least, most)| (least..=most).contains(&ask.request.version));
    let key = ask.request.api.key;
    match key {
        // Who is gone, and formats that nobody takes, are answered as everywhere.
        Key::Produce | Key::Fetch if ask.ended => return apis::answer(ask, quiet).await,
        Key::Produce if ask.request.version < ask.request.api.min => return apis::answer(ask, quiet).await,
        _ if ask.ended || !in_range => return Ok(Answer { rope: None, end: true }),
        _ => {}
    }
    let mut passing = Passing { ask, way, quiet, turn };
    let passed = match key {
        Key::Produce => passing.produce().await,
        Key::Fetch => passing.fetch().await.map(Answer::of),
        _ => passing.other(key).await.map(Answer::of),
    };
    match passed {
        Ok(answer) => Ok(answer),
        Err(Failed::Malformed(malformed)) => Err(malformed),
        Err(Failed::Down(error)) => {
            let node = way.node;
            tracing::warn!(target: "tradelane::kafka", node, %error, "the cluster cannot be asked");
            Ok(Answer { rope: None, end: true })
        }
    }
}

impl Passing<'_> {
    async fn other(&mut self, key: Key) -> Result<Rope, Failed> {
        match key {
            Key::Metadata => self.metadata().await,
            Key::DescribeCluster => self.describe_cluster().await,
            Key::ListOffsets => self.list_offsets().await,
            Key::OffsetForLeaderEpoch => self.offset_for_leader_epoch().await,
            Key::FindCoordinator => self.find_coordinator().await,
            Key::JoinGroup => self.join_group().await,
            Key::SyncGroup => self.sync_group().await,
            Key::Heartbeat => self.heartbeat().await,
            Key::LeaveGroup => self.leave_group().await,
            Key::DescribeGroups => self.describe_groups().await,
            Key::ListGroups => self.list_groups().await,
            Key::DeleteGroups => self.delete_groups().await,
            Key::ConsumerGroupHeartbeat => self.consumer_group_heartbeat().await,
            Key::ConsumerGroupDescribe => self.consumer_group_describe().await,
            Key::OffsetCommit => self.offset_commit().await,
            Key::OffsetFetch => self.offset_fetch().await,
            Key::OffsetDelete => self.offset_delete().await,
            Key::DescribeConfigs => self.describe_configs().await,
            Key::InitProducerId => self.init_producer_id().await,
            Key::AddPartitionsToTxn => self.add_partitions_to_txn().await,
            Key::AddOffsetsToTxn => self.add_offsets_to_txn().await,
            Key::EndTxn => self.end_txn().await,
            Key::TxnOffsetCommit => self.txn_offset_commit().await,
            Key::Produce
            | Key::Fetch
            | Key::DescribeTopicPartitions
            | Key::ApiVersions
            | Key::SaslHandshake
            | Key::SaslAuthenticate => Err(Malformed::Field.into()),
        }
    }

    /// The caller's organization, which its groups and transactions are of.
    fn organization(&self) -> &str {
        self.ask.caller.organization().id.as_str()
    }

    /// Asks the broker, in the client's own version.
    async fn call<R: Request>(&self, request: &R) -> Result<R::Response, Failed> {
        self.call_in(self.ask.request.version, request).await
    }

    async fn call_in<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, Failed> {
        Ok(self.link().await?.call(version, request).await?)
    }

    async fn link(&self) -> Result<Arc<Link>, Down> {
        self.way.link(&self.way.link, self.client()).await
    }

    /// What the broker is told as the client's id.
    fn client(&self) -> StrBytes {
        inside(self.organization(), &self.ask.request.client)
    }

    /// How long the client has to be quiet: as long as we or the broker say.
    fn throttle(&self, of_broker: i32) -> i32 {
        of_broker.max(self.quiet.millis())
    }
}
