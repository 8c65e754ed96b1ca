//! The state machine of one group.

use crate::{JoinReply, SyncReply};

/// Names a request that waits for its reply.
pub type Ticket = u64;

/// State of a group, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// A generation exists, and waits for the leader's assignment.
    CompletingRebalance,
    /// Everyone can know its assignment.
    Stable,
    /// Being removed.
    Dead,
}

impl GroupState {
    /// Its name in DescribeGroups and ListGroups.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// What a step of the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer a join.
    Join(Ticket, JoinReply),
    /// Answer a sync.
    Sync(Ticket, SyncReply),
}

/// One group.
#[derive(Debug)]
pub struct Group {}
