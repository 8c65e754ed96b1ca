//! Producer ids and transactions: the cluster's, under the organization's own names.

use std::collections::HashMap;

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};
use tradelane_hub::Topic;

use super::{Failed, Passing};
use crate::codes;
use crate::names::{group, transaction};
use crate::wire::Rope;

/// Another partition of the same request was refused.
const OPERATION_NOT_ATTEMPTED: i16 = 55;
const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
/// Producers ask again.
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;

impl Passing<'_> {
    /// For whoever may publish to anything. A refusal is the end of a producer, so one is not for what another node has heard
    /// and this one has not.
    pub(super) async fn init_producer_id(&mut self) -> Result<Rope, Failed> {
        let mut request: InitProducerIdRequest = self.ask.request.decode()?;
        let heard = if self.may_publish() { Ok(()) } else { self.ask.shared.hub.hear_others().await };
        if heard.is_err() || !self.may_publish() {
            let code = match request.transactional_id {
                _ if heard.is_err() => COORDINATOR_LOAD_IN_PROGRESS,
                Some(_) => codes::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                None => CLUSTER_AUTHORIZATION_FAILED,
            };
            let refused = InitProducerIdResponse::default()
                .with_throttle_time_ms(self.quiet.millis())
                .with_error_code(code)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            return Ok(self.ask.request.reply(&refused)?);
        }
        request.transactional_id = request.transactional_id.map(|name| transaction(self.organization(), &name));
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        Ok(self.ask.request.reply(&answer)?)
    }

    fn may_publish(&self) -> bool {
        self.ask.shared.hub.topics(self.ask.caller).iter().any(|topic| topic.publishable)
    }

    /// All partitions or none.
    pub(super) async fn add_partitions_to_txn(&mut self) -> Result<Rope, Failed> {
        let mut request: AddPartitionsToTxnRequest = self.ask.request.decode()?;
        let code = |topic: &Option<Topic>| match topic {
            None => codes::UNKNOWN_TOPIC_OR_PARTITION,
            Some(topic) if !topic.publishable => codes::TOPIC_AUTHORIZATION_FAILED,
            Some(_) => codes::NONE,
        };
        let topics: Vec<_> = request.v3_and_below_topics.iter().map(|topic| self.ask.topic(&topic.name)).collect();
        let verdicts: Vec<i16> = topics.iter().map(code).collect();
        if verdicts.iter().any(|code| *code != codes::NONE) {
            let topics = request.v3_and_below_topics.into_iter().zip(verdicts).map(|(topic, code)| {
                let code = if code == codes::NONE { OPERATION_NOT_ATTEMPTED } else { code };
                let result = |index: i32| {
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(index)
                        .with_partition_error_code(code)
                };
                AddPartitionsToTxnTopicResult::default()
                    .with_name(topic.name)
                    .with_results_by_partition(topic.partitions.into_iter().map(result).collect())
            });
            let refused = AddPartitionsToTxnResponse::default()
                .with_throttle_time_ms(self.quiet.millis())
                .with_results_by_topic_v3_and_below(topics.collect());
            return Ok(self.ask.request.reply(&refused)?);
        }
        request.v3_and_below_transactional_id =
            transaction(self.organization(), &request.v3_and_below_transactional_id);
        let names = &self.way.cluster.names;
        let mut asked = HashMap::new();
        for (topic, known) in request.v3_and_below_topics.iter_mut().zip(topics.iter().flatten()) {
            let name = names.topic(&known.product);
            asked.insert(name.clone(), std::mem::replace(&mut topic.name, name));
        }
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        for topic in &mut answer.results_by_topic_v3_and_below {
            topic.name = asked.get(&topic.name).cloned().unwrap_or_default();
        }
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn add_offsets_to_txn(&mut self) -> Result<Rope, Failed> {
        let mut request: AddOffsetsToTxnRequest = self.ask.request.decode()?;
        request.transactional_id = transaction(self.organization(), &request.transactional_id);
        request.group_id = group(self.organization(), &request.group_id);
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn end_txn(&mut self) -> Result<Rope, Failed> {
        let mut request: EndTxnRequest = self.ask.request.decode()?;
        request.transactional_id = transaction(self.organization(), &request.transactional_id);
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        Ok(self.ask.request.reply(&answer)?)
    }
}
