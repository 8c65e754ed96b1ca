//! Where committed offsets live.
//!
//! The store knows scopes, groups and offsets as names and numbers; members, generations and assignments are never
//! stored: after a restart members join anew. The coordinator calls with one write per group at a time and in order;
//! different groups are written at the same time, so a store may gather many into one commit to disk.

use async_trait::async_trait;

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 if not known.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: String,
    /// When, in ms since 1970.
    pub commit_time: i64,
}

/// A committed offset with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffset {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// What was committed.
    pub committed: CommittedOffset,
}

/// What outlives a restart of a group besides its offsets: enough to know when these may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupMark {
    /// Protocol type of the last members; empty for simple consumers, whose offsets expire by commit time.
    pub protocol_type: String,
    /// When the last member went, in ms since 1970; `None` while there are members. Of simple consumers: the first commit.
    pub emptied_at: Option<i64>,
}

/// A group in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGroup {
    /// Group id.
    pub group: String,
    /// Its mark; `None` if only offsets are there.
    pub mark: Option<GroupMark>,
}

/// The store failed. What it says is for the operator; clients are told that the coordinator is not available.
#[derive(Debug, thiserror::Error)]
#[error("the store of offsets failed: {0}")]
pub struct StoreError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Durable offsets. Whatever returns `Ok` has happened and survives a crash; whatever returns an error may have
/// happened or not.
#[async_trait]
pub trait OffsetStore: Send + Sync {
    /// All scopes that have groups.
    async fn scopes(&self) -> Result<Vec<String>, StoreError>;

    /// All groups of a scope that have a mark or an offset.
    async fn list(&self, scope: &str) -> Result<Vec<StoredGroup>, StoreError>;

    /// All offsets of a group; none if it does not exist.
    async fn load(&self, scope: &str, group: &str) -> Result<Vec<StoredOffset>, StoreError>;

    /// Puts offsets in the place of earlier ones of the same partitions, all or none.
    async fn commit(&self, scope: &str, group: &str, offsets: &[StoredOffset]) -> Result<(), StoreError>;

    /// Puts a group's mark.
    async fn mark(&self, scope: &str, group: &str, mark: &GroupMark) -> Result<(), StoreError>;

    /// Removes the offsets of these partitions (topic, partition); those that are not there do not matter.
    async fn delete_offsets(&self, scope: &str, group: &str, partitions: &[(String, i32)]) -> Result<(), StoreError>;

    /// Removes a group: all offsets and the mark.
    async fn delete(&self, scope: &str, group: &str) -> Result<(), StoreError>;
}
