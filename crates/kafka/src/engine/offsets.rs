//! Offsets: of partitions, of leader epochs, and those that groups keep. Topics that do not exist for the caller are
//! answered here; the cluster hears of the others.

use std::collections::HashMap;

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

use super::{Failed, Passing};
use crate::codes::{TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION as UNKNOWN};
use crate::names::{group, transaction};
use crate::quota::Of;
use crate::wire::{Rope, text};

/// A consumer; a number of a broker's would make it one.
const CONSUMER: BrokerId = BrokerId(-1);

/// The caller's names of topics, by the cluster's.
type Asked = HashMap<TopicName, TopicName>;

/// Takes the topics for which `$find` finds no name out of `$topics`, each with why, and renames the others; their names go
/// into `$asked`.
macro_rules! split {
    ($passing:ident, $find:ident, $topics:expr, $name:ident, $asked:ident) => {{
        let (mut visible, mut hidden) = (Vec::new(), Vec::new());
        for mut topic in std::mem::take(&mut $topics) {
            match $passing.$find(&topic.$name) {
                Ok(name) => {
                    $asked.insert(name.clone(), std::mem::replace(&mut topic.$name, name));
                    visible.push(topic);
                }
                Err(code) => hidden.push((topic, code)),
            }
        }
        $topics = visible;
        hidden
    }};
}

/// Gives the topics of an answer the names that they were asked for by.
macro_rules! rename {
    ($topics:expr, $name:ident, $asked:ident) => {
        for topic in &mut $topics {
            topic.$name = $asked.get(&topic.$name).cloned().unwrap_or_default();
        }
    };
}

/// The same where all were asked for: those that do not exist for the caller are left out.
macro_rules! rename_all {
    ($passing:ident, $topics:expr, $name:ident) => {
        $topics.retain_mut(|topic| match $passing.outer_name(&topic.$name) {
            Some(name) => {
                topic.$name = name;
                true
            }
            None => false,
        })
    };
}

impl Passing<'_> {
    /// The cluster's name of a topic that exists for the caller.
    pub(super) fn inner_name(&self, name: &TopicName) -> Result<TopicName, i16> {
        let topic = self.ask.topic(name).ok_or(UNKNOWN)?;
        Ok(self.way.cluster.names.topic(&topic.product))
    }

    /// The same of one that it may read: who only publishes to it keeps no offsets of it.
    fn readable_name(&self, name: &TopicName) -> Result<TopicName, i16> {
        let topic = self.ask.topic(name).ok_or(UNKNOWN)?;
        if topic.readable { Ok(self.way.cluster.names.topic(&topic.product)) } else { Err(TOPIC_AUTHORIZATION_FAILED) }
    }

    /// The caller's name of a topic of the cluster, if that exists for it.
    fn outer_name(&self, name: &TopicName) -> Option<TopicName> {
        let product = self.way.cluster.names.product(name)?;
        let topic = self.ask.shared.hub.topic(self.ask.caller, &product)?;
        Some(TopicName(text(topic.name.as_str())))
    }

    pub(super) async fn list_offsets(&mut self) -> Result<Rope, Failed> {
        let mut request: ListOffsetsRequest = self.ask.request.decode()?;
        let version = self.ask.request.version;
        request.replica_id = CONSUMER;
        let mut asked = Asked::new();
        let hidden = split!(self, inner_name, request.topics, name, asked);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(answer.topics, name, asked);
        answer.throttle_time_ms = if version >= 2 { self.throttle(answer.throttle_time_ms) } else { 0 };
        answer.topics.extend(hidden.into_iter().map(|(topic, code)| {
            let refused = topic.partitions.iter().map(|partition| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            ListOffsetsTopicResponse::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_for_leader_epoch(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetForLeaderEpochRequest = self.ask.request.decode()?;
        request.replica_id = CONSUMER;
        let mut asked = Asked::new();
        let hidden = split!(self, inner_name, request.topics, topic, asked);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(answer.topics, topic, asked);
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        answer.topics.extend(hidden.into_iter().map(|(topic, code)| {
            let refused = topic
                .partitions
                .iter()
                .map(|partition| EpochEndOffset::default().with_partition(partition.partition).with_error_code(code));
            OffsetForLeaderTopicResult::default().with_partitions(refused.collect()).with_topic(topic.topic)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_commit(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetCommitRequest = self.ask.request.decode()?;
        let version = self.ask.request.version;
        self.ask.charge(Of::Commits, 1, self.quiet);
        let own = request.group_id.clone();
        request.group_id = group(self.organization(), &request.group_id);
        let mut asked = Asked::new();
        let hidden = split!(self, readable_name, request.topics, name, asked);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(answer.topics, name, asked);
        let stored = answer.topics.iter().filter(|topic| topic.partitions.iter().any(|p| p.error_code == 0));
        let stored = stored.filter_map(|topic| Some(self.ask.topic(&topic.name)?.product));
        self.ask.has_committed(&own, stored.collect()).await;
        answer.throttle_time_ms = if version >= 3 { self.throttle(answer.throttle_time_ms) } else { 0 };
        answer.topics.extend(hidden.into_iter().map(|(topic, code)| {
            let refused = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            OffsetCommitResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn txn_offset_commit(&mut self) -> Result<Rope, Failed> {
        let mut request: TxnOffsetCommitRequest = self.ask.request.decode()?;
        self.ask.charge(Of::Commits, 1, self.quiet);
        let own = request.group_id.clone();
        request.group_id = group(self.organization(), &request.group_id);
        request.transactional_id = transaction(self.organization(), &request.transactional_id);
        let mut asked = Asked::new();
        let hidden = split!(self, readable_name, request.topics, name, asked);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(answer.topics, name, asked);
        let stored = answer.topics.iter().filter(|topic| topic.partitions.iter().any(|p| p.error_code == 0));
        let stored = stored.filter_map(|topic| Some(self.ask.topic(&topic.name)?.product));
        self.ask.has_committed(&own, stored.collect()).await;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        answer.topics.extend(hidden.into_iter().map(|(topic, code)| {
            let refused = topic.partitions.iter().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            TxnOffsetCommitResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn offset_delete(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetDeleteRequest = self.ask.request.decode()?;
        self.ask.charge(Of::Commits, 1, self.quiet);
        request.group_id = group(self.organization(), &request.group_id);
        let mut asked = Asked::new();
        let hidden = split!(self, readable_name, request.topics, name, asked);
        let mut answer = if request.topics.is_empty() { Default::default() } else { self.call(&request).await? };
        rename!(answer.topics, name, asked);
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        answer.topics.extend(hidden.into_iter().map(|(topic, code)| {
            let refused = topic.partitions.iter().map(|partition| {
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
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
        let mut asked = Asked::new();
        let hidden = match &mut request.topics {
            Some(topics) => split!(self, inner_name, *topics, name, asked),
            None => Vec::new(),
        };
        let mut answer = self.call(&request).await?;
        match &request.topics {
            Some(_) => rename!(answer.topics, name, asked),
            None => rename_all!(self, answer.topics, name),
        }
        answer.throttle_time_ms =
            if self.ask.request.version >= 3 { self.throttle(answer.throttle_time_ms) } else { 0 };
        answer.topics.extend(hidden.into_iter().map(|(topic, code)| {
            let refused = topic.partition_indexes.iter().map(|index| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(-1)
                    .with_error_code(code)
            });
            OffsetFetchResponseTopic::default().with_partitions(refused.collect()).with_name(topic.name)
        }));
        Ok(self.ask.request.reply(&answer)?)
    }

    /// From version 8 on: several.
    async fn offsets_of_groups(&mut self) -> Result<Rope, Failed> {
        let mut request: OffsetFetchRequest = self.ask.request.decode()?;
        let mut all = Vec::new();
        for asked in &mut request.groups {
            asked.group_id = group(self.organization(), &asked.group_id);
            let mut names = Asked::new();
            let hidden = match &mut asked.topics {
                Some(topics) => split!(self, inner_name, *topics, name, names),
                None => Vec::new(),
            };
            let names = asked.topics.is_some().then_some(names);
            all.push((asked.group_id.clone(), names, hidden));
        }
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        for found in &mut answer.groups {
            let asked = all.iter().position(|(id, ..)| *id == found.group_id).map(|at| all.remove(at));
            let (_, names, hidden) = asked.unwrap_or_default();
            match names {
                Some(names) => rename!(found.topics, name, names),
                None => rename_all!(self, found.topics, name),
            }
            found.topics.extend(hidden.into_iter().map(|(topic, code)| {
                let refused = topic.partition_indexes.iter().map(|index| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(*index)
                        .with_committed_offset(-1)
                        .with_error_code(code)
                });
                OffsetFetchResponseTopics::default().with_partitions(refused.collect()).with_name(topic.name)
            }));
            found.group_id = self.own(&found.group_id).unwrap_or_default();
        }
        Ok(self.ask.request.reply(&answer)?)
    }
}
