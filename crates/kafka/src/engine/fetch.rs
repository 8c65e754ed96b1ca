//! Fetch: the cluster's batches as the reader's view shows them. Offsets, transaction markers and the lists of aborted
//! transactions stay as they are; a view leaves gaps, as compaction does.
//!
//! Fetch sessions of clients end here: every fetch is made whole before anything else, so that what a caller may see is
//! decided anew each time, and the cluster is asked without sessions.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tradelane_hub::{Caller, Reader, RenderedPage};
use tradelane_model::ProductId;
use uuid::Uuid;

use super::cluster::BY_NAME;
use super::{Down, Failed, Passing, Way};
use crate::apis;
use crate::apis::fetch::{begun, meant, named_as};
use crate::apis::fetched::{self, FetchedPartition, FetchedTopic};
use crate::codes;
use crate::quota::Of;
use crate::sessions::NO_SESSION;
use crate::shared::Shared;
use crate::wire::Rope;

/// Towards the cluster, all partitions are named each time.
const ALL_NAMED: i32 = -1;
/// The bytes of a batch before those that its length counts.
const LOG_OVERHEAD: usize = 12;

impl Passing<'_> {
    pub(super) async fn fetch(&mut self) -> Result<Rope, Failed> {
        let (request, part) = match begun(self.ask, self.ask.request.decode()?) {
            Ok(begun) => begun,
            Err(code) => return Ok(fetched::encode(self.ask.request, self.throttle(0), code, NO_SESSION, &[])),
        };
        let fetching = Fetching {
            shared: Arc::clone(self.ask.shared),
            way: Arc::clone(self.way),
            caller: self.ask.caller.clone(),
            client: self.client(),
            version: self.ask.request.version,
        };
        let fetched = match self.way.ahead.take(&fetching, &request).await {
            Some(fetched) => fetched,
            None => fetching.fetch(request.clone()).await?,
        };
        if fetched.code != codes::NONE {
            let throttle = self.throttle(fetched.throttle);
            return Ok(fetched::encode(self.ask.request, throttle, fetched.code, NO_SESSION, &[]));
        }
        self.ask.charge(Of::BytesOut, fetched.bytes(), self.quiet);
        let throttle = self.throttle(fetched.throttle);
        let shared = self.ask.shared;
        let mut topics = fetched.told(request.isolation_level == 1);
        let session = shared.sessions.finish(&part, &request, &mut topics, shared.elapsed());
        let rope = fetched::encode(self.ask.request, throttle, codes::NONE, session, &topics);
        if throttle == 0 {
            self.way.ahead.begin(fetching, || shared.sessions.next(session, &request), &fetched);
        }
        Ok(rope)
    }
}

/// Whoever fetches, by what way: all that it takes, also when nobody waits for it yet.
pub(super) struct Fetching {
    pub(super) shared: Arc<Shared>,
    pub(super) way: Arc<Way>,
    pub(super) caller: Caller,
    client: StrBytes,
    version: i16,
}

/// What a fetch came to.
pub(super) struct Fetched {
    throttle: i32,
    /// Of the whole.
    code: i16,
    pub(super) topics: Vec<Topic>,
}

/// A topic of the request, and what there is of it.
pub(super) struct Topic {
    /// As it was asked for.
    pub(super) named: FetchTopic,
    pub(super) reader: Result<(ProductId, Reader), i16>,
    pub(super) shown: Vec<Shown>,
}

/// A partition as the reader is told of it.
pub(super) struct Shown {
    pub(super) index: i32,
    error: i16,
    /// What the cluster says of it, without its records; nothing if the reader is not to hear that.
    found: Option<PartitionData>,
    pub(super) page: Option<RenderedPage>,
}

impl Fetching {
    /// Asks the cluster and shows what it has.
    pub(super) async fn fetch(&self, mut request: FetchRequest) -> Result<Fetched, Down> {
        let mut topics = Vec::with_capacity(request.topics.len());
        for named in std::mem::take(&mut request.topics) {
            let reader = self.reader(&named).await.map_err(|code| named_as(self.version, code));
            topics.push(Topic { named, reader, shown: Vec::new() });
        }
        let answer = self.found(request, &topics).await?;
        let parts = answer.responses.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |found| ((topic.topic.clone(), found.partition_index), found))
        });
        let mut found: HashMap<_, _> = parts.collect();
        // Together, so that their leaves are written as one group.
        let shown = topics.iter().map(|topic| self.shown(topic, self.taken(topic, &mut found)));
        let shown = join_all(shown.collect::<Vec<_>>()).await;
        for (topic, shown) in topics.iter_mut().zip(shown) {
            topic.shown = shown;
        }
        Ok(Fetched { throttle: answer.throttle_time_ms, code: answer.error_code, topics })
    }

    async fn reader(&self, topic: &FetchTopic) -> Result<(ProductId, Reader), i16> {
        let product = meant(&self.shared.hub, &self.caller, self.version, topic);
        let product = product.ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
        match self.shared.hub.reader(&self.caller, &product, None).await {
            Ok(reader) => Ok((product, reader)),
            Err(error) => Err(apis::refusal(&self.shared, &self.caller, &product, &error)),
        }
    }

    /// What the cluster has of what may be read.
    async fn found(&self, request: FetchRequest, asked: &[Topic]) -> Result<FetchResponse, Down> {
        let limits = &self.shared.limits;
        let names = &self.way.cluster.names;
        // By the product's name, whatever the client asked by.
        let readable = asked.iter().filter_map(|topic| Some((topic.reader.as_ref().ok()?, &topic.named.partitions)));
        let topics: Vec<_> = readable
            .map(|((product, _), asked)| {
                // What only later versions have is not for brokers.
                let plain = |asked: &FetchPartition| asked.clone().with_replica_directory_id(Uuid::nil());
                FetchTopic::default()
                    .with_topic(names.topic(product))
                    .with_partitions(asked.iter().map(plain).collect())
            })
            .collect();
        if topics.is_empty() {
            return Ok(FetchResponse::default());
        }
        let whole = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let wait = i32::try_from(limits.fetch_wait.as_millis()).unwrap_or(i32::MAX);
        // What is refused is told at once.
        let wait = if topics.len() < asked.len() { 0 } else { wait };
        let inner = request
            .with_cluster_id(None)
            .with_replica_id(BrokerId(-1))
            .with_replica_state(ReplicaState::default())
            .with_session_id(0)
            .with_session_epoch(ALL_NAMED)
            .with_forgotten_topics_data(Vec::new())
            .with_topics(topics);
        let (longest, most) = (inner.max_wait_ms.clamp(0, wait), inner.max_bytes.clamp(1, whole(limits.fetch_bytes)));
        let link = self.way.link(&self.way.fetching, self.client.clone()).await?;
        link.call(self.version.min(BY_NAME), &inner.with_max_wait_ms(longest).with_max_bytes(most)).await
    }

    /// What was found of a topic, and the offsets that were asked for. A client may name a topic in several places
    /// (@platformatic/kafka does, once for each partition); each partition is shown where it is asked for first.
    fn taken(&self, topic: &Topic, found: &mut HashMap<(TopicName, i32), PartitionData>) -> Vec<(i64, PartitionData)> {
        let Ok((product, _)) = &topic.reader else { return Vec::new() };
        let inner = self.way.cluster.names.topic(product);
        let asked = topic.named.partitions.iter();
        asked.filter_map(|asked| Some((asked.fetch_offset, found.remove(&(inner.clone(), asked.partition))?))).collect()
    }

    /// The partitions of a topic, as the reader's view shows them.
    async fn shown(&self, topic: &Topic, found: Vec<(i64, PartitionData)>) -> Vec<Shown> {
        match &topic.reader {
            Ok((product, reader)) => {
                join_all(found.into_iter().map(|(from, found)| self.shown_partition(product, reader, from, found)))
                    .await
            }
            Err(code) => topic.named.partitions.iter().map(|asked| Shown::nothing(asked.partition, *code)).collect(),
        }
    }

    async fn shown_partition(
        &self,
        product: &ProductId,
        reader: &Reader,
        from: i64,
        mut found: PartitionData,
    ) -> Shown {
        let batches = found.records.take().as_ref().map(whole_batches).unwrap_or_default();
        let index = found.partition_index;
        // A partition that only the cluster has is no partition of the product's.
        let Ok(partition) = u32::try_from(index) else {
            return Shown::nothing(index, codes::UNKNOWN_TOPIC_OR_PARTITION);
        };
        let from = u64::try_from(from).unwrap_or(0);
        match self.shared.hub.render_records(reader, partition, from, batches).await {
            Ok(page) => Shown { index, error: found.error_code, found: Some(found), page: Some(page) },
            Err(error) => Shown::nothing(index, apis::refusal(&self.shared, &self.caller, product, &error)),
        }
    }
}

impl Fetched {
    /// Of records.
    pub(super) fn bytes(&self) -> usize {
        let shown = self.topics.iter().flat_map(|topic| &topic.shown);
        shown.flat_map(Shown::batches).map(Bytes::len).sum()
    }

    fn told(&self, read_committed: bool) -> Vec<FetchedTopic<'_>> {
        self.topics
            .iter()
            .map(|topic| FetchedTopic {
                partitions: topic.shown.iter().map(|shown| shown.told(read_committed)).collect(),
                ..FetchedTopic::of(&topic.named)
            })
            .collect()
    }
}

impl Shown {
    fn nothing(index: i32, error: i16) -> Self {
        Self { index, error, found: None, page: None }
    }

    /// Is there nothing to be said against it?
    pub(super) fn is_well(&self) -> bool {
        self.error == codes::NONE && self.found.is_some()
    }

    pub(super) fn batches(&self) -> &[Bytes] {
        self.page.as_ref().map_or(&[], |page| &page.batches)
    }

    fn told(&self, read_committed: bool) -> FetchedPartition<'_> {
        let known = |of: fn(&PartitionData) -> i64| self.found.as_ref().map_or(-1, of);
        let aborted = self.found.as_ref().and_then(|found| found.aborted_transactions.as_deref());
        FetchedPartition {
            index: self.index,
            error: self.error,
            high_watermark: known(|found| found.high_watermark),
            last_stable: known(|found| found.last_stable_offset),
            start: known(|found| found.log_start_offset),
            aborted: read_committed.then_some(aborted.unwrap_or_default()),
            preferred_replica: self.found.as_ref().map_or(-1, |found| found.preferred_read_replica.0),
            batches: self.batches(),
        }
    }
}

/// Cuts records into batches; one that is not whole, at the end, is left out.
pub(super) fn whole_batches(records: &Bytes) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let mut rest = records.clone();
    while let Some(length) = rest.get(8..).and_then(|bytes| bytes.first_chunk::<4>()) {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { break };
        let Some(end) = length.checked_add(LOG_OVERHEAD).filter(|end| *end <= rest.len()) else { break };
        batches.push(rest.split_to(end));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_cut_is_left_out() {
        let batch = |length: i32| [&[0; 8], &length.to_be_bytes()[..], &vec![7; length as usize]].concat();
        let records = Bytes::from([batch(50), batch(60), batch(70)[..40].to_vec()].concat());
        let lengths: Vec<_> = whole_batches(&records).iter().map(Bytes::len).collect();
        assert_eq!(lengths, [62, 72]);
        assert!(whole_batches(&Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1])).is_empty());
    }
}
