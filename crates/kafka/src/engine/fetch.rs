//! Fetch: the cluster's batches as the reader's view shows them. Offsets, transaction markers and the lists of aborted
//! transactions stay as they are; a view leaves gaps, as compaction does.
//!
//! Fetch sessions end here, towards both sides: every fetch names its partitions, so that what a caller may see is decided
//! anew each time.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use tradelane_hub::Reader;
use tradelane_model::ProductId;

use super::{Failed, Passing};
use crate::apis::fetch::meant;
use crate::codes;
use crate::quota::Of;
use crate::wire::Rope;

/// No session: all partitions are named each time.
const NO_SESSION: i32 = -1;
/// The bytes of a batch before those that its length counts.
const LOG_OVERHEAD: usize = 12;

/// A topic of the request, and what may be read of it.
struct Asked {
    name: TopicName,
    reader: Result<(ProductId, Reader), i16>,
    partitions: Vec<FetchPartition>,
}

impl Passing<'_> {
    pub(super) async fn fetch(&mut self) -> Result<Rope, Failed> {
        let mut request: FetchRequest = self.ask.request.decode()?;
        if request.session_id != 0 {
            let lost = FetchResponse::default().with_error_code(codes::FETCH_SESSION_ID_NOT_FOUND);
            return Ok(self.ask.request.reply(&lost)?);
        }
        let mut asked = Vec::with_capacity(request.topics.len());
        for topic in std::mem::take(&mut request.topics) {
            let reader = self.reader(&topic.topic).await;
            asked.push(Asked { name: topic.topic, reader, partitions: topic.partitions });
        }
        let answer = self.fetched(request, &asked).await?;
        let throttle = self.throttle(answer.throttle_time_ms);
        if answer.error_code != codes::NONE {
            let failed = FetchResponse::default().with_error_code(answer.error_code).with_throttle_time_ms(throttle);
            return Ok(self.ask.request.reply(&failed)?);
        }
        let parts = answer.responses.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |found| ((topic.topic.clone(), found.partition_index), found))
        });
        let mut found: HashMap<_, _> = parts.collect();
        let mut topics = Vec::with_capacity(asked.len());
        for topic in asked {
            let partitions = match &topic.reader {
                Ok((product, reader)) => self.shown(product, reader, &topic.partitions, &mut found).await,
                Err(code) => topic.partitions.iter().map(|partition| nothing(partition.partition, *code)).collect(),
            };
            topics.push(FetchableTopicResponse::default().with_topic(topic.name).with_partitions(partitions));
        }
        let bytes = topics.iter().flat_map(|topic| &topic.partitions);
        let bytes = bytes.map(|partition| partition.records.as_ref().map_or(0, Bytes::len)).sum();
        self.ask.charge(Of::BytesOut, bytes, self.quiet);
        let throttle = self.throttle(throttle);
        let response = FetchResponse::default().with_throttle_time_ms(throttle).with_responses(topics);
        Ok(self.ask.request.reply(&response)?)
    }

    async fn reader(&self, topic: &TopicName) -> Result<(ProductId, Reader), i16> {
        let product = meant(self.ask, topic).ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
        match self.ask.shared.hub.reader(self.ask.caller, &product, None).await {
            Ok(reader) => Ok((product, reader)),
            Err(error) => Err(self.ask.refusal(&product, &error)),
        }
    }

    /// What the cluster has of what may be read.
    async fn fetched(&self, request: FetchRequest, asked: &[Asked]) -> Result<FetchResponse, Failed> {
        let limits = &self.ask.shared.limits;
        let names = &self.way.cluster.names;
        let readable = asked.iter().filter_map(|topic| Some((topic.reader.as_ref().ok()?, &topic.partitions)));
        let topics: Vec<_> = readable
            .map(|((product, _), partitions)| {
                FetchTopic::default().with_topic(names.topic(product.as_str())).with_partitions(partitions.clone())
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
            .with_replica_id(BrokerId(-1))
            .with_session_id(0)
            .with_session_epoch(NO_SESSION)
            .with_forgotten_topics_data(Vec::new())
            .with_topics(topics);
        let (longest, most) = (inner.max_wait_ms.clamp(0, wait), inner.max_bytes.clamp(1, whole(limits.fetch_bytes)));
        self.call(&inner.with_max_wait_ms(longest).with_max_bytes(most)).await
    }

    /// Those partitions of a topic, as the reader's view shows them. A client may name a topic in several places
    /// (@platformatic/kafka does, once for each partition); each partition is shown where it is asked for first.
    async fn shown(
        &self,
        product: &ProductId,
        reader: &Reader,
        wanted: &[FetchPartition],
        found: &mut HashMap<(TopicName, i32), PartitionData>,
    ) -> Vec<PartitionData> {
        let inner = self.way.cluster.names.topic(product.as_str());
        let mut shown = Vec::with_capacity(wanted.len());
        for partition in wanted {
            if let Some(found) = found.remove(&(inner.clone(), partition.partition)) {
                shown.push(self.shown_partition(product, reader, partition.fetch_offset, found).await);
            }
        }
        shown
    }

    async fn shown_partition(
        &self,
        product: &ProductId,
        reader: &Reader,
        from: i64,
        found: PartitionData,
    ) -> PartitionData {
        let batches = found.records.as_ref().map(whole_batches).unwrap_or_default();
        let index = found.partition_index;
        // A partition that only the cluster has is no partition of the product's.
        let Ok(partition) = u32::try_from(index) else { return nothing(index, codes::UNKNOWN_TOPIC_OR_PARTITION) };
        let page = match self
            .ask
            .shared
            .hub
            .render_records(reader, partition, u64::try_from(from).unwrap_or(0), batches)
            .await
        {
            Ok(page) => page,
            Err(error) => return nothing(index, self.ask.refusal(product, &error)),
        };
        let mut shown = found.with_current_leader(LeaderIdAndEpoch::default());
        shown.records = Some(joined(page.batches));
        shown
    }
}

fn nothing(index: i32, code: i16) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(code)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_records(Some(Bytes::new()))
}

/// Cuts records into batches; one that is not whole, at the end, is left out.
fn whole_batches(records: &Bytes) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let mut rest = records.clone();
    while let Some(length) = rest.get(8..).and_then(|bytes| bytes.first_chunk::<4>()) {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { break };
        let Some(end) = length.checked_add(LOG_OVERHEAD).filter(|end| *end <= rest.len()) else { break };
        batches.push(rest.split_to(end));
    }
    batches
}

fn joined(mut batches: Vec<Bytes>) -> Bytes {
    if batches.len() == 1 {
        return batches.pop().unwrap_or_default();
    }
    batches.concat().into()
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
