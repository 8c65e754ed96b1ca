//! What the tests share: a group on a simulated clock, and a store in memory that can be slow, broken or panicking.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tradelane_groups::{
    Clock, CommittedOffset, Coordinator, Effect, Group, GroupError, GroupLimits, GroupMark, Heartbeat, JoinGroup,
    JoinReply, Joined, LeaveGroup, Leaving, NewOffset, OffsetCommit, OffsetStore, Randomness, StoreError, StoredGroup,
    StoredOffset, SyncGroup, SyncReply, Ticket,
};

pub const SESSION: i32 = 10_000;
pub const REBALANCE: i32 = 60_000;

/// A consumer of the team `app` that offers `range`.
pub fn consumer() -> JoinGroup {
    JoinGroup {
        group: "orders".into(),
        principal: "app".into(),
        client_id: "c".into(),
        session_timeout_ms: SESSION,
        rebalance_timeout_ms: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        ..JoinGroup::default()
    }
}

pub fn protocols(names: &[&str]) -> Vec<(String, Bytes)> {
    names.iter().map(|name| ((*name).to_owned(), Bytes::from_static(b"meta"))).collect()
}

pub fn sync_of(member: &str, generation: i32, assignments: &[(&str, &str)]) -> SyncGroup {
    let assignments = assignments.iter().map(|(id, what)| ((*id).to_owned(), Bytes::copy_from_slice(what.as_bytes())));
    SyncGroup {
        group: "orders".into(),
        member: member.into(),
        principal: "app".into(),
        generation,
        assignments: assignments.collect(),
        ..SyncGroup::default()
    }
}

pub fn beat_of(member: &str, generation: i32) -> Heartbeat {
    Heartbeat { group: "orders".into(), member: member.into(), principal: "app".into(), generation, instance: None }
}

pub fn commit_of(member: &str, generation: i32, topic: &str, offset: i64) -> OffsetCommit {
    OffsetCommit {
        group: "orders".into(),
        member: member.into(),
        principal: "app".into(),
        generation,
        offsets: vec![NewOffset { topic: topic.into(), offset, leader_epoch: -1, ..NewOffset::default() }],
        ..OffsetCommit::default()
    }
}

pub fn leave_of(member: &str) -> LeaveGroup {
    let members = vec![Leaving { member: member.into(), ..Leaving::default() }];
    LeaveGroup { group: "orders".into(), principal: "app".into(), members }
}

/// A group, its clock, and the replies that came out of it.
pub struct Bench {
    pub group: Group,
    pub now: u64,
    pub limits: GroupLimits,
    pub joins: HashMap<Ticket, JoinReply>,
    pub syncs: HashMap<Ticket, SyncReply>,
    tickets: Ticket,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            group: Group::new(),
            now: 0,
            limits: GroupLimits { members_per_group: 4, ..GroupLimits::default() },
            joins: HashMap::new(),
            syncs: HashMap::new(),
            tickets: 0,
        }
    }

    pub fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let answered_twice = match effect {
                Effect::Join(ticket, reply) => self.joins.insert(ticket, reply).is_some(),
                Effect::Sync(ticket, reply) => self.syncs.insert(ticket, reply).is_some(),
            };
            assert!(!answered_twice, "a ticket is answered once");
        }
    }

    /// Sends a join. Fresh ids are `m1`, `m2`, ... by ticket.
    pub fn join(&mut self, request: JoinGroup) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        let effects = self.group.join(request, ticket, format!("m{ticket}"), self.now, &self.limits);
        self.take(effects);
        ticket
    }

    pub fn sync(&mut self, request: SyncGroup) -> Ticket {
        self.tickets += 1;
        let effects = self.group.sync(request, self.tickets, self.now, &self.limits);
        self.take(effects);
        self.tickets
    }

    pub fn leave(&mut self, request: &LeaveGroup) -> Vec<Result<(), GroupError>> {
        let (left, effects) = self.group.leave(request, self.now);
        self.take(effects);
        left.expect("the group lives").into_iter().map(|left| left.outcome).collect()
    }

    pub fn beat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
        self.group.heartbeat(&beat_of(member, generation), self.now)
    }

    /// Lets time pass, stopping at each deadline as the timer does.
    pub fn pass(&mut self, millis: i32) {
        let until = self.now + u64::try_from(millis).expect("forwards");
        while let Some(deadline) = self.group.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            let effects = self.group.advance(self.now);
            self.take(effects);
        }
        self.now = until;
    }

    /// The reply to a join, if it has come.
    pub fn joined(&self, ticket: Ticket) -> Option<&Joined> {
        self.joins.get(&ticket)?.outcome.as_ref().ok()
    }

    pub fn join_error(&self, ticket: Ticket) -> Option<GroupError> {
        self.joins.get(&ticket)?.outcome.as_ref().err().copied()
    }

    pub fn sync_error(&self, ticket: Ticket) -> Option<GroupError> {
        self.syncs.get(&ticket)?.as_ref().err().copied()
    }

    pub fn assignment(&self, ticket: Ticket) -> Option<&[u8]> {
        self.syncs.get(&ticket)?.as_ref().ok().map(|synced| synced.assignment.as_ref())
    }

    /// Joins all of these at once, waits for the generation and brings it to stable. Answers the ids and the generation.
    pub fn stable(&mut self, requests: Vec<JoinGroup>) -> (Vec<String>, i32) {
        let tickets: Vec<_> = requests.into_iter().map(|request| self.join(request)).collect();
        let delay = 2 * self.limits.initial_rebalance_delay_ms;
        self.pass(delay);
        let ids: Vec<_> = tickets.iter().map(|ticket| self.joins[ticket].member.clone()).collect();
        let generation = self.joined(tickets[0]).expect("joined").generation;
        self.settle(&ids, generation);
        (ids, generation)
    }

    /// Everyone syncs; each is assigned `for <id>`.
    pub fn settle(&mut self, ids: &[String], generation: i32) {
        let assigned: Vec<_> = ids.iter().map(|id| (id.clone(), format!("for {id}"))).collect();
        let assigned: Vec<_> = assigned.iter().map(|(id, what)| (id.as_str(), what.as_str())).collect();
        let tickets: Vec<_> = ids.iter().map(|id| self.sync(sync_of(id, generation, &assigned))).collect();
        for (id, ticket) in ids.iter().zip(tickets) {
            assert_eq!(self.assignment(ticket), Some(format!("for {id}").as_bytes()));
        }
    }
}

/// A static consumer.
pub fn fixed(instance: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.into()), ..consumer() }
}

/// The same member again.
pub fn again(member: &str, request: JoinGroup) -> JoinGroup {
    JoinGroup { member: member.into(), ..request }
}

type Groups = BTreeMap<(String, String), (Option<GroupMark>, BTreeMap<(String, i32), CommittedOffset>)>;

/// A store in memory. It outlives coordinators, as a disk does.
#[derive(Default)]
pub struct MemoryStore {
    groups: Mutex<Groups>,
    pub is_broken: AtomicBool,
    pub panics: AtomicBool,
    pub delay_ms: AtomicU64,
    pub commits: AtomicUsize,
    pub loads: AtomicUsize,
}

impl MemoryStore {
    async fn touch(&self) -> Result<(), StoreError> {
        let delay = self.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        assert!(!self.panics.load(Ordering::SeqCst), "the store panics");
        if self.is_broken.load(Ordering::SeqCst) { Err(StoreError("the disk is full".into())) } else { Ok(()) }
    }

    pub fn offset(&self, scope: &str, group: &str, topic: &str) -> Option<i64> {
        let groups = self.groups.lock().expect("no panic inside");
        let (_, offsets) = groups.get(&(scope.into(), group.into()))?;
        offsets.get(&(topic.into(), 0)).map(|committed| committed.offset)
    }

    pub fn mark_of(&self, scope: &str, group: &str) -> Option<GroupMark> {
        self.groups.lock().expect("no panic inside").get(&(scope.into(), group.into()))?.0.clone()
    }
}

#[async_trait]
impl OffsetStore for MemoryStore {
    async fn scopes(&self) -> Result<Vec<String>, StoreError> {
        self.touch().await?;
        let mut scopes: Vec<_> = self.groups.lock().expect("whole").keys().map(|(scope, _)| scope.clone()).collect();
        scopes.dedup();
        Ok(scopes)
    }

    async fn list(&self, scope: &str) -> Result<Vec<StoredGroup>, StoreError> {
        self.touch().await?;
        let groups = self.groups.lock().expect("whole");
        let mine = groups.iter().filter(|((of, _), _)| of == scope);
        Ok(mine.map(|((_, group), (mark, _))| StoredGroup { group: group.clone(), mark: mark.clone() }).collect())
    }

    async fn load(&self, scope: &str, group: &str) -> Result<Vec<StoredOffset>, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.touch().await?;
        let groups = self.groups.lock().expect("whole");
        let offsets = groups.get(&(scope.into(), group.into())).map(|(_, offsets)| offsets.clone()).unwrap_or_default();
        let stored =
            offsets.into_iter().map(|((topic, partition), committed)| StoredOffset { topic, partition, committed });
        Ok(stored.collect())
    }

    async fn commit(&self, scope: &str, group: &str, offsets: &[StoredOffset]) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.touch().await?;
        let mut groups = self.groups.lock().expect("whole");
        let (_, kept) = groups.entry((scope.into(), group.into())).or_default();
        kept.extend(offsets.iter().map(|new| ((new.topic.clone(), new.partition), new.committed.clone())));
        Ok(())
    }

    async fn mark(&self, scope: &str, group: &str, mark: &GroupMark) -> Result<(), StoreError> {
        self.touch().await?;
        let mut groups = self.groups.lock().expect("whole");
        groups.entry((scope.into(), group.into())).or_default().0 = Some(mark.clone());
        Ok(())
    }

    async fn delete_offsets(&self, scope: &str, group: &str, partitions: &[(String, i32)]) -> Result<(), StoreError> {
        self.touch().await?;
        let mut groups = self.groups.lock().expect("whole");
        if let Some((_, offsets)) = groups.get_mut(&(scope.into(), group.into())) {
            offsets.retain(|place, _| !partitions.contains(place));
        }
        Ok(())
    }

    async fn delete(&self, scope: &str, group: &str) -> Result<(), StoreError> {
        self.touch().await?;
        self.groups.lock().expect("whole").remove(&(scope.into(), group.into()));
        Ok(())
    }
}

/// A wall clock that stands until it is moved.
#[derive(Default)]
pub struct Wall(pub AtomicI64);

impl Clock for Wall {
    fn unix_millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts instead of drawing: ids differ, and runs repeat.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Randomness for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        buffer.iter_mut().rev().zip(next.iter().rev()).for_each(|(byte, next)| *byte = *next);
    }
}

/// A coordinator with what it stands on.
pub struct House {
    pub store: Arc<MemoryStore>,
    pub wall: Arc<Wall>,
    pub limits: GroupLimits,
    random: Arc<Counting>,
    pub coordinator: Arc<Coordinator>,
}

impl House {
    pub fn new() -> Self {
        Self::with(GroupLimits::default())
    }

    pub fn with(limits: GroupLimits) -> Self {
        let (store, wall, random) = (Arc::<MemoryStore>::default(), Arc::<Wall>::default(), Arc::<Counting>::default());
        let coordinator = Arc::new(Coordinator::new(store.clone(), limits.clone(), wall.clone(), random.clone()));
        Self { store, wall, limits, random, coordinator }
    }

    /// The process ends and begins again over the same store.
    pub fn restart(&mut self) {
        self.coordinator =
            Arc::new(Coordinator::new(self.store.clone(), self.limits.clone(), self.wall.clone(), self.random.clone()));
    }
}
