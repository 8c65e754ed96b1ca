//! Producer ids, and transactions: there are none on the embedded engine, and every API of theirs says so with the one
//! error that every client reports clearly.

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};

use crate::apis::{Ask, Quiet};
use crate::codes::TRANSACTIONAL_ID_AUTHORIZATION_FAILED as NO_TRANSACTIONS;
use crate::wire::Rope;
use crate::wire::schema::Malformed;

/// A fresh id, of 63 random bits: nobody else's, and no state to keep.
pub(crate) fn init_producer(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: InitProducerIdRequest = ask.request.decode()?;
    let response = InitProducerIdResponse::default().with_throttle_time_ms(quiet.millis());
    let response = match request.transactional_id {
        Some(_) => response.with_error_code(NO_TRANSACTIONS).with_producer_id(ProducerId(-1)).with_producer_epoch(-1),
        None => {
            let id = i64::from_be_bytes(tradelane_keys::random_array()) & i64::MAX;
            response.with_producer_id(ProducerId(id)).with_producer_epoch(0)
        }
    };
    ask.request.reply(&response)
}

pub(crate) fn add_partitions(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: AddPartitionsToTxnRequest = ask.request.decode()?;
    let refused = |index: i32| {
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(index)
            .with_partition_error_code(NO_TRANSACTIONS)
    };
    let topics = request.v3_and_below_topics.into_iter().map(|topic| {
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name)
            .with_results_by_partition(topic.partitions.into_iter().map(refused).collect())
    });
    let response = AddPartitionsToTxnResponse::default()
        .with_throttle_time_ms(quiet.millis())
        .with_results_by_topic_v3_and_below(topics.collect());
    ask.request.reply(&response)
}

pub(crate) fn add_offsets(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let _: AddOffsetsToTxnRequest = ask.request.decode()?;
    let response = AddOffsetsToTxnResponse::default();
    ask.request.reply(&response.with_throttle_time_ms(quiet.millis()).with_error_code(NO_TRANSACTIONS))
}

pub(crate) fn end(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let _: EndTxnRequest = ask.request.decode()?;
    let response = EndTxnResponse::default();
    ask.request.reply(&response.with_throttle_time_ms(quiet.millis()).with_error_code(NO_TRANSACTIONS))
}

pub(crate) fn commit_offsets(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: TxnOffsetCommitRequest = ask.request.decode()?;
    let topics = request.topics.into_iter().map(|topic| {
        let refused = topic.partitions.iter().map(|partition| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(NO_TRANSACTIONS)
        });
        TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(refused.collect())
    });
    let response =
        TxnOffsetCommitResponse::default().with_throttle_time_ms(quiet.millis()).with_topics(topics.collect());
    ask.request.reply(&response)
}
