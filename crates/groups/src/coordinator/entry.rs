//! A group in memory: the state machine, those who wait for it, its offsets, and its writes.
//!
//! Its lock is never held across an await. It does not know how a group is found.

use super::Shared;
use super::timers::Alarm;
use super::writer::Write;
use crate::{CommittedOffset, Effect, Group, GroupMark, GroupState, JoinReply, StoredOffset, SyncReply, Ticket};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, oneshot};

pub(super) struct Entry {
    pub(super) scope: String,
    pub(super) group: String,
    /// Set when the offsets are those of the store.
    pub(super) loaded: OnceCell<()>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) machine: Group,
    pub(super) joins: HashMap<Ticket, oneshot::Sender<JoinReply>>,
    pub(super) syncs: HashMap<Ticket, oneshot::Sender<SyncReply>>,
    pub(super) offsets: Offsets,
    /// What the store knows, or is being told.
    pub(super) mark: Option<GroupMark>,
    /// The store failed to keep the mark; the next sweep tells it again.
    pub(super) is_mark_lost: bool,
    pub(super) writes: VecDeque<Write>,
    /// A task is at work on the writes.
    pub(super) is_writing: bool,
    /// Partitions in waiting commits that had no offset.
    pub(super) claimed: usize,
    pub(super) alarm: Option<Alarm>,
    pub(super) last_used: u64,
}

impl State {
    /// Nothing is under way: what is in memory is what is in the store.
    pub(super) fn is_at_rest(&self) -> bool {
        self.machine.state() == GroupState::Empty
            && self.machine.pending() == 0
            && self.writes.is_empty()
            && !self.is_writing
    }

    fn deliver(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            // Whoever is gone needs no answer.
            match effect {
                Effect::Join(ticket, reply) => {
                    if let Some(waiting) = self.joins.remove(&ticket) {
                        let _ = waiting.send(reply);
                    }
                }
                Effect::Sync(ticket, reply) => {
                    if let Some(waiting) = self.syncs.remove(&ticket) {
                        let _ = waiting.send(reply);
                    }
                }
            }
        }
    }

    /// The mark that the store must get, if members came to an empty group or the last one went.
    fn changed_mark(&self, now: impl FnOnce() -> i64) -> Option<GroupMark> {
        let is_empty = self.machine.members() == 0;
        let was_empty = self.mark.as_ref().is_none_or(|mark| mark.emptied_at.is_some());
        if is_empty == was_empty {
            return None;
        }
        let protocol_type = self.machine.protocol_type().to_owned();
        Some(GroupMark { protocol_type, emptied_at: is_empty.then(now) })
    }
}

impl Entry {
    pub(super) fn new(scope: &str, group: &str, mark: Option<GroupMark>) -> Self {
        let state = State { mark, ..State::default() };
        Self { scope: scope.to_owned(), group: group.to_owned(), loaded: OnceCell::new(), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// One step of a group, with all that follows from it: replies go out, a mark is written, the alarm is set.
    pub(super) fn step<T>(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        state: &mut State,
        step: impl FnOnce(&mut State, u64) -> (T, Vec<Effect>),
    ) -> T {
        let now = self.timers.now();
        let before = state.machine.generation();
        let (outcome, effects) = step(state, now);
        state.deliver(effects);
        state.last_used = now;
        if state.machine.generation() != before {
            self.count_rebalance();
        }
        if let Some(mark) = state.changed_mark(|| self.clock.unix_millis()) {
            state.mark = Some(mark.clone());
            self.enqueue(entry, state, Write::Mark(mark));
        }
        if let Some(deadline) = state.machine.next_deadline() {
            self.timers.arm(entry, &mut state.alarm, deadline);
        }
        outcome
    }

    /// An alarm has gone off.
    pub(super) fn ring(self: &Arc<Self>, entry: &Arc<Entry>, alarm: Alarm) {
        let state = &mut *entry.lock();
        if state.alarm == Some(alarm) {
            state.alarm = None;
            let used = state.last_used;
            self.step(entry, state, |state, now| ((), state.machine.advance(now)));
            // Time passing is no use.
            state.last_used = used;
        }
    }
}

/// Someone waits for a reply. Dropped before it came, the group is told, so that it does not wait for who is gone.
pub(super) struct Waiting {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) ticket: Ticket,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let state = &mut *self.entry.lock();
        let was_waiting = state.joins.remove(&self.ticket).is_some() | state.syncs.remove(&self.ticket).is_some();
        if was_waiting {
            let ticket = self.ticket;
            self.shared.step(&self.entry, state, |state, now| ((), state.machine.abandon(ticket, now)));
        }
    }
}

/// Committed offsets by topic and partition.
#[derive(Default)]
pub(super) struct Offsets {
    topics: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
    count: usize,
}

impl Offsets {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(super) fn put(&mut self, stored: StoredOffset) {
        let partitions = self.topics.entry(stored.topic).or_default();
        if partitions.insert(stored.partition, stored.committed).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        if partitions.remove(&partition).is_some() {
            self.count -= 1;
        }
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| (topic.as_str(), *partition, committed))
        })
    }
}
