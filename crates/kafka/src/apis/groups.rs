//! Consumer groups: between Kafka's messages and the coordinator. A group's name belongs to the caller's organization; the
//! same name elsewhere is another group.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    BrokerId, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tradelane_groups::{
    GroupError, GroupState, Heartbeat, JoinGroup, Joined, LeaveGroup, Leaving, OffsetFetch, SyncGroup,
};

use crate::apis::{Ask, Quiet, holder};
use crate::codes;
use crate::names::Names;
use crate::shared::NODE;
use crate::subscription::{CONSUMER, Subscriptions};
use crate::wire::schema::Malformed;
use crate::wire::{Rope, text};

/// Kinds of coordinators.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The states that a filter may name.
const STATES: [GroupState; 5] = [
    GroupState::Empty,
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Stable,
    GroupState::Dead,
];

pub(crate) fn find_coordinator(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: FindCoordinatorRequest = ask.request.decode()?;
    let error = match request.key_type {
        GROUP => codes::NONE,
        TRANSACTION => codes::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        _ => codes::INVALID_REQUEST,
    };
    let here = error == codes::NONE;
    let node = BrokerId(if here { NODE } else { -1 });
    let host = text(if here { ask.shared.host.as_str() } else { "" });
    let port = if here { i32::from(ask.shared.port) } else { -1 };
    let response = FindCoordinatorResponse::default().with_throttle_time_ms(quiet.millis());
    let response = if ask.request.version >= 4 {
        let found = request.coordinator_keys.into_iter().map(|key| {
            Found::default()
                .with_key(key)
                .with_node_id(node)
                .with_host(host.clone())
                .with_port(port)
                .with_error_code(error)
        });
        response.with_coordinators(found.collect())
    } else {
        response.with_error_code(error).with_node_id(node).with_host(host).with_port(port)
    };
    ask.request.reply(&response)
}

pub(crate) async fn join(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let version = ask.request.version;
    let request: JoinGroupRequest = ask.request.decode()?;
    let of_consumers = request.protocol_type.as_str() == CONSUMER;
    let names = Names::default();
    let subscriptions = ask.subscriptions(&names);
    let said =
        |metadata: &bytes::Bytes| if of_consumers { kept(&subscriptions.kept(metadata)) } else { kept(metadata) };
    let join = JoinGroup {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        principal: holder(ask.caller),
        client_id: ask.request.client.to_string(),
        client_host: ask.host.to_owned(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|p| (p.name.to_string(), said(&p.metadata))).collect(),
        reason: owned(request.reason.as_ref()),
        require_known_member: version >= 4,
        can_skip_assignment: version >= 9,
    };
    let reply = ask.shared.groups.join(ask.scope(), join).await;
    let response =
        JoinGroupResponse::default().with_throttle_time_ms(quiet.millis()).with_member_id(text(reply.member));
    let response = match reply.outcome {
        Ok(joined) => joined_response(response, joined, version, &subscriptions),
        Err(error) => {
            response.with_error_code(error.code()).with_generation_id(-1).with_protocol_name(Some(StrBytes::default()))
        }
    };
    ask.request.reply(&response)
}

fn joined_response(
    response: JoinGroupResponse,
    joined: Joined,
    version: i16,
    subscriptions: &Subscriptions<'_>,
) -> JoinGroupResponse {
    let of_consumers = joined.protocol_type == CONSUMER;
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(member.instance.filter(|_| version >= 5).map(text))
            .with_metadata(if of_consumers { subscriptions.told(&member.metadata) } else { member.metadata })
    });
    response
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(joined.protocol_type)).filter(|_| version >= 7))
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_skip_assignment(joined.skip_assignment && version >= 9)
        .with_members(members.collect())
}

pub(crate) async fn sync(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let version = ask.request.version;
    let request: SyncGroupRequest = ask.request.decode()?;
    let sync = SyncGroup {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        principal: holder(ask.caller),
        generation: request.generation_id,
        protocol_type: owned(request.protocol_type.as_ref()),
        protocol: owned(request.protocol_name.as_ref()),
        assignments: request.assignments.into_iter().map(|a| (a.member_id.to_string(), kept(&a.assignment))).collect(),
    };
    let response = SyncGroupResponse::default().with_throttle_time_ms(quiet.millis());
    let response = match ask.shared.groups.sync(ask.scope(), sync).await {
        Ok(synced) => response
            .with_protocol_type(Some(text(synced.protocol_type)).filter(|_| version >= 5))
            .with_protocol_name(Some(text(synced.protocol)).filter(|_| version >= 5))
            .with_assignment(synced.assignment),
        Err(error) => response.with_error_code(error.code()),
    };
    ask.request.reply(&response)
}

pub(crate) async fn heartbeat(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: HeartbeatRequest = ask.request.decode()?;
    let beat = Heartbeat {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(request.group_instance_id.as_ref()),
        principal: holder(ask.caller),
        generation: request.generation_id,
    };
    let code = code(ask.shared.groups.heartbeat(ask.scope(), beat).await);
    ask.request.reply(&HeartbeatResponse::default().with_throttle_time_ms(quiet.millis()).with_error_code(code))
}

/// Of KIP-848: whoever comes with the newer protocol hears that there is the classic one. Clients end with that; an API that is
/// not there some of them (librdkafka 2.16) ask for again and again, and tell nobody.
pub(crate) fn newer_heartbeat(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    ask.request.decode::<ConsumerGroupHeartbeatRequest>()?;
    let refused = ConsumerGroupHeartbeatResponse::default()
        .with_throttle_time_ms(quiet.millis())
        .with_error_code(codes::UNSUPPORTED_VERSION)
        .with_error_message(Some(text("Groups of this hub have the classic protocol: group.protocol=classic.")));
    ask.request.reply(&refused)
}

pub(crate) async fn leave(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let version = ask.request.version;
    let request: LeaveGroupRequest = ask.request.decode()?;
    let members = if version >= 3 {
        let leaving = |member: kafka_protocol::messages::leave_group_request::MemberIdentity| Leaving {
            member: member.member_id.to_string(),
            instance: owned(member.group_instance_id.as_ref()),
            reason: owned(member.reason.as_ref()),
        };
        request.members.into_iter().map(leaving).collect()
    } else {
        vec![Leaving { member: request.member_id.to_string(), ..Leaving::default() }]
    };
    let leave = LeaveGroup { group: request.group_id.to_string(), principal: holder(ask.caller), members };
    let response = LeaveGroupResponse::default().with_throttle_time_ms(quiet.millis());
    let response = match ask.shared.groups.leave(ask.scope(), leave).await {
        Err(error) => response.with_error_code(error.code()),
        Ok(left) if version >= 3 => {
            let members = left.into_iter().map(|left| {
                MemberResponse::default()
                    .with_member_id(text(left.member))
                    .with_group_instance_id(left.instance.map(text))
                    .with_error_code(code(left.outcome))
            });
            response.with_members(members.collect())
        }
        Ok(left) => response.with_error_code(left.into_iter().map(|left| code(left.outcome)).next().unwrap_or(0)),
    };
    ask.request.reply(&response)
}

pub(crate) async fn describe(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: DescribeGroupsRequest = ask.request.decode()?;
    let names = Names::default();
    let subscriptions = ask.subscriptions(&names);
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let described = DescribedGroup::default().with_group_id(group.clone());
        groups.push(match ask.shared.groups.describe(ask.scope(), &group).await {
            Ok(found) => {
                let of_consumers = found.protocol_type == CONSUMER;
                let members = found.members.into_iter().map(|member| {
                    let said = if of_consumers { subscriptions.told(&member.metadata) } else { member.metadata };
                    DescribedGroupMember::default()
                        .with_member_id(text(member.member))
                        .with_group_instance_id(member.instance.filter(|_| ask.request.version >= 4).map(text))
                        .with_client_id(text(member.client_id))
                        .with_client_host(text(member.client_host))
                        .with_member_metadata(said)
                        .with_member_assignment(member.assignment)
                });
                described
                    .with_group_state(text(found.state.name()))
                    .with_protocol_type(text(found.protocol_type))
                    .with_protocol_data(text(found.protocol))
                    .with_members(members.collect())
            }
            Err(GroupError::GroupIdNotFound) => described.with_group_state(text(GroupState::Dead.name())),
            Err(error) => described.with_error_code(error.code()),
        });
    }
    ask.request.reply(&DescribeGroupsResponse::default().with_throttle_time_ms(quiet.millis()).with_groups(groups))
}

pub(crate) async fn list(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let version = ask.request.version;
    let request: ListGroupsRequest = ask.request.decode()?;
    let response = ListGroupsResponse::default().with_throttle_time_ms(quiet.millis());
    let named = |name: &StrBytes| STATES.into_iter().find(|state| state.name().eq_ignore_ascii_case(name));
    let states: Vec<_> = request.states_filter.iter().filter_map(named).collect();
    // A filter that matches nothing is not the same as none.
    let none_meant = (!request.states_filter.is_empty() && states.is_empty())
        || (!request.types_filter.is_empty()
            && !request.types_filter.iter().any(|t| t.eq_ignore_ascii_case("classic")));
    if none_meant {
        return ask.request.reply(&response);
    }
    let response = match ask.shared.groups.list(ask.scope(), &states).await {
        Ok(groups) => {
            let listed = groups.into_iter().map(|group| {
                let listed = ListedGroup::default()
                    .with_group_id(GroupId(text(group.group)))
                    .with_protocol_type(text(group.protocol_type));
                let listed = if version >= 4 { listed.with_group_state(text(group.state.name())) } else { listed };
                if version >= 5 { listed.with_group_type(text("classic")) } else { listed }
            });
            response.with_groups(listed.collect())
        }
        Err(error) => response.with_error_code(error.code()),
    };
    ask.request.reply(&response)
}

pub(crate) async fn delete(ask: &Ask<'_>, quiet: Quiet) -> Result<Rope, Malformed> {
    let request: DeleteGroupsRequest = ask.request.decode()?;
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let deleted = match may_delete(ask, &group).await {
            Ok(()) => code(ask.shared.groups.delete(ask.scope(), &group).await),
            Err(code) => code,
        };
        results.push(DeletableGroupResult::default().with_group_id(group).with_error_code(deleted));
    }
    ask.request.reply(&DeleteGroupsResponse::default().with_throttle_time_ms(quiet.millis()).with_results(results))
}

async fn may_delete(ask: &Ask<'_>, group: &GroupId) -> Result<(), i16> {
    let all = OffsetFetch { group: group.to_string(), wanted: None };
    let offsets = ask.shared.groups.fetch(ask.scope(), all).await.map_err(GroupError::code)?;
    ask.may_delete_group(offsets.iter().filter_map(|offset| offset.topic.parse().ok()))
}

pub(crate) fn code(outcome: Result<(), GroupError>) -> i16 {
    outcome.map_or_else(GroupError::code, |()| codes::NONE)
}

pub(crate) fn owned(text: Option<&StrBytes>) -> Option<String> {
    text.map(ToString::to_string)
}

/// What stays in memory is a copy of its own, not a part of a frame that would stay with it.
fn kept(bytes: &bytes::Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}
