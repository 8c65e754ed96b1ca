//! The cluster's topics for the hub's own reading and writing: what comes and goes over other listeners than Kafka's.
//!
//! A client of the brokers like any other: it finds a partition's leader, asks it over one of a few connections, and begins
//! again when the leader has moved. It reads what is committed and nothing else ([`mod@committed`]), waits for many readers with
//! one question per broker ([`waiting`]), and sends batches, in one request per broker ([`writing`]), under numbers by which the
//! cluster knows each again ([`numbers`]).
//! What is in a batch it does not know.

mod ask;
mod committed;
mod numbers;
mod waiting;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};
use tokio::time::{Instant, timeout_at};
use tradelane_hub::{BatchNumbers, ClusterError, ClusterLog, Committed};
use tradelane_storage::{Bounds, StreamId};
use tradelane_transport::{TlsConnector, TransportError};

use self::ask::{Asking, Kind};
use self::committed::committed;
use self::numbers::Numbers;
use self::waiting::Waiting;
use self::writing::Writing;
use super::cluster::Cluster;
use super::config::UpstreamConfig;
use super::fetch::whole_batches;
use super::link::Down;
use crate::codes;
use crate::serve::ServeError;

/// Versions in which the brokers are asked; all of 4.x have them.
const FETCH: i16 = 12;
const LIST_OFFSETS: i16 = 7;

/// A consumer; a number of a broker's would make it one.
const CONSUMER: BrokerId = BrokerId(-1);
const READ_COMMITTED: i8 = 1;
/// What ListOffsets takes for the first offset that is kept, and for the end.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// How long it is tried to read, and to write, while leaders move and brokers come back.
const READING: Duration = Duration::from_secs(5);
const WRITING: Duration = Duration::from_secs(20);
/// Between one try and the next.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a broker waits for what must be there, and how often it is asked for it.
const THERE: Duration = Duration::from_millis(500);
const TRIES: u32 = 3;

/// A cluster's topics, for [`tradelane_hub::Hub::open_before_cluster`].
#[derive(Clone)]
pub struct ClusterTopics(Arc<Topics>);

pub(super) struct Topics {
    asking: Asking,
    waiting: Waiting,
    numbers: Numbers,
}

impl std::fmt::Debug for ClusterTopics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterTopics(..)")
    }
}

impl ClusterTopics {
    /// Reads the authorities' certificates; connects when it is first asked for something.
    pub fn new(upstream: UpstreamConfig) -> Result<Self, ServeError> {
        let tls = upstream.authorities.as_deref().map(TlsConnector::trusting).transpose();
        let tls = tls.map_err(TransportError::from)?;
        let cluster = Cluster::new(upstream, tls, "", std::collections::BTreeMap::new());
        Ok(Self(Arc::new(Topics {
            asking: Asking::new(cluster),
            waiting: Waiting::default(),
            numbers: Numbers::default(),
        })))
    }
}

/// What a try came to.
enum Tried<T> {
    Done(T),
    /// It may be otherwise soon: the leader has moved, or is being chosen.
    Again(String),
}

#[async_trait]
impl ClusterLog for ClusterTopics {
    async fn bounds(&self, stream: &StreamId) -> Result<Option<Bounds>, ClusterError> {
        let this = &self.0;
        tried(READING, || async {
            let Some(leader) = this.asking.leader(stream).await? else { return Ok(Tried::Done(None)) };
            let (start, end) =
                tokio::try_join!(this.offset(leader, stream, EARLIEST), this.offset(leader, stream, LATEST))?;
            match (start, end) {
                (Ok(start), Ok(end)) => Ok(Tried::Done(Some(Bounds { start, end: end.max(start) }))),
                (Err(code), _) | (_, Err(code)) => Ok(this.moved(stream, code)),
            }
        })
        .await
    }

    async fn read(&self, stream: &StreamId, from: u64, max_bytes: usize) -> Result<Committed, ClusterError> {
        let mut last = Committed { next: from, ..Committed::default() };
        // A broker that is asked too much, or that fetches from elsewhere, may have nothing to say for the moment.
        for _ in 0..TRIES {
            last = self.0.read_once(stream, from, max_bytes).await?;
            if last.next > from {
                break;
            }
        }
        Ok(last)
    }

    async fn wait(&self, stream: &StreamId, offset: u64) {
        Waiting::wait(&self.0, stream, offset).await;
    }

    async fn number(&self, streams: &[StreamId]) -> Result<Vec<BatchNumbers>, ClusterError> {
        let asking = &self.0.asking;
        tried(WRITING, || async { self.0.numbers.take(streams, asking).await }).await
    }

    async fn append(&self, partitions: u32, batches: Vec<(StreamId, Bytes)>) -> Vec<Result<u64, ClusterError>> {
        Writing::of(&self.0, partitions, batches).all().await
    }

    fn settle(&self, batches: &[(StreamId, BatchNumbers, u32)]) {
        self.0.numbers.settle(batches);
    }
}

impl Topics {
    async fn read_once(&self, stream: &StreamId, from: u64, max_bytes: usize) -> Result<Committed, ClusterError> {
        let most = i32::try_from(max_bytes).unwrap_or(i32::MAX);
        let read = tried(READING, || async {
            let nothing = || Ok(Tried::Done(Ok(Committed { next: from, ..Committed::default() })));
            let Some(leader) = self.asking.leader(stream).await? else { return nothing() };
            let Some(found) = self.fetch(leader, stream, from, most).await? else { return nothing() };
            match found.error_code {
                codes::NONE => Ok(Tried::Done(Ok(shown(found, from)))),
                codes::OFFSET_OUT_OF_RANGE => Ok(Tried::Done(Err(ClusterError::OutOfRange))),
                code => Ok(self.moved(stream, code)),
            }
        });
        read.await?
    }

    /// Asks the leader for what there is; none: it says nothing of the partition, as it does while it throttles.
    async fn fetch(&self, leader: i32, stream: &StreamId, from: u64, most: i32) -> Result<Option<PartitionData>, Down> {
        let partition = FetchPartition::default()
            .with_partition(index(stream)?)
            .with_fetch_offset(i64::try_from(from).map_err(|_| Down::Answer("to an offset that is none"))?)
            .with_partition_max_bytes(most);
        let topic = FetchTopic::default().with_topic(self.asking.topic(stream)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(CONSUMER)
            .with_max_wait_ms(millis(THERE))
            .with_min_bytes(1)
            .with_max_bytes(most)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let answer = self.asking.call(leader, Kind::Read, FETCH, &request).await?;
        if answer.error_code != codes::NONE {
            return Err(Down::Answer("a fetch is refused"));
        }
        Ok(answer.responses.into_iter().flat_map(|topic| topic.partitions).next())
    }

    /// The first or the last offset of a partition, or an error code.
    async fn offset(&self, leader: i32, stream: &StreamId, which: i64) -> Result<Result<u64, i16>, Down> {
        let request = offsets([(self.asking.topic(stream), vec![index(stream)?])], which);
        let answer = self.asking.call(leader, Kind::Look, LIST_OFFSETS, &request).await?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.ok_or(Down::Answer("nothing of the partition"))?;
        Ok(match found.error_code {
            codes::NONE => Ok(u64::try_from(found.offset).unwrap_or(0)),
            code => Err(code),
        })
    }

    /// An error code that may be another one next time.
    fn moved<T>(&self, stream: &StreamId, code: i16) -> Tried<T> {
        self.asking.forget(stream);
        Tried::Again(format!("error {code}"))
    }
}

/// What a broker says of a partition, for readers of what is committed.
fn shown(mut found: PartitionData, from: u64) -> Committed {
    let batches = found.records.take().as_ref().map(whole_batches).unwrap_or_default();
    let bytes = batches.iter().map(Bytes::len).sum();
    let aborted = found.aborted_transactions.unwrap_or_default();
    let (batches, next) = committed(batches, &aborted, from, found.last_stable_offset);
    Committed { batches, next, bytes }
}

fn offsets(
    topics: impl IntoIterator<Item = (kafka_protocol::messages::TopicName, Vec<i32>)>,
    which: i64,
) -> ListOffsetsRequest {
    let partition = |index: i32| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(which);
    let topic = |(name, partitions): (_, Vec<i32>)| {
        ListOffsetsTopic::default().with_name(name).with_partitions(partitions.into_iter().map(partition).collect())
    };
    ListOffsetsRequest::default()
        .with_replica_id(CONSUMER)
        .with_isolation_level(READ_COMMITTED)
        .with_topics(topics.into_iter().map(topic).collect())
}

fn index(stream: &StreamId) -> Result<i32, Down> {
    i32::try_from(stream.partition).map_err(|_| Down::Answer("to a partition that is none"))
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// Tries until it is done, or for so long.
async fn tried<T, F>(patience: Duration, mut once: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<Tried<T>, Down>>,
{
    let deadline = Instant::now() + patience;
    loop {
        let why = match timeout_at(deadline, once()).await.unwrap_or(Err(Down::Slow)) {
            Ok(Tried::Done(value)) => return Ok(value),
            Ok(Tried::Again(why)) => why,
            Err(down) => down.to_string(),
        };
        if Instant::now() + AGAIN >= deadline {
            return Err(ClusterError::Unavailable(why));
        }
        tokio::time::sleep(AGAIN).await;
    }
}
