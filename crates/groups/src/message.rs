//! Requests and replies as plain types: what the listener decodes from Kafka's messages and encodes into them.
//!
//! They do not know the wire. Which version of a request allows what has become a field.

use crate::{CommittedOffset, GroupError, GroupState};
use bytes::Bytes;

/// JoinGroup (v0-9).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinGroup {
    /// Group id.
    pub group: String,
    /// Member id; empty for one who has none yet.
    pub member: String,
    /// `group.instance.id` of a static member (v5+, KIP-345).
    pub instance: Option<String>,
    /// Who asks. A member id is worth nothing under another principal.
    pub principal: String,
    /// The client's own name, for those who describe the group.
    pub client_id: String,
    /// Where it is connected from, likewise.
    pub client_host: String,
    /// Silence after which the member is taken for gone, in ms.
    pub session_timeout_ms: i32,
    /// Time to re-join in a rebalance, in ms; negative (v0 has none) means the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// Assignors by preference, each with its metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// Why, in the client's words (v8+, KIP-800); for logs only.
    pub reason: Option<String>,
    /// v4 and later: an unknown dynamic member is given an id and told to join again with it (KIP-394).
    pub require_known_member: bool,
    /// v9 and later: a re-joining static leader may be told to leave the assignment as it is (KIP-814).
    pub can_skip_assignment: bool,
}

/// Answer to [`JoinGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// The member id: the one given now, or the one of the request. Empty with some errors. It belongs into the answer
    /// with errors too ([`GroupError::MemberIdRequired`]).
    pub member: String,
    /// The generation joined. An error goes out with generation -1, empty protocol and leader.
    pub outcome: Result<Joined, GroupError>,
}

/// A generation, as one member sees it when it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub generation: i32,
    /// Protocol type of the group (v7+).
    pub protocol_type: String,
    /// The protocol that the members voted for.
    pub protocol: String,
    /// Member id of the leader.
    pub leader: String,
    /// The leader need not assign: the assignment stays (v9+).
    pub skip_assignment: bool,
    /// All members, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub member: String,
    /// Instance id of a static member.
    pub instance: Option<String>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// SyncGroup (v0-5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncGroup {
    /// Group id.
    pub group: String,
    /// Member id.
    pub member: String,
    /// Instance id of a static member (v3+).
    pub instance: Option<String>,
    /// Who asks.
    pub principal: String,
    /// The generation joined.
    pub generation: i32,
    /// Protocol type that the member believes in (v5+), checked if given.
    pub protocol_type: Option<String>,
    /// Protocol that the member believes in (v5+), checked if given.
    pub protocol: Option<String>,
    /// From the leader: assignment by member id. Of others it is ignored.
    pub assignments: Vec<(String, Bytes)>,
}

/// Answer to [`SyncGroup`].
pub type SyncReply = Result<Synced, GroupError>;

/// What the leader assigned to one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// Protocol type of the group (v5+).
    pub protocol_type: String,
    /// Protocol of the generation (v5+).
    pub protocol: String,
    /// The assignment; empty if the leader named none.
    pub assignment: Bytes,
}

/// Heartbeat (v0-4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Group id.
    pub group: String,
    /// Member id.
    pub member: String,
    /// Instance id of a static member (v3+).
    pub instance: Option<String>,
    /// Who asks.
    pub principal: String,
    /// The generation joined.
    pub generation: i32,
}

/// LeaveGroup (v0-5). v0-2 name one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaveGroup {
    /// Group id.
    pub group: String,
    /// Who asks.
    pub principal: String,
    /// Who leaves.
    pub members: Vec<Leaving>,
}

/// One that leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Member id; empty to remove a static member by its instance id alone.
    pub member: String,
    /// Instance id of a static member (v3+).
    pub instance: Option<String>,
    /// Why, in the client's words (v5+).
    pub reason: Option<String>,
}

/// Answer for one [`Leaving`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Member id as asked.
    pub member: String,
    /// Instance id as asked.
    pub instance: Option<String>,
    /// Whether it left. v0-2 have this as the answer's only error.
    pub outcome: Result<(), GroupError>,
}

/// OffsetCommit (v0-9). The retention time of v2-4 is ignored, as by brokers with a retention of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Group id; may be empty.
    pub group: String,
    /// Member id; empty for a simple consumer.
    pub member: String,
    /// Instance id of a static member (v7+).
    pub instance: Option<String>,
    /// Who asks.
    pub principal: String,
    /// The generation joined; -1 for a simple consumer (and v0).
    pub generation: i32,
    /// What to remember.
    pub offsets: Vec<NewOffset>,
}

/// One offset to commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewOffset {
    /// Topic, in the tenant's words.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read; -1 if not known (v6+).
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: String,
}

/// OffsetFetch for one group (v0-9). Member id and epoch of v9 mean nothing to a classic group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetFetch {
    /// Group id; may be empty.
    pub group: String,
    /// Topics and partitions; `None` for all that are committed (v2+).
    pub wanted: Option<Vec<(String, i32)>>,
}

/// One offset as fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// `None` goes out as offset -1, leader epoch -1, no metadata, no error.
    pub committed: Option<CommittedOffset>,
}

/// DescribeGroups, for one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Group id.
    pub group: String,
    /// Its state.
    pub state: GroupState,
    /// Protocol type; empty if none.
    pub protocol_type: String,
    /// Protocol of a stable group, else empty.
    pub protocol: String,
    /// Members.
    pub members: Vec<DescribedMember>,
}

/// A member, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Member id.
    pub member: String,
    /// Instance id of a static member (v4+).
    pub instance: Option<String>,
    /// Its client id.
    pub client_id: String,
    /// Where it was connected from.
    pub client_host: String,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it was assigned; empty unless the group is stable.
    pub assignment: Bytes,
}

/// ListGroups, one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Group id.
    pub group: String,
    /// Protocol type; empty for simple consumers.
    pub protocol_type: String,
    /// Its state (v4+).
    pub state: GroupState,
}
