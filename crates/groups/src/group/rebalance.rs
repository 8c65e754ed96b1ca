//! Rebalances: when one begins, when it is complete, who leads, which protocol wins, and what time does to all of it.
//!
//! It does not know requests; it answers those that wait.

use super::{Effect, Group, Initial, Member, Millis, Phase, Unsynced};
use crate::{GroupError, GroupLimits, JoinReply, Synced};

impl Group {
    /// Lets time pass: whoever was silent too long is out, and what had waited long enough goes on. To be called at
    /// [`Group::next_deadline`] or at any later time; calling it earlier does nothing.
    pub fn advance(&mut self, now: Millis) -> Vec<Effect> {
        self.pending.retain(|_, pending| pending.deadline > now);
        let expired = self.members.iter().filter(|(_, member)| member.expires().is_some_and(|at| at <= now));
        let mut gone: Vec<String> = expired.map(|(id, _)| id.clone()).collect();
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &self.phase
            && unsynced.deadline <= now
        {
            gone.extend(unsynced.members.iter().filter(|id| !gone.contains(id)).cloned().collect::<Vec<_>>());
        }
        self.remove_all(&gone, now);
        self.try_complete(now);
        self.end_waiting(now);
        self.take_effects()
    }

    /// Throws out all members whose principal is meant. Answers how many; the rest rebalances.
    pub fn evict(&mut self, is_meant: impl Fn(&str) -> bool, now: Millis) -> (usize, Vec<Effect>) {
        self.pending.retain(|_, pending| !is_meant(&pending.principal));
        let meant = self.members.iter().filter(|(_, member)| is_meant(&member.principal));
        let gone: Vec<String> = meant.map(|(id, _)| id.clone()).collect();
        self.remove_all(&gone, now);
        self.try_complete(now);
        (gone.len(), self.take_effects())
    }

    /// The first member of an empty group waits for others, so that they need no rebalance each.
    pub(super) fn begin_initial(&mut self, limits: &GroupLimits, now: Millis) {
        let delay = Millis::try_from(limits.initial_rebalance_delay_ms).unwrap_or(0);
        let left = self.rebalance_timeout().saturating_sub(delay);
        self.phase = Phase::Preparing {
            deadline: now.saturating_add(delay),
            initial: Some(Initial { left, delay, someone_came: false }),
        };
    }

    /// Members have changed: begin a rebalance, or see whether the one under way is complete now.
    pub(super) fn settle(&mut self, now: Millis) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing { .. } => self.try_complete(now),
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(now),
        }
    }

    /// Takes members out; their requests that wait are answered, so that a client that is still there joins anew.
    pub(super) fn remove_all(&mut self, ids: &[String], now: Millis) {
        for id in ids {
            self.remove(id);
        }
        if !ids.is_empty() {
            self.settle(now);
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(ticket) = member.join.take() {
            self.refuse(ticket, String::new(), GroupError::UnknownMemberId);
        }
        if let Some(ticket) = member.sync.take() {
            self.effects.push(Effect::Sync(ticket, Err(GroupError::UnknownMemberId)));
        }
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &mut self.phase {
            unsynced.members.remove(id);
        }
        if self.is_leader(id) {
            self.leader = self.first_come(|_| true);
        }
    }

    fn prepare(&mut self, now: Millis) {
        if matches!(self.phase, Phase::Completing { .. }) {
            self.refuse_syncs(GroupError::RebalanceInProgress, now);
        }
        let deadline = now.saturating_add(self.rebalance_timeout());
        self.phase = Phase::Preparing { deadline, initial: None };
        self.try_complete(now);
    }

    /// Completes the rebalance if nobody is missing. The first one of an empty group waits for its delay all the same.
    pub(super) fn try_complete(&mut self, now: Millis) {
        let is_waiting = matches!(self.phase, Phase::Preparing { initial: None, .. });
        if is_waiting && self.pending.is_empty() && self.members.values().all(|member| member.join.is_some()) {
            self.complete(now);
        }
    }

    /// What happens when the time to join is over.
    fn end_waiting(&mut self, now: Millis) {
        let Phase::Preparing { deadline, initial } = &mut self.phase else { return };
        if *deadline > now {
            return;
        }
        if let Some(initial) = initial
            && initial.someone_came
            && initial.left > 0
        {
            // Members are still coming: a little longer, so that they need no rebalance of their own.
            let delay = initial.delay.min(initial.left);
            initial.left -= delay;
            initial.someone_came = false;
            *deadline = now.saturating_add(delay);
            return;
        }
        self.complete(now);
    }

    /// Begins the next generation with those who joined, and with static members who may still come back.
    fn complete(&mut self, now: Millis) {
        let late = self.members.iter().filter(|(_, member)| member.join.is_none() && member.instance.is_none());
        for id in late.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
        if self.members.is_empty() {
            self.generation = next(self.generation);
            self.protocol.clear();
            self.leader = None;
            self.phase = Phase::Empty;
            return;
        }
        let deadline = now.saturating_add(self.rebalance_timeout());
        let joined = |member: &Member| member.join.is_some();
        let leader = self.leader.take().filter(|id| self.members.get(id).is_some_and(joined));
        self.leader = leader.or_else(|| self.first_come(joined));
        if self.leader.is_none() {
            // Static members alone, and none has come: wait until one does or their sessions end.
            self.phase = Phase::Preparing { deadline, initial: None };
            return;
        }
        self.generation = next(self.generation);
        self.protocol = self.vote();
        let unsynced = Unsynced { members: self.members.keys().cloned().collect(), deadline };
        self.phase = Phase::Completing { unsynced };
        self.answer_joins(now);
    }

    fn answer_joins(&mut self, now: Millis) {
        let mut roster = self.roster();
        let leader = self.leader.clone().unwrap_or_default();
        let everyone = self.joined(Vec::new(), false);
        for (id, member) in &mut self.members {
            member.assignment.clear();
            let Some(ticket) = member.join.take() else { continue };
            member.renew(now);
            member.is_new = false;
            member.knows_id = true;
            let mut joined = everyone.clone();
            if *id == leader {
                joined.members = std::mem::take(&mut roster);
            }
            self.effects.push(Effect::Join(ticket, JoinReply { member: id.clone(), outcome: Ok(joined) }));
        }
    }

    /// Refuses all syncs that wait. Sessions begin anew, since nobody expected a heartbeat meanwhile.
    pub(super) fn refuse_syncs(&mut self, error: GroupError, now: Millis) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.sync.take() {
                member.renew(now);
                self.effects.push(Effect::Sync(ticket, Err(error)));
            }
        }
    }

    pub(super) fn synced(&self, member: &Member) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.assignment.clone(),
        }
    }

    /// The protocol that everyone offers and most put first among those. Of equal ones, the vote of who came first.
    pub(super) fn vote(&self) -> String {
        let mut voters: Vec<&Member> = self.members.values().collect();
        voters.sort_by_key(|member| member.arrival);
        let offered = voters.first().map(|first| first.protocols.as_slice()).unwrap_or_default().iter();
        let is_common = |name: &str| voters.iter().all(|voter| voter.offers(name));
        let common: Vec<&str> = offered.map(|(name, _)| name.as_str()).filter(|name| is_common(name)).collect();
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for voter in &voters {
            let mut wishes = voter.protocols.iter().map(|(name, _)| name.as_str());
            let Some(choice) = wishes.find(|wish| common.contains(wish)) else { continue };
            match votes.iter_mut().find(|(name, _)| *name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max();
        votes.iter().find(|(_, count)| Some(*count) == most).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    /// The longest that any member wants to be waited for.
    fn rebalance_timeout(&self) -> Millis {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or(0)
    }

    fn first_come(&self, counts: impl Fn(&Member) -> bool) -> Option<String> {
        let candidates = self.members.iter().filter(|(_, member)| counts(member));
        candidates.min_by_key(|(_, member)| member.arrival).map(|(id, _)| id.clone())
    }
}

/// Generations begin at 1 and are never negative: that is what simple consumers send.
fn next(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
