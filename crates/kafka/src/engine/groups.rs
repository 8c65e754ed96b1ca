//! Groups: each organization's own, under its own names. What members say to each other stays as it is, but for the topics
//! that they want, which the broker reads as well.

use std::collections::HashMap;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::{Failed, Passing};
use crate::codes;
use crate::names::{group, outside};
use crate::subscription::CONSUMER;
use crate::wire::Rope;

/// The version of OffsetFetch in which all offsets of several groups are asked for.
const ALL_OFFSETS: i16 = 8;

/// A request of one group's: its id is mapped, and nothing else is looked at.
macro_rules! of_one_group {
    ($passing:ident, $request:ty, $throttled:literal) => {{
        let mut request: $request = $passing.ask.request.decode()?;
        request.group_id = group($passing.organization(), &request.group_id);
        let mut answer = $passing.call(&request).await?;
        if $passing.ask.request.version >= $throttled {
            answer.throttle_time_ms = $passing.throttle(answer.throttle_time_ms);
        }
        Ok($passing.ask.request.reply(&answer)?)
    }};
}

impl Passing<'_> {
    pub(super) async fn join_group(&mut self) -> Result<Rope, Failed> {
        let mut request: JoinGroupRequest = self.ask.request.decode()?;
        request.group_id = group(self.organization(), &request.group_id);
        let subscriptions = self.ask.subscriptions(&self.way.cluster.names);
        let of_consumers = request.protocol_type.as_str() == CONSUMER;
        if of_consumers {
            for protocol in &mut request.protocols {
                protocol.metadata = subscriptions.kept(&protocol.metadata);
            }
        }
        let mut answer = self.call(&request).await?;
        if self.ask.request.version >= 2 {
            answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        }
        if of_consumers {
            for member in &mut answer.members {
                member.metadata = subscriptions.told(&member.metadata);
            }
        }
        Ok(self.ask.request.reply(&answer)?)
    }

    /// The assignment is the leader's, or the broker's own if the group has members of the newer protocol.
    pub(super) async fn sync_group(&mut self) -> Result<Rope, Failed> {
        let mut request: SyncGroupRequest = self.ask.request.decode()?;
        request.group_id = group(self.organization(), &request.group_id);
        let subscriptions = self.ask.subscriptions(&self.way.cluster.names);
        // Before version 5 nobody says what kind of group it is; an assignment of another kind is no list of topics.
        let of_consumers = request.protocol_type.as_ref().is_none_or(|kind| kind.as_str() == CONSUMER);
        if of_consumers {
            for assigned in &mut request.assignments {
                assigned.assignment = subscriptions.assignment_kept(&assigned.assignment);
            }
        }
        let mut answer = self.call(&request).await?;
        if self.ask.request.version >= 1 {
            answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        }
        if of_consumers {
            answer.assignment = subscriptions.assignment_told(&answer.assignment);
        }
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn heartbeat(&mut self) -> Result<Rope, Failed> {
        of_one_group!(self, HeartbeatRequest, 1)
    }

    pub(super) async fn leave_group(&mut self) -> Result<Rope, Failed> {
        of_one_group!(self, LeaveGroupRequest, 1)
    }

    pub(super) async fn describe_groups(&mut self) -> Result<Rope, Failed> {
        let mut request: DescribeGroupsRequest = self.ask.request.decode()?;
        for name in &mut request.groups {
            *name = group(self.organization(), name);
        }
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        for described in &mut answer.groups {
            described.group_id = self.own(&described.group_id).unwrap_or_default();
            described.error_message = None;
            for member in &mut described.members {
                if described.protocol_type.as_str() == CONSUMER {
                    let subscriptions = self.ask.subscriptions(&self.way.cluster.names);
                    member.member_metadata = subscriptions.told(&member.member_metadata);
                    member.member_assignment = subscriptions.assignment_told(&member.member_assignment);
                }
                // The cluster knows the client by its organization, and us as its address.
                if let Some(client) = outside(self.organization(), &member.client_id) {
                    member.client_id = client;
                }
            }
        }
        Ok(self.ask.request.reply(&answer)?)
    }

    /// Only the organization's own: what all others have does not exist.
    pub(super) async fn list_groups(&mut self) -> Result<Rope, Failed> {
        let request: ListGroupsRequest = self.ask.request.decode()?;
        let mut answer = self.call(&request).await?;
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        let groups = std::mem::take(&mut answer.groups).into_iter();
        answer.groups =
            groups.filter_map(|listed| Some(listed.clone().with_group_id(self.own(&listed.group_id)?))).collect();
        Ok(self.ask.request.reply(&answer)?)
    }

    pub(super) async fn delete_groups(&mut self) -> Result<Rope, Failed> {
        let mut request: DeleteGroupsRequest = self.ask.request.decode()?;
        let inner = request.groups_names.iter().map(|name| group(self.organization(), name)).collect();
        let verdicts = self.may_delete(inner).await?;
        let mut refused = Vec::new();
        for name in std::mem::take(&mut request.groups_names) {
            let inner = group(self.organization(), &name);
            match verdicts.get(&inner).copied().unwrap_or(codes::GROUP_AUTHORIZATION_FAILED) {
                codes::NONE => request.groups_names.push(inner),
                code => refused.push(DeletableGroupResult::default().with_group_id(name).with_error_code(code)),
            }
        }
        let mut answer = if request.groups_names.is_empty() { Default::default() } else { self.call(&request).await? };
        answer.throttle_time_ms = self.throttle(answer.throttle_time_ms);
        for deleted in &mut answer.results {
            deleted.group_id = self.own(&deleted.group_id).unwrap_or_default();
        }
        answer.results.extend(refused);
        Ok(self.ask.request.reply(&answer)?)
    }

    /// What the caller is to hear of each group before it is deleted, by the offsets that the cluster has of them: one question
    /// for all.
    async fn may_delete(&self, groups: Vec<GroupId>) -> Result<HashMap<GroupId, i16>, Failed> {
        let all = |name| OffsetFetchRequestGroup::default().with_group_id(name).with_topics(None);
        let asked = OffsetFetchRequest::default().with_groups(groups.into_iter().map(all).collect());
        let found = self.call_in(ALL_OFFSETS, &asked).await?;
        let names = &self.way.cluster.names;
        let verdict = |group: OffsetFetchResponseGroup| {
            let products = group.topics.iter().filter_map(|topic| names.product(&topic.name));
            let code = match group.error_code {
                codes::NONE => self.ask.may_delete_group(products).err().unwrap_or(codes::NONE),
                code => code,
            };
            (group.group_id, code)
        };
        Ok(found.groups.into_iter().map(verdict).collect())
    }

    pub(super) fn own(&self, name: &GroupId) -> Option<GroupId> {
        outside(self.organization(), name).map(GroupId)
    }
}
