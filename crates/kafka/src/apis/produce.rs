//! Produce: batches of records through the hub's one governed write.
//!
//! A batch is handed on as the slice of the frame that it came in. It is stored whole or refused whole; a refusal names the
//! records and what is wrong with each (KIP-467).

use std::collections::HashSet;

use bytes::{BufMut, Bytes};
use futures_util::{FutureExt as _, StreamExt as _};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::Decodable;
use tradelane_hub::{HubError, PublishRecords, RecordsOutcome, RefusedRecord};
use tradelane_model::{ProductId, codes as hub_codes};
use tradelane_records::{Batch, BatchError, Limits};

use crate::apis::{Answer, Ask, Quiet};
use crate::codes;
use crate::producers::Sequence;
use crate::quota::Of;
use crate::wire::schema::Malformed;
use crate::wire::{Rope, text};

/// Partitions that are worked on at once.
const AT_ONCE: usize = 8;
/// Where the hub's own limits are wider than a batch's head needs, for telling why one was refused.
const HEAD: Limits = Limits { max_batch_bytes: usize::MAX, max_records: u32::MAX, max_decompressed: 0, max_headers: 0 };

pub(crate) async fn answer(ask: &Ask<'_>, quiet: &mut Quiet) -> Result<Answer, Malformed> {
    if ask.request.version < ask.request.api.min {
        return too_old(ask, quiet);
    }
    let request: ProduceRequest = ask.request.decode()?;
    ask.charge(Of::BytesIn, ask.request.body.len(), quiet);
    let all = refused_whole(ask, &request);
    let mut seen = HashSet::new();
    let mut work = Vec::new();
    for (topic, data) in request.topic_data.iter().enumerate() {
        for partition in &data.partition_data {
            let twice = !seen.insert((data.name.clone(), data.topic_id, partition.index));
            let refused = all.or(twice.then_some(codes::INVALID_REQUEST));
            work.push(one(ask, topic, data, partition, refused).boxed());
        }
    }
    let done: Vec<_> = futures_util::stream::iter(work).buffered(AT_ONCE).collect().await;
    let failed = done.iter().any(|(_, response)| response.error_code != codes::NONE);
    let ended = ask.ended || done.iter().any(|(_, r)| r.error_code == codes::SASL_AUTHENTICATION_FAILED);
    if request.acks == 0 {
        // There is no answer that could tell of a failure: the end of the connection does (as in Kafka).
        return Ok(Answer { rope: None, end: failed });
    }
    let mut topics: Vec<_> = request.topic_data.iter().map(answered).collect();
    for (topic, response) in done {
        if let Some(topic) = topics.get_mut(topic) {
            topic.partition_responses.push(response);
        }
    }
    let response = ProduceResponse::default().with_responses(topics).with_throttle_time_ms(quiet.millis());
    Ok(Answer { rope: Some(ask.request.reply(&response)?), end: ended })
}

async fn one(
    ask: &Ask<'_>,
    topic: usize,
    named: &TopicProduceData,
    data: &PartitionProduceData,
    refused: Option<i16>,
) -> (usize, PartitionProduceResponse) {
    let response = PartitionProduceResponse::default().with_index(data.index).with_base_offset(-1);
    let response = match refused {
        Some(code) => response.with_error_code(code),
        None => publish(ask, named, data.index, data.records.clone().unwrap_or_default(), response).await,
    };
    (topic, response)
}

/// What is wrong with the request as a whole.
fn refused_whole(ask: &Ask<'_>, request: &ProduceRequest) -> Option<i16> {
    let partitions: usize = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
    if ask.ended {
        Some(codes::TOPIC_AUTHORIZATION_FAILED)
    } else if request.transactional_id.is_some() {
        Some(codes::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    } else if !matches!(request.acks, -1..=1) {
        Some(codes::INVALID_REQUIRED_ACKS)
    } else if partitions > ask.shared.limits.partitions {
        Some(codes::INVALID_REQUEST)
    } else {
        None
    }
}

/// From this version on, topics are named by their ids (KIP-516).
pub(crate) const BY_ID: i16 = 13;

pub(crate) fn by_id(ask: &Ask<'_>) -> bool {
    ask.request.version >= BY_ID
}

/// The product that is published to, by name or by id.
pub(crate) fn meant(ask: &Ask<'_>, topic: &TopicProduceData) -> Option<ProductId> {
    if by_id(ask) { ask.product_with_id(topic.topic_id) } else { ask.product(&topic.name) }
}

/// An answer under the name or id that was asked with.
pub(crate) fn answered(topic: &TopicProduceData) -> TopicProduceResponse {
    TopicProduceResponse::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id)
}

async fn publish(
    ask: &Ask<'_>,
    topic: &TopicProduceData,
    index: i32,
    batch: Bytes,
    response: PartitionProduceResponse,
) -> PartitionProduceResponse {
    let named = |code| if by_id(ask) { codes::by_id(code) } else { code };
    let unknown = named(codes::UNKNOWN_TOPIC_OR_PARTITION);
    let (Some(product), Ok(partition)) = (meant(ask, topic), u32::try_from(index)) else {
        return response.with_error_code(unknown);
    };
    let sequence = match Sequence::of(&batch) {
        None => None,
        Some(sequence) => {
            let principal = &ask.caller.principal().id;
            match ask.shared.producers.check(principal, &product, partition, sequence) {
                Ok(in_sequence) => Some(in_sequence),
                // Only who may publish there hears of sequences.
                Err(code) => {
                    return match ask.shared.hub.topic(ask.caller, &product) {
                        Some(topic) if partition < topic.partitions => response.with_error_code(code),
                        _ => response.with_error_code(unknown),
                    };
                }
            }
        }
    };
    let publish = PublishRecords { product: product.clone(), partition, batch: batch.clone() };
    let outcome = ask.shared.hub.publish_records(ask.caller, publish).await;
    if let (Ok(_), Some(sequence)) = (&outcome, sequence) {
        sequence.done();
    }
    match outcome {
        Ok(RecordsOutcome::Stored(stored)) => {
            let stored = stored.value();
            response.with_base_offset(offset(stored.base_offset)).with_log_start_offset(offset(stored.start))
        }
        Ok(RecordsOutcome::Refused(records)) => refused_records(response, &ask.name_of(&product), records),
        Err(error) => {
            let code = named(why(ask, &product, &batch, &error));
            response.with_error_code(code).with_error_message(message(code, &error))
        }
    }
}

pub(crate) fn refused_records(
    response: PartitionProduceResponse,
    topic: &str,
    records: Vec<RefusedRecord>,
) -> PartitionProduceResponse {
    let first = records.first().map(|record| record.message.clone()).unwrap_or_default();
    let count = records.len();
    let errors = records.into_iter().map(|record| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(i32::try_from(record.index).unwrap_or(i32::MAX))
            .with_batch_index_error_message(Some(text(record.message)))
    });
    response
        .with_error_code(codes::INVALID_RECORD)
        .with_record_errors(errors.collect())
        .with_error_message(Some(text(format!(
            "{count} records do not keep the contract of {topic}, so that none of the batch was stored. The first: {first}"
        ))))
}

pub(crate) fn why(ask: &Ask<'_>, product: &ProductId, batch: &Bytes, error: &HubError) -> i16 {
    match error.code {
        // The producer wrote something else under the same sequence number.
        hub_codes::KEY_REUSED => codes::OUT_OF_ORDER_SEQUENCE_NUMBER,
        // The same batch is being written by another connection: the retry finds it.
        hub_codes::IN_FLIGHT => codes::KAFKA_STORAGE_ERROR,
        hub_codes::BAD_PARAMETER if is_corrupt(batch) => codes::CORRUPT_MESSAGE,
        _ => ask.refusal(product, error),
    }
}

fn is_corrupt(batch: &Bytes) -> bool {
    matches!(Batch::parse(batch, &HEAD), Err(BatchError::Crc))
}

/// What does not exist has nothing to say.
pub(crate) fn message(code: i16, error: &HubError) -> Option<kafka_protocol::protocol::StrBytes> {
    (!matches!(code, codes::UNKNOWN_TOPIC_OR_PARTITION | codes::UNKNOWN_TOPIC_ID))
        .then(|| text(format!("{}: {}", error.code, error.detail)))
}

pub(crate) fn offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// Versions 0 to 2 carry message formats that are not taken. They are advertised, since clients judge by that what a broker
/// can do, and they are refused per partition. Version 3 has one field more in front: with it, the rest is the same.
fn too_old(ask: &Ask<'_>, quiet: &Quiet) -> Result<Answer, Malformed> {
    let version = ask.request.version;
    ask.request.api.schema.check(version, &ask.request.body)?;
    let mut body = Bytes::from([&[0xff, 0xff], &ask.request.body[..]].concat());
    let request = ProduceRequest::decode(&mut body, ask.request.api.min).map_err(|_| Malformed::Field)?;
    if request.acks == 0 {
        return Ok(Answer { rope: None, end: true });
    }
    let rope = ask.request.reply_with(64, |out| {
        out.put_u32(u32::try_from(request.topic_data.len()).unwrap_or(0));
        for topic in &request.topic_data {
            out.put_u16(u16::try_from(topic.name.len()).unwrap_or(0));
            out.put_slice(topic.name.as_bytes());
            out.put_u32(u32::try_from(topic.partition_data.len()).unwrap_or(0));
            for partition in &topic.partition_data {
                out.put_i32(partition.index);
                out.put_i16(codes::UNSUPPORTED_VERSION);
                out.put_i64(-1);
                if version >= 2 {
                    out.put_i64(-1);
                }
            }
        }
        if version >= 1 {
            out.put_i32(quiet.millis());
        }
        Rope::default()
    });
    Ok(Answer::of(rope))
}
