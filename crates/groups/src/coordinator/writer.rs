//! Writes of a group go to the store one at a time and in order, whoever asked for them and whether or not he still
//! waits. Commits that have gathered meanwhile go together.
//!
//! It does not know who may write what.

use super::Shared;
use super::entry::{Entry, State};
use crate::{GroupMark, StoreError, StoredOffset};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Told whether it is durable.
pub(super) type Done = oneshot::Sender<bool>;

pub(super) enum Write {
    Commit {
        offsets: Vec<StoredOffset>,
        /// How many places it claimed, see [`State::claimed`].
        claimed: usize,
        done: Done,
    },
    Mark(GroupMark),
    DeleteOffsets {
        partitions: Vec<(String, i32)>,
        done: Done,
    },
    /// The group is dead already.
    Delete {
        done: Done,
    },
}

impl Shared {
    /// Puts a write in line. To be called in a runtime.
    pub(super) fn enqueue(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut State, write: Write) {
        state.writes.push_back(write);
        if !state.is_writing {
            state.is_writing = true;
            tokio::spawn(write_all(Arc::clone(self), Arc::clone(entry)));
        }
    }

    /// Runs a call of the store in a task of its own: a store that panics has failed, and nobody waits forever.
    async fn ask<F>(&self, call: F) -> bool
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let outcome = tokio::spawn(call).await.map_err(|panic| StoreError(panic.into())).flatten();
        outcome.map_err(|error| self.note_failure(&error)).is_ok()
    }

    pub(super) fn note_failure(&self, error: &StoreError) {
        self.store_failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "offsets of consumer groups could not be read or written");
    }
}

async fn write_all(shared: Arc<Shared>, entry: Arc<Entry>) {
    while let Some(write) = next(&entry) {
        match write {
            Next::Commits(commits) => commit(&shared, &entry, commits).await,
            Next::One(Write::Mark(mark)) => {
                let (store, place) = (Arc::clone(&shared.store), Arc::clone(&entry));
                let is_durable = shared.ask(async move { store.mark(&place.scope, &place.group, &mark).await }).await;
                entry.lock().is_mark_lost |= !is_durable;
            }
            Next::One(Write::DeleteOffsets { partitions, done }) => {
                let (store, place, all) = (Arc::clone(&shared.store), Arc::clone(&entry), partitions.clone());
                let is_durable =
                    shared.ask(async move { store.delete_offsets(&place.scope, &place.group, &all).await }).await;
                if is_durable {
                    let state = &mut *entry.lock();
                    partitions.iter().for_each(|(topic, partition)| state.offsets.remove(topic, *partition));
                }
                let _ = done.send(is_durable);
            }
            Next::One(Write::Delete { done }) => {
                let (store, place) = (Arc::clone(&shared.store), Arc::clone(&entry));
                let is_durable = shared.ask(async move { store.delete(&place.scope, &place.group).await }).await;
                shared.forget(&entry, is_durable);
                let _ = done.send(is_durable);
            }
            Next::One(Write::Commit { offsets, claimed, done }) => {
                commit(&shared, &entry, vec![(offsets, claimed, done)]).await;
            }
        }
    }
}

enum Next {
    Commits(Vec<(Vec<StoredOffset>, usize, Done)>),
    One(Write),
}

fn next(entry: &Entry) -> Option<Next> {
    let state = &mut *entry.lock();
    let mut commits = Vec::new();
    loop {
        match state.writes.pop_front() {
            Some(Write::Commit { offsets, claimed, done }) => commits.push((offsets, claimed, done)),
            Some(other) if commits.is_empty() => return Some(Next::One(other)),
            Some(other) => {
                state.writes.push_front(other);
                return Some(Next::Commits(commits));
            }
            None if commits.is_empty() => {
                state.is_writing = false;
                return None;
            }
            None => return Some(Next::Commits(commits)),
        }
    }
}

async fn commit(shared: &Shared, entry: &Arc<Entry>, commits: Vec<(Vec<StoredOffset>, usize, Done)>) {
    let mut merged = BTreeMap::new();
    let mut waiting = Vec::with_capacity(commits.len());
    let mut claimed = 0;
    for (offsets, claims, done) in commits {
        claimed += claims;
        waiting.push(done);
        for offset in offsets {
            merged.insert((offset.topic.clone(), offset.partition), offset);
        }
    }
    let offsets: Arc<[StoredOffset]> = merged.into_values().collect();
    let (store, place, all) = (Arc::clone(&shared.store), Arc::clone(entry), Arc::clone(&offsets));
    let is_durable = shared.ask(async move { store.commit(&place.scope, &place.group, &all).await }).await;
    {
        let state = &mut *entry.lock();
        state.claimed -= claimed;
        if is_durable {
            offsets.iter().cloned().for_each(|offset| state.offsets.put(offset));
        }
    }
    for done in waiting {
        let _ = done.send(is_durable);
    }
}
