//! Coordinator of Kafka consumer groups, classic protocol, for the embedded engine.
//!
//! [`Group`] is the state machine of one group: synchronous, time comes in as an argument, replies and deadlines come
//! out. [`Coordinator`] holds all groups of all tenants, waits for them, and makes offsets durable through an
//! [`OffsetStore`]. What is kept where, and which limits hold: `docs/kafka-groups.md`.
//!
//! This crate knows no network, no wire format but the topic list inside a consumer's subscription, no authorization:
//! whoever calls has already decided that this principal may use this group. It does not know either which topics exist.

mod coordinator;
mod error;
mod group;
mod limits;
mod message;
mod store;
mod subscription;

pub use coordinator::{Clock, Coordinator, Randomness, Snapshot, Swept};
pub use error::GroupError;
pub use group::{Effect, Group, GroupState, Ticket};
pub use limits::GroupLimits;
pub use message::{
    Described, DescribedMember, FetchedOffset, Heartbeat, JoinGroup, JoinReply, Joined, JoinedMember, LeaveGroup,
    Leaving, Left, Listed, NewOffset, OffsetCommit, OffsetFetch, SyncGroup, SyncReply, Synced,
};
pub use store::{CommittedOffset, GroupMark, OffsetStore, StoreError, StoredGroup, StoredOffset};
