//! Epochs: counters that move when what was decided may no longer hold. A permit remembers the values under which it was
//! given; once one has moved, the permit is worth nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tradelane_model::{GrantId, OrgId, PrincipalId, ProductId};

/// What a counter is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything: the platform's policies changed, or the state was loaded anew.
    Global,
    /// An organization: suspended, its attributes or its policies changed.
    Org(OrgId),
    /// A principal: suspended, its roles or attributes changed, its credentials were revoked.
    Principal(PrincipalId),
    /// A product: deleted, or its contract changed.
    Product(ProductId),
    /// A grant: revoked, or its conditions changed.
    Grant(GrantId),
}

/// All counters of this hub. One entry per id that was ever asked for: 100,000 grants take some 15 MB.
#[derive(Debug, Default)]
pub struct Epochs {
    global: Arc<AtomicU64>,
    scopes: RwLock<HashMap<Scope, Arc<AtomicU64>>>,
}

impl Epochs {
    /// Counters that all stand at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every permit that depends on `scope`, at once. Call it after the new facts are in place: a permit that is
    /// being given meanwhile took its snapshot before, and is ended as well.
    pub fn bump(&self, scope: &Scope) {
        if *scope == Scope::Global {
            self.global.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        // Who never took a snapshot of it cannot depend on it.
        if let Some(counter) = scopes.get(scope) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Takes the values of counters. Take it **before** reading the facts that a decision rests on.
    pub fn snapshot(&self, scopes: impl IntoIterator<Item = Scope>) -> Snapshot {
        let mut guards = vec![Guard::of(&self.global)];
        guards.extend(
            scopes.into_iter().filter(|scope| *scope != Scope::Global).map(|scope| Guard::of(&self.counter(scope))),
        );
        Snapshot { guards: guards.into_boxed_slice() }
    }

    fn counter(&self, scope: Scope) -> Arc<AtomicU64> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = scopes.get(&scope) {
            return Arc::clone(counter);
        }
        drop(scopes);
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(scopes.entry(scope).or_default())
    }
}

#[derive(Debug, Clone)]
struct Guard {
    counter: Arc<AtomicU64>,
    seen: u64,
}

impl Guard {
    fn of(counter: &Arc<AtomicU64>) -> Self {
        Self { counter: Arc::clone(counter), seen: counter.load(Ordering::Acquire) }
    }
}

/// Values of counters at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    guards: Box<[Guard]>,
}

impl Snapshot {
    /// Whether no counter has moved since.
    pub fn holds(&self) -> bool {
        self.guards.iter().all(|guard| guard.counter.load(Ordering::Acquire) == guard.seen)
    }
}
