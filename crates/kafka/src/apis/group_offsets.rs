//! OffsetCommit, OffsetFetch and OffsetDelete: what groups have read. Offsets of a topic are kept and deleted by who may read
//! it, and those of a topic that one may no longer see are not shown.

use std::collections::HashMap;

use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};
use tradelane_groups::{FetchedOffset, GroupError, NewOffset, OffsetCommit, OffsetFetch};
use tradelane_hub::Topic;
use tradelane_model::ProductId;

use crate::apis::groups::owned;
use crate::apis::{Ask, Quiet, holder};
use crate::codes;
use crate::quota::Of;
use crate::wire::schema::Malformed;
use crate::wire::{Rope, text};

/// The topics that there are for the caller; each looked up once per request. Offsets are kept by products, whatever their
/// topics are called.
struct Visible<'a> {
    ask: &'a Ask<'a>,
    known: HashMap<String, Option<Topic>>,
}

impl<'a> Visible<'a> {
    fn new(ask: &'a Ask<'a>) -> Self {
        Self { ask, known: HashMap::new() }
    }

    /// The product of the topic of that name, if it has the partition.
    fn product(&mut self, name: &str, partition: i32) -> Option<&str> {
        self.topic(name, partition).map(|topic| topic.product.as_str())
    }

    /// The same of one that the caller may read: who only publishes to it keeps no offsets of it.
    fn readable(&mut self, name: &str, partition: i32) -> Result<&str, i16> {
        let topic = self.topic(name, partition).ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
        if topic.readable { Ok(topic.product.as_str()) } else { Err(codes::TOPIC_AUTHORIZATION_FAILED) }
    }

    fn topic(&mut self, name: &str, partition: i32) -> Option<&Topic> {
        let ask = self.ask;
        let topic = self.known.entry(name.to_owned()).or_insert_with(|| ask.topic(name)).as_ref()?;
        let is_there = u32::try_from(partition).is_ok_and(|partition| partition < topic.partitions);
        is_there.then_some(topic)
    }
}

pub(crate) async fn commit(ask: &Ask<'_>, quiet: &mut Quiet) -> Result<Rope, Malformed> {
    let request: OffsetCommitRequest = ask.request.decode()?;
    ask.charge(Of::Commits, 1, quiet);
    let mut visible = Visible::new(ask);
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let product = visible.readable(&topic.name, partition.partition_index);
            let response = OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
            partitions.push(response.with_error_code(product.err().unwrap_or(codes::NONE)));
            if let Ok(product) = product {
                offsets.push(NewOffset {
                    topic: product.to_owned(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: owned(partition.committed_metadata.as_ref()).unwrap_or_default(),
                });
            }
        }
        topics.push(OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    let commit = OffsetCommit {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        principal: holder(ask.caller),
        generation: request.generation_id_or_member_epoch,
        offsets,
    };
    let mut outcomes = ask.shared.groups.commit(ask.scope(), commit).await.into_iter();
    let asked = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in asked.filter(|partition| partition.error_code == codes::NONE) {
        let outcome = outcomes.next().unwrap_or(Err(GroupError::UnknownServerError));
        partition.error_code = super::groups::code(outcome);
    }
    let is_stored = |topic: &&OffsetCommitResponseTopic| topic.partitions.iter().any(|p| p.error_code == codes::NONE);
    let stored = topics.iter().filter(is_stored).filter_map(|topic| visible.known.get(topic.name.as_str())?.as_ref());
    ask.has_committed(&request.group_id, stored.map(|topic| topic.product.clone()).collect()).await;
    ask.request.reply(&OffsetCommitResponse::default().with_throttle_time_ms(quiet.millis()).with_topics(topics))
}

pub(crate) async fn fetch(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: OffsetFetchRequest = ask.request.decode()?;
    let response = OffsetFetchResponse::default().with_throttle_time_ms(quiet.millis());
    if ask.request.version >= 8 {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let wanted = group.topics.map(|topics| {
                let places = topics.iter().flat_map(|t| t.partition_indexes.iter().map(|p| (t.name.to_string(), *p)));
                places.collect()
            });
            let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
            groups.push(match fetched(ask, &group.group_id, wanted).await {
                Ok(topics) => answer.with_topics(topics.into_iter().map(in_group).collect()),
                Err(error) => answer.with_error_code(error.code()),
            });
        }
        return ask.request.reply(&response.with_groups(groups));
    }
    let wanted = request.topics.map(|topics| {
        let places = topics.iter().flat_map(|t| t.partition_indexes.iter().map(|p| (t.name.to_string(), *p)));
        places.collect()
    });
    let response = match fetched(ask, &request.group_id, wanted).await {
        Ok(topics) => response.with_topics(topics.into_iter().map(alone).collect()),
        // Version 1 has no place for an error of its own.
        Err(error) => response.with_error_code(error.code()),
    };
    ask.request.reply(&response)
}

/// A topic's offsets; none for a partition that does not exist for the caller.
type OfTopic = (String, Vec<(FetchedOffset, bool)>);

async fn fetched(ask: &Ask<'_>, group: &str, wanted: Option<Vec<(String, i32)>>) -> Result<Vec<OfTopic>, GroupError> {
    let mut visible = Visible::new(ask);
    let mut topics: Vec<OfTopic> = Vec::new();
    let mut put = |topic: &str, offset: FetchedOffset, exists: bool| match topics.last_mut() {
        Some((last, offsets)) if last == topic => offsets.push((offset, exists)),
        _ => topics.push((topic.to_owned(), vec![(offset, exists)])),
    };
    let Some(wanted) = wanted else {
        let request = OffsetFetch { group: group.to_owned(), wanted: None };
        for offset in ask.shared.groups.fetch(ask.scope(), request).await? {
            let product: Option<ProductId> = offset.topic.parse().ok();
            let topic = product.and_then(|product| ask.shared.hub.topic(ask.caller, &product));
            let Some(topic) = topic else { continue };
            if visible.product(topic.name.as_str(), offset.partition).is_some() {
                put(topic.name.as_str(), offset, true);
            }
        }
        return Ok(topics);
    };
    let products: Vec<Option<String>> =
        wanted.iter().map(|(name, partition)| visible.product(name, *partition).map(str::to_owned)).collect();
    let known = products.iter().zip(&wanted).filter_map(|(product, (_, at))| Some((product.clone()?, *at)));
    let request = OffsetFetch { group: group.to_owned(), wanted: Some(known.collect()) };
    let mut found = ask.shared.groups.fetch(ask.scope(), request).await?.into_iter();
    for ((name, partition), product) in wanted.into_iter().zip(products) {
        let nothing = || FetchedOffset { topic: name.clone(), partition, committed: None };
        let offset = if product.is_some() { found.next() } else { None };
        put(&name, offset.unwrap_or_else(nothing), product.is_some());
    }
    Ok(topics)
}

fn in_group((topic, offsets): OfTopic) -> OffsetFetchResponseTopics {
    let partitions = offsets.into_iter().map(|(fetched, exists)| {
        let response = OffsetFetchResponsePartitions::default().with_partition_index(fetched.partition);
        match fetched.committed.filter(|_| exists) {
            Some(committed) => response
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(text(committed.metadata))),
            None => response
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(text("")))
                .with_error_code(if exists { codes::NONE } else { codes::UNKNOWN_TOPIC_OR_PARTITION }),
        }
    });
    OffsetFetchResponseTopics::default().with_name(TopicName(text(topic))).with_partitions(partitions.collect())
}

fn alone(of_topic: OfTopic) -> OffsetFetchResponseTopic {
    let topic = in_group(of_topic);
    let partitions = topic.partitions.into_iter().map(|partition| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    });
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
}

pub(crate) async fn delete(ask: &Ask<'_>, quiet: &mut Quiet) -> Result<Rope, Malformed> {
    let request: OffsetDeleteRequest = ask.request.decode()?;
    ask.charge(Of::Commits, 1, quiet);
    let mut visible = Visible::new(ask);
    let mut places = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let product = visible.readable(&topic.name, partition.partition_index);
            let response = OffsetDeleteResponsePartition::default().with_partition_index(partition.partition_index);
            partitions.push(response.with_error_code(product.err().unwrap_or(codes::NONE)));
            if let Ok(product) = product {
                places.push((product.to_owned(), partition.partition_index));
            }
        }
        topics.push(OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    let response = OffsetDeleteResponse::default().with_throttle_time_ms(quiet.millis());
    let response = match ask.shared.groups.offset_delete(ask.scope(), &request.group_id, &places).await {
        Err(error) => response.with_error_code(error.code()),
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            let asked = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for partition in asked.filter(|partition| partition.error_code == codes::NONE) {
                let outcome = outcomes.next().unwrap_or(Err(GroupError::UnknownServerError));
                partition.error_code = super::groups::code(outcome);
            }
            response.with_topics(topics)
        }
    };
    ask.request.reply(&response)
}
