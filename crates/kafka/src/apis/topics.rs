//! Metadata, DescribeTopicPartitions and DescribeCluster: the topics that exist for the caller, and the one broker that
//! there is. Nothing is ever created by asking for it.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse, TopicName,
};
use tradelane_hub::Topic;
use uuid::Uuid;

use crate::apis::{Ask, Quiet};
use crate::codes;
use crate::shared::{LEADER_EPOCH, NODE};
use crate::wire::schema::Malformed;
use crate::wire::{Rope, text};

/// Operations on a topic (Kafka's AclOperation), as bits.
const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const DESCRIBE: i32 = 1 << 8;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
/// An endpoint of another kind than the one that answers.
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
/// Most partitions of one answer to DescribeTopicPartitions.
const MOST_DESCRIBED: usize = 2_000;

pub(crate) fn metadata(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: MetadataRequest = ask.request.decode()?;
    let version = ask.request.version;
    let operations = request.include_topic_authorized_operations;
    let all = match &request.topics {
        None => true,
        // In version 0 an empty list asks for all.
        Some(topics) => version == 0 && topics.is_empty(),
    };
    let topics = if all {
        ask.shared.hub.topics(ask.caller).iter().map(|topic| described(topic, operations)).collect()
    } else {
        let asked = request.topics.unwrap_or_default();
        let answer = |topic: MetadataRequestTopic| match asked_by_name(&topic) {
            Some(name) => match ask.topic(name) {
                Some(topic) => described(&topic, operations),
                None => {
                    let absent = MetadataResponseTopic::default().with_error_code(ask.absence(name));
                    absent.with_name(Some(name.clone()))
                }
            },
            None => match with_id(ask, topic.topic_id) {
                Some(topic) => described(&topic, operations),
                None => MetadataResponseTopic::default()
                    .with_error_code(codes::UNKNOWN_TOPIC_ID)
                    .with_topic_id(topic.topic_id)
                    // Before version 12 a name cannot be missing.
                    .with_name((version < 12).then(TopicName::default)),
            },
        };
        asked.into_iter().map(answer).collect()
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE))
        .with_host(text(ask.shared.host.as_str()))
        .with_port(i32::from(ask.shared.port));
    let response = MetadataResponse::default()
        .with_throttle_time_ms(quiet.millis())
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(ask.shared.cluster.as_str())))
        .with_controller_id(BrokerId(NODE))
        .with_topics(topics);
    ask.request.reply(&response)
}

/// The name by which a topic is asked for, if it is not by its id. Beside an id Java's clients write an empty name.
pub(crate) fn asked_by_name(topic: &MetadataRequestTopic) -> Option<&TopicName> {
    topic.name.as_ref().filter(|name| !name.is_empty() || topic.topic_id.is_nil())
}

/// The topic of that id, if it exists for the caller.
pub(crate) fn with_id(ask: &Ask<'_>, id: Uuid) -> Option<Topic> {
    ask.shared.hub.topic(ask.caller, &ask.product_with_id(id)?)
}

fn described(topic: &Topic, operations: bool) -> MetadataResponseTopic {
    let partition = |index: u32| {
        MetadataResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
            .with_leader_id(BrokerId(NODE))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![BrokerId(NODE)])
            .with_isr_nodes(vec![BrokerId(NODE)])
    };
    let described = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name.as_str()))))
        .with_topic_id(Uuid::from_bytes(topic.id))
        .with_partitions((0..topic.partitions).map(partition).collect());
    if operations { described.with_topic_authorized_operations(allowed(topic)) } else { described }
}

pub(crate) fn allowed(topic: &Topic) -> i32 {
    let read = if topic.readable { READ } else { 0 };
    let write = if topic.publishable { WRITE } else { 0 };
    DESCRIBE | DESCRIBE_CONFIGS | read | write
}

pub(crate) fn describe(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: DescribeTopicPartitionsRequest = ask.request.decode()?;
    let visible = ask.shared.hub.topics(ask.caller);
    let mut names: Vec<String> = match request.topics.is_empty() {
        true => visible.iter().map(|topic| topic.name.to_string()).collect(),
        false => request.topics.iter().map(|topic| topic.name.to_string()).collect(),
    };
    names.sort();
    names.dedup();
    let (from, mut first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), u32::try_from(cursor.partition_index).unwrap_or(0)),
        None => (String::new(), 0),
    };
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, MOST_DESCRIBED);
    let (mut topics, mut next) = (Vec::new(), None);
    for name in names.into_iter().filter(|name| *name >= from) {
        if left == 0 {
            next = Some(Cursor::default().with_topic_name(TopicName(text(name))));
            break;
        }
        let begin = if name == from { std::mem::take(&mut first) } else { 0 };
        let Some(topic) = visible.iter().find(|topic| topic.name.as_str() == name) else {
            left -= 1;
            let unknown = DescribeTopicPartitionsResponseTopic::default()
                .with_error_code(codes::UNKNOWN_TOPIC_OR_PARTITION)
                .with_name(Some(TopicName(text(name))));
            topics.push(unknown);
            continue;
        };
        let end = topic.partitions.min(begin.saturating_add(u32::try_from(left).unwrap_or(u32::MAX)));
        let partition = |index: u32| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
                .with_leader_id(BrokerId(NODE))
                .with_leader_epoch(LEADER_EPOCH)
                .with_replica_nodes(vec![BrokerId(NODE)])
                .with_isr_nodes(vec![BrokerId(NODE)])
                // They may be null, and Kafka's own admin client cannot have that.
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        };
        let described = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(TopicName(text(name.as_str()))))
            .with_topic_id(Uuid::from_bytes(topic.id))
            .with_topic_authorized_operations(allowed(topic))
            .with_partitions((begin..end).map(partition).collect());
        left = left.saturating_sub(described.partitions.len());
        topics.push(described);
        if end < topic.partitions {
            let at = i32::try_from(end).unwrap_or(i32::MAX);
            next = Some(Cursor::default().with_topic_name(TopicName(text(name))).with_partition_index(at));
            break;
        }
    }
    let response = DescribeTopicPartitionsResponse::default()
        .with_throttle_time_ms(quiet.millis())
        .with_topics(topics)
        .with_next_cursor(next);
    ask.request.reply(&response)
}

pub(crate) fn cluster(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: DescribeClusterRequest = ask.request.decode()?;
    let response = DescribeClusterResponse::default().with_throttle_time_ms(quiet.millis());
    if request.endpoint_type != 1 {
        let refused = response
            .with_error_code(MISMATCHED_ENDPOINT_TYPE)
            .with_error_message(Some(text("This endpoint is a broker.")))
            .with_endpoint_type(1);
        return ask.request.reply(&refused);
    }
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE))
        .with_host(text(ask.shared.host.as_str()))
        .with_port(i32::from(ask.shared.port));
    let response = response
        .with_endpoint_type(1)
        .with_cluster_id(text(ask.shared.cluster.as_str()))
        .with_controller_id(BrokerId(NODE))
        .with_brokers(vec![broker]);
    ask.request.reply(&response)
}
