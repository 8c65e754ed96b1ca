//! How much a group, and all groups of one tenant, may take. None can be switched off.
//!
//! It does not know rates: how often somebody may call is the listener's business.

/// Limits; the defaults are Apache Kafka's where it has one. Times are milliseconds, sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimits {
    /// Groups of one scope, those counted that only have offsets.
    pub groups_per_scope: usize,
    /// Members of a group, and member ids given out that nobody has joined with yet (each).
    pub members_per_group: usize,
    /// Length of a group id.
    pub group_id_bytes: usize,
    /// Length of every other name: instance ids, protocols, topics.
    pub name_bytes: usize,
    /// Protocols that one member may offer.
    pub protocols_per_member: usize,
    /// Metadata of all protocols of one member together.
    pub member_metadata_bytes: usize,
    /// Metadata of all members of a group together.
    pub group_metadata_bytes: usize,
    /// What a leader may assign, all members together.
    pub assignment_bytes: usize,
    /// Metadata of one committed offset.
    pub offset_metadata_bytes: usize,
    /// Partitions with a committed offset, per group.
    pub offsets_per_group: usize,
    /// Commits of one group that wait for the store; more are told to come again.
    pub waiting_commits_per_group: usize,
    /// Least session timeout.
    pub session_timeout_min_ms: i32,
    /// Largest session timeout.
    pub session_timeout_max_ms: i32,
    /// Largest rebalance timeout; a larger one is taken as this.
    pub rebalance_timeout_max_ms: i32,
    /// How long an empty group waits for more members after the first.
    pub initial_rebalance_delay_ms: i32,
    /// How long a new member waits in its first join before it is taken for gone.
    pub new_member_join_timeout_ms: i32,
    /// How long offsets stay after the group is empty; of simple consumers, after the commit.
    pub offsets_retention_ms: i64,
    /// How long a request waits for a group to be read from the store before it is told to come again.
    pub load_wait_ms: u64,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups_per_scope: 1_000,
            members_per_group: 500,
            group_id_bytes: 255,
            name_bytes: 255,
            protocols_per_member: 16,
            member_metadata_bytes: 64 * 1024,
            group_metadata_bytes: 4 * 1024 * 1024,
            assignment_bytes: 4 * 1024 * 1024,
            offset_metadata_bytes: 4_096,
            offsets_per_group: 10_000,
            waiting_commits_per_group: 1_000,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            rebalance_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            new_member_join_timeout_ms: 300_000,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            load_wait_ms: 5_000,
        }
    }
}
