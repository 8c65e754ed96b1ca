//! Epochs: counters that move when what was decided may no longer hold. A permit remembers the values under which it was
//! given; once one has moved, the permit is worth nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

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

/// All counters of this hub. One entry per id that was ever asked for: 100,000 grants take some 10 MB.
#[derive(Debug, Default)]
pub struct Epochs {
    counters: Arc<Counters>,
    /// The number of each scope's counter. 0 is the one of everything.
    numbers: RwLock<HashMap<Scope, u32>>,
}

/// The counter of everything.
const GLOBAL: u32 = 0;

impl Epochs {
    /// Counters that all stand at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every permit that depends on `scope`, at once. Call it after the new facts are in place: a permit that is
    /// being given meanwhile took its snapshot before, and is ended as well.
    pub fn bump(&self, scope: &Scope) {
        let number = match scope {
            Scope::Global => Some(GLOBAL),
            // Who never took a snapshot of it cannot depend on it.
            _ => self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(scope).copied(),
        };
        if let Some(number) = number {
            self.counters.counter(number).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Takes the values of counters, that of everything always among them. Take it **before** reading the facts that a
    /// decision rests on.
    pub fn snapshot<const SCOPES: usize>(&self, scopes: [Option<Scope>; SCOPES]) -> Snapshot {
        const { assert!(SCOPES < GUARDS, "a snapshot has room for fewer scopes") };
        let mut guards = [self.guard(GLOBAL); GUARDS];
        let numbers = scopes.into_iter().flatten().map(|scope| self.number(scope));
        for (guard, number) in guards.iter_mut().zip(numbers) {
            *guard = self.guard(number);
        }
        Snapshot { guards, counters: Arc::clone(&self.counters) }
    }

    fn guard(&self, number: u32) -> Guard {
        Guard { number, seen: self.counters.counter(number).load(Ordering::Acquire) }
    }

    fn number(&self, scope: Scope) -> u32 {
        if scope == Scope::Global {
            return GLOBAL;
        }
        let numbers = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(&scope) {
            return *number;
        }
        drop(numbers);
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(numbers.len() + 1).expect("memory ends before four thousand million scopes");
        *numbers.entry(scope).or_insert(next)
    }
}

/// Counters by their numbers, eight in a cache line: those of 100,000 grants fit into a core's own cache. They lie in chunks
/// of which each is twice the one before, and are never moved.
#[derive(Debug, Default)]
struct Counters {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
}

/// The counters of the first chunk, as a power of two.
const FIRST: u32 = 6;
/// As many as 32 bits can number.
const CHUNKS: usize = 33 - FIRST as usize;

impl Counters {
    #[inline]
    fn counter(&self, number: u32) -> &AtomicU64 {
        let place = u64::from(number) + (1 << FIRST);
        let chunk = place.ilog2() - FIRST;
        let size = 1_u64 << (FIRST + chunk);
        let chunk = self.chunks[chunk as usize].get_or_init(|| (0..size).map(|_| AtomicU64::new(0)).collect());
        &chunk[(place - size) as usize]
    }
}

/// Guards of a snapshot: of all that a permit can rest on.
const GUARDS: usize = 6;

#[derive(Debug, Clone, Copy)]
struct Guard {
    number: u32,
    seen: u64,
}

/// Values of counters at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The first are the scopes' own; what is left over guards everything.
    guards: [Guard; GUARDS],
    counters: Arc<Counters>,
}

impl Snapshot {
    /// Whether no counter has moved since.
    #[inline]
    pub fn holds(&self) -> bool {
        self.guards.iter().all(|guard| self.counters.counter(guard.number).load(Ordering::Acquire) == guard.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_counter_of_its_own() {
        let counters = Counters::default();
        for number in 0..5_000 {
            counters.counter(number).fetch_add(u64::from(number), Ordering::Relaxed);
        }
        assert!((0..5_000).all(|number| counters.counter(number).load(Ordering::Relaxed) == u64::from(number)));
    }

    #[test]
    fn a_snapshot_ends_with_any_of_its_scopes_or_with_everything_and_with_nothing_else() {
        let epochs = Epochs::new();
        let grant = |n: usize| Scope::Grant(format!("g-{n}").parse().unwrap());
        let take = || (0..200).map(|n| epochs.snapshot([Some(grant(n)), None])).collect::<Vec<_>>();
        let snapshots = take();
        epochs.bump(&grant(130));
        epochs.bump(&grant(999));
        let ended: Vec<usize> = (0..200).filter(|n| !snapshots[*n].holds()).collect();
        assert_eq!(ended, [130]);
        let snapshots = take();
        assert!(snapshots.iter().all(Snapshot::holds));
        epochs.bump(&Scope::Global);
        assert!(!snapshots.iter().any(Snapshot::holds));
    }
}
