//! Retention: which offsets nobody will ask for again, and which groups need not be in memory.
//!
//! An offset expires a while after its commit and after its group was last known to have members, whichever is later;
//! while there are members, only offsets of topics that none of them reads do. It does not know how often it is called.

use super::entry::{Entry, State};
use super::registry::{Place, Scope};
use super::writer::Write;
use super::{Shared, Swept};
use crate::{GroupError, GroupState, StoreError};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A group that nobody asked for in this time may be read again the next time.
const IDLE_MS: u64 = 600_000;

impl Shared {
    pub(super) async fn sweep(self: &Arc<Self>, now: i64) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for name in self.store.scopes().await.inspect_err(|error| self.note_failure(error))? {
            let _ = self.scope(&name).await;
        }
        for (name, scope) in self.named_scopes() {
            let is_due = |place: &Place| place.entry.is_some() || place.check_after <= now;
            let due: Vec<_> =
                scope.places().iter().filter(|(_, place)| is_due(place)).map(|(group, _)| group.clone()).collect();
            for group in due {
                // What fails now is found by the next sweep.
                let _ = self.sweep_group(&name, &scope, &group, now, &mut swept).await;
            }
        }
        Ok(swept)
    }

    async fn sweep_group(
        self: &Arc<Self>,
        name: &str,
        scope: &Scope,
        group: &str,
        now: i64,
        swept: &mut Swept,
    ) -> Result<(), GroupError> {
        let Some(entry) = self.peek(name, group).await? else { return Ok(()) };
        let expired = self.expire(&entry, now);
        if let Some((count, done)) = expired {
            super::durable(done).await?;
            swept.offsets += count;
        }
        let deleted = {
            let state = &mut *entry.lock();
            let is_over = state.is_at_rest() && state.offsets.len() == 0 && state.machine.bury().is_ok();
            is_over.then(|| {
                let (done, deleted) = oneshot::channel();
                self.enqueue(&entry, state, Write::Delete { done });
                deleted
            })
        };
        if let Some(deleted) = deleted {
            super::durable(deleted).await?;
            swept.groups += 1;
            return Ok(());
        }
        if self.unload(scope, &entry, now) {
            swept.unloaded += 1;
        }
        Ok(())
    }

    /// Puts the removal of what has expired in line. Not while commits wait: one of them may be for the same place.
    fn expire(self: &Arc<Self>, entry: &Arc<Entry>, now: i64) -> Option<(usize, oneshot::Receiver<bool>)> {
        let state = &mut *entry.lock();
        if state.is_mark_lost
            && let Some(mark) = state.mark.clone()
        {
            state.is_mark_lost = false;
            self.enqueue(entry, state, Write::Mark(mark));
        }
        let is_settled = matches!(state.machine.state(), GroupState::Empty | GroupState::Stable);
        if !is_settled || !state.writes.is_empty() || state.is_writing || state.machine.pending() > 0 {
            return None;
        }
        let is_old = |commit_time: i64| self.expires_at(state, commit_time) <= now;
        let partitions: Vec<_> = state
            .offsets
            .iter()
            .filter(|(topic, _, kept)| is_old(kept.commit_time) && !state.machine.may_read(topic))
            .map(|(topic, partition, _)| (topic.to_owned(), partition))
            .collect();
        if partitions.is_empty() {
            return None;
        }
        let (count, (done, deleted)) = (partitions.len(), oneshot::channel());
        self.enqueue(entry, state, Write::DeleteOffsets { partitions, done });
        Some((count, deleted))
    }

    /// When an offset expires that was committed then, if nobody reads its topic.
    fn expires_at(&self, state: &State, commit_time: i64) -> i64 {
        let emptied_at = state.mark.as_ref().and_then(|mark| mark.emptied_at).unwrap_or(0);
        commit_time.max(emptied_at).saturating_add(self.limits.offsets_retention_ms)
    }

    /// Puts a group out of memory that is at rest and was not used for a while.
    fn unload(&self, scope: &Scope, entry: &Arc<Entry>, now: i64) -> bool {
        let mut places = scope.places();
        let Some(place) = places.get_mut(&entry.group) else { return false };
        let state = &mut *entry.lock();
        let is_held = place.entry.as_ref().is_some_and(|held| Arc::ptr_eq(held, entry));
        let is_idle = self.timers.now().saturating_sub(state.last_used) >= IDLE_MS;
        if !is_held || !is_idle || state.is_mark_lost || !state.is_at_rest() || state.machine.bury().is_err() {
            return false;
        }
        let first = state.offsets.iter().map(|(_, _, kept)| self.expires_at(state, kept.commit_time)).min();
        *place = Place { entry: None, mark: state.mark.clone(), check_after: first.unwrap_or(now) };
        true
    }
}
