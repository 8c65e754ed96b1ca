//! Settings of topics, as the cluster has them: those that a client has a use for. What is said of brokers, and of topics of
//! which the cluster says nothing, is ours.

use std::collections::HashMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Failed, Passing};
use crate::apis::configs::{self, TOPIC, Told};
use crate::wire::{Rope, text};

/// What a cluster is asked for. Where and how it keeps its files, and what it does with replicas, is its own affair.
const TOLD: &[&str] = &[
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
];
/// The version in which a cluster is asked; every one since 2.6 has it.
const VERSION: i16 = 4;

impl Passing<'_> {
    pub(super) async fn describe_configs(&mut self) -> Result<Rope, Failed> {
        let request: DescribeConfigsRequest = self.ask.request.decode()?;
        let mut asked = HashMap::new();
        for resource in request.resources.iter().filter(|resource| resource.resource_type == TOPIC) {
            if let Ok(inner) = self.inner_name(&TopicName(resource.resource_name.clone())) {
                asked.insert(inner.0, resource.resource_name.clone());
            }
        }
        let (told, throttle) = if asked.is_empty() { (Told::new(), 0) } else { self.told(asked).await? };
        Ok(configs::reply(self.ask, request, &told, self.throttle(throttle))?)
    }

    /// What the cluster says of topics; `asked` are the caller's names of them, by the cluster's.
    async fn told(&self, asked: HashMap<StrBytes, StrBytes>) -> Result<(Told, i32), Failed> {
        let keys: Vec<_> = TOLD.iter().map(|name| text(*name)).collect();
        let resource = |name: &StrBytes| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(name.clone())
                .with_configuration_keys(Some(keys.clone()))
        };
        let request = DescribeConfigsRequest::default().with_resources(asked.keys().map(resource).collect());
        let answer = self.call_in(VERSION, &request).await?;
        let mut told = Told::new();
        for topic in answer.results.into_iter().filter(|topic| topic.error_code == 0) {
            let Some(name) = asked.get(&topic.resource_name) else { continue };
            let mut settings = topic.configs;
            settings.retain(|setting| TOLD.contains(&&*setting.name));
            for setting in &mut settings {
                // Where a value comes from names settings of brokers, and nothing can be changed from here.
                (setting.read_only, setting.documentation) = (true, None);
                setting.synonyms.clear();
            }
            told.insert(name.clone(), settings);
        }
        Ok((told, answer.throttle_time_ms))
    }
}
