//! All groups of all tenants: finds the group, lets its state machine step, waits for the reply, makes offsets durable.
//!
//! A group is a name in a scope; no call sees more than the scope it names. What a group does is decided in
//! [`crate::Group`]; this module does not know it.

mod entry;
mod registry;
mod sweep;
mod timers;
mod writer;

use crate::group::join::check_form;
use crate::{
    CommittedOffset, Described, FetchedOffset, GroupError, GroupLimits, GroupMark, GroupState, Heartbeat, JoinGroup,
    JoinReply, LeaveGroup, Left, Listed, NewOffset, OffsetCommit, OffsetFetch, OffsetStore, StoreError, StoredOffset,
    SyncGroup, SyncReply,
};
use entry::{Entry, State, Waiting};
use registry::Scope;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use timers::Timers;
use tokio::sync::oneshot;
use writer::{Done, Write};

/// Wall clock: commit times and retention. Timeouts are tokio's time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn unix_millis(&self) -> i64;
}

/// Source of random bytes for member ids.
pub trait Randomness: Send + Sync {
    /// Fills the buffer with bytes that nobody can guess.
    fn fill(&self, buffer: &mut [u8]);
}

/// Figures for metrics, over all scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Groups in memory by state: Empty, PreparingRebalance, CompletingRebalance, Stable.
    pub groups: [usize; 4],
    /// Members.
    pub members: usize,
    /// Joins and syncs that wait.
    pub waiting: usize,
    /// Writes that wait for the store, commits among them.
    pub writes_waiting: usize,
    /// Generations begun since the start.
    pub rebalances: u64,
    /// Calls that the store failed since the start.
    pub store_failures: u64,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Offsets that expired.
    pub offsets: usize,
    /// Groups removed, since nothing was left of them.
    pub groups: usize,
    /// Groups put out of memory; their offsets stay in the store.
    pub unloaded: usize,
}

/// Coordinator of all groups. A scope is a tenant: equal group names of two scopes are two groups.
///
/// Only one coordinator may use a store at a time. Callers have authenticated and authorized; the principal in a request is
/// taken as true.
pub struct Coordinator {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn OffsetStore>,
    limits: GroupLimits,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    /// By the wall clock.
    started_at: i64,
    /// Scopes stay once they were asked for: there are as many as tenants.
    scopes: Mutex<HashMap<String, Arc<Scope>>>,
    timers: Arc<Timers>,
    tickets: AtomicU64,
    rebalances: AtomicU64,
    store_failures: AtomicU64,
}

impl Coordinator {
    /// A coordinator over a store. To be called inside a tokio runtime: a task for timeouts runs as long as it lives.
    pub fn new(
        store: Arc<dyn OffsetStore>,
        limits: GroupLimits,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Randomness>,
    ) -> Self {
        let timers = Arc::new(Timers::new());
        let shared = Arc::new(Shared {
            store,
            limits,
            started_at: clock.unix_millis(),
            clock,
            random,
            scopes: Mutex::default(),
            timers: Arc::clone(&timers),
            tickets: AtomicU64::new(0),
            rebalances: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
        });
        tokio::spawn(timers::run(timers, Arc::downgrade(&shared)));
        Self { shared }
    }

    /// JoinGroup. Answers when the generation is complete, which may take the rebalance timeout; drop the future when
    /// the client is gone, and nobody waits for it.
    pub async fn join(&self, scope: &str, request: JoinGroup) -> JoinReply {
        let member = request.member.clone();
        let reply = self.try_join(scope, request).await;
        reply.unwrap_or_else(|error| JoinReply { member, outcome: Err(error) })
    }

    async fn try_join(&self, scope: &str, request: JoinGroup) -> Result<JoinReply, GroupError> {
        let shared = &self.shared;
        shared.check_name(&request.group, Empty::Refused)?;
        // Before a group is made for it.
        check_form(&request, &shared.limits)?;
        let is_new = request.member.is_empty();
        let fresh_id = shared.member_id(&request);
        let (ticket, reply) = (shared.ticket(), oneshot::channel());
        let group = request.group.clone();
        let joined = shared.with(scope, &group, is_new, |entry, state, now| {
            state.joins.insert(ticket, reply.0);
            let effects = state.machine.join(request, ticket, fresh_id, now, &shared.limits);
            (Waiting { shared: Arc::clone(shared), entry: Arc::clone(entry), ticket }, effects)
        });
        let _waiting = joined.await?.ok_or(GroupError::UnknownMemberId)?;
        reply.1.await.map_err(|_| GroupError::CoordinatorNotAvailable)
    }

    /// SyncGroup. Answers when the leader has assigned.
    pub async fn sync(&self, scope: &str, request: SyncGroup) -> SyncReply {
        let shared = &self.shared;
        shared.check_name(&request.group, Empty::Refused)?;
        let (ticket, reply) = (shared.ticket(), oneshot::channel());
        let group = request.group.clone();
        let synced = shared.with_present(scope, &group, |entry, state, now| {
            state.syncs.insert(ticket, reply.0);
            let effects = state.machine.sync(request, ticket, now, &shared.limits);
            (Waiting { shared: Arc::clone(shared), entry: Arc::clone(entry), ticket }, effects)
        });
        let _waiting = synced.ok_or(GroupError::UnknownMemberId)?;
        reply.1.await.map_err(|_| GroupError::CoordinatorNotAvailable)?
    }

    /// Heartbeat.
    #[expect(clippy::unused_async, reason = "callers treat all requests alike")]
    pub async fn heartbeat(&self, scope: &str, request: Heartbeat) -> Result<(), GroupError> {
        self.shared.check_name(&request.group, Empty::Refused)?;
        let beat = self
            .shared
            .with_present(scope, &request.group, |_, state, now| (state.machine.heartbeat(&request, now), Vec::new()));
        beat.unwrap_or(Err(GroupError::UnknownMemberId))
    }

    /// LeaveGroup: an error for all, or an answer for each member in the order asked.
    #[expect(clippy::unused_async, reason = "callers treat all requests alike")]
    pub async fn leave(&self, scope: &str, request: LeaveGroup) -> Result<Vec<Left>, GroupError> {
        self.shared.check_name(&request.group, Empty::Refused)?;
        let left = self.shared.with_present(scope, &request.group, |_, state, now| state.machine.leave(&request, now));
        left.unwrap_or_else(|| {
            let unknown = |leaving: crate::Leaving| Left {
                member: leaving.member,
                instance: leaving.instance,
                outcome: Err(GroupError::UnknownMemberId),
            };
            Ok(request.members.into_iter().map(unknown).collect())
        })
    }

    /// OffsetCommit: an answer for each offset in the order asked, given when it is durable. Dropping the future does
    /// not take a commit back.
    pub async fn commit(&self, scope: &str, request: OffsetCommit) -> Vec<Result<(), GroupError>> {
        let count = request.offsets.len();
        self.try_commit(scope, request).await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn try_commit(&self, scope: &str, request: OffsetCommit) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let shared = &self.shared;
        shared.check_name(&request.group, Empty::Allowed)?;
        let mut answers: Vec<_> = request.offsets.iter().map(|offset| check_offset(offset, &shared.limits)).collect();
        let is_simple = request.generation < 0;
        let create = is_simple && answers.iter().any(Result::is_ok);
        let queued = shared.with(scope, &request.group, create, |entry, state, now| {
            let queued = state.machine.check_commit(&request, now);
            (queued.and_then(|()| shared.queue_commit(entry, state, &request, &mut answers)), Vec::new())
        });
        let missing = if is_simple { GroupError::UnknownMemberId } else { GroupError::IllegalGeneration };
        match queued.await? {
            Some(queued) => {
                if let Some(done) = queued? {
                    durable(done).await?;
                }
            }
            // No offset of it may be committed, so that there is nothing to make a group for.
            None if is_simple && !answers.is_empty() => {}
            None => return Err(missing),
        }
        Ok(answers)
    }

    /// OffsetFetch for one group. Unknown groups and partitions are no error. Asked by name, the answer has the order
    /// of the request; otherwise it is sorted by topic and partition.
    pub async fn fetch(&self, scope: &str, request: OffsetFetch) -> Result<Vec<FetchedOffset>, GroupError> {
        self.shared.check_name(&request.group, Empty::Allowed)?;
        let fetched = |topic: &str, partition: i32, committed: Option<&CommittedOffset>| FetchedOffset {
            topic: topic.to_owned(),
            partition,
            committed: committed.cloned(),
        };
        let all = self.shared.with(scope, &request.group, false, |_, state, _| {
            let offsets = &state.offsets;
            let found: Vec<_> = match &request.wanted {
                Some(wanted) => {
                    let get =
                        |(topic, partition): &(String, i32)| fetched(topic, *partition, offsets.get(topic, *partition));
                    wanted.iter().map(get).collect()
                }
                None => offsets.iter().map(|(topic, partition, kept)| fetched(topic, partition, Some(kept))).collect(),
            };
            (found, Vec::new())
        });
        Ok(all.await?.unwrap_or_else(|| {
            let wanted = request.wanted.iter().flatten();
            wanted.map(|(topic, partition)| fetched(topic, *partition, None)).collect()
        }))
    }

    /// DescribeGroups for one group. [`GroupError::GroupIdNotFound`] is to be state `Dead` without error before v6.
    pub async fn describe(&self, scope: &str, group: &str) -> Result<Described, GroupError> {
        let scope = self.shared.scope(scope).await?;
        let places = scope.places();
        let place = places.get(group).ok_or(GroupError::GroupIdNotFound)?;
        let Some(entry) = &place.entry else {
            return Ok(Described {
                group: group.to_owned(),
                state: GroupState::Empty,
                protocol_type: place.mark.as_ref().map(|mark| mark.protocol_type.clone()).unwrap_or_default(),
                protocol: String::new(),
                members: Vec::new(),
            });
        };
        let described = entry.lock().machine.describe(group);
        if described.state == GroupState::Dead { Err(GroupError::GroupIdNotFound) } else { Ok(described) }
    }

    /// ListGroups: groups in any of these states, all if none is named (v4+ filters), sorted by id.
    pub async fn list(&self, scope: &str, states: &[GroupState]) -> Result<Vec<Listed>, GroupError> {
        let scope = self.shared.scope(scope).await?;
        let mut listed: Vec<Listed> = scope
            .places()
            .iter()
            .map(|(group, place)| {
                let (state, protocol_type) = match &place.entry {
                    Some(entry) => {
                        let state = entry.lock();
                        (state.machine.state(), state.machine.protocol_type().to_owned())
                    }
                    None => {
                        let mark = place.mark.as_ref();
                        (GroupState::Empty, mark.map(|mark| mark.protocol_type.clone()).unwrap_or_default())
                    }
                };
                Listed { group: group.clone(), protocol_type, state }
            })
            .filter(|listed| listed.state != GroupState::Dead)
            .filter(|listed| states.is_empty() || states.contains(&listed.state))
            .collect();
        listed.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(listed)
    }

    /// DeleteGroups for one group. It is gone with its offsets when this answers.
    pub async fn delete(&self, scope: &str, group: &str) -> Result<(), GroupError> {
        let shared = &self.shared;
        let buried = shared.with(scope, group, false, |entry, state, _| {
            let buried = state.machine.bury().map(|()| {
                let (done, deleted) = oneshot::channel();
                shared.enqueue(entry, state, Write::Delete { done });
                deleted
            });
            (buried, Vec::new())
        });
        durable(buried.await?.ok_or(GroupError::GroupIdNotFound)??).await
    }

    /// OffsetDelete: an error for all, or an answer for each (topic, partition) in the order asked. Offsets that do not
    /// exist are deleted.
    pub async fn offset_delete(
        &self,
        scope: &str,
        group: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let shared = &self.shared;
        let deleted = shared.with(scope, group, false, |entry, state, _| {
            if state.machine.members() > 0 && state.machine.protocol_type() != "consumer" {
                return (Err(GroupError::NonEmptyGroup), Vec::new());
            }
            let is_free = |(topic, _): &(String, i32)| !state.machine.may_read(topic);
            let answers: Vec<_> = partitions.iter().map(&is_free).collect();
            let free: Vec<_> = partitions.iter().filter(|place| is_free(place)).cloned().collect();
            if state.writes.len() >= shared.limits.waiting_commits_per_group {
                return (Err(GroupError::CoordinatorLoadInProgress), Vec::new());
            }
            let (done, deleted) = oneshot::channel();
            if !free.is_empty() {
                shared.enqueue(entry, state, Write::DeleteOffsets { partitions: free, done });
            } else {
                let _ = done.send(true);
            }
            (Ok((answers, deleted)), Vec::new())
        });
        let (answers, deleted) = deleted.await?.ok_or(GroupError::GroupIdNotFound)??;
        durable(deleted).await?;
        let answer = |is_free| if is_free { Ok(()) } else { Err(GroupError::GroupSubscribedToTopic) };
        Ok(answers.into_iter().map(answer).collect())
    }

    /// Throws out all members of a scope whose principal is meant, and answers how many. Whoever is left rebalances at
    /// once; waiting requests of those thrown out are answered with [`GroupError::UnknownMemberId`]. To be called when
    /// the door refuses them already.
    pub fn evict(&self, scope: &str, principal: impl Fn(&str) -> bool) -> usize {
        let Some(scope) = self.shared.known_scope(scope) else { return 0 };
        let entries: Vec<_> = scope.places().values().filter_map(|place| place.entry.clone()).collect();
        let evict = |entry: Arc<Entry>| {
            let state = &mut *entry.lock();
            self.shared.step(&entry, state, |state, now| state.machine.evict(&principal, now))
        };
        entries.into_iter().map(evict).sum()
    }

    /// Removes expired offsets and groups of which nothing is left, and puts idle ones out of memory. `now` is in ms
    /// since 1970; to be called every few minutes.
    pub async fn sweep(&self, now: i64) -> Result<Swept, StoreError> {
        self.shared.sweep(now).await
    }

    /// Figures for metrics.
    pub fn snapshot(&self) -> Snapshot {
        let mut figures = Snapshot {
            rebalances: self.shared.rebalances.load(Ordering::Relaxed),
            store_failures: self.shared.store_failures.load(Ordering::Relaxed),
            ..Snapshot::default()
        };
        for (_, scope) in self.shared.named_scopes() {
            let entries: Vec<_> = scope.places().values().filter_map(|place| place.entry.clone()).collect();
            for entry in entries {
                let state = entry.lock();
                let [empty, preparing, completing, stable] = &mut figures.groups;
                match state.machine.state() {
                    GroupState::Empty => *empty += 1,
                    GroupState::PreparingRebalance => *preparing += 1,
                    GroupState::CompletingRebalance => *completing += 1,
                    GroupState::Stable => *stable += 1,
                    GroupState::Dead => {}
                }
                figures.members += state.machine.members();
                figures.waiting += state.machine.waiting();
                figures.writes_waiting += state.writes.len();
            }
        }
        figures
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.shared.timers.stop();
    }
}

/// Whether a request may name the group with no name: those about offsets may, as with Kafka.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Allowed,
    Refused,
}

impl Shared {
    fn check_name(&self, group: &str, empty: Empty) -> Result<(), GroupError> {
        let is_good = group.len() <= self.limits.group_id_bytes && (empty == Empty::Allowed || !group.is_empty());
        if is_good { Ok(()) } else { Err(GroupError::InvalidGroupId) }
    }

    fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    fn count_rebalance(&self) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }

    /// As Kafka makes them: the instance id or the client's own name, then what nobody can guess.
    fn member_id(&self, request: &JoinGroup) -> String {
        let name = request.instance.as_deref().unwrap_or(&request.client_id);
        let mut id: String = name.chars().take(64).collect();
        let mut random = [0; 16];
        self.random.fill(&mut random);
        id.push('-');
        for byte in random {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }

    /// Puts the good offsets of a commit in line. `None` if there are none.
    fn queue_commit(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        state: &mut State,
        request: &OffsetCommit,
        answers: &mut [Result<(), GroupError>],
    ) -> Result<Option<oneshot::Receiver<bool>>, GroupError> {
        if state.writes.len() >= self.limits.waiting_commits_per_group {
            return Err(GroupError::CoordinatorLoadInProgress);
        }
        let commit_time = self.clock.unix_millis();
        let mut new_places = BTreeSet::new();
        let mut offsets = Vec::with_capacity(request.offsets.len());
        for (offset, answer) in request.offsets.iter().zip(answers.iter_mut()).filter(|(_, answer)| answer.is_ok()) {
            let place = (offset.topic.as_str(), offset.partition);
            if state.offsets.get(place.0, place.1).is_none() && !new_places.contains(&place) {
                if state.offsets.len() + state.claimed + new_places.len() >= self.limits.offsets_per_group {
                    *answer = Err(GroupError::PolicyViolation);
                    continue;
                }
                new_places.insert(place);
            }
            offsets.push(stored(offset, commit_time));
        }
        if offsets.is_empty() {
            return Ok(None);
        }
        if state.mark.is_none() {
            let mark = GroupMark { protocol_type: String::new(), emptied_at: Some(commit_time) };
            state.mark = Some(mark.clone());
            self.enqueue(entry, state, Write::Mark(mark));
        }
        let claimed = new_places.len();
        state.claimed += claimed;
        let (done, committed): (Done, _) = oneshot::channel();
        self.enqueue(entry, state, Write::Commit { offsets, claimed, done });
        Ok(Some(committed))
    }
}

fn stored(offset: &NewOffset, commit_time: i64) -> StoredOffset {
    StoredOffset {
        topic: offset.topic.clone(),
        partition: offset.partition,
        committed: CommittedOffset {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.clone(),
            commit_time,
        },
    }
}

fn check_offset(offset: &NewOffset, limits: &GroupLimits) -> Result<(), GroupError> {
    if offset.metadata.len() > limits.offset_metadata_bytes {
        return Err(GroupError::OffsetMetadataTooLarge);
    }
    let is_sound = offset.offset >= 0 && offset.partition >= 0 && offset.topic.len() <= limits.name_bytes;
    if is_sound { Ok(()) } else { Err(GroupError::InvalidRequest) }
}

async fn durable(done: oneshot::Receiver<bool>) -> Result<(), GroupError> {
    if done.await.unwrap_or(false) { Ok(()) } else { Err(GroupError::CoordinatorNotAvailable) }
}
