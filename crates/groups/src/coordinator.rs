//! All groups of all tenants.

use crate::{
    Described, FetchedOffset, GroupError, GroupLimits, GroupState, Heartbeat, JoinGroup, JoinReply, LeaveGroup, Left,
    Listed, OffsetCommit, OffsetFetch, OffsetStore, StoreError, SyncGroup, SyncReply,
};
use std::sync::Arc;

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
    /// Commits that wait for the store.
    pub commits_waiting: usize,
    /// Generations begun since the start.
    pub rebalances: u64,
    /// Writes and reads that the store failed since the start.
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
pub struct Coordinator {
    _store: Arc<dyn OffsetStore>,
}

#[allow(clippy::unused_async, reason = "signatures first")]
impl Coordinator {
    /// A coordinator over a store. To be called inside a tokio runtime: a task for timeouts runs as long as it lives.
    pub fn new(
        store: Arc<dyn OffsetStore>,
        _limits: GroupLimits,
        _clock: Arc<dyn Clock>,
        _random: Arc<dyn Randomness>,
    ) -> Self {
        Self { _store: store }
    }

    /// JoinGroup. Answers when the generation is complete, which may take the rebalance timeout; drop the future when
    /// the client is gone.
    pub async fn join(&self, _scope: &str, request: JoinGroup) -> JoinReply {
        JoinReply { member: request.member, outcome: Err(GroupError::CoordinatorNotAvailable) }
    }

    /// SyncGroup. Answers when the leader has assigned.
    pub async fn sync(&self, _scope: &str, _request: SyncGroup) -> SyncReply {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// Heartbeat.
    pub async fn heartbeat(&self, _scope: &str, _request: Heartbeat) -> Result<(), GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// LeaveGroup: an error for all, or an answer for each member in the order asked.
    pub async fn leave(&self, _scope: &str, _request: LeaveGroup) -> Result<Vec<Left>, GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// OffsetCommit: an answer for each offset in the order asked, given when it is durable.
    pub async fn commit(&self, _scope: &str, request: OffsetCommit) -> Vec<Result<(), GroupError>> {
        vec![Err(GroupError::CoordinatorNotAvailable); request.offsets.len()]
    }

    /// OffsetFetch for one group. Unknown groups and partitions are no error. Asked by name, the answer has the order
    /// of the request; otherwise it is sorted by topic and partition.
    pub async fn fetch(&self, _scope: &str, _request: OffsetFetch) -> Result<Vec<FetchedOffset>, GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// DescribeGroups for one group. [`GroupError::GroupIdNotFound`] is to be state `Dead` without error before v6.
    pub async fn describe(&self, _scope: &str, _group: &str) -> Result<Described, GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// ListGroups: groups in any of these states, all if none is named (v4+ filters), sorted by id.
    pub async fn list(&self, _scope: &str, _states: &[GroupState]) -> Result<Vec<Listed>, GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// DeleteGroups for one group.
    pub async fn delete(&self, _scope: &str, _group: &str) -> Result<(), GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// OffsetDelete: an error for all, or an answer for each (topic, partition) in the order asked.
    pub async fn offset_delete(
        &self,
        _scope: &str,
        _group: &str,
        _partitions: &[(String, i32)],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// Throws out all members of a scope whose principal is meant, and answers how many. Whoever is left rebalances at
    /// once; waiting requests of those thrown out are answered with [`GroupError::UnknownMemberId`].
    pub fn evict(&self, _scope: &str, _principal: impl Fn(&str) -> bool) -> usize {
        0
    }

    /// Removes expired offsets and groups of which nothing is left, and puts idle ones out of memory. `now` is in ms
    /// since 1970; to be called every few minutes.
    pub async fn sweep(&self, _now: i64) -> Result<Swept, StoreError> {
        Ok(Swept::default())
    }

    /// Figures for metrics.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
