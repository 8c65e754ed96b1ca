//! ListOffsets and OffsetForLeaderEpoch: where a partition begins and ends, and what came when.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use tradelane_hub::{HubError, Reader, RecordBounds};
use tradelane_model::{ProductId, Timestamp};

use crate::apis::produce::offset;
use crate::apis::{Ask, Quiet};
use crate::codes;
use crate::quota::Of;
use crate::shared::LEADER_EPOCH;
use crate::wire::Rope;
use crate::wire::schema::Malformed;

/// Times that are none.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const OF_MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
/// A search for the last record's time asks about so many times.
const SEARCH: usize = 50;

pub(crate) async fn list(ask: &Ask<'_>, quiet: &mut Quiet) -> Result<Rope, Malformed> {
    let request: ListOffsetsRequest = ask.request.decode()?;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let product = ask.product(&topic.name);
            if partition.timestamp == OF_MAX_TIMESTAMP {
                ask.charge(Of::Requests, SEARCH, quiet);
            }
            let found = match &product {
                Some(product) => find(ask, product, &partition).await.map_err(|error| ask.refusal(product, &error)),
                None => Err(codes::UNKNOWN_TOPIC_OR_PARTITION),
            };
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_timestamp(-1)
                .with_offset(-1)
                .with_leader_epoch(-1);
            partitions.push(match found {
                Err(code) => response.with_error_code(code),
                Ok(None) => response,
                Ok(Some((at, time))) => {
                    let epoch = if ask.request.version >= 4 { LEADER_EPOCH } else { -1 };
                    response.with_offset(offset(at)).with_timestamp(time).with_leader_epoch(epoch)
                }
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    let response = ListOffsetsResponse::default().with_throttle_time_ms(quiet.millis()).with_topics(topics);
    ask.request.reply(&response)
}

/// The offset that is asked for, and its time in milliseconds if it was asked by time.
async fn find(
    ask: &Ask<'_>,
    product: &ProductId,
    asked: &ListOffsetsPartition,
) -> Result<Option<(u64, i64)>, HubError> {
    let hub = &ask.shared.hub;
    let index = u32::try_from(asked.partition_index).unwrap_or(u32::MAX);
    let reader = hub.reader(ask.caller, product, None).await;
    let bounds = bounds(ask, product, index, &reader).await?;
    match (asked.timestamp, reader) {
        (LATEST, _) => Ok(Some((bounds.end, -1))),
        (EARLIEST | EARLIEST_LOCAL, _) => Ok(Some((bounds.start, -1))),
        (OF_MAX_TIMESTAMP, Ok(reader)) => last_time(ask, &reader, index, bounds).await,
        (millis, Ok(reader)) if millis >= 0 => {
            let at = Timestamp(millis.saturating_mul(1_000));
            let found = hub.offset_at(&reader, index, at).await?;
            Ok(found.map(|(at, time)| (at, time.millis())))
        }
        (_, Ok(_)) => Ok(None),
        (_, Err(error)) => Err(error),
    }
}

/// Readers and publishers may know where a partition begins and ends.
async fn bounds(
    ask: &Ask<'_>,
    product: &ProductId,
    partition: u32,
    reader: &Result<Reader, HubError>,
) -> Result<RecordBounds, HubError> {
    match reader {
        Ok(reader) => ask.shared.hub.record_bounds(reader, partition).await,
        Err(_) => ask.shared.hub.record_bounds_for(ask.caller, product, partition).await,
    }
}

/// The last record and its time: records are in the order of their times, so that time is found by halving.
async fn last_time(
    ask: &Ask<'_>,
    reader: &Reader,
    partition: u32,
    bounds: RecordBounds,
) -> Result<Option<(u64, i64)>, HubError> {
    if bounds.end == bounds.start {
        return Ok(None);
    }
    let (mut low, mut high, mut last) = (0, ask.shared.hub.now().millis().saturating_add(86_400_000), None);
    while low <= high {
        let middle = low + (high - low) / 2;
        match ask.shared.hub.offset_at(reader, partition, Timestamp(middle.saturating_mul(1_000))).await? {
            Some((at, time)) => {
                last = Some((at, time.millis()));
                low = middle.max(time.millis()) + 1;
            }
            None => high = middle - 1,
        }
    }
    Ok(last)
}

pub(crate) async fn for_leader_epoch(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: OffsetForLeaderEpochRequest = ask.request.decode()?;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let response =
                EpochEndOffset::default().with_partition(partition.partition).with_leader_epoch(-1).with_end_offset(-1);
            let index = u32::try_from(partition.partition).unwrap_or(u32::MAX);
            let end = match ask.product(&topic.topic) {
                None => Err(codes::UNKNOWN_TOPIC_OR_PARTITION),
                Some(product) => {
                    let reader = ask.shared.hub.reader(ask.caller, &product, None).await;
                    let bounds = bounds(ask, &product, index, &reader).await;
                    bounds.map(|bounds| bounds.end).map_err(|error| ask.refusal(&product, &error))
                }
            };
            partitions.push(match end {
                Err(code) => response.with_error_code(code),
                // There was never another leader.
                Ok(end) if partition.leader_epoch == LEADER_EPOCH => {
                    response.with_leader_epoch(LEADER_EPOCH).with_end_offset(offset(end))
                }
                Ok(_) => response,
            });
        }
        topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
    }
    let response = OffsetForLeaderEpochResponse::default().with_throttle_time_ms(quiet.millis()).with_topics(topics);
    ask.request.reply(&response)
}
