//! The coordinator over a store: scopes, durability, restarts, retention, limits. Time is tokio's, paused.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use support::{House, SESSION, again, beat_of, commit_of, consumer, leave_of, sync_of};
use tokio::time::{sleep, timeout};
use tradelane_groups::{
    Coordinator, GroupError, GroupLimits, GroupMark, GroupState, JoinGroup, NewOffset, OffsetCommit, OffsetFetch, Swept,
};

const DAY: i64 = 24 * 3_600_000;

async fn offset(coordinator: &Coordinator, scope: &str, topic: &str) -> Option<i64> {
    let wanted = Some(vec![(topic.to_owned(), 0)]);
    let fetched = coordinator.fetch(scope, OffsetFetch { group: "orders".into(), wanted }).await.expect("fetched");
    fetched[0].committed.as_ref().map(|committed| committed.offset)
}

/// One member of a stable group of its own. Answers its id; the generation is 1.
async fn alone(coordinator: &Coordinator, scope: &str) -> String {
    let reply = coordinator.join(scope, consumer()).await;
    let joined = reply.outcome.expect("joined");
    let assignments = [(reply.member.as_str(), "all")];
    coordinator.sync(scope, sync_of(&reply.member, joined.generation, &assignments)).await.expect("synced");
    reply.member
}

async fn commit(coordinator: &Coordinator, scope: &str, topic: &str, offset: i64) -> Result<(), GroupError> {
    coordinator.commit(scope, commit_of("", -1, topic, offset)).await[0]
}

#[tokio::test(start_paused = true)]
async fn members_join_sync_beat_commit_and_leave() {
    let house = House::new();
    let joins: Vec<_> = (0..3)
        .map(|_| {
            let coordinator = house.coordinator.clone();
            tokio::spawn(async move { coordinator.join("acme", consumer()).await })
        })
        .collect();
    let mut replies = Vec::new();
    for join in joins {
        replies.push(join.await.expect("no panic"));
    }
    let leader = replies.iter().find(|reply| !reply.outcome.as_ref().expect("joined").members.is_empty()).expect("one");
    let roster = &leader.outcome.as_ref().expect("joined").members;
    assert_eq!(roster.len(), 3);
    let assignments: Vec<_> = roster.iter().map(|member| (member.member.as_str(), member.member.as_str())).collect();
    let syncs: Vec<_> = replies
        .iter()
        .map(|reply| {
            let coordinator = house.coordinator.clone();
            let given = if reply.member == leader.member { &assignments[..] } else { &[] };
            let request = sync_of(&reply.member, 1, given);
            tokio::spawn(async move { coordinator.sync("acme", request).await })
        })
        .collect();
    for (sync, reply) in syncs.into_iter().zip(&replies) {
        assert_eq!(sync.await.expect("no panic").expect("synced").assignment, reply.member.as_bytes());
    }
    let id = &replies[1].member;
    assert_eq!(house.coordinator.heartbeat("acme", beat_of(id, 1)).await, Ok(()));
    assert_eq!(house.coordinator.commit("acme", commit_of(id, 1, "t", 7)).await, [Ok(())]);
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(7));
    let described = house.coordinator.describe("acme", "orders").await.expect("described");
    assert_eq!(
        (described.state, described.protocol.as_str(), described.members.len()),
        (GroupState::Stable, "range", 3)
    );
    assert_eq!(described.members[0].assignment, described.members[0].member.as_bytes());
    let left = house.coordinator.leave("acme", leave_of(id)).await.expect("left");
    assert_eq!(left[0].outcome, Ok(()));
    let figures = house.coordinator.snapshot();
    assert_eq!((figures.groups, figures.members, figures.rebalances), ([0, 1, 0, 0], 2, 1));
}

#[tokio::test(start_paused = true)]
async fn equal_names_in_two_scopes_are_two_groups() {
    let house = House::new();
    let (acme, globex) = (alone(&house.coordinator, "acme").await, alone(&house.coordinator, "globex").await);
    assert_eq!(house.coordinator.commit("acme", commit_of(&acme, 1, "t", 1)).await, [Ok(())]);
    let unknown = Err(GroupError::UnknownMemberId);
    assert_eq!(house.coordinator.heartbeat("globex", beat_of(&acme, 1)).await, unknown);
    assert_eq!(house.coordinator.commit("globex", commit_of(&acme, 1, "t", 2)).await, [unknown]);
    assert_eq!(house.coordinator.leave("globex", leave_of(&acme)).await.expect("answered")[0].outcome, unknown);
    let join = house.coordinator.join("globex", again(&acme, consumer())).await;
    assert_eq!(join.outcome, Err(GroupError::UnknownMemberId));
    assert_eq!(offset(&house.coordinator, "globex", "t").await, None);
    assert_eq!(house.coordinator.describe("globex", "orders").await.expect("there").members[0].member, globex);
    assert_eq!(house.coordinator.evict("globex", |_| true), 1);
    assert_eq!(house.coordinator.heartbeat("acme", beat_of(&acme, 1)).await, Ok(()));
    assert_eq!(house.coordinator.list("initech", &[]).await, Ok(Vec::new()));
    house.coordinator.delete("globex", "orders").await.expect("empty");
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_offsets_are_there_and_members_must_join_anew() {
    let mut house = House::new();
    let id = alone(&house.coordinator, "acme").await;
    assert_eq!(house.coordinator.commit("acme", commit_of(&id, 1, "t", 41)).await, [Ok(())]);
    house.restart();
    let unknown = Err(GroupError::UnknownMemberId);
    assert_eq!(house.coordinator.heartbeat("acme", beat_of(&id, 1)).await, unknown);
    assert_eq!(house.coordinator.sync("acme", sync_of(&id, 1, &[])).await, Err(GroupError::UnknownMemberId));
    assert_eq!(house.coordinator.commit("acme", commit_of(&id, 1, "t", 42)).await, [unknown]);
    assert_eq!(house.coordinator.join("acme", again(&id, consumer())).await.outcome.err(), unknown.err());
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(41));
    let listed = house.coordinator.list("acme", &[]).await.expect("listed");
    assert_eq!((listed[0].protocol_type.as_str(), listed[0].state), ("consumer", GroupState::Empty));
    let new = alone(&house.coordinator, "acme").await;
    assert_ne!(new, id);
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_answered_when_it_is_durable_and_not_before() {
    let house = House::new();
    commit(&house.coordinator, "acme", "t", 1).await.expect("first");
    house.store.delay_ms.store(1_000, SeqCst);
    let waits = commit(&house.coordinator, "acme", "t", 2);
    assert!(timeout(Duration::from_millis(500), waits).await.is_err(), "not yet durable");
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(1), "and not yet seen");
    sleep(Duration::from_millis(600)).await;
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(2), "who hangs up does not take it back");
    assert_eq!(house.store.offset("acme", "orders", "t"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told_to_clients_as_try_again_and_loses_nothing() {
    let house = House::new();
    commit(&house.coordinator, "acme", "t", 1).await.expect("first");
    for fault in [&house.store.is_broken, &house.store.panics] {
        fault.store(true, SeqCst);
        let failed = commit(&house.coordinator, "acme", "t", 2).await;
        assert_eq!(failed, Err(GroupError::CoordinatorNotAvailable));
        assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(1));
        let unknown = house.coordinator.fetch("globex", OffsetFetch::default()).await;
        assert_eq!(unknown, Err(GroupError::CoordinatorNotAvailable));
        fault.store(false, SeqCst);
    }
    commit(&house.coordinator, "acme", "t", 3).await.expect("well again");
    assert_eq!(house.store.offset("acme", "orders", "t"), Some(3));
    assert_eq!(house.coordinator.snapshot().store_failures, 4);
}

#[tokio::test(start_paused = true)]
async fn commits_that_gather_while_the_disk_works_go_together_and_the_last_wins() {
    let house = House::new();
    commit(&house.coordinator, "acme", "t", 0).await.expect("first");
    house.store.delay_ms.store(100, SeqCst);
    let before = house.store.commits.load(SeqCst);
    let commits: Vec<_> = (1..=50)
        .map(|offset| {
            let coordinator = house.coordinator.clone();
            tokio::spawn(async move { commit(&coordinator, "acme", "t", offset).await })
        })
        .collect();
    for commit in commits {
        assert_eq!(commit.await.expect("no panic"), Ok(()));
    }
    assert!(house.store.commits.load(SeqCst) - before <= 2, "one at work, one that gathered meanwhile");
    assert_eq!(house.store.offset("acme", "orders", "t"), Some(50));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_takes_long_to_read_is_being_loaded_and_then_there() {
    let mut house = House::new();
    commit(&house.coordinator, "acme", "t", 1).await.expect("first");
    house.restart();
    house.store.delay_ms.store(4_000, SeqCst);
    let fetch = || OffsetFetch { group: "orders".into(), wanted: None };
    // The list of groups takes four seconds, and then the group another four: each is waited for.
    assert_eq!(house.coordinator.fetch("acme", fetch()).await.expect("fetched").len(), 1);
    house.restart();
    house.store.delay_ms.store(12_000, SeqCst);
    let loading = Err(GroupError::CoordinatorLoadInProgress);
    assert_eq!(house.coordinator.fetch("acme", fetch()).await, loading);
    assert_eq!(commit(&house.coordinator, "acme", "t", 2).await, loading.map(|_: Vec<_>| ()));
    let beat = house.coordinator.heartbeat("acme", beat_of("m", 1)).await;
    assert_eq!(beat, Err(GroupError::UnknownMemberId), "no member can be there, whatever the store says");
    sleep(Duration::from_secs(20)).await;
    house.store.delay_ms.store(0, SeqCst);
    assert_eq!(house.coordinator.fetch("acme", fetch()).await.expect("fetched").len(), 1);
    assert_eq!(house.store.loads.load(SeqCst), 2, "nobody reads twice");
}

#[tokio::test(start_paused = true)]
async fn a_join_that_is_dropped_leaves_nothing_behind() {
    let house = House::new();
    alone(&house.coordinator, "acme").await;
    let hangs_up = house.coordinator.join("acme", consumer());
    assert!(timeout(Duration::from_millis(100), hangs_up).await.is_err());
    let figures = house.coordinator.snapshot();
    assert_eq!((figures.members, figures.waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_is_dropped_can_be_sent_again() {
    let house = House::new();
    let other = house.coordinator.clone();
    let leader = tokio::spawn(async move { other.join("acme", consumer()).await });
    tokio::task::yield_now().await;
    let follower = house.coordinator.join("acme", consumer()).await;
    let leader = leader.await.expect("no panic");
    let hangs_up = house.coordinator.sync("acme", sync_of(&follower.member, 1, &[]));
    assert!(timeout(Duration::from_millis(100), hangs_up).await.is_err());
    assert_eq!(house.coordinator.snapshot().waiting, 0);
    let given = [(follower.member.as_str(), "x")];
    house.coordinator.sync("acme", sync_of(&leader.member, 1, &given)).await.expect("synced");
    let synced = house.coordinator.sync("acme", sync_of(&follower.member, 1, &[])).await.expect("synced");
    assert_eq!(synced.assignment, "x");
}

#[tokio::test(start_paused = true)]
async fn silent_members_are_thrown_out_by_the_clock_alone() {
    let house = House::new();
    alone(&house.coordinator, "acme").await;
    sleep(Duration::from_millis(u64::try_from(SESSION).expect("positive") - 10)).await;
    assert_eq!(house.coordinator.snapshot().members, 1);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(house.coordinator.snapshot().members, 0);
    let mark = house.store.mark_of("acme", "orders").expect("marked");
    assert_eq!(mark, GroupMark { protocol_type: "consumer".into(), emptied_at: Some(0) });
}

#[tokio::test(start_paused = true)]
async fn a_revoked_principal_is_out_at_once_and_its_waiting_join_answered() {
    let house = House::new();
    let id = alone(&house.coordinator, "acme").await;
    let coordinator = house.coordinator.clone();
    let revoked = JoinGroup { principal: "revoked".into(), ..consumer() };
    let waits = tokio::spawn(async move { coordinator.join("acme", revoked).await });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(house.coordinator.evict("acme", |principal| principal == "revoked"), 1);
    assert_eq!(waits.await.expect("no panic").outcome, Err(GroupError::UnknownMemberId));
    let rejoined = house.coordinator.join("acme", again(&id, consumer())).await.outcome.expect("joined");
    assert_eq!(rejoined.members.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_an_empty_group_is_deleted_and_its_offsets_with_it() {
    let house = House::new();
    let id = alone(&house.coordinator, "acme").await;
    assert_eq!(house.coordinator.commit("acme", commit_of(&id, 1, "t", 1)).await, [Ok(())]);
    assert_eq!(house.coordinator.delete("acme", "orders").await, Err(GroupError::NonEmptyGroup));
    house.coordinator.leave("acme", leave_of(&id)).await.expect("left");
    house.store.is_broken.store(true, SeqCst);
    assert_eq!(house.coordinator.delete("acme", "orders").await, Err(GroupError::CoordinatorNotAvailable));
    house.store.is_broken.store(false, SeqCst);
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(1), "what was not deleted is there");
    assert_eq!(house.coordinator.delete("acme", "orders").await, Ok(()));
    assert_eq!(offset(&house.coordinator, "acme", "t").await, None);
    assert_eq!(house.store.offset("acme", "orders", "t"), None);
    assert_eq!(house.coordinator.delete("acme", "orders").await, Err(GroupError::GroupIdNotFound));
    assert_eq!(house.coordinator.describe("acme", "orders").await, Err(GroupError::GroupIdNotFound));
}

#[tokio::test(start_paused = true)]
async fn offsets_of_topics_that_are_read_are_not_deleted() {
    let house = House::new();
    let place = |topic: &str| (topic.to_owned(), 0);
    let both = [place("read"), place("left")];
    assert_eq!(house.coordinator.offset_delete("acme", "orders", &both).await, Err(GroupError::GroupIdNotFound));
    commit(&house.coordinator, "acme", "read", 1).await.expect("committed");
    commit(&house.coordinator, "acme", "left", 1).await.expect("committed");
    let metadata = bytes::Bytes::from_static(b"\x00\x00\x00\x00\x00\x01\x00\x04read\x00\x00\x00\x00");
    let reader = JoinGroup { protocols: vec![("range".into(), metadata)], ..consumer() };
    let id = house.coordinator.join("acme", reader).await.member;
    let deleted = house.coordinator.offset_delete("acme", "orders", &both).await.expect("answered");
    assert_eq!(deleted, [Err(GroupError::GroupSubscribedToTopic), Ok(())]);
    assert_eq!(offset(&house.coordinator, "acme", "left").await, None);
    house.coordinator.leave("acme", leave_of(&id)).await.expect("left");
    let deleted = house.coordinator.offset_delete("acme", "orders", &both).await.expect("answered");
    assert_eq!(deleted, [Ok(()), Ok(())]);
    let worker = JoinGroup { protocol_type: "connect".into(), ..consumer() };
    house.coordinator.join("acme", worker).await.outcome.expect("joined");
    assert_eq!(house.coordinator.offset_delete("acme", "orders", &both).await, Err(GroupError::NonEmptyGroup));
}

#[tokio::test(start_paused = true)]
async fn offsets_expire_a_week_after_the_last_member_went() {
    let house = House::new();
    let id = alone(&house.coordinator, "acme").await;
    house.coordinator.commit("acme", commit_of(&id, 1, "t", 1)).await[0].expect("committed");
    house.wall.0.store(30 * DAY, SeqCst);
    assert_eq!(house.coordinator.sweep(30 * DAY).await.expect("swept"), Swept::default(), "a member is there");
    house.coordinator.leave("acme", leave_of(&id)).await.expect("left");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(house.coordinator.sweep(37 * DAY - 1).await.expect("swept"), Swept::default());
    let swept = house.coordinator.sweep(37 * DAY).await.expect("swept");
    assert_eq!(swept, Swept { offsets: 1, groups: 1, unloaded: 0 });
    assert!(house.store.mark_of("acme", "orders").is_none());
    assert_eq!(house.coordinator.list("acme", &[]).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn offsets_of_simple_consumers_expire_a_week_after_their_commit() {
    let mut house = House::new();
    commit(&house.coordinator, "acme", "old", 1).await.expect("committed");
    house.wall.0.store(3 * DAY, SeqCst);
    commit(&house.coordinator, "acme", "new", 1).await.expect("committed");
    // A restart is no reason to keep them longer.
    house.restart();
    let swept = house.coordinator.sweep(7 * DAY).await.expect("swept");
    assert_eq!((swept.offsets, swept.groups), (1, 0));
    assert_eq!(
        (offset(&house.coordinator, "acme", "old").await, house.store.offset("acme", "orders", "new")),
        (None, Some(1))
    );
    let swept = house.coordinator.sweep(10 * DAY).await.expect("swept");
    assert_eq!((swept.offsets, swept.groups), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_lived_until_the_crash_keeps_its_offsets_for_a_week_from_the_start() {
    let mut house = House::new();
    let id = alone(&house.coordinator, "acme").await;
    house.coordinator.commit("acme", commit_of(&id, 1, "quiet", 1)).await[0].expect("committed");
    // Two weeks without an event on the topic, then a crash, then a start.
    house.wall.0.store(14 * DAY, SeqCst);
    house.restart();
    assert_eq!(house.coordinator.sweep(14 * DAY).await.expect("swept").offsets, 0);
    sleep(Duration::from_secs(1)).await;
    // The next start does not begin the week anew: nobody came meanwhile.
    house.wall.0.store(20 * DAY, SeqCst);
    house.restart();
    assert_eq!(house.coordinator.sweep(21 * DAY - 1).await.expect("swept").offsets, 0);
    assert_eq!(house.coordinator.sweep(21 * DAY).await.expect("swept").offsets, 1);
}

#[tokio::test(start_paused = true)]
async fn while_members_read_only_offsets_of_abandoned_topics_expire() {
    let house = House::new();
    for topic in ["read", "left"] {
        commit(&house.coordinator, "acme", topic, 1).await.expect("committed");
    }
    let metadata = bytes::Bytes::from_static(b"\x00\x00\x00\x00\x00\x01\x00\x04read\x00\x00\x00\x00");
    let reader = JoinGroup { protocols: vec![("range".into(), metadata)], ..consumer() };
    let id = house.coordinator.join("acme", reader).await.member;
    house.coordinator.sync("acme", sync_of(&id, 1, &[])).await.expect("synced");
    assert_eq!(house.coordinator.sweep(7 * DAY).await.expect("swept").offsets, 1);
    assert_eq!(offset(&house.coordinator, "acme", "read").await, Some(1));
    assert_eq!(offset(&house.coordinator, "acme", "left").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_the_store_lost_is_told_again() {
    let house = House::new();
    commit(&house.coordinator, "acme", "t", 1).await.expect("committed");
    house.store.is_broken.store(true, SeqCst);
    let id = alone(&house.coordinator, "acme").await;
    house.store.is_broken.store(false, SeqCst);
    let marked = |house: &House| house.store.mark_of("acme", "orders").expect("marked").emptied_at;
    assert_eq!(marked(&house), Some(0));
    house.coordinator.heartbeat("acme", beat_of(&id, 1)).await.expect("alive");
    house.coordinator.sweep(1).await.expect("swept");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(marked(&house), None);
}

#[tokio::test(start_paused = true)]
async fn an_idle_group_leaves_memory_and_comes_back() {
    let house = House::new();
    commit(&house.coordinator, "acme", "t", 5).await.expect("committed");
    sleep(Duration::from_secs(601)).await;
    let swept = house.coordinator.sweep(1).await.expect("swept");
    assert_eq!((swept.unloaded, house.coordinator.snapshot().groups), (1, [0; 4]));
    assert_eq!(house.coordinator.list("acme", &[]).await.expect("listed").len(), 1);
    assert_eq!(house.coordinator.describe("acme", "orders").await.expect("there").state, GroupState::Empty);
    let loads = house.store.loads.load(SeqCst);
    assert_eq!(house.coordinator.sweep(2).await.expect("swept"), Swept::default());
    assert_eq!(house.store.loads.load(SeqCst), loads, "a sweep reads nothing that cannot have expired");
    assert_eq!(offset(&house.coordinator, "acme", "t").await, Some(5));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_groups_offsets_names_and_notes() {
    let limits = GroupLimits { groups_per_scope: 2, offsets_per_group: 2, group_id_bytes: 6, ..GroupLimits::default() };
    let house = House::with(limits);
    let with = |offsets| OffsetCommit { offsets, ..commit_of("", -1, "", 0) };
    let place = |topic: &str, metadata: usize| NewOffset {
        topic: topic.into(),
        metadata: "m".repeat(metadata),
        ..NewOffset::default()
    };
    let offsets = vec![place("a", 4_097), place("b", 4_096), place("b", 0), place("c", 0), place("d", 0)];
    let answers = house.coordinator.commit("acme", with(offsets)).await;
    let expected = [Err(GroupError::OffsetMetadataTooLarge), Ok(()), Ok(()), Ok(()), Err(GroupError::PolicyViolation)];
    assert_eq!(answers, expected);
    let negative = vec![NewOffset { offset: -1, ..place("b", 0) }, NewOffset { partition: -1, ..place("b", 0) }];
    assert_eq!(house.coordinator.commit("acme", with(negative)).await, [Err(GroupError::InvalidRequest); 2]);

    let named = |group: &str| JoinGroup { group: group.into(), ..consumer() };
    for (group, error) in [("", GroupError::InvalidGroupId), ("toolong", GroupError::InvalidGroupId)] {
        assert_eq!(house.coordinator.join("acme", named(group)).await.outcome, Err(error));
    }
    house.coordinator.join("acme", named("second")).await.outcome.expect("two are allowed");
    assert_eq!(house.coordinator.join("acme", named("third")).await.outcome, Err(GroupError::PolicyViolation));
    house.coordinator.join("globex", named("third")).await.outcome.expect("elsewhere there is room");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_makes_no_group() {
    let house = House::new();
    let coordinator = &house.coordinator;
    let bad = JoinGroup { session_timeout_ms: 1, ..consumer() };
    assert!(coordinator.join("acme", bad).await.outcome.is_err());
    assert!(coordinator.join("acme", again("m", consumer())).await.outcome.is_err());
    assert_eq!(coordinator.commit("acme", commit_of("m", 3, "t", 1)).await, [Err(GroupError::IllegalGeneration)]);
    assert!(coordinator.commit("acme", commit_of("", -1, "t", -1)).await[0].is_err());
    assert_eq!(offset(coordinator, "acme", "t").await, None);
    assert!(coordinator.leave("acme", leave_of("m")).await.expect("answered")[0].outcome.is_err());
    assert_eq!(coordinator.list("acme", &[]).await, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn the_group_without_a_name_keeps_offsets_and_has_no_members() {
    let house = House::new();
    let nameless = OffsetCommit { group: String::new(), ..commit_of("", -1, "t", 4) };
    assert_eq!(house.coordinator.commit("acme", nameless).await, [Ok(())]);
    let fetched = house.coordinator.fetch("acme", OffsetFetch::default()).await.expect("fetched");
    assert_eq!(fetched[0].committed.as_ref().map(|committed| committed.offset), Some(4));
    house.coordinator.delete("acme", "").await.expect("deleted");
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_by_state() {
    let house = House::new();
    alone(&house.coordinator, "acme").await;
    let simple = OffsetCommit { group: "a-batch".into(), ..commit_of("", -1, "t", 4) };
    assert_eq!(house.coordinator.commit("acme", simple).await, [Ok(())]);
    let names = |states: &'static [GroupState]| async {
        let listed = house.coordinator.list("acme", states).await.expect("listed");
        listed.into_iter().map(|listed| (listed.group, listed.protocol_type)).collect::<Vec<_>>()
    };
    let (batch, orders) = (("a-batch".to_owned(), String::new()), ("orders".to_owned(), "consumer".to_owned()));
    assert_eq!(names(&[]).await, [batch.clone(), orders.clone()]);
    assert_eq!(names(&[GroupState::Stable]).await, [orders]);
    assert_eq!(names(&[GroupState::Empty, GroupState::Dead]).await, [batch]);
}

#[tokio::test(start_paused = true)]
async fn commits_beyond_what_may_wait_are_told_to_come_again() {
    let house = House::with(GroupLimits { waiting_commits_per_group: 3, ..GroupLimits::default() });
    commit(&house.coordinator, "acme", "t", 0).await.expect("first");
    house.store.delay_ms.store(1_000, SeqCst);
    let commits: Vec<_> = (1..=6)
        .map(|offset| {
            let coordinator = Arc::clone(&house.coordinator);
            tokio::spawn(async move { commit(&coordinator, "acme", "t", offset).await })
        })
        .collect();
    let mut refused = 0;
    for commit in commits {
        match commit.await.expect("no panic") {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, GroupError::CoordinatorLoadInProgress);
                refused += 1;
            }
        }
    }
    assert!((2..=3).contains(&refused), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_member_id_names_its_client_and_cannot_be_long() {
    let house = House::new();
    let client_id = "é".repeat(1_000);
    let reply = house.coordinator.join("acme", JoinGroup { client_id, require_known_member: true, ..consumer() }).await;
    assert_eq!(reply.outcome, Err(GroupError::MemberIdRequired));
    assert_eq!(reply.member.chars().count(), 64 + 1 + 32);
}
