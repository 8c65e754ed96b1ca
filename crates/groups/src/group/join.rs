//! JoinGroup: who becomes a member, who comes back, who must come again.
//!
//! It does not know how long a rebalance takes; it only asks for one.

use super::{Effect, Group, Member, Millis, Pending, Phase, Ticket, metadata_bytes};
use crate::{GroupError, GroupLimits, JoinGroup, JoinReply, Joined, JoinedMember};
use bytes::Bytes;

/// A join whose form is checked, with the moment it came at.
struct Call<'a> {
    request: JoinGroup,
    ticket: Ticket,
    now: Millis,
    limits: &'a GroupLimits,
}

impl Group {
    /// A member joins. The reply comes with this call's effects or later ones. `fresh_id` is used if the member needs an id.
    pub fn join(
        &mut self,
        request: JoinGroup,
        ticket: Ticket,
        fresh_id: String,
        now: Millis,
        limits: &GroupLimits,
    ) -> Vec<Effect> {
        let call = Call { request, ticket, now, limits };
        if let Err(error) = check_form(&call.request, limits) {
            self.refuse(ticket, call.request.member, error);
        } else if self.dead {
            self.refuse(ticket, call.request.member, GroupError::CoordinatorNotAvailable);
        } else if call.request.member.is_empty() {
            self.join_without_id(call, fresh_id);
        } else {
            self.join_with_id(call);
        }
        self.take_effects()
    }

    /// Whoever waited for this ticket is gone. A new member that never heard its id cannot come back: it is removed, so
    /// that nobody waits for it. All others have their session timeout to come back.
    pub fn abandon(&mut self, ticket: Ticket, now: Millis) -> Vec<Effect> {
        let mut lost = None;
        for (id, member) in &mut self.members {
            if member.sync == Some(ticket) {
                member.sync = None;
                member.renew(now);
            }
            if member.join == Some(ticket) {
                member.join = None;
                member.renew(now);
                if !member.knows_id && member.instance.is_none() {
                    lost = Some(id.clone());
                }
            }
        }
        if let Some(id) = lost {
            self.remove(&id);
            self.settle(now);
        }
        self.take_effects()
    }

    fn join_without_id(&mut self, call: Call<'_>, fresh_id: String) {
        let (request, ticket, limits) = (&call.request, call.ticket, call.limits);
        let holder = request.instance.as_ref().and_then(|instance| self.statics.get(instance)).cloned();
        if !self.fits(request, holder.as_deref()) {
            return self.refuse(ticket, String::new(), GroupError::InconsistentGroupProtocol);
        }
        if !self.has_room(request, holder.as_deref(), limits) {
            return self.refuse(ticket, String::new(), GroupError::GroupMaxSizeReached);
        }
        match holder {
            // Nobody takes the place of another principal's member by naming its instance id.
            Some(holder) if !self.is_of(&holder, &request.principal) => {
                self.refuse(ticket, String::new(), GroupError::FencedInstanceId);
            }
            Some(holder) => self.replace_static(call, &holder, fresh_id),
            None if request.instance.is_none() && request.require_known_member => {
                if self.pending.len() >= limits.members_per_group {
                    return self.refuse(ticket, String::new(), GroupError::GroupMaxSizeReached);
                }
                let deadline = call.now.saturating_add(millis(request.session_timeout_ms));
                self.pending.insert(fresh_id.clone(), Pending { principal: request.principal.clone(), deadline });
                self.refuse(ticket, fresh_id, GroupError::MemberIdRequired);
            }
            None => self.add(call, fresh_id, false),
        }
    }

    fn join_with_id(&mut self, call: Call<'_>) {
        let (request, ticket, now) = (&call.request, call.ticket, call.now);
        let id = request.member.clone();
        let is_pending = self.pending.get(&id).is_some_and(|pending| pending.principal == request.principal);
        let known = match &request.instance {
            // Static members get no pending ids.
            None if is_pending => Ok(()),
            instance => self.validate(&id, instance.as_deref(), &request.principal),
        };
        if let Err(error) = known {
            return self.refuse(ticket, id, error);
        }
        if !self.fits(request, Some(&id)) {
            return self.refuse(ticket, id, GroupError::InconsistentGroupProtocol);
        }
        if !self.has_room(request, Some(&id), call.limits) {
            return self.refuse(ticket, id, GroupError::GroupMaxSizeReached);
        }
        if is_pending {
            self.pending.remove(&id);
            return self.add(call, id, true);
        }
        let is_changed = self.members.get(&id).is_none_or(|member| member.protocols != request.protocols);
        let must_rebalance = match self.phase {
            Phase::Empty | Phase::Preparing { .. } => true,
            // The same metadata again: the reply got lost on its way.
            Phase::Completing { .. } => is_changed,
            // The leader joins again to have its assignment changed, for instance when a topic has more partitions.
            Phase::Stable { .. } => is_changed || self.is_leader(&id),
        };
        if must_rebalance {
            self.update(call, &id);
            return self.settle(now);
        }
        let is_leading = self.is_leader(&id) && matches!(self.phase, Phase::Completing { .. });
        let members = if is_leading { self.roster() } else { Vec::new() };
        let joined = self.joined(members, false);
        if let Some(member) = self.members.get_mut(&id) {
            member.renew(now);
        }
        self.effects.push(Effect::Join(ticket, JoinReply { member: id, outcome: Ok(joined) }));
    }

    /// A new member, which waits for the rebalance that it causes.
    fn add(&mut self, call: Call<'_>, id: String, knows_id: bool) {
        let Call { request, ticket, now, limits } = call;
        if let Phase::Preparing { initial: Some(initial), .. } = &mut self.phase {
            // Only a group's first generation is worth waiting longer for.
            initial.someone_came = self.generation == 0;
        }
        if self.members.is_empty() {
            self.protocol_type = request.protocol_type;
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &request.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.arrivals += 1;
        let session_timeout = millis(request.session_timeout_ms);
        let member = Member {
            principal: request.principal,
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout,
            rebalance_timeout: rebalance_timeout(request.rebalance_timeout_ms, session_timeout, limits),
            protocols: request.protocols,
            assignment: Bytes::new(),
            join: Some(ticket),
            sync: None,
            deadline: now.saturating_add(millis(limits.new_member_join_timeout_ms)),
            is_new: true,
            knows_id,
            arrival: self.arrivals,
        };
        self.members.insert(id, member);
        if matches!(self.phase, Phase::Empty) {
            self.begin_initial(limits, now);
        } else {
            self.settle(now);
        }
    }

    /// A member that is there waits for the next generation, with what it says of itself now.
    fn update(&mut self, call: Call<'_>, id: &str) {
        let Call { request, ticket, now, limits } = call;
        let Some(member) = self.members.get_mut(id) else { return };
        member.session_timeout = millis(request.session_timeout_ms);
        member.rebalance_timeout = rebalance_timeout(request.rebalance_timeout_ms, member.session_timeout, limits);
        member.protocols = request.protocols;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        // It says so itself by naming it.
        member.knows_id = request.member == id;
        if member.is_new {
            member.deadline = now.saturating_add(millis(limits.new_member_join_timeout_ms));
        } else {
            member.renew(now);
        }
        if let Some(earlier) = member.join.replace(ticket) {
            self.refuse(earlier, id.to_owned(), GroupError::RebalanceInProgress);
        }
    }

    /// A static member comes back without its id: it takes the place of the one before under a new id, and that one is
    /// fenced. A stable group stays as it is, which is what static membership is for.
    fn replace_static(&mut self, call: Call<'_>, old: &str, new: String) {
        let (ticket, now, can_skip) = (call.ticket, call.now, call.request.can_skip_assignment);
        let Some(mut member) = self.members.remove(old) else { return };
        if let Some(waiting) = member.join.take() {
            self.refuse(waiting, old.to_owned(), GroupError::FencedInstanceId);
        }
        if let Some(waiting) = member.sync.take() {
            self.effects.push(Effect::Sync(waiting, Err(GroupError::FencedInstanceId)));
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), new.clone());
        }
        let was_leader = self.is_leader(old);
        if was_leader {
            self.leader = Some(new.clone());
        }
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &mut self.phase
            && unsynced.members.remove(old)
        {
            unsynced.members.insert(new.clone());
        }
        self.members.insert(new.clone(), member);
        self.update(call, &new);

        let stays = matches!(self.phase, Phase::Stable { .. }) && self.vote() == self.protocol;
        if !stays {
            // While the leader assigns, its assignment would name the old id: begin again.
            return self.settle(now);
        }
        let mut joined =
            if was_leader && can_skip { self.joined(self.roster(), true) } else { self.joined(Vec::new(), false) };
        if was_leader && !can_skip {
            // Told that another leads, it does not make an assignment that nobody would be given.
            old.clone_into(&mut joined.leader);
        }
        if let Some(member) = self.members.get_mut(&new) {
            member.join = None;
            member.knows_id = true;
            member.is_new = false;
            member.renew(now);
        }
        self.effects.push(Effect::Join(ticket, JoinReply { member: new, outcome: Ok(joined) }));
    }

    /// The current generation, for a reply.
    pub(super) fn joined(&self, members: Vec<JoinedMember>, skip_assignment: bool) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            members,
        }
    }

    /// All members, as the leader gets them: in the order in which they came.
    pub(super) fn roster(&self) -> Vec<JoinedMember> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.arrival);
        let roster = members.into_iter().map(|(id, member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&self.protocol),
        });
        roster.collect()
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, member: String, error: GroupError) {
        self.effects.push(Effect::Join(ticket, JoinReply { member, outcome: Err(error) }));
    }

    /// Whether type and protocols fit all other members. `itself` may change its mind, so long as one protocol remains
    /// that everyone offers.
    fn fits(&self, request: &JoinGroup, itself: Option<&str>) -> bool {
        if !self.members.is_empty() && request.protocol_type != self.protocol_type {
            return false;
        }
        request.protocols.iter().any(|(name, _)| {
            let mut others = self.members.iter().filter(|(id, _)| itself != Some(id.as_str()));
            others.all(|(_, member)| member.offers(name))
        })
    }

    fn has_room(&self, request: &JoinGroup, itself: Option<&str>, limits: &GroupLimits) -> bool {
        let is_member = itself.is_some_and(|id| self.members.contains_key(id));
        let others = self.members.iter().filter(|(id, _)| itself != Some(id.as_str()));
        let bytes: usize = others.map(|(_, member)| member.metadata_bytes()).sum();
        (is_member || self.members.len() < limits.members_per_group)
            && bytes + metadata_bytes(&request.protocols) <= limits.group_metadata_bytes
    }
}

/// What holds for a join in whatever group. Names are capped as well, since the group keeps them.
pub(crate) fn check_form(request: &JoinGroup, limits: &GroupLimits) -> Result<(), GroupError> {
    let timeouts = limits.session_timeout_min_ms..=limits.session_timeout_max_ms;
    if !timeouts.contains(&request.session_timeout_ms) {
        return Err(GroupError::InvalidSessionTimeout);
    }
    if request.protocol_type.is_empty() || request.protocols.is_empty() {
        return Err(GroupError::InconsistentGroupProtocol);
    }
    let is_short = |name: &str| name.len() <= limits.name_bytes;
    let is_sound = is_short(&request.protocol_type)
        && request.instance.as_deref().is_none_or(|instance| !instance.is_empty() && is_short(instance))
        && request.protocols.len() <= limits.protocols_per_member
        && request.protocols.iter().all(|(name, _)| is_short(name))
        && metadata_bytes(&request.protocols) <= limits.member_metadata_bytes;
    if is_sound { Ok(()) } else { Err(GroupError::InvalidRequest) }
}

fn millis(timeout: i32) -> Millis {
    Millis::try_from(timeout).unwrap_or(0)
}

/// v0 has none and means the session timeout. A second at least, so that nobody makes the group spin.
fn rebalance_timeout(asked: i32, session: Millis, limits: &GroupLimits) -> Millis {
    let timeout = if asked < 0 { session } else { millis(asked) };
    timeout.clamp(1_000, millis(limits.rebalance_timeout_max_ms).max(1_000))
}
