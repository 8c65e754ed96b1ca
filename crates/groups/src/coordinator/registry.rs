//! Where groups are found: by scope, then by name, and read from the store when they are asked for.
//!
//! A group that exists only in the store has a place here without an entry. The lock of a scope's places may be held
//! when an entry's is taken, never the other way round. It does not know what groups do.

use super::Shared;
use super::entry::{Entry, State};
use super::writer::Write;
use crate::{Effect, GroupError, GroupMark, GroupState, StoreError};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

pub(super) struct Scope {
    /// Set when all groups of the store have their places.
    listed: OnceCell<()>,
    places: Mutex<HashMap<String, Place>>,
}

#[derive(Default)]
pub(super) struct Place {
    pub(super) entry: Option<Arc<Entry>>,
    /// While there is no entry; an entry has its own.
    pub(super) mark: Option<GroupMark>,
    /// Nothing of it can expire before; in ms since 1970.
    pub(super) check_after: i64,
}

impl Scope {
    pub(super) fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A step of a group whose offsets are in memory, read if need be. `None` if there is no such group and none is to be
    /// made.
    pub(super) async fn with<T>(
        self: &Arc<Self>,
        scope: &str,
        group: &str,
        create: bool,
        step: impl FnOnce(&Arc<Entry>, &mut State, u64) -> (T, Vec<Effect>),
    ) -> Result<Option<T>, GroupError> {
        // Twice: a group found may just have been put out of memory.
        for _ in 0..2 {
            let Some(entry) = self.find(scope, group, create).await? else { return Ok(None) };
            let state = &mut *entry.lock();
            if state.machine.state() != GroupState::Dead {
                return Ok(Some(self.step(&entry, state, |state, now| step(&entry, state, now))));
            }
        }
        Err(GroupError::CoordinatorNotAvailable)
    }

    /// A step of a group that has members, and therefore is in memory. `None` if it is not.
    pub(super) fn with_present<T>(
        self: &Arc<Self>,
        scope: &str,
        group: &str,
        step: impl FnOnce(&Arc<Entry>, &mut State, u64) -> (T, Vec<Effect>),
    ) -> Option<T> {
        let scope = self.known_scope(scope)?;
        let entry = scope.places().get(group)?.entry.clone()?;
        let state = &mut *entry.lock();
        Some(self.step(&entry, state, |state, now| step(&entry, state, now)))
    }

    pub(super) fn named_scopes(&self) -> Vec<(String, Arc<Scope>)> {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().map(|(name, scope)| (name.clone(), Arc::clone(scope))).collect()
    }

    /// The entry of a group that exists.
    pub(super) async fn peek(self: &Arc<Self>, scope: &str, group: &str) -> Result<Option<Arc<Entry>>, GroupError> {
        self.find(scope, group, false).await
    }

    pub(super) fn known_scope(&self, scope: &str) -> Option<Arc<Scope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    /// A scope with its groups listed.
    pub(super) async fn scope(self: &Arc<Self>, name: &str) -> Result<Arc<Scope>, GroupError> {
        let scope = {
            let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
            let scope = scopes
                .entry(name.to_owned())
                .or_insert_with(|| Arc::new(Scope { listed: OnceCell::new(), places: Mutex::default() }));
            Arc::clone(scope)
        };
        if !scope.listed.initialized() {
            let (shared, listed, name) = (Arc::clone(self), Arc::clone(&scope), name.to_owned());
            self.load(async move { listed.listed.get_or_try_init(|| shared.list_into(&name, &listed)).await.copied() })
                .await?;
        }
        Ok(scope)
    }

    async fn list_into(&self, name: &str, scope: &Scope) -> Result<(), StoreError> {
        let stored = self.store.list(name).await?;
        let mut places = scope.places();
        for group in stored {
            places.insert(group.group, Place { mark: group.mark, ..Place::default() });
        }
        Ok(())
    }

    /// The entry of a group, read from the store. Only a new group needs room.
    async fn find(self: &Arc<Self>, scope: &str, group: &str, create: bool) -> Result<Option<Arc<Entry>>, GroupError> {
        let places = self.scope(scope).await?;
        let entry = {
            let mut places = places.places();
            let room = places.len() < self.limits.groups_per_scope;
            match places.get_mut(group) {
                Some(place) => {
                    let made = || Arc::new(Entry::new(scope, group, place.mark.take()));
                    Arc::clone(place.entry.get_or_insert_with(made))
                }
                None if !create => return Ok(None),
                None if !room => return Err(GroupError::PolicyViolation),
                None => {
                    let entry = Arc::new(Entry::new(scope, group, None));
                    // The store has nothing of it.
                    let _ = entry.loaded.set(());
                    let place = Place { entry: Some(Arc::clone(&entry)), ..Place::default() };
                    places.insert(group.to_owned(), place);
                    entry
                }
            }
        };
        if !entry.loaded.initialized() {
            let (shared, loading) = (Arc::clone(self), Arc::clone(&entry));
            self.load(async move { loading.loaded.get_or_try_init(|| shared.load_into(&loading)).await.copied() })
                .await?;
        }
        Ok(Some(entry))
    }

    async fn load_into(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), StoreError> {
        let stored = self.store.load(&entry.scope, &entry.group).await?;
        let state = &mut *entry.lock();
        for offset in stored {
            state.offsets.put(offset);
        }
        state.last_used = self.timers.now();
        let mut mark = state.mark.take().unwrap_or_default();
        state.machine.remember_type(&mark.protocol_type);
        if mark.emptied_at.is_none() {
            // A process that had members ended, and this one began: since then, at the earliest, nobody is there.
            mark.emptied_at = Some(self.started_at);
            self.enqueue(entry, state, Write::Mark(mark.clone()));
        }
        state.mark = Some(mark);
        Ok(())
    }

    /// Reads from the store in a task of its own, so that whoever stops waiting does not stop the reading.
    async fn load<F>(&self, reading: F) -> Result<(), GroupError>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let reading = tokio::spawn(reading);
        let patience = Duration::from_millis(self.limits.load_wait_ms);
        let read = tokio::time::timeout(patience, reading).await.map_err(|_| GroupError::CoordinatorLoadInProgress)?;
        let read = read.map_err(|panic| StoreError(panic.into())).flatten();
        read.map_err(|error| {
            self.note_failure(&error);
            GroupError::CoordinatorNotAvailable
        })
    }

    /// A dead group loses its place, if the store has forgotten it as well; otherwise it is read anew when asked for.
    pub(super) fn forget(&self, entry: &Arc<Entry>, is_gone: bool) {
        let Some(scope) = self.known_scope(&entry.scope) else { return };
        let mut places = scope.places();
        let Some(place) = places.get_mut(&entry.group) else { return };
        if !place.entry.as_ref().is_some_and(|held| Arc::ptr_eq(held, entry)) {
            return;
        }
        if is_gone {
            places.remove(&entry.group);
        } else {
            place.entry = None;
            place.mark.clone_from(&entry.lock().mark);
        }
    }
}
