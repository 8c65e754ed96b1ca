//! DescribeConfigs: the few settings that mean something here, all of them read-only.

use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::apis::{Ask, Quiet};
use crate::codes;
use crate::shared::NODE;
use crate::wire::schema::Malformed;
use crate::wire::{Rope, text};

/// Kinds of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Where a setting comes from: the broker's file, for all alike.
const STATIC: i8 = 4;
/// Types of settings.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

pub(crate) fn describe(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: DescribeConfigsRequest = ask.request.decode()?;
    let mut results = Vec::new();
    for resource in request.resources {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let settings = match resource.resource_type {
            TOPIC => ask.visible(&resource.resource_name, 0).map(|_| of_topic(ask)),
            BROKER if resource.resource_name.as_str() == NODE.to_string() => Some(of_broker(ask)),
            _ => None,
        };
        results.push(match settings {
            Some(settings) => {
                let wanted = |name: &str| match &resource.configuration_keys {
                    None => true,
                    Some(keys) => keys.iter().any(|key| key.as_str() == name),
                };
                let settings = settings.into_iter().filter(|(name, ..)| wanted(name));
                result.with_configs(settings.map(|(name, value, kind)| setting(name, value, kind)).collect())
            }
            None if resource.resource_type == TOPIC => result.with_error_code(codes::UNKNOWN_TOPIC_OR_PARTITION),
            None => result
                .with_error_code(codes::INVALID_REQUEST)
                .with_error_message(Some(text("Topics and this broker have settings; nothing else has."))),
        });
    }
    let response = DescribeConfigsResponse::default().with_throttle_time_ms(quiet.millis()).with_results(results);
    ask.request.reply(&response)
}

type Setting = (&'static str, String, i8);

fn of_topic(ask: &Ask<'_>) -> Vec<Setting> {
    vec![
        ("cleanup.policy", "delete".to_owned(), LIST),
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
