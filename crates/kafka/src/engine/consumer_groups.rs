//! Groups of the newer protocol (KIP-848): the broker assigns, from what members say that they want.
//!
//! So what a member may not read must not be wanted: names go on only while they lead to something that it may read, and what
//! comes back is held against that once more. A pattern would be looked up among the names of all tenants; it is looked up here,
//! among those of the reader, and the broker hears of names. Topic ids are the organization's own on the outside and the
//! cluster's on the inside.

use kafka_protocol::messages::consumer_group_describe_response as described;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions as Assigned};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, MetadataRequest,
    TopicName,
};
use tradelane_hub::Topic;
use tradelane_model::ProductId;
use uuid::Uuid;

use super::cluster::METADATA;
use super::members::{Member, Refused, Wanted};
use super::{Failed, Passing};
use crate::codes;
use crate::names::{group, inside, outside};
use crate::wire::{Rope, text};

/// The brokers' assignors. What else a cluster was given is its own affair.
const ASSIGNORS: [&str; 2] = ["uniform", "range"];
const UNSUPPORTED_ASSIGNOR: Refused = Refused { code: 112, why: "The assignors are uniform and range." };
/// As a broker says it; such a member would wait for ever.
const NOT_READABLE: Refused =
    Refused { code: codes::TOPIC_AUTHORIZATION_FAILED, why: "A topic of the subscription may not be read." };

/// The longest name of a topic.
const LONGEST: usize = 249;
/// Nothing has that name.
const NOTHING: &str = "?";

impl Passing<'_> {
    pub(super) async fn consumer_group_heartbeat(&mut self) -> Result<Rope, Failed> {
        let mut request: ConsumerGroupHeartbeatRequest = self.ask.request.decode()?;
        let mut member = match self.heard(&mut request) {
            Ok(member) => member,
            Err(refused) => return self.refuse(refused),
        };
        request.group_id = group(self.organization(), &request.group_id);
        if let Some(owned) = request.topic_partitions.take() {
            request.topic_partitions = Some(self.owned_inside(owned).await?);
        }
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        // It may name topics and groups as the cluster does.
        answer.error_message = None;
        let (assignment, withheld) = match answer.assignment.take() {
            Some(assignment) => self.assigned_outside(assignment).await?,
            None => (None, false),
        };
        answer.assignment = assignment;
        if let Some(mut member) = member.take().filter(|_| answer.error_code == codes::NONE) {
            if let Some(id) = &answer.member_id {
                member.named(id);
            }
            member.withheld |= withheld;
            self.way.members.remember(member);
        }
        Ok(self.ask.request.reply(&answer)?)
    }

    /// Takes what the member says out of the request and puts there what the broker is to hear; none if the member leaves.
    fn heard(&self, request: &mut ConsumerGroupHeartbeatRequest) -> Result<Option<Member>, Refused> {
        if request.server_assignor.as_ref().is_some_and(|name| !ASSIGNORS.contains(&name.as_str())) {
            return Err(UNSUPPORTED_ASSIGNOR);
        }
        let member = if request.member_epoch < 0 {
            self.way.members.forget(&request.group_id, &request.member_id);
            None
        } else {
            Some(self.way.members.hear(request)?)
        };
        request.subscribed_topic_names = None;
        request.subscribed_topic_regex = None;
        let Some(mut member) = member else { return Ok(None) };
        // Who has never said what it wants is refused by the broker.
        if member.has_spoken() {
            let wanted = self.wanted_by(&member)?;
            request.subscribed_topic_names = member.tell(wanted)?;
        }
        Ok(Some(member))
    }

    /// What the member wants, as it is at this moment.
    fn wanted_by(&self, member: &Member) -> Result<Vec<Wanted>, Refused> {
        let names = &self.way.cluster.names;
        let found =
            |topic: &Topic| Wanted { name: names.topic(&topic.product), id: topic.id, partitions: topic.partitions };
        // Under the prefix, beyond which the hub's own user may be unknown; and no product has such a name.
        let absent = |name: &str| Wanted { name: names.topic(name), id: [0; 16], partitions: 0 };
        let mut wanted = Vec::new();
        for name in member.names() {
            wanted.push(match self.ask.topic(name) {
                Some(topic) if topic.readable => found(&topic),
                Some(_) => return Err(NOT_READABLE),
                None if name.len() > LONGEST => absent(NOTHING),
                None => absent(&inside(self.organization(), name)),
            });
        }
        if let Some(finds) = member.finds() {
            let topics = self.ask.shared.hub.topics(self.ask.caller);
            wanted.extend(topics.iter().filter(|topic| topic.readable && finds(topic.name.as_str())).map(found));
            if wanted.is_empty() {
                wanted.push(absent(NOTHING));
            }
        }
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }

    /// What a member holds, by the cluster's ids. What it may no longer read it still holds, until it has let go of it.
    async fn owned_inside(&self, owned: Vec<Owned>) -> Result<Vec<Owned>, Failed> {
        let products: Vec<_> = owned
            .into_iter()
            .filter_map(|topic| Some((self.ask.product_with_id(topic.topic_id)?, topic.partitions)))
            .collect();
        let ids = &self.way.cluster.ids;
        let names = &self.way.cluster.names;
        let name = |product: &ProductId| MetadataRequestTopic::default().with_name(Some(names.topic(product)));
        let missing = products.iter().filter(|(product, _)| ids.of(product).is_none());
        self.learn(missing.map(|(product, _)| name(product)).collect()).await?;
        let inner = |(product, partitions)| Some((ids.of(&product)?, partitions));
        let owned = products.into_iter().filter_map(inner);
        Ok(owned.map(|(id, partitions)| Owned::default().with_topic_id(id).with_partitions(partitions)).collect())
    }

    /// What the member is assigned, by its own ids; and whether there was more, which it may not read.
    async fn assigned_outside(&self, assignment: Assignment) -> Result<(Option<Assignment>, bool), Failed> {
        let ids = &self.way.cluster.ids;
        let unknown = assignment.topic_partitions.iter().filter(|topic| ids.product(topic.topic_id).is_none());
        let by_id = |topic: &Assigned| MetadataRequestTopic::default().with_name(None).with_topic_id(topic.topic_id);
        self.learn(unknown.map(by_id).collect()).await?;
        let mut withheld = false;
        let mut shown = Vec::with_capacity(assignment.topic_partitions.len());
        for assigned in assignment.topic_partitions {
            let topic = ids.product(assigned.topic_id).and_then(|product| self.readable(&product));
            let Some(topic) = topic else {
                withheld = true;
                continue;
            };
            let partitions = seen(&topic, assigned.partitions);
            if !partitions.is_empty() {
                shown.push(Assigned::default().with_topic_id(Uuid::from_bytes(topic.id)).with_partitions(partitions));
            }
        }
        Ok((Some(Assignment::default().with_topic_partitions(shown)), withheld))
    }

    /// Asks the cluster for ids and names that are not known yet.
    async fn learn(&self, topics: Vec<MetadataRequestTopic>) -> Result<(), Failed> {
        if topics.is_empty() {
            return Ok(());
        }
        let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
        let answer = self.call_in(METADATA, &request).await?;
        for topic in answer.topics.iter().filter(|topic| topic.error_code == codes::NONE) {
            let product = topic.name.as_ref().and_then(|name| self.way.cluster.names.product(name));
            if let Some(product) = product {
                self.way.cluster.ids.learn(&product, topic.topic_id);
            }
        }
        Ok(())
    }

    fn refuse(&self, refused: Refused) -> Result<Rope, Failed> {
        let answer = ConsumerGroupHeartbeatResponse::default()
            .with_throttle_time_ms(self.throttle(0))
            .with_error_code(refused.code)
            .with_error_message(Some(text(refused.why)));
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn consumer_group_describe(&mut self) -> Result<Rope, Failed> {
        let mut request: ConsumerGroupDescribeRequest = self.ask.request.decode()?;
        for name in &mut request.group_ids {
            *name = group(self.organization(), name);
        }
        request.include_authorized_operations = false;
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        for found in &mut answer.groups {
            found.group_id = self.own(&found.group_id).unwrap_or_default();
            found.error_message = None;
            for member in &mut found.members {
                self.describe_member(member);
            }
        }
        Ok(self.ask.request.reply(&answer)?)
    }

    /// As the caller may see it: topics that exist for it, and names that nobody has as they were said.
    fn describe_member(&self, member: &mut described::Member) {
        member.client_id = outside(self.organization(), &member.client_id).unwrap_or_default();
        member.subscribed_topic_regex = None;
        let said = std::mem::take(&mut member.subscribed_topic_names);
        member.subscribed_topic_names = said.iter().filter_map(|name| self.said(name)).collect();
        for assignment in [&mut member.assignment, &mut member.target_assignment] {
            let topics = std::mem::take(&mut assignment.topic_partitions).into_iter();
            assignment.topic_partitions = topics.filter_map(|topic| self.described_topic(topic)).collect();
        }
    }

    fn described_topic(&self, topic: described::TopicPartitions) -> Option<described::TopicPartitions> {
        let known = self.visible(&self.way.cluster.names.product(&topic.topic_name)?)?;
        let partitions = seen(&known, topic.partitions);
        let shown = described::TopicPartitions::default()
            .with_topic_id(Uuid::from_bytes(known.id))
            .with_topic_name(TopicName(text(known.name.as_str())));
        Some(shown.with_partitions(partitions))
    }

    /// What a member said, from what the broker was told.
    fn said(&self, name: &TopicName) -> Option<TopicName> {
        let names = &self.way.cluster.names;
        match names.product(name) {
            Some(product) => Some(TopicName(text(self.visible(&product)?.name.as_str()))),
            None => outside(self.organization(), names.bare(name)?).map(TopicName),
        }
    }

    fn visible(&self, product: &ProductId) -> Option<Topic> {
        self.ask.shared.hub.topic(self.ask.caller, product)
    }

    fn readable(&self, product: &ProductId) -> Option<Topic> {
        self.visible(product).filter(|topic| topic.readable)
    }
}

/// The partitions that a product has; a topic may have more.
fn seen(topic: &Topic, mut partitions: Vec<i32>) -> Vec<i32> {
    partitions.retain(|partition| u32::try_from(*partition).is_ok_and(|index| index < topic.partitions));
    partitions
}
