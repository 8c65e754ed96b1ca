//! Offsets: of partitions, of leader epochs, and those that groups keep. Topics that do not exist for the caller are
//! answered here; the cluster hears of the others.

use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, TopicName, TxnOffsetCommitRequest,
};

use super::names::{group, transaction};
use super::{Failed, Passing};
use crate::codes::UNKNOWN_TOPIC_OR_PARTITION as UNKNOWN;
use crate::quota::Of;
use crate::wire::Rope;

/// A consumer; a number of a broker's would make it one.
const CONSUMER: BrokerId = BrokerId(-1);

/// Takes the topics that do not exist for the caller out of `$topics` and renames the others.
macro_rules! split {
    ($passing:ident, $topics:expr, $name:ident) => {{
        let (visible, hidden): (Vec<_>, Vec<_>) =
            std::mem::take(&mut $topics).into_iter().partition(|topic| $passing.exists(&topic.$name));
        $topics = visible;
        for topic in &mut $topics {
            topic.$name = $passing.way.cluster.names.topic(&topic.$name);
        }
        hidden
    }};
}

/// Gives the topics of an answer their products' names.
macro_rules! rename {
    ($passing:ident, $topics:expr, $name:ident) => {
        for topic in &mut $topics {
            topic.$name = $passing.way.cluster.names.product(&topic.$name).unwrap_or_default();
        }
    };
}

impl Passing<'_> {
    fn exists(&self, name: &TopicName) -> bool {
        name.parse().is_ok_and(|product| self.ask.shared.hub.topic(self.ask.caller, &product).is_some())
    }

    pub(super) async fn list_offsets(&mut self) -> Result<Rope, Failed> {
        let mut request: ListOffsetsRequest = self.ask.request.decode()?;
        let version = self.ask.request.version;
        request.replica_id = CONSUMER;
        let hidden = split!(self, request.topics, name);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(self, answer.topics, name);
        answer.throttle_time_ms = if version >= 2 { self.throttle(answer.throttle_time_ms) } else { 0 };
        answer.topics.extend(hidden.into_iter().map(|topic| {
            let refused = topic.partitions.iter().map(|partition| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(UNKNOWN)
            });
            ListOffsetsTopicResponse::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_for_leader_epoch(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetForLeaderEpochRequest = self.ask.request.decode()?;
        request.replica_id = CONSUMER;
        let hidden = split!(self, request.topics, topic);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(self, answer.topics, topic);
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        answer.topics.extend(hidden.into_iter().map(|topic| {
            let refused = topic.partitions.iter().map(|partition| {
                EpochEndOffset::default().with_partition(partition.partition).with_error_code(UNKNOWN)
            });
            OffsetForLeaderTopicResult::default().with_partitions(refused.collect()).with_topic(topic.topic)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_commit(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetCommitRequest = self.ask.request.decode()?;
        let version = self.ask.request.version;
        self.ask.charge(Of::Commits, 1, self.quiet);
        request.group_id = group(self.organization(), &request.group_id);
        let hidden = split!(self, request.topics, name);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(self, answer.topics, name);
        answer.throttle_time_ms = if version >= 3 { self.throttle(answer.throttle_time_ms) } else { 0 };
        answer.topics.extend(hidden.into_iter().map(|topic| {
            let refused = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(UNKNOWN)
            });
            OffsetCommitResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn txn_offset_commit(&mut self) -> Result<Rope, Failed> {
        let mut request: TxnOffsetCommitRequest = self.ask.request.decode()?;
        self.ask.charge(Of::Commits, 1, self.quiet);
        request.group_id = group(self.organization(), &request.group_id);
        request.transactional_id = transaction(self.organization(), &request.transactional_id);
        let hidden = split!(self, request.topics, name);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(self, answer.topics, name);
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        answer.topics.extend(hidden.into_iter().map(|topic| {
            let refused = topic.partitions.iter().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(UNKNOWN)
            });
            TxnOffsetCommitResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_delete(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetDeleteRequest = self.ask.request.decode()?;
        self.ask.charge(Of::Commits, 1, self.quiet);
        request.group_id = group(self.organization(), &request.group_id);
        let hidden = split!(self, request.topics, name);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(self, answer.topics, name);
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        answer.topics.extend(hidden.into_iter().map(|topic| {
            let refused = topic.partitions.iter().map(|partition| {
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(UNKNOWN)
            });
            OffsetDeleteResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_fetch(&mut self) -> Result<Rope, Failed> {
        if self.ask.request.version >= 8 { self.offsets_of_groups().await } else { self.offsets_of_group().await }
    }

    /// Up to version 7: one group.
    async fn offsets_of_group(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetFetchRequest = self.ask.request.decode()?;
        request.group_id = group(self.organization(), &request.group_id);
        let hidden = match &mut request.topics {
            Some(topics) => split!(self, *topics, name),
            None => Vec::new(),
        };
        let mut answer = self.call(&request).await?;
        rename!(self, answer.topics, name);
        answer.topics.retain(|topic| self.exists(&topic.name));
        answer.throttle_time_ms =
            if self.ask.request.version >= 3 { self.throttle(answer.throttle_time_ms) } else { 0 };
        answer.topics.extend(hidden.into_iter().map(|topic| {
            let refused = topic.partition_indexes.iter().map(|index| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(-1)
                    .with_error_code(UNKNOWN)
            });
            OffsetFetchResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    /// From version 8 on: several.
    async fn offsets_of_groups(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetFetchRequest = self.ask.request.decode()?;
        let mut all_hidden = Vec::new();
        for asked in &mut request.groups {
            asked.group_id = group(self.organization(), &asked.group_id);
            let hidden = match &mut asked.topics {
                Some(topics) => split!(self, *topics, name),
                None => Vec::new(),
            };
            all_hidden.push((asked.group_id.clone(), hidden));
        }
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        for found in &mut answer.groups {
            rename!(self, found.topics, name);
            found.topics.retain(|topic| self.exists(&topic.name));
            let hidden = all_hidden.iter_mut().find(|(id, _)| *id == found.group_id);
            let hidden = hidden.map(|(_, hidden)| std::mem::take(hidden)).unwrap_or_default();
            found.topics.extend(hidden.into_iter().map(|topic| {
                let refused = topic.partition_indexes.iter().map(|index| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(*index)
                        .with_committed_offset(-1)
                        .with_error_code(UNKNOWN)
                });
                OffsetFetchResponseTopics::default().with_partitions(refused.collect()).with_name(topic.name)
            }));
            found.group_id = self.own(&found.group_id).unwrap_or_default();
        }
        Ok(self.ask.request.reply(&answer)?)
    }
}
