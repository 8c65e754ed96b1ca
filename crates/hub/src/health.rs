//! Is the hub well, and what has it done? Numbers only: nothing here names a person, a value or a secret.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::Hub;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What happened since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment: name, help and value.
        impl Counters {
            fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Events stored.
    events_published,
    /// Events refused or quarantined.
    events_refused,
    /// Events given to readers.
    events_read,
    /// Batches rendered for a view.
    batches_rendered,
    /// Batches that another reader of an equal view had rendered.
    batches_reused,
    /// Records that could not be shown safely.
    records_withheld,
    /// Decisions that refused.
    refusals,
    /// Persons erased.
    erasures,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// One check of readiness.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Is it well?
    pub ok: bool,
}

/// How the hub is.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Can it serve?
    pub ready: bool,
    /// Check by check.
    pub checks: Vec<Check>,
}

/// Numbers for a metrics page.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Counters by name.
    pub counters: Vec<(&'static str, u64)>,
    /// Leaves in the audit log.
    pub audit_leaves: u64,
    /// Entries in the journal.
    pub journal_entries: u64,
    /// Grants that may be used.
    pub live_grants: u64,
    /// Dictionaries that this node compresses events with.
    pub dictionaries: u64,
}

impl Hub {
    /// Checks what serving depends on.
    pub async fn health(&self) -> Health {
        let inner = self.inner();
        let journal = inner.stores.journal.head().await.is_ok();
        let log = inner.stores.log.streams().await.is_ok();
        let checks = vec![
            Check { name: "event-log", ok: log },
            Check { name: "journal", ok: journal },
            Check { name: "audit", ok: inner.audit.is_writable() },
        ];
        Health { ready: checks.iter().all(|check| check.ok), checks }
    }

    /// What the hub has done so far.
    pub fn stats(&self) -> Stats {
        let (model, now) = (self.model(), self.now());
        Stats {
            counters: self.inner().counters.read(),
            audit_leaves: self.inner().audit.size(),
            journal_entries: model.seq,
            dictionaries: self.inner().keyring.dictionaries.in_use(),
            live_grants: model.grants.values().filter(|grant| grant.is_live(now)).count() as u64,
        }
    }
}
