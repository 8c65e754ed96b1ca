//! SyncGroup, Heartbeat, LeaveGroup, and who may commit: what a member does between two rebalances.
//!
//! It does not know offsets.

use super::{Effect, Group, Millis, Phase, Ticket};
use crate::{GroupError, GroupLimits, GroupState, Heartbeat, LeaveGroup, Leaving, Left, OffsetCommit, SyncGroup};
use bytes::Bytes;
use std::collections::HashMap;

impl Group {
    /// A member asks for its assignment; the leader brings everyone's. The reply comes with this call's effects or later
    /// ones.
    pub fn sync(&mut self, request: SyncGroup, ticket: Ticket, now: Millis, limits: &GroupLimits) -> Vec<Effect> {
        if let Err(error) = self.check_sync(&request) {
            self.effects.push(Effect::Sync(ticket, Err(error)));
            return self.take_effects();
        }
        match &mut self.phase {
            Phase::Completing { unsynced } => {
                unsynced.members.remove(&request.member);
                let earlier = self.members.get_mut(&request.member).and_then(|member| member.sync.replace(ticket));
                if let Some(earlier) = earlier {
                    self.effects.push(Effect::Sync(earlier, Err(GroupError::RebalanceInProgress)));
                }
                if self.is_leader(&request.member) {
                    self.assign(request, now, limits);
                }
            }
            Phase::Stable { unsynced } => {
                unsynced.members.remove(&request.member);
                if let Some(member) = self.members.get_mut(&request.member) {
                    member.renew(now);
                }
                if let Some(member) = self.members.get(&request.member) {
                    let reply = Ok(self.synced(member));
                    self.effects.push(Effect::Sync(ticket, reply));
                }
            }
            Phase::Empty | Phase::Preparing { .. } => {
                self.effects.push(Effect::Sync(ticket, Err(GroupError::RebalanceInProgress)));
            }
        }
        self.take_effects()
    }

    fn check_sync(&self, request: &SyncGroup) -> Result<(), GroupError> {
        self.check_current(&request.member, request.instance.as_deref(), &request.principal, request.generation)?;
        if matches!(self.phase, Phase::Empty | Phase::Preparing { .. }) {
            return Err(GroupError::RebalanceInProgress);
        }
        let differs = |given: &Option<String>, ours: &str| given.as_deref().is_some_and(|given| given != ours);
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// The leader's assignment is the generation's: everyone who waits gets its own. Members that it does not name get
    /// none, names that are no members are not kept.
    fn assign(&mut self, request: SyncGroup, now: Millis, limits: &GroupLimits) {
        let bytes: usize = request.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if bytes > limits.assignment_bytes {
            self.refuse_syncs(GroupError::UnknownServerError, now);
            return self.settle(now);
        }
        let mut assignments: HashMap<String, Bytes> = request.assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        if let Phase::Completing { unsynced } = &mut self.phase {
            self.phase = Phase::Stable { unsynced: std::mem::take(unsynced) };
        }
        let waiting = self.members.iter().filter_map(|(id, member)| member.sync.map(|ticket| (id.clone(), ticket)));
        for (id, ticket) in waiting.collect::<Vec<_>>() {
            if let Some(member) = self.members.get_mut(&id) {
                member.sync = None;
                member.renew(now);
            }
            if let Some(member) = self.members.get(&id) {
                let reply = Ok(self.synced(member));
                self.effects.push(Effect::Sync(ticket, reply));
            }
        }
    }

    /// A member says that it lives. `RebalanceInProgress` tells it to join again.
    pub fn heartbeat(&mut self, request: &Heartbeat, now: Millis) -> Result<(), GroupError> {
        self.check_current(&request.member, request.instance.as_deref(), &request.principal, request.generation)?;
        if let Some(member) = self.members.get_mut(&request.member) {
            // A join that waits keeps its own, longer limit.
            if !member.is_new {
                member.renew(now);
            }
        }
        if matches!(self.phase, Phase::Preparing { .. }) { Err(GroupError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Members leave, or are removed by their instance ids; of the same principal, each. An error for all, or an answer
    /// for each in the order asked.
    pub fn leave(&mut self, request: &LeaveGroup, now: Millis) -> (Result<Vec<Left>, GroupError>, Vec<Effect>) {
        if self.dead {
            return (Err(GroupError::CoordinatorNotAvailable), Vec::new());
        }
        let mut gone = Vec::new();
        let mut answers = Vec::with_capacity(request.members.len());
        for leaving in &request.members {
            let found = self.find_leaving(leaving, &request.principal);
            let outcome = found.map(|member| {
                if self.pending.remove(&member).is_none() {
                    // At once, so that one named twice is not there the second time.
                    self.remove(&member);
                    gone.push(member);
                }
            });
            answers.push(Left { member: leaving.member.clone(), instance: leaving.instance.clone(), outcome });
        }
        if gone.is_empty() {
            self.try_complete(now);
        } else {
            self.settle(now);
        }
        (Ok(answers), self.take_effects())
    }

    fn find_leaving(&self, leaving: &Leaving, principal: &str) -> Result<String, GroupError> {
        let id = &leaving.member;
        if leaving.instance.is_none() && self.pending.get(id).is_some_and(|pending| pending.principal == principal) {
            return Ok(id.clone());
        }
        match &leaving.instance {
            Some(instance) if id.is_empty() => {
                let holder = self.statics.get(instance).filter(|holder| self.is_of(holder, principal));
                holder.cloned().ok_or(GroupError::UnknownMemberId)
            }
            instance => self.validate(id, instance.as_deref(), principal).map(|()| id.clone()),
        }
    }

    /// Whether offsets may be committed. A member that commits lives. While its generation's assignment is being made it
    /// may not: it could not know what it owns.
    pub fn check_commit(&mut self, request: &OffsetCommit, now: Millis) -> Result<(), GroupError> {
        let state = self.state();
        if state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if request.generation < 0 && state == GroupState::Empty {
            // The group only keeps offsets.
            return Ok(());
        }
        self.check_current(&request.member, request.instance.as_deref(), &request.principal, request.generation)?;
        if state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(&request.member)
            && !member.is_new
        {
            member.renew(now);
        }
        Ok(())
    }

    fn check_current(
        &self,
        member: &str,
        instance: Option<&str>,
        principal: &str,
        generation: i32,
    ) -> Result<(), GroupError> {
        if self.dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.validate(member, instance, principal)?;
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }
}
