//! Metadata and DescribeCluster: the topics that exist for the caller, led by brokers at our addresses.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, DescribeClusterRequest, MetadataRequest, MetadataResponse,
    TopicName,
};
use tradelane_hub::Topic;
use uuid::Uuid;

use super::cluster::{Cluster, METADATA};
use super::{Failed, Passing};
use crate::apis::topics;
use crate::codes;
use crate::wire::{Rope, text};

const LEADER_NOT_AVAILABLE: i16 = 5;
const NOBODY: BrokerId = BrokerId(-1);
/// The version of CreateTopics in which a topic is made.
pub(super) const CREATE_TOPICS: i16 = 5;

/// The largest batch that a topic takes. A sealed record has some 200 bytes more than it came with, so that batches of small
/// records would not fit where they fitted before.
const LARGEST: &str = "16777216";

/// Asks for the topics of products, each with so many partitions.
pub(super) fn creation<'a>(
    cluster: &Cluster,
    products: impl IntoIterator<Item = (&'a str, u32)>,
) -> CreateTopicsRequest {
    let topic = |(product, partitions): (&str, u32)| {
        CreatableTopic::default()
            .with_name(cluster.names.topic(product))
            .with_num_partitions(i32::try_from(partitions).unwrap_or(1))
            .with_replication_factor(cluster.config.replication_factor)
            .with_configs(vec![
                CreatableTopicConfig::default().with_name(text("max.message.bytes")).with_value(Some(text(LARGEST))),
            ])
    };
    let topics = products.into_iter().map(topic).collect();
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(10_000)
}

/// Says which topics were not made.
pub(super) fn made(answer: &CreateTopicsResponse) {
    /// Somebody else was first.
    const TOPIC_ALREADY_EXISTS: i16 = 36;
    for topic in answer.topics.iter().filter(|topic| !matches!(topic.error_code, 0 | TOPIC_ALREADY_EXISTS)) {
        let (name, error) = (topic.name.as_str(), topic.error_code);
        tracing::warn!(target: "tradelane::kafka", topic = name, error, "the cluster does not make a topic");
    }
}

impl Passing<'_> {
    pub(super) async fn metadata(&mut self) -> Result<Rope, Failed> {
        let request: MetadataRequest = self.ask.request.decode()?;
        let version = self.ask.request.version;
        let operations = request.include_topic_authorized_operations;
        let (known, unknown) = self.wanted(&request);
        let names = &self.way.cluster.names;
        let topic = |topic: &Topic| MetadataRequestTopic::default().with_name(Some(names.topic(&topic.product)));
        let inner = MetadataRequest::default()
            .with_topics(Some(known.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false);
        let answer = self.call_in(METADATA, &inner).await?;
        self.way.cluster.learn(&answer.brokers);
        let mut topics = Vec::with_capacity(known.len() + unknown.len());
        let mut missing = Vec::new();
        for topic in &known {
            let name = names.topic(&topic.product);
            let found = answer.topics.iter().find(|found| found.name.as_ref() == Some(&name)).cloned();
            let mut found = found.unwrap_or_default();
            self.way.cluster.ids.learn(&topic.product, found.topic_id);
            if found.error_code == codes::UNKNOWN_TOPIC_OR_PARTITION {
                missing.push(topic);
                found.error_code = LEADER_NOT_AVAILABLE;
            }
            topics.push(self.described(topic, found, operations));
        }
        self.create(&missing).await?;
        topics.extend(unknown);
        let brokers = answer.brokers.iter().filter_map(|broker| {
            let (host, port) = self.way.cluster.place(broker.node_id)?;
            Some(broker.clone().with_host(host).with_port(port))
        });
        let brokers: Vec<_> = brokers.collect();
        let controller = self.way.cluster.place(answer.controller_id).map_or(NOBODY, |_| answer.controller_id);
        let response = MetadataResponse::default()
            .with_throttle_time_ms(if version >= 3 { self.throttle(answer.throttle_time_ms) } else { 0 })
            .with_brokers(brokers)
            .with_cluster_id(Some(text(self.ask.shared.cluster.as_str())))
            .with_controller_id(controller)
            .with_topics(topics);
        Ok(self.ask.request.reply(&response)?)
    }

    /// The topics that are asked for and exist for the caller, and answers for those that do not.
    fn wanted(&self, request: &MetadataRequest) -> (Vec<Topic>, Vec<MetadataResponseTopic>) {
        let hub = &self.ask.shared.hub;
        let version = self.ask.request.version;
        let asked = match &request.topics {
            // In version 0 an empty list asks for all.
            Some(topics) if version > 0 || !topics.is_empty() => topics,
            _ => return (hub.topics(self.ask.caller), Vec::new()),
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for topic in asked {
            let name = topics::asked_by_name(topic);
            let found = match name {
                Some(name) => self.ask.topic(name),
                None => topics::with_id(self.ask, topic.topic_id),
            };
            let not_there = MetadataResponseTopic::default();
            match (found, name) {
                (Some(topic), _) => known.push(topic),
                (None, Some(name)) => {
                    unknown.push(not_there.with_error_code(self.ask.absence(name)).with_name(Some(name.clone())))
                }
                (None, None) => unknown.push(
                    not_there
                        .with_error_code(codes::UNKNOWN_TOPIC_ID)
                        .with_topic_id(topic.topic_id)
                        // Before version 12 a name cannot be missing.
                        .with_name((version < 12).then(TopicName::default)),
                ),
            }
        }
        (known, unknown)
    }

    fn described(&self, topic: &Topic, found: MetadataResponseTopic, operations: bool) -> MetadataResponseTopic {
        let partitions = found
            .partitions
            .into_iter()
            .filter(|partition| u32::try_from(partition.partition_index).is_ok_and(|index| index < topic.partitions));
        let partitions = partitions.map(|partition| match self.way.cluster.place(partition.leader_id) {
            Some(_) => partition,
            None => partition.with_error_code(LEADER_NOT_AVAILABLE).with_leader_id(NOBODY),
        });
        let described = MetadataResponseTopic::default()
            .with_error_code(found.error_code)
            .with_name(Some(TopicName(text(topic.name.as_str()))))
            .with_topic_id(Uuid::from_bytes(topic.id))
            .with_partitions(partitions.collect());
        match operations {
            true => described.with_topic_authorized_operations(topics::allowed(topic)),
            false => described,
        }
    }

    /// Makes the topics of products that have none. Whoever asked hears that it has no leader yet, and asks again.
    async fn create(&self, missing: &[&Topic]) -> Result<(), Failed> {
        let config = &self.way.cluster.config;
        if missing.is_empty() || !config.create_topics {
            return Ok(());
        }
        let topics = missing.iter().map(|topic| (topic.product.as_str(), topic.partitions));
        made(&self.call_in(CREATE_TOPICS, &creation(&self.way.cluster, topics)).await?);
        Ok(())
    }

    pub(super) async fn describe_cluster(&mut self) -> Result<Rope, Failed> {
        let request: DescribeClusterRequest = self.ask.request.decode()?;
        if request.endpoint_type != 1 {
            return Ok(topics::cluster(self.ask, *self.quiet)?);
        }
        let request = request.with_include_cluster_authorized_operations(false);
        let answer = self.call(&request).await?;
        let brokers = answer.brokers.iter().filter_map(|broker| {
            let (host, port) = self.way.cluster.place(broker.broker_id)?;
            Some(broker.clone().with_host(host).with_port(port))
        });
        let brokers = brokers.collect();
        let controller = self.way.cluster.place(answer.controller_id).map_or(NOBODY, |_| answer.controller_id);
        let throttle = self.throttle(answer.throttle_time_ms);
        let response = answer
            .with_throttle_time_ms(throttle)
            .with_error_message(None)
            .with_cluster_id(text(self.ask.shared.cluster.as_str()))
            .with_controller_id(controller)
            .with_brokers(brokers)
            .with_cluster_authorized_operations(i32::MIN);
        Ok(self.ask.request.reply(&response)?)
    }
}
