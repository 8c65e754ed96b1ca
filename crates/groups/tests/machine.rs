//! The state machine, rule by rule: dynamic members.

mod support;

use bytes::Bytes;
use support::{Bench, REBALANCE, SESSION, again, commit_of, consumer, leave_of, protocols, sync_of};
use tradelane_groups::{GroupError, GroupState, Heartbeat, JoinGroup, LeaveGroup, Leaving, OffsetCommit};

fn asking_for_id() -> JoinGroup {
    JoinGroup { require_known_member: true, ..consumer() }
}

fn offering(names: &[&str]) -> JoinGroup {
    JoinGroup { protocols: protocols(names), ..consumer() }
}

#[test]
fn a_new_member_is_told_its_id_first_and_joins_with_it() {
    let mut bench = Bench::new();
    let first = bench.join(asking_for_id());
    assert_eq!(bench.join_error(first), Some(GroupError::MemberIdRequired));
    let id = bench.joins[&first].member.clone();
    assert_eq!((id.as_str(), bench.group.members(), bench.group.pending()), ("m1", 0, 1));
    let second = bench.join(again(&id, asking_for_id()));
    bench.pass(3_000);
    assert_eq!(bench.joined(second).expect("joined").leader, id);
    assert_eq!(bench.group.pending(), 0);
}

#[test]
fn an_old_client_is_a_member_at_once() {
    let mut bench = Bench::new();
    let ticket = bench.join(consumer());
    assert!(!bench.joins.contains_key(&ticket), "it waits for the initial delay");
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
    bench.pass(3_000);
    assert_eq!((bench.joins[&ticket].member.as_str(), bench.group.generation()), ("m1", 1));
}

#[test]
fn an_id_that_nobody_joins_with_holds_a_rebalance_up_until_its_session_ends() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![consumer()]);
    bench.join(asking_for_id());
    let rejoin = bench.join(again(&ids[0], consumer()));
    bench.pass(SESSION - 1);
    assert!(bench.joined(rejoin).is_none());
    bench.pass(1);
    assert_eq!(bench.joined(rejoin).expect("joined").generation, 2);
    assert_eq!(bench.group.pending(), 0);
}

#[test]
fn the_first_generation_waits_for_those_still_coming_but_not_beyond_the_rebalance_timeout() {
    let mut bench = Bench::new();
    bench.limits.members_per_group = 100;
    let first = bench.join(JoinGroup { rebalance_timeout_ms: 10_000, ..consumer() });
    for _ in 0..4 {
        bench.pass(2_000);
        assert!(bench.joined(first).is_none());
        bench.join(JoinGroup { rebalance_timeout_ms: 10_000, ..consumer() });
    }
    bench.pass(2_000);
    assert_eq!(bench.joined(first).expect("10 s are over").members.len(), 5);
}

#[test]
fn the_leader_is_told_of_all_members_and_the_others_of_none() {
    let mut bench = Bench::new();
    let tickets: Vec<_> = (0..3).map(|_| bench.join(consumer())).collect();
    bench.pass(6_000);
    let joined: Vec<_> = tickets.iter().map(|ticket| bench.joined(*ticket).expect("joined").clone()).collect();
    assert_eq!(joined[0].members.iter().map(|member| member.member.as_str()).collect::<Vec<_>>(), ["m1", "m2", "m3"]);
    assert_eq!(joined[0].members[2].metadata, Bytes::from_static(b"meta"));
    assert!(joined[1].members.is_empty() && joined[2].members.is_empty());
    assert!(joined.iter().all(|joined| joined.leader == "m1" && joined.generation == 1 && joined.protocol == "range"));
}

#[test]
fn most_votes_win_among_what_everyone_offers() {
    let mut bench = Bench::new();
    let first = bench.join(offering(&["sticky", "range", "robin"]));
    bench.join(offering(&["robin", "range"]));
    bench.join(offering(&["private", "robin", "range"]));
    bench.pass(6_000);
    assert_eq!(bench.joined(first).expect("joined").protocol, "robin");
}

#[test]
fn protocols_that_nobody_shares_and_other_types_are_refused() {
    let mut bench = Bench::new();
    bench.stable(vec![offering(&["range", "robin"]), offering(&["range"])]);
    let others = [
        offering(&["robin"]),
        offering(&[]),
        JoinGroup { protocol_type: "connect".into(), ..consumer() },
        JoinGroup { protocol_type: String::new(), ..consumer() },
    ];
    for request in others {
        let ticket = bench.join(request);
        assert_eq!(bench.join_error(ticket), Some(GroupError::InconsistentGroupProtocol));
    }
    assert_eq!(bench.group.state(), GroupState::Stable, "who is refused disturbs nobody");
}

#[test]
fn a_member_may_change_its_mind_as_long_as_a_common_protocol_remains() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![offering(&["range", "robin"]), offering(&["range", "robin"])]);
    let one = bench.join(again(&ids[0], offering(&["robin"])));
    let other = bench.join(again(&ids[1], offering(&["range"])));
    assert_eq!(bench.join_error(other), Some(GroupError::InconsistentGroupProtocol));
    bench.join(again(&ids[1], offering(&["range", "robin"])));
    assert_eq!(bench.joined(one).expect("joined").protocol, "robin");
}

#[test]
fn a_session_timeout_outside_the_limits_is_refused() {
    let mut bench = Bench::new();
    for session_timeout_ms in [i32::MIN, -1, 0, 5_999, 1_800_001, i32::MAX] {
        let ticket = bench.join(JoinGroup { session_timeout_ms, ..consumer() });
        assert_eq!(bench.join_error(ticket), Some(GroupError::InvalidSessionTimeout));
    }
}

#[test]
fn metadata_and_names_beyond_the_limits_are_refused() {
    let mut bench = Bench::new();
    bench.limits.member_metadata_bytes = 100;
    bench.limits.group_metadata_bytes = 150;
    let sized = |bytes: usize| JoinGroup { protocols: vec![("r".into(), vec![0; bytes].into())], ..consumer() };
    let too_many: Vec<_> = (0..17).map(|_| "r").collect();
    let refused = [
        sized(100),
        offering(&too_many),
        JoinGroup { instance: Some("i".repeat(256)), ..consumer() },
        JoinGroup { instance: Some(String::new()), ..consumer() },
        JoinGroup { protocol_type: "t".repeat(256), ..consumer() },
    ];
    for request in refused {
        let ticket = bench.join(request);
        assert_eq!(bench.join_error(ticket), Some(GroupError::InvalidRequest));
    }
    bench.join(sized(99));
    let beyond = bench.join(sized(99));
    assert_eq!(bench.join_error(beyond), Some(GroupError::GroupMaxSizeReached));
}

#[test]
fn a_full_group_takes_its_members_back_and_nobody_else() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable((0..4).map(|_| consumer()).collect());
    for request in [consumer(), asking_for_id(), again("m99", consumer())] {
        let expected = match request.member.as_str() {
            "" => GroupError::GroupMaxSizeReached,
            _ => GroupError::UnknownMemberId,
        };
        let ticket = bench.join(request);
        assert_eq!(bench.join_error(ticket), Some(expected));
    }
    let tickets: Vec<_> = ids.iter().map(|id| bench.join(again(id, consumer()))).collect();
    assert_eq!(bench.joined(tickets[3]).expect("joined").generation, 2);
}

#[test]
fn no_more_ids_are_given_out_than_members_may_come() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.join(asking_for_id());
    }
    let ticket = bench.join(asking_for_id());
    assert_eq!(bench.join_error(ticket), Some(GroupError::GroupMaxSizeReached));
    bench.pass(SESSION);
    let ticket = bench.join(asking_for_id());
    assert_eq!(bench.join_error(ticket), Some(GroupError::MemberIdRequired));
}

#[test]
fn a_reply_that_got_lost_is_given_again() {
    let mut bench = Bench::new();
    let tickets: Vec<_> = (0..2).map(|_| bench.join(consumer())).collect();
    bench.pass(6_000);
    // While the leader assigns, and when all is stable.
    for _ in 0..2 {
        let leader = bench.join(again("m1", consumer()));
        let follower = bench.join(again("m2", consumer()));
        if bench.group.state() == GroupState::CompletingRebalance && bench.group.generation() == 1 {
            assert_eq!(bench.joined(leader).expect("again"), bench.joined(tickets[0]).expect("joined"));
            assert_eq!(bench.joined(follower).expect("again"), bench.joined(tickets[1]).expect("joined"));
            bench.settle(&["m1".into(), "m2".into()], 1);
        } else {
            assert_eq!(bench.joined(leader).expect("a leader that joins again wants a rebalance").generation, 2);
        }
    }
}

#[test]
fn a_follower_that_joins_a_stable_group_unchanged_disturbs_nobody() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer(), consumer()]);
    let ticket = bench.join(again(&ids[1], consumer()));
    assert_eq!(bench.joined(ticket).expect("joined").generation, generation);
    assert_eq!(bench.group.state(), GroupState::Stable);
}

#[test]
fn changed_metadata_and_a_leader_that_joins_again_begin_a_rebalance() {
    for (at, request) in [(1, offering(&["range", "more"])), (0, consumer())] {
        let mut bench = Bench::new();
        let (ids, generation) = bench.stable(vec![consumer(), consumer()]);
        bench.join(again(&ids[at], request));
        assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
        assert_eq!(bench.beat(&ids[1 - at], generation), Err(GroupError::RebalanceInProgress));
    }
}

#[test]
fn who_does_not_come_back_in_time_is_out_and_another_leads() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer(), consumer(), consumer()]);
    let rejoined: Vec<_> = ids[1..].iter().map(|id| bench.join(again(id, offering(&["range", "x"])))).collect();
    // The leader's heartbeats come all the while, but it does not join.
    for _ in 0..REBALANCE / 5_000 {
        assert!(bench.joined(rejoined[0]).is_none());
        assert_eq!(bench.beat(&ids[0], generation), Err(GroupError::RebalanceInProgress));
        bench.pass(5_000);
    }
    let joined = bench.joined(rejoined[0]).expect("joined");
    assert_eq!((joined.leader.as_str(), joined.members.len(), joined.generation), (ids[1].as_str(), 2, 2));
    assert_eq!(bench.beat(&ids[0], generation), Err(GroupError::UnknownMemberId));
}

#[test]
fn followers_wait_for_the_leaders_assignment_and_the_forgotten_get_none() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.join(consumer());
    }
    bench.pass(6_000);
    let follower = bench.sync(sync_of("m2", 1, &[("m2", "what a follower says does not count")]));
    assert!(!bench.syncs.contains_key(&follower));
    let leader = bench.sync(sync_of("m1", 1, &[("m1", "a"), ("m2", "b"), ("stranger", "c")]));
    assert_eq!((bench.assignment(leader), bench.assignment(follower)), (Some(&b"a"[..]), Some(&b"b"[..])));
    let late = bench.sync(sync_of("m3", 1, &[]));
    assert_eq!(bench.assignment(late), Some(&b""[..]));
    assert_eq!(bench.syncs[&late].as_ref().expect("synced").protocol, "range");
}

#[test]
fn a_sync_of_another_generation_member_or_protocol_is_refused() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer()]);
    let mut refused = |request, error| {
        let ticket = bench.sync(request);
        assert_eq!(bench.sync_error(ticket), Some(error));
    };
    refused(sync_of(&ids[0], generation + 1, &[]), GroupError::IllegalGeneration);
    refused(sync_of(&ids[0], generation - 1, &[]), GroupError::IllegalGeneration);
    refused(sync_of("m99", generation, &[]), GroupError::UnknownMemberId);
    let with = |kind: &str, name: &str| {
        let (protocol_type, protocol) = (Some(kind.to_owned()), Some(name.to_owned()));
        tradelane_groups::SyncGroup { protocol_type, protocol, ..sync_of("m1", 1, &[]) }
    };
    refused(with("connect", "range"), GroupError::InconsistentGroupProtocol);
    refused(with("consumer", "robin"), GroupError::InconsistentGroupProtocol);
    let right = bench.sync(with("consumer", "range"));
    assert_eq!(bench.assignment(right), Some(&b"for m1"[..]));
    bench.join(again(&ids[0], consumer()));
    bench.join(consumer());
    bench.join(consumer());
    let old = bench.sync(sync_of(&ids[0], 1, &[]));
    assert!(bench.sync_error(old).is_some());
}

#[test]
fn syncs_that_wait_are_sent_back_when_someone_joins() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.join(consumer());
    }
    bench.pass(6_000);
    let waiting = bench.sync(sync_of("m2", 1, &[]));
    bench.join(consumer());
    assert_eq!(bench.sync_error(waiting), Some(GroupError::RebalanceInProgress));
    let too_late = bench.sync(sync_of("m1", 1, &[("m1", "a")]));
    assert_eq!(bench.sync_error(too_late), Some(GroupError::RebalanceInProgress));
}

#[test]
fn a_leader_that_only_beats_is_out_after_the_rebalance_timeout() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.join(consumer());
    }
    bench.pass(6_000);
    let waiting = bench.sync(sync_of("m2", 1, &[]));
    for _ in 0..REBALANCE / 5_000 {
        assert_eq!(bench.beat("m1", 1), Ok(()), "a heartbeat before the sync is no mistake");
        assert!(!bench.syncs.contains_key(&waiting));
        bench.pass(5_000);
    }
    assert_eq!(bench.sync_error(waiting), Some(GroupError::RebalanceInProgress));
    assert_eq!(bench.beat("m1", 1), Err(GroupError::UnknownMemberId));
    let alone = bench.join(again("m2", consumer()));
    assert_eq!(bench.joined(alone).expect("joined").leader, "m2");
}

#[test]
fn a_silent_leader_is_out_after_its_session() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.join(consumer());
    }
    bench.pass(6_000);
    let waiting = bench.sync(sync_of("m2", 1, &[]));
    bench.pass(SESSION);
    assert_eq!(bench.sync_error(waiting), Some(GroupError::RebalanceInProgress));
}

#[test]
fn an_assignment_beyond_the_limit_is_not_kept() {
    let mut bench = Bench::new();
    bench.limits.assignment_bytes = 3;
    bench.join(consumer());
    bench.pass(3_000);
    let ticket = bench.sync(sync_of("m1", 1, &[("m1", "four")]));
    assert_eq!(bench.sync_error(ticket), Some(GroupError::UnknownServerError));
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn silence_is_noticed_and_heartbeats_prevent_it() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer(), consumer()]);
    for _ in 0..10 {
        bench.pass(SESSION / 2);
        let _ = bench.beat(&ids[0], generation);
    }
    assert_eq!((bench.group.members(), bench.group.state()), (1, GroupState::PreparingRebalance));
    assert_eq!(bench.beat(&ids[1], generation), Err(GroupError::UnknownMemberId));
    assert_eq!(bench.beat(&ids[0], generation + 1), Err(GroupError::IllegalGeneration));
}

#[test]
fn the_last_to_leave_empties_the_group_and_its_generation_is_over() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer()]);
    assert_eq!(bench.leave(&leave_of(&ids[0])), [Ok(())]);
    assert_eq!((bench.group.state(), bench.group.generation()), (GroupState::Empty, generation + 1));
    assert_eq!(bench.group.protocol_type(), "consumer", "remembered for those who list");
    assert_eq!(bench.group.next_deadline(), None);
    assert_eq!(bench.leave(&leave_of(&ids[0])), [Err(GroupError::UnknownMemberId)]);
}

#[test]
fn several_leave_at_once_each_with_its_answer() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![consumer(), consumer(), consumer()]);
    bench.join(asking_for_id());
    let leaving = |member: &str| Leaving { member: member.into(), ..Leaving::default() };
    let members = vec![leaving(&ids[0]), leaving("m99"), leaving(&ids[0]), leaving("m7"), leaving("")];
    let unknown = Err(GroupError::UnknownMemberId);
    let pending = bench.group.pending();
    let left = bench.leave(&LeaveGroup { members, ..leave_of("") });
    assert_eq!(left, [Ok(()), unknown, unknown, Ok(()), unknown]);
    assert_eq!((bench.group.members(), pending, bench.group.pending()), (2, 1, 0));
}

#[test]
fn only_current_members_commit_and_strangers_to_an_empty_group() {
    let mut bench = Bench::new();
    let check = |bench: &mut Bench, member: &str, generation| {
        bench.group.check_commit(&commit_of(member, generation, "t", 1), bench.now)
    };
    assert_eq!(check(&mut bench, "", -1), Ok(()), "a simple consumer");
    assert_eq!(check(&mut bench, "", 0), Err(GroupError::UnknownMemberId));
    let (ids, generation) = bench.stable(vec![consumer(), consumer()]);
    assert_eq!(check(&mut bench, &ids[0], generation), Ok(()));
    assert_eq!(check(&mut bench, &ids[0], generation - 1), Err(GroupError::IllegalGeneration));
    assert_eq!(check(&mut bench, &ids[0], -1), Err(GroupError::IllegalGeneration));
    assert_eq!(check(&mut bench, "", -1), Err(GroupError::UnknownMemberId));
    assert_eq!(check(&mut bench, "m99", generation), Err(GroupError::UnknownMemberId));
    let fenced = OffsetCommit { instance: Some("nobody".into()), ..commit_of(&ids[0], generation, "t", 1) };
    assert_eq!(bench.group.check_commit(&fenced, bench.now), Err(GroupError::UnknownMemberId));
    // Before it joins again a member may still commit what it has read.
    bench.join(again(&ids[0], consumer()));
    assert_eq!(check(&mut bench, &ids[1], generation), Ok(()));
    bench.join(again(&ids[1], consumer()));
    assert_eq!(bench.group.state(), GroupState::CompletingRebalance);
    assert_eq!(check(&mut bench, &ids[1], generation), Err(GroupError::IllegalGeneration));
    assert_eq!(check(&mut bench, &ids[1], generation + 1), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_commit_is_as_good_as_a_heartbeat() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer()]);
    for _ in 0..5 {
        bench.pass(SESSION - 1);
        assert_eq!(bench.group.check_commit(&commit_of(&ids[0], generation, "t", 1), bench.now), Ok(()));
    }
}

#[test]
fn a_member_id_is_worth_nothing_under_another_principal() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer()]);
    let thief = || "thief".to_owned();
    let refused = GroupError::UnknownMemberId;
    let unknown = Some(refused);
    let ticket = bench.join(JoinGroup { principal: thief(), ..again(&ids[0], consumer()) });
    assert_eq!(bench.join_error(ticket), unknown);
    let ticket = bench.sync(tradelane_groups::SyncGroup { principal: thief(), ..sync_of(&ids[0], generation, &[]) });
    assert_eq!(bench.sync_error(ticket), unknown);
    let beat = Heartbeat { principal: thief(), ..support::beat_of(&ids[0], generation) };
    assert_eq!(bench.group.heartbeat(&beat, bench.now).err(), unknown);
    let commit = OffsetCommit { principal: thief(), ..commit_of(&ids[0], generation, "t", 1) };
    assert_eq!(bench.group.check_commit(&commit, bench.now).err(), unknown);
    assert_eq!(bench.leave(&LeaveGroup { principal: thief(), ..leave_of(&ids[0]) }), [Err(refused)]);

    let pending = bench.join(asking_for_id());
    let id = bench.joins[&pending].member.clone();
    let ticket = bench.join(JoinGroup { principal: thief(), ..again(&id, asking_for_id()) });
    assert_eq!(bench.join_error(ticket), unknown);
    assert_eq!(bench.leave(&LeaveGroup { principal: thief(), ..leave_of(&id) }), [Err(refused)]);
    assert_eq!((bench.group.members(), bench.group.pending()), (1, 1));

    // As a member of its own it is welcome.
    let own = bench.join(JoinGroup { principal: thief(), ..consumer() });
    assert!(bench.join_error(own).is_none());
}

#[test]
fn the_evicted_are_out_at_once_and_the_rest_rebalances() {
    let mut bench = Bench::new();
    let revoked = || JoinGroup { principal: "revoked".into(), ..consumer() };
    for request in [revoked(), consumer(), revoked()] {
        bench.join(request);
    }
    bench.pass(6_000);
    bench.join(JoinGroup { require_known_member: true, ..revoked() });
    let (count, effects) = bench.group.evict(|principal| principal == "revoked", bench.now);
    bench.take(effects);
    assert_eq!((count, bench.group.members(), bench.group.pending()), (2, 1, 0));
    assert_eq!(bench.beat("m2", 1), Err(GroupError::RebalanceInProgress));
    let ticket = bench.join(again("m2", consumer()));
    assert_eq!(bench.joined(ticket).expect("joined").leader, "m2");
}

#[test]
fn requests_of_the_evicted_that_wait_are_answered() {
    let mut bench = Bench::new();
    let join = bench.join(consumer());
    let (_, effects) = bench.group.evict(|_| true, bench.now);
    bench.take(effects);
    assert_eq!(bench.join_error(join), Some(GroupError::UnknownMemberId));
    bench.pass(3_000);
    assert_eq!(bench.group.state(), GroupState::Empty);
}

#[test]
fn a_client_that_hangs_up_before_it_knows_its_id_is_not_waited_for() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer()]);
    let lost = bench.join(consumer());
    assert_eq!(bench.beat(&ids[0], generation), Err(GroupError::RebalanceInProgress));
    let effects = bench.group.abandon(lost, bench.now);
    bench.take(effects);
    let ticket = bench.join(again(&ids[0], consumer()));
    assert_eq!(bench.joined(ticket).expect("joined").members.len(), 1);
    assert!(!bench.joins.contains_key(&lost));
}

#[test]
fn a_client_that_hangs_up_and_knows_its_id_has_its_session_to_come_back() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![consumer(), consumer()]);
    let lost = bench.join(again(&ids[0], consumer()));
    let effects = bench.group.abandon(lost, bench.now);
    bench.take(effects);
    let other = bench.join(again(&ids[1], consumer()));
    assert!(bench.joined(other).is_none(), "it is waited for");
    let back = bench.join(again(&ids[0], consumer()));
    assert_eq!(bench.joined(back).expect("joined").members.len(), 2);
    bench.settle(&ids, 2);
    let lost = bench.join(again(&ids[0], consumer()));
    let effects = bench.group.abandon(lost, bench.now);
    bench.take(effects);
    let other = bench.join(again(&ids[1], consumer()));
    bench.pass(SESSION);
    assert_eq!(bench.joined(other).expect("joined").leader, ids[1]);
}

#[test]
fn a_join_sent_twice_is_answered_twice() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![consumer(), consumer()]);
    let first = bench.join(again(&ids[0], consumer()));
    let second = bench.join(again(&ids[0], consumer()));
    assert_eq!(bench.join_error(first), Some(GroupError::RebalanceInProgress));
    bench.join(again(&ids[1], consumer()));
    assert!(bench.joined(second).is_some());
}

#[test]
fn a_first_join_does_not_wait_forever() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![JoinGroup { rebalance_timeout_ms: 1_800_000, ..consumer() }]);
    let newcomer = bench.join(consumer());
    for _ in 0..60 {
        assert!(bench.join_error(newcomer).is_none());
        let _ = bench.beat(&ids[0], generation);
        bench.pass(5_000);
    }
    assert_eq!(bench.join_error(newcomer), Some(GroupError::UnknownMemberId));
}

#[test]
fn a_buried_group_sends_everyone_to_look_again() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer()]);
    assert_eq!(bench.group.bury(), Err(GroupError::NonEmptyGroup));
    bench.leave(&leave_of(&ids[0]));
    assert_eq!(bench.group.bury(), Ok(()));
    assert_eq!(bench.group.bury(), Err(GroupError::GroupIdNotFound));
    let join = bench.join(consumer());
    assert_eq!(bench.join_error(join), Some(GroupError::CoordinatorNotAvailable));
    assert_eq!(bench.beat(&ids[0], generation), Err(GroupError::CoordinatorNotAvailable));
}

#[test]
fn a_group_reads_what_its_members_subscribe_to_and_all_in_doubt() {
    let subscribed = |topic: &str| {
        let mut metadata = vec![0, 1, 0, 0, 0, 1, 0, u8::try_from(topic.len()).expect("short")];
        metadata.extend_from_slice(topic.as_bytes());
        JoinGroup { protocols: vec![("range".into(), metadata.into())], ..consumer() }
    };
    let mut bench = Bench::new();
    assert!(!bench.group.may_read("a"));
    bench.stable(vec![subscribed("a"), subscribed("b")]);
    assert_eq!(["a", "b", "c"].map(|topic| bench.group.may_read(topic)), [true, true, false]);
    let mut bench = Bench::new();
    bench.stable(vec![subscribed("a"), consumer()]);
    assert!(bench.group.may_read("c"), "the second one's metadata is not a subscription");
}
