//! The state machine, rule by rule: static members (KIP-345, KIP-814).

mod support;

use support::{Bench, REBALANCE, SESSION, again, beat_of, commit_of, consumer, fixed, leave_of, protocols, sync_of};
use tradelane_groups::{GroupError, GroupState, Heartbeat, JoinGroup, LeaveGroup, Leaving, OffsetCommit, SyncGroup};

const FENCED: Option<GroupError> = Some(GroupError::FencedInstanceId);

#[test]
fn a_static_member_that_restarts_gets_its_assignment_back_without_a_rebalance() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer(), fixed("a")]);
    let ticket = bench.join(fixed("a"));
    let joined = bench.joined(ticket).expect("at once");
    assert_eq!(
        (joined.generation, joined.leader.as_str(), joined.skip_assignment),
        (generation, ids[0].as_str(), false)
    );
    assert_eq!(bench.group.state(), GroupState::Stable);
    let id = bench.joins[&ticket].member.clone();
    assert_ne!(id, ids[1]);
    let sync = bench.sync(sync_of(&id, generation, &[]));
    assert_eq!(bench.assignment(sync), Some(format!("for {}", ids[1]).as_bytes()));
    assert_eq!(bench.beat(&ids[0], generation), Ok(()));
}

#[test]
fn the_one_before_is_fenced_in_every_request() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![fixed("a"), consumer()]);
    bench.join(fixed("a"));
    let instance = Some("a".to_owned());
    let old = &ids[0];
    let ticket = bench.join(again(old, fixed("a")));
    assert_eq!(bench.join_error(ticket), FENCED);
    let ticket = bench.sync(SyncGroup { instance: instance.clone(), ..sync_of(old, generation, &[]) });
    assert_eq!(bench.sync_error(ticket), FENCED);
    let beat = Heartbeat { instance: instance.clone(), ..beat_of(old, generation) };
    assert_eq!(bench.group.heartbeat(&beat, bench.now).err(), FENCED);
    let commit = OffsetCommit { instance: instance.clone(), ..commit_of(old, generation, "t", 1) };
    assert_eq!(bench.group.check_commit(&commit, bench.now).err(), FENCED);
    let members = vec![Leaving { member: old.clone(), instance, reason: None }];
    assert_eq!(bench.leave(&LeaveGroup { members, ..leave_of("") }), [Err(GroupError::FencedInstanceId)]);
    assert_eq!(bench.beat(old, generation), Err(GroupError::UnknownMemberId), "without its instance id likewise");
}

#[test]
fn requests_of_the_one_before_that_wait_are_fenced_too() {
    let mut bench = Bench::new();
    let old = bench.join(fixed("a"));
    let new = bench.join(fixed("a"));
    assert_eq!(bench.join_error(old), FENCED);
    bench.pass(6_000);
    assert_eq!(bench.joined(new).expect("joined").members.len(), 1);

    let mut bench = Bench::new();
    bench.join(consumer());
    bench.join(fixed("a"));
    bench.pass(6_000);
    let waiting = bench.sync(sync_of("m2", 1, &[]));
    bench.join(fixed("a"));
    assert_eq!(bench.sync_error(waiting), FENCED);
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance, "the leader would assign to the old id");
}

#[test]
fn an_old_leader_that_restarts_is_not_asked_to_assign() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![fixed("a"), consumer()]);
    let ticket = bench.join(fixed("a"));
    let joined = bench.joined(ticket).expect("joined");
    assert_eq!((joined.leader.as_str(), joined.members.len()), (ids[0].as_str(), 0), "it thinks that another leads");
}

#[test]
fn a_new_leader_that_restarts_knows_that_it_leads_and_skips_the_assignment() {
    let mut bench = Bench::new();
    bench.stable(vec![fixed("a"), consumer()]);
    let ticket = bench.join(JoinGroup { can_skip_assignment: true, ..fixed("a") });
    let joined = bench.joined(ticket).expect("joined").clone();
    assert_eq!(joined.leader, bench.joins[&ticket].member);
    assert!(joined.skip_assignment);
    assert_eq!(joined.members.len(), 2);
    // Its own join later on makes a rebalance, as any leader's.
    bench.join(again(&joined.leader, fixed("a")));
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_restart_that_changes_the_protocol_of_the_group_rebalances() {
    let mut bench = Bench::new();
    let both = || JoinGroup { protocols: protocols(&["range", "robin"]), ..consumer() };
    let (_, generation) = bench.stable(vec![both(), JoinGroup { instance: Some("a".into()), ..both() }]);
    let ticket = bench.join(JoinGroup { protocols: protocols(&["robin"]), ..fixed("a") });
    assert!(bench.joined(ticket).is_none());
    assert_eq!(bench.group.state(), GroupState::PreparingRebalance);
    bench.join(again("m1", both()));
    let joined = bench.joined(ticket).expect("joined");
    assert_eq!((joined.protocol.as_str(), joined.generation), ("robin", generation + 1));
}

#[test]
fn a_static_member_is_missed_no_earlier_than_its_session_ends() {
    let mut bench = Bench::new();
    let patient = || JoinGroup { session_timeout_ms: 600_000, ..fixed("a") };
    let (ids, generation) = bench.stable(vec![consumer(), patient()]);
    let ticket = bench.join(again(&ids[0], consumer()));
    bench.pass(REBALANCE);
    let joined = bench.joined(ticket).expect("joined");
    assert_eq!((joined.members.len(), joined.generation), (2, generation + 1), "assigned to, though it is away");
    assert_eq!(joined.members[1].instance.as_deref(), Some("a"));
}

#[test]
fn a_group_of_absent_static_members_waits_until_one_comes_or_all_are_gone() {
    let mut bench = Bench::new();
    let patient = |name| JoinGroup { session_timeout_ms: 300_000, ..fixed(name) };
    let (ids, generation) = bench.stable(vec![patient("a"), patient("b"), consumer()]);
    assert_eq!(bench.leave(&leave_of(&ids[2])), [Ok(())]);
    bench.pass(2 * REBALANCE);
    assert_eq!((bench.group.state(), bench.group.generation()), (GroupState::PreparingRebalance, generation));
    let back = bench.join(patient("b"));
    bench.pass(REBALANCE);
    assert_eq!(bench.joined(back).expect("joined").members.len(), 2);
    bench.pass(400_000);
    assert_eq!(bench.group.state(), GroupState::Empty);
}

#[test]
fn a_static_member_leaves_by_its_instance_id_alone() {
    let mut bench = Bench::new();
    bench.stable(vec![consumer(), fixed("a")]);
    let named = |instance: &str| Leaving { instance: Some(instance.into()), ..Leaving::default() };
    let members = vec![named("a"), named("b"), named("a")];
    let unknown = Err(GroupError::UnknownMemberId);
    assert_eq!(bench.leave(&LeaveGroup { members, ..leave_of("") }), [Ok(()), unknown, unknown]);
    assert_eq!(bench.group.members(), 1);
}

#[test]
fn an_instance_id_cannot_be_taken_by_another_principal() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![fixed("a")]);
    let ticket = bench.join(JoinGroup { principal: "thief".into(), ..fixed("a") });
    assert_eq!(bench.join_error(ticket), FENCED);
    let members = vec![Leaving { instance: Some("a".into()), ..Leaving::default() }];
    let left = bench.leave(&LeaveGroup { members, principal: "thief".into(), ..leave_of("") });
    assert_eq!(left, [Err(GroupError::UnknownMemberId)]);
    let instance = Some("a".to_owned());
    assert_eq!(bench.group.heartbeat(&Heartbeat { instance, ..beat_of(&ids[0], generation) }, bench.now), Ok(()));
}

#[test]
fn an_instance_id_that_is_not_known_goes_with_no_member_id() {
    let mut bench = Bench::new();
    let (ids, _) = bench.stable(vec![consumer()]);
    let ticket = bench.join(again(&ids[0], fixed("new")));
    assert_eq!(bench.join_error(ticket), Some(GroupError::UnknownMemberId));
}

#[test]
fn a_static_member_is_given_no_id_to_come_back_with() {
    let mut bench = Bench::new();
    let ticket = bench.join(JoinGroup { require_known_member: true, ..fixed("a") });
    bench.pass(3_000);
    assert!(bench.joined(ticket).is_some());
}

#[test]
fn a_static_member_whose_session_ended_is_new_when_it_comes() {
    let mut bench = Bench::new();
    let (ids, generation) = bench.stable(vec![consumer(), fixed("a")]);
    for _ in 0..4 {
        bench.pass(SESSION / 2);
        let _ = bench.beat(&ids[0], generation);
    }
    assert_eq!(bench.group.members(), 1);
    let ticket = bench.join(fixed("a"));
    bench.join(again(&ids[0], consumer()));
    assert_eq!(bench.joined(ticket).expect("joined").generation, generation + 1);
}
