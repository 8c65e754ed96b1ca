//! DescribeConfigs: the few settings that mean something here, all of them read-only. In front of a cluster those of topics
//! are the cluster's.

use std::collections::HashMap;

use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use tradelane_hub::Topic;
use tradelane_hub::compact::{COMPACTION_LAG, TOMBSTONE_RETENTION};
use tradelane_model::Cleanup;

use crate::apis::{Ask, Quiet};
use crate::codes;
use crate::shared::NODE;
use crate::wire::schema::Malformed;
use crate::wire::{Rope, text};

/// Kinds of resources.
pub(crate) const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Where a setting comes from: the broker's file, for all alike.
const STATIC: i8 = 4;
/// Types of settings.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// Settings of topics that the cluster has told, by the caller's names of the topics.
pub(crate) type Told = HashMap<StrBytes, Vec<DescribeConfigsResourceResult>>;

pub(crate) fn describe(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    reply(ask, ask.request.decode()?, &Told::new(), quiet.millis())
}

/// Answers the request; what is not told by a cluster is ours.
pub(crate) fn reply(
    ask: &Ask<'_>,
    request: DescribeConfigsRequest,
    told: &Told,
    throttle: i32,
) -> Result<Rope, Malformed> {
    let mut results = Vec::new();
    for resource in request.resources {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let settings = match resource.resource_type {
            TOPIC => ask.visible(&resource.resource_name, 0).map(|topic| {
                let ours = || all(of_topic(ask, &topic));
                told.get(&resource.resource_name).cloned().unwrap_or_else(ours)
            }),
            BROKER if resource.resource_name.as_str() == NODE.to_string() => Some(all(of_broker(ask))),
            _ => None,
        };
        results.push(match settings {
            Some(settings) => {
                let wanted = |name: &str| match &resource.configuration_keys {
                    None => true,
                    Some(keys) => keys.iter().any(|key| key.as_str() == name),
                };
                result.with_configs(settings.into_iter().filter(|setting| wanted(&setting.name)).collect())
            }
            None if resource.resource_type == TOPIC => result.with_error_code(codes::UNKNOWN_TOPIC_OR_PARTITION),
            None => result
                .with_error_code(codes::INVALID_REQUEST)
                .with_error_message(Some(text("Topics and this broker have settings; nothing else has."))),
        });
    }
    let response = DescribeConfigsResponse::default().with_throttle_time_ms(throttle).with_results(results);
    ask.request.reply(&response)
}

type Setting = (&'static str, String, i8);

fn all(settings: Vec<Setting>) -> Vec<DescribeConfigsResourceResult> {
    settings.into_iter().map(|(name, value, kind)| setting(name, value, kind)).collect()
}

fn of_topic(ask: &Ask<'_>, topic: &Topic) -> Vec<Setting> {
    let cleanup = match (topic.cleanup, topic.retention) {
        (Cleanup::Delete, _) => "delete",
        (Cleanup::Compact, None) => "compact",
        (Cleanup::Compact, Some(_)) => "compact,delete",
    };
    let retention = topic.retention.map_or(-1, |seconds| seconds.saturating_mul(1_000));
    vec![
        ("cleanup.policy", cleanup.to_owned(), LIST),
        ("delete.retention.ms", (TOMBSTONE_RETENTION * 1_000).to_string(), LONG),
        ("min.compaction.lag.ms", (COMPACTION_LAG * 1_000).to_string(), LONG),
        ("retention.ms", retention.to_string(), LONG),
        ("compression.type", "uncompressed".to_owned(), STRING),
        ("max.message.bytes", ask.shared.limits.request.to_string(), INT),
        ("message.timestamp.type", "CreateTime".to_owned(), STRING),
        ("min.insync.replicas", "1".to_owned(), INT),
    ]
}

fn of_broker(ask: &Ask<'_>) -> Vec<Setting> {
    let groups = &ask.shared.limits.groups;
    vec![
        ("auto.create.topics.enable", "false".to_owned(), BOOLEAN),
        ("group.max.session.timeout.ms", groups.session_timeout_max_ms.to_string(), INT),
        ("group.min.session.timeout.ms", groups.session_timeout_min_ms.to_string(), INT),
        ("message.max.bytes", ask.shared.limits.request.to_string(), INT),
        ("offset.metadata.max.bytes", groups.offset_metadata_bytes.to_string(), INT),
        ("offsets.retention.ms", groups.offsets_retention_ms.to_string(), LONG),
    ]
}

fn setting(name: &'static str, value: String, kind: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(STATIC)
        .with_config_type(kind)
}
