//! The APIs: from a request to its answer, one use case of the hub each. `Key` decides which; there is no other way in.
//!
//! A handler decodes (after the shape was checked), asks the hub as the caller, and encodes. It knows no connection.

pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod fetched;
mod group_offsets;
mod groups;
mod offsets;
pub(crate) mod produce;
pub(crate) mod topics;
mod transactions;
pub(crate) mod versions;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka_protocol::messages::TopicName;
use tradelane_hub::{Caller, HubError, Topic};
use tradelane_model::{CredentialId, ProductId};
use uuid::Uuid;

use crate::codes;
use crate::names::Names;
use crate::quota::Of;
use crate::shared::Shared;
use crate::subscription::Subscriptions;
use crate::wire::schema::Malformed;
use crate::wire::table::Key;
use crate::wire::{Request, Rope, text};

/// A request of an authenticated client.
pub(crate) struct Ask<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a Request,
    /// The address that it came from, for those who look at a group's members.
    pub(crate) host: &'a str,
    /// The caller is no longer who it was: nothing is done any more, and the answer says so.
    pub(crate) ended: bool,
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// What to send; nothing for a producer that wants no answer.
    pub(crate) rope: Option<Rope>,
    /// The connection ends after it.
    pub(crate) end: bool,
}

/// How long the client has to be quiet after the answer.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Quiet(Duration);

impl Quiet {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0 = self.0.max(time);
    }

    pub(crate) fn time(self) -> Duration {
        self.0
    }

    /// As answers carry it; part of a millisecond counts as one.
    pub(crate) fn millis(self) -> i32 {
        i32::try_from(self.0.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX)
    }
}

impl Answer {
    pub(crate) fn of(rope: Rope) -> Self {
        Self { rope: Some(rope), end: false }
    }
}

impl Ask<'_> {
    /// Counts against the caller's quotas.
    pub(crate) fn charge(&self, of: Of, amount: usize, quiet: &mut Quiet) {
        quiet.add(self.shared.quotas.charge(of, self.caller, amount, self.shared.elapsed()));
    }

    /// The scope of the caller's groups: its organization.
    fn scope(&self) -> &str {
        self.caller.organization().id.as_str()
    }

    /// The product that the caller's organization finds under that name. Whether it may see it is asked later.
    pub(crate) fn product(&self, name: &str) -> Option<ProductId> {
        self.shared.hub.product_named(self.caller, name)
    }

    /// The same of a request that carries topic ids instead of names.
    pub(crate) fn product_with_id(&self, id: Uuid) -> Option<ProductId> {
        self.shared.hub.product_with_id(self.caller, id.into_bytes())
    }

    /// The topic of that name, if it exists for the caller.
    pub(crate) fn topic(&self, name: &str) -> Option<Topic> {
        self.shared.hub.topic(self.caller, &self.product(name)?)
    }

    /// The same, if it has that partition.
    fn visible(&self, name: &str, partition: i32) -> Option<Topic> {
        let partition = u32::try_from(partition).ok()?;
        self.topic(name).filter(|topic| partition < topic.partitions)
    }

    /// A group has committed offsets of these products; their owners can learn it.
    pub(crate) async fn has_committed(&self, group: &str, products: Vec<ProductId>) {
        for product in products {
            self.shared.hub.note_group(self.caller, &product, group).await;
        }
    }

    /// May the caller delete a group that has offsets of these products? Not if there is one that others of its organization
    /// read and it may not.
    pub(crate) fn may_delete_group(&self, mut products: impl Iterator<Item = ProductId>) -> Result<(), i16> {
        match products.all(|product| self.shared.hub.may_forget(self.caller, &product)) {
            true => Ok(()),
            false => Err(codes::GROUP_AUTHORIZATION_FAILED),
        }
    }

    /// What the caller calls a product's topic.
    pub(crate) fn name_of(&self, product: &ProductId) -> TopicName {
        let name = self.shared.hub.topic_name(self.caller, product);
        name.map(|name| TopicName(text(name.as_str()))).unwrap_or_default()
    }

    /// For what members of groups say.
    pub(crate) fn subscriptions<'a>(&'a self, names: &'a Names) -> Subscriptions<'a> {
        Subscriptions { hub: &self.shared.hub, caller: self.caller, names }
    }

    /// What a refusal is for the caller.
    pub(crate) fn refusal(&self, product: &ProductId, error: &HubError) -> i16 {
        refusal(self.shared, self.caller, product, error)
    }

    /// Why there is no such topic for the caller.
    pub(crate) fn absence(&self, name: &str) -> i16 {
        self.product(name)
            .map_or(codes::UNKNOWN_TOPIC_OR_PARTITION, |product| absence(self.shared, self.caller, &product))
    }
}

/// What a refusal is for a caller: what it may not see at all does not exist.
pub(crate) fn refusal(shared: &Shared, caller: &Caller, product: &ProductId, error: &HubError) -> i16 {
    match codes::of(error) {
        codes::TOPIC_AUTHORIZATION_FAILED | codes::UNKNOWN_TOPIC_OR_PARTITION
            if shared.hub.topic(caller, product).is_none() =>
        {
            absence(shared, caller, product)
        }
        code => code,
    }
}

/// Why there is no such topic for a caller. Whose grant has ended knows of it, and is told that it may not read it any
/// more: what has gone missing, clients look for again and again.
fn absence(shared: &Shared, caller: &Caller, product: &ProductId) -> i16 {
    match shared.hub.had_topic(caller, product) {
        true => codes::TOPIC_AUTHORIZATION_FAILED,
        false => codes::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

/// Who holds a group's membership: a principal by one of its credentials, so that what was opened with a revoked one ends
/// and the rest goes on.
pub(crate) fn holder(caller: &Caller) -> String {
    holder_of(caller.principal().id.as_str(), caller.credential())
}

fn holder_of(principal: &str, credential: &CredentialId) -> String {
    format!("{principal}/{}", credential.as_str())
}

/// Answers a request.
pub(crate) fn answer<'a>(ask: &'a Ask<'a>, quiet: &'a mut Quiet) -> BoxFuture<'a, Result<Answer, Malformed>> {
    handle(ask, quiet).boxed()
}

async fn handle(ask: &Ask<'_>, quiet: &mut Quiet) -> Result<Answer, Malformed> {
    match ask.request.api.key {
        Key::Produce => return produce::answer(ask, quiet).boxed().await,
        Key::Fetch => return fetch::answer(ask, quiet).boxed().await,
        key if ask.ended || key.is_of_a_cluster() => return Ok(Answer { rope: None, end: true }),
        _ => {}
    }
    let rope = match ask.request.api.key {
        Key::ApiVersions => versions::answer(ask.request, quiet.millis(), ask.shared.upstream.as_deref()),
        Key::Metadata => topics::metadata(ask, *quiet),
        Key::DescribeTopicPartitions => topics::describe(ask, *quiet),
        Key::DescribeCluster => topics::cluster(ask, *quiet),
        Key::DescribeConfigs => configs::describe(ask, *quiet),
        Key::ListOffsets => offsets::list(ask, quiet).await,
        Key::OffsetForLeaderEpoch => offsets::for_leader_epoch(ask, *quiet).await,
        Key::FindCoordinator => groups::find_coordinator(ask, *quiet),
        Key::JoinGroup => groups::join(ask, *quiet).await,
        Key::SyncGroup => groups::sync(ask, *quiet).await,
        Key::Heartbeat => groups::heartbeat(ask, *quiet).await,
        Key::LeaveGroup => groups::leave(ask, *quiet).await,
        Key::DescribeGroups => groups::describe(ask, *quiet).await,
        Key::ListGroups => groups::list(ask, *quiet).await,
        Key::DeleteGroups => groups::delete(ask, *quiet).await,
        Key::ConsumerGroupHeartbeat => groups::newer_heartbeat(ask, *quiet),
        Key::OffsetCommit => group_offsets::commit(ask, quiet).await,
        Key::OffsetFetch => group_offsets::fetch(ask, *quiet).await,
        Key::OffsetDelete => group_offsets::delete(ask, quiet).await,
        Key::InitProducerId => transactions::init_producer(ask, *quiet),
        Key::AddPartitionsToTxn => transactions::add_partitions(ask, *quiet),
        Key::AddOffsetsToTxn => transactions::add_offsets(ask, *quiet),
        Key::EndTxn => transactions::end(ask, *quiet),
        Key::TxnOffsetCommit => transactions::commit_offsets(ask, *quiet),
        // Answered before this, or said by the connection itself.
        Key::Produce | Key::Fetch | Key::ConsumerGroupDescribe | Key::SaslHandshake | Key::SaslAuthenticate => {
            Err(Malformed::Field)
        }
    }?;
    Ok(Answer::of(rope))
}
