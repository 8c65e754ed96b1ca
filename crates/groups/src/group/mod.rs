//! The state machine of one group.
//!
//! ```text
//!            join                all joined, or time is up            leader's assignment
//!  Empty ──────────▶ PreparingRebalance ──────────▶ CompletingRebalance ──────────▶ Stable
//!    ▲                 │        ▲                          │                          │
//!    └── nobody left ──┘        └──── join, leave, failure, changed metadata ─────────┘
//! ```
//!
//! Everything is synchronous: the time is an argument, in milliseconds since whenever the caller likes, never going
//! back; requests that wait are named by a [`Ticket`] and answered by an [`Effect`]. The semantics are those of Apache
//! Kafka's group coordinator, version 3.9 and later, for classic groups, with KIP-345, 394, 800 and 814. It differs where
//! that is safer for a house with many owners: a member id counts only under the principal that it was given to.
//!
//! It does not know scopes, offsets or clocks, and makes no ids.

pub(crate) mod join;
mod membership;
mod rebalance;

use crate::subscription::any_topic;
use crate::{Described, DescribedMember, GroupError, JoinReply, SyncReply};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Names a request that waits for its reply; the caller makes them and never uses one twice for a group.
pub type Ticket = u64;

/// A moment or a length of time, in ms.
pub(crate) type Millis = u64;

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
    /// Removed.
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

/// What a step of the machine wants done. Each ticket is answered exactly once, unless it was abandoned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer a join.
    Join(Ticket, JoinReply),
    /// Answer a sync.
    Sync(Ticket, SyncReply),
}

/// One group. Member ids are the keys of its maps; they are made by the caller and never used twice.
#[derive(Debug, Default)]
pub struct Group {
    dead: bool,
    phase: Phase,
    generation: i32,
    /// Kept when the group is empty, for those who list it.
    protocol_type: String,
    /// Chosen by vote when a generation begins.
    protocol: String,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member id by instance id.
    statics: BTreeMap<String, String>,
    /// Ids given out with MEMBER_ID_REQUIRED that nobody has joined with yet.
    pending: BTreeMap<String, Pending>,
    /// Counts members as they come, so that the first who came leads.
    arrivals: u64,
    effects: Vec<Effect>,
}

/// The state, with what only this state has.
#[derive(Debug, Default)]
enum Phase {
    #[default]
    Empty,
    Preparing {
        deadline: Millis,
        /// Of the first rebalance of an empty group: it waits its delay out even when everyone has joined.
        initial: Option<Initial>,
    },
    Completing {
        unsynced: Unsynced,
    },
    Stable {
        /// Members that have not asked for their assignment yet.
        unsynced: Unsynced,
    },
}

#[derive(Debug, Clone, Copy)]
struct Initial {
    /// How much longer it may be put off.
    left: Millis,
    /// By how much each time.
    delay: Millis,
    someone_came: bool,
}

/// Members of a generation that have not sent SyncGroup: whoever has not by the deadline is taken for gone, even if its
/// heartbeats come.
#[derive(Debug, Default)]
struct Unsynced {
    members: BTreeSet<String>,
    deadline: Millis,
}

#[derive(Debug)]
struct Pending {
    principal: String,
    deadline: Millis,
}

#[derive(Debug)]
struct Member {
    principal: String,
    instance: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout: Millis,
    rebalance_timeout: Millis,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// The join that waits.
    join: Option<Ticket>,
    /// The sync that waits.
    sync: Option<Ticket>,
    /// When it is taken for gone, unless a request of it waits.
    deadline: Millis,
    /// It has never been in a generation: a limit holds for its first join, since nobody notices if the client is gone.
    is_new: bool,
    /// It was told its id, so that it can come back with it.
    knows_id: bool,
    arrival: u64,
}

impl Member {
    fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, data)| data.clone()).unwrap_or_default()
    }

    fn offers(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    fn metadata_bytes(&self) -> usize {
        metadata_bytes(&self.protocols)
    }

    fn renew(&mut self, now: Millis) {
        self.deadline = now.saturating_add(self.session_timeout);
    }

    /// When it must be looked at; a member whose request waits is alive, except in its first join.
    fn expires(&self) -> Option<Millis> {
        let waits = (self.join.is_some() && !self.is_new) || self.sync.is_some();
        (!waits).then_some(self.deadline)
    }
}

fn metadata_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, data)| name.len() + data.len()).sum()
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its state.
    pub fn state(&self) -> GroupState {
        match self.phase {
            _ if self.dead => GroupState::Dead,
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    /// The current generation; 0 before the first.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Protocol type of the members, or of the last that there were; empty if there never was one.
    pub fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The protocol type of a group that was read from the store.
    pub(crate) fn remember_type(&mut self, protocol_type: &str) {
        protocol_type.clone_into(&mut self.protocol_type);
    }

    /// How many members.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// How many ids were given out that nobody joined with yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many requests wait for their reply.
    pub fn waiting(&self) -> usize {
        self.members
            .values()
            .map(|member| usize::from(member.join.is_some()) + usize::from(member.sync.is_some()))
            .sum()
    }

    /// When [`Group::advance`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Millis> {
        let phase = match &self.phase {
            Phase::Empty => None,
            Phase::Preparing { deadline, .. } => Some(*deadline),
            Phase::Completing { unsynced } | Phase::Stable { unsynced } => {
                (!unsynced.members.is_empty()).then_some(unsynced.deadline)
            }
        };
        let members = self.members.values().filter_map(Member::expires);
        members.chain(self.pending.values().map(|pending| pending.deadline)).chain(phase).min()
    }

    /// Marks the group as removed, if it is empty. Whoever still holds it is told to look again.
    pub fn bury(&mut self) -> Result<(), GroupError> {
        match self.state() {
            GroupState::Empty => {
                self.pending.clear();
                self.dead = true;
                Ok(())
            }
            GroupState::Dead => Err(GroupError::GroupIdNotFound),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// What DescribeGroups says of it.
    pub fn describe(&self, group: &str) -> Described {
        let stable = self.state() == GroupState::Stable;
        let protocol = if stable { self.protocol.clone() } else { String::new() };
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(&self.protocol) } else { Bytes::new() },
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        });
        Described {
            group: group.to_owned(),
            state: self.state(),
            protocol_type: self.protocol_type.clone(),
            protocol,
            members: members.collect(),
        }
    }

    /// Whether a member may be reading a topic. Yes in doubt: the members have not voted yet, or what they sent is no
    /// consumer's subscription.
    pub fn may_read(&self, topic: &str) -> bool {
        if self.members.is_empty() {
            return false;
        }
        if self.protocol_type != "consumer" || self.protocol.is_empty() {
            return true;
        }
        self.members
            .values()
            .any(|member| any_topic(&member.metadata(&self.protocol), |read| read == topic).unwrap_or(true))
    }

    /// The member of this id, if it is this principal's. `FencedInstanceId` if its instance id has another member now.
    fn validate(&self, member: &str, instance: Option<&str>, principal: &str) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            let holder = self.statics.get(instance).ok_or(GroupError::UnknownMemberId)?;
            if !self.is_of(holder, principal) {
                return Err(GroupError::UnknownMemberId);
            }
            if holder != member {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.is_of(member, principal) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn is_of(&self, member: &str, principal: &str) -> bool {
        self.members.get(member).is_some_and(|member| member.principal == principal)
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
