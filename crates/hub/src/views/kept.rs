//! Compiled contracts and views, kept until a change may make them untrue.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tradelane_model::grant::Grant;
use tradelane_model::journal::{Change, Entry};
use tradelane_model::{ContractId, GrantId, Model, ProductId};

use super::{CompiledContract, GrantView};
use crate::Hub;

/// Everything that was compiled.
#[derive(Default)]
pub(crate) struct Views {
    pub(super) contracts: RwLock<HashMap<(ContractId, u32, ProductId), Arc<CompiledContract>>>,
    pub(super) grants: RwLock<HashMap<GrantId, Arc<GrantView>>>,
    pub(super) owners: RwLock<HashMap<ProductId, Arc<GrantView>>>,
}

impl Views {
    /// Forgets what these changes may have made untrue, and no view whose readers go on: what readers hold and is not here
    /// would keep its stand-ins when somebody is erased.
    pub(crate) fn forget(&self, after: &Model, entries: &[Entry]) {
        let grants_that = |goes: &dyn Fn(&Grant) -> bool| {
            write(&self.grants).retain(|id, _| after.grants.get(id).is_some_and(|grant| !goes(grant)));
        };
        let product = |id: &ProductId| {
            grants_that(&|grant| grant.product == *id);
            write(&self.owners).remove(id);
        };
        for entry in entries {
            match &entry.change {
                Change::GrantPut(grant) => drop(write(&self.grants).remove(&grant.id)),
                Change::GrantDeleted(id) => drop(write(&self.grants).remove(id)),
                Change::ContractPut { owner, text } => {
                    write(&self.contracts).clear();
                    match after.contract_with(owner, text) {
                        Some(contract) => after.products_with(contract).for_each(|kept| product(&kept.id)),
                        None => after.products.keys().for_each(product),
                    }
                }
                Change::ContractDeleted(_) => write(&self.contracts).clear(),
                Change::ProductPut(put) => product(&put.id),
                Change::ProductDeleted(id) => {
                    write(&self.contracts).clear();
                    product(id);
                }
                // What is asserted of a reader's organization may be part of a filter.
                Change::OrganizationPut(organization) => grants_that(&|grant| grant.consumer == organization.id),
                _ => {}
            }
        }
    }

    /// Forgets all stand-ins that views keep.
    pub(crate) fn clear_stand_ins(&self) {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        for view in grants.values().chain(owners.values()) {
            let compiled = view.by_revision.lock().unwrap_or_else(PoisonError::into_inner);
            compiled.values().for_each(|view| view.clear_cache());
            let compiled = view.envelopes.lock().unwrap_or_else(PoisonError::into_inner);
            compiled.values().for_each(|envelope| envelope.view.clear_cache());
        }
    }
}

fn write<K, V>(map: &RwLock<HashMap<K, V>>) -> std::sync::RwLockWriteGuard<'_, HashMap<K, V>> {
    map.write().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read<K: std::hash::Hash + Eq, V: Clone>(map: &RwLock<HashMap<K, V>>, key: &K) -> Option<V> {
    map.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
}

impl Hub {
    /// Keeps what was compiled from `model`, unless that is the past by now: then it answers false. What a change makes untrue
    /// is forgotten after the change is in place, so that nothing of the past is kept behind it.
    pub(super) fn keep<K: std::hash::Hash + Eq, V>(
        &self,
        kept: &RwLock<HashMap<K, V>>,
        model: &Model,
        key: K,
        value: V,
    ) -> bool {
        let mut kept = write(kept);
        let is_now = std::ptr::eq(&*self.model(), model);
        if is_now {
            kept.insert(key, value);
        }
        is_now
    }
}
