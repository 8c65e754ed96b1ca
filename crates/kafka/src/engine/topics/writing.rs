//! Batches of several partitions on their way: one request for each broker, again and again until each of them is stored, or
//! refused for good, or time is up. A topic's partitions have nothing in common, so each batch comes to an end of its own; but
//! nothing is sent before all have a leader, so that a cluster that cannot take all of them is given none.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use tokio::time::{Instant, timeout_at};
use tradelane_hub::ClusterError;
use tradelane_storage::StreamId;

use super::super::link::Down;
use super::ask::Kind;
use super::{AGAIN, Topics, Tried, WRITING, index, millis};
use crate::codes;

const PRODUCE: i16 = 9;
/// How long a broker waits for its replicas.
const REPLICAS: Duration = Duration::from_secs(10);
/// Error codes that say where a batch is not, or that it does not fit.
const RECORD_LIST_TOO_LARGE: i16 = 18;
const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;

/// Batches of one product, each of a partition of its own.
pub(super) struct Writing<'a> {
    topics: &'a Topics,
    /// Of the product, should its topic be made.
    partitions: u32,
    batches: Vec<Batch>,
    /// Something was sent.
    has_begun: bool,
}

struct Batch {
    stream: StreamId,
    bytes: Bytes,
    /// Why it is not stored yet, or where it is.
    state: Result<u64, Missing>,
}

enum Missing {
    /// It is tried again; why it has to be.
    Yet(String),
    Refused(ClusterError),
}

impl<'a> Writing<'a> {
    pub(super) fn of(topics: &'a Topics, partitions: u32, batches: Vec<(StreamId, Bytes)>) -> Self {
        let batch = |(stream, bytes)| Batch { stream, bytes, state: Err(Missing::Yet("it was not sent".to_owned())) };
        Self { topics, partitions, batches: batches.into_iter().map(batch).collect(), has_begun: false }
    }

    /// Sends them until there is nothing left to be sent, or it has taken too long.
    pub(super) async fn all(mut self) -> Vec<Result<u64, ClusterError>> {
        let deadline = Instant::now() + WRITING;
        loop {
            self.once(deadline).await;
            if self.missing().next().is_none() || Instant::now() + AGAIN >= deadline {
                return self.batches.into_iter().map(Batch::outcome).collect();
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Those that are to be sent, by their places.
    fn missing(&self) -> impl Iterator<Item = (usize, &Batch)> {
        let missing = |batch: &Batch| matches!(batch.state, Err(Missing::Yet(_)));
        self.batches.iter().enumerate().filter(move |(_, batch)| missing(batch))
    }

    async fn once(&mut self, deadline: Instant) {
        let by_leader = match timeout_at(deadline, self.by_leader()).await.unwrap_or(Err(Down::Slow)) {
            Ok(Tried::Done(by_leader)) => by_leader,
            Ok(Tried::Again(why)) => return self.note_all(&why),
            Err(down) => return self.note_all(&down.to_string()),
        };
        self.has_begun = true;
        let requests = by_leader.into_iter().map(|(leader, these)| self.to_one(leader, these, deadline));
        for (place, state) in join_all(requests).await.into_iter().flatten() {
            if let Some(batch) = self.batches.get_mut(place) {
                batch.state = state;
            }
        }
    }

    fn note_all(&mut self, why: &str) {
        for batch in &mut self.batches {
            if let Err(Missing::Yet(known)) = &mut batch.state {
                why.clone_into(known);
            }
        }
    }

    /// The places of those that are to be sent, by the broker that leads their partition. Once something was sent, those
    /// without a leader are in nobody's way.
    async fn by_leader(&self) -> Result<Tried<BTreeMap<i32, Vec<usize>>>, Down> {
        let asking = &self.topics.asking;
        let mut by_leader: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, batch) in self.missing() {
            match asking.leader(&batch.stream).await {
                Ok(Some(leader)) => by_leader.entry(leader).or_default().push(place),
                Ok(None) => {
                    asking.create(&batch.stream, self.partitions).await?;
                    return Ok(Tried::Again("the topic is being made".to_owned()));
                }
                Err(down) if !self.has_begun => return Err(down),
                Err(_) => {}
            }
        }
        if by_leader.is_empty() { Err(Down::Answer("no partition has a leader")) } else { Ok(Tried::Done(by_leader)) }
    }

    /// Sends these to the broker that leads them, in one request, and tells what became of each.
    async fn to_one(&self, leader: i32, places: Vec<usize>, deadline: Instant) -> Vec<(usize, Result<u64, Missing>)> {
        let sent: Vec<(usize, &Batch)> = places.iter().filter_map(|at| Some((*at, self.batches.get(*at)?))).collect();
        let answer = timeout_at(deadline, self.produce(leader, &sent)).await.unwrap_or(Err(Down::Slow));
        let state = |stream: &StreamId| match &answer {
            Ok(answer) => self.state(stream, answer),
            Err(down) => {
                // Another broker may lead it by now.
                self.topics.asking.forget(stream);
                Err(Missing::Yet(down.to_string()))
            }
        };
        sent.into_iter().map(|(place, batch)| (place, state(&batch.stream))).collect()
    }

    async fn produce(&self, leader: i32, sent: &[(usize, &Batch)]) -> Result<Vec<PartitionProduceResponse>, Down> {
        let Some((_, first)) = sent.first() else { return Ok(Vec::new()) };
        let data = |(_, batch): &(usize, &Batch)| {
            let data = PartitionProduceData::default().with_index(index(&batch.stream)?);
            Ok(data.with_records(Some(batch.bytes.clone())))
        };
        let data = sent.iter().map(data).collect::<Result<Vec<_>, Down>>()?;
        let asking = &self.topics.asking;
        let topic = TopicProduceData::default().with_name(asking.topic(&first.stream)).with_partition_data(data);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(millis(REPLICAS))
            .with_topic_data(vec![topic]);
        let answer = asking.call(leader, Kind::Write, PRODUCE, &request).await?;
        Ok(answer.responses.into_iter().flat_map(|topic| topic.partition_responses).collect())
    }

    /// What the broker says of a partition.
    fn state(&self, stream: &StreamId, answer: &[PartitionProduceResponse]) -> Result<u64, Missing> {
        let found = answer.iter().find(|found| u32::try_from(found.index) == Ok(stream.partition));
        let Some(found) = found else { return Err(Missing::Yet("nothing of the partition".to_owned())) };
        let refused = |error| Err(Missing::Refused(error));
        match found.error_code {
            codes::NONE => u64::try_from(found.base_offset).map_err(|_| Missing::Refused(ClusterError::Numbers)),
            codes::MESSAGE_TOO_LARGE | RECORD_LIST_TOO_LARGE => refused(ClusterError::TooLarge),
            codes::INVALID_RECORD => refused(ClusterError::Unfit),
            codes::OUT_OF_ORDER_SEQUENCE_NUMBER | DUPLICATE_SEQUENCE_NUMBER => refused(ClusterError::Numbers),
            code => {
                self.topics.asking.forget(stream);
                Err(Missing::Yet(format!("error {code}")))
            }
        }
    }
}

impl Batch {
    fn outcome(self) -> Result<u64, ClusterError> {
        self.state.map_err(|missing| match missing {
            Missing::Yet(why) => ClusterError::Unavailable(why),
            Missing::Refused(error) => error,
        })
    }
}
