//! Quotas: how many requests, bytes and commits a second a credential and its organization may have, and how many
//! connections. Who is over is served and told to be quiet for a while, as Kafka does it (KIP-219): the answer carries the
//! time, and the connection is not read until it is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tradelane_hub::Caller;
use tradelane_model::{CredentialId, OrgId};
use tradelane_transport::{Buckets, Rate};

use crate::config::KafkaLimits;

/// One organization has so large a part of the memory for large requests, at most.
const PART: usize = 4;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Requests.
    Requests,
    /// Bytes published.
    BytesIn,
    /// Bytes read.
    BytesOut,
    /// Offset commits.
    Commits,
}

#[derive(Debug)]
struct Pair {
    credential: Buckets<CredentialId>,
    organization: Buckets<OrgId>,
}

impl Pair {
    fn new(credential: Rate, organization: Rate) -> Self {
        Self { credential: Buckets::new(credential), organization: Buckets::new(organization) }
    }
}

/// All quotas.
#[derive(Debug)]
pub(crate) struct Quotas {
    requests: Pair,
    bytes_in: Pair,
    bytes_out: Pair,
    commits: Pair,
    most: Duration,
    connections: Arc<Open>,
}

/// Connections by whom they are of.
#[derive(Debug)]
struct Open {
    of_credential: usize,
    of_organization: usize,
    /// KiB of the large requests that one organization has at once.
    memory: usize,
    counts: Mutex<(HashMap<CredentialId, usize>, HashMap<OrgId, Present>)>,
}

/// An organization that has connections.
#[derive(Debug, Clone)]
struct Present {
    connections: usize,
    memory: Arc<Semaphore>,
}

/// The place of an authenticated connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    open: Arc<Open>,
    credential: CredentialId,
    organization: OrgId,
    memory: Arc<Semaphore>,
}

impl Seat {
    /// For large requests of its organization. A permit is a KiB.
    pub(crate) fn memory(&self) -> Arc<Semaphore> {
        Arc::clone(&self.memory)
    }
}

impl Quotas {
    pub(crate) fn new(limits: &KafkaLimits) -> Self {
        let open = Open {
            of_credential: limits.connections_per_credential,
            of_organization: limits.connections_per_organization,
            memory: (limits.requests_memory / PART).max(limits.request) / 1024 + 1,
            counts: Mutex::default(),
        };
        Self {
            requests: Pair::new(limits.requests_per_credential, limits.requests_per_organization),
            bytes_in: Pair::new(limits.bytes_in_per_credential, limits.bytes_in_per_organization),
            bytes_out: Pair::new(limits.bytes_out_per_credential, limits.bytes_out_per_organization),
            commits: Pair::new(limits.commits_per_credential, limits.commits_per_organization),
            most: limits.throttle,
            connections: Arc::new(open),
        }
    }

    /// Counts `amount` for the caller at `now`, a time since the start; returns how long the caller has to be quiet.
    pub(crate) fn charge(&self, of: Of, caller: &Caller, amount: usize, now: Duration) -> Duration {
        let pair = match of {
            Of::Requests => &self.requests,
            Of::BytesIn => &self.bytes_in,
            Of::BytesOut => &self.bytes_out,
            Of::Commits => &self.commits,
        };
        let amount = amount as f64;
        let credential = pair.credential.charge(caller.credential(), amount, now);
        let organization = pair.organization.charge(&caller.organization().id, amount, now);
        credential.max(organization).min(self.most)
    }

    /// A place for one more connection of the caller, if there is one.
    pub(crate) fn seat(&self, caller: &Caller) -> Option<Seat> {
        let (credential, organization) = (caller.credential().clone(), caller.organization().id.clone());
        let mut counts = self.connections.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (credentials, organizations) = &mut *counts;
        let of_credential = credentials.get(&credential).copied().unwrap_or(0);
        let of_organization = organizations.get(&organization).map_or(0, |present| present.connections);
        if of_credential >= self.connections.of_credential || of_organization >= self.connections.of_organization {
            return None;
        }
        credentials.insert(credential.clone(), of_credential + 1);
        let memory = || Present { connections: 0, memory: Arc::new(Semaphore::new(self.connections.memory)) };
        let present = organizations.entry(organization.clone()).or_insert_with(memory);
        present.connections += 1;
        let memory = Arc::clone(&present.memory);
        drop(counts);
        Some(Seat { open: Arc::clone(&self.connections), credential, organization, memory })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.open.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (credentials, organizations) = &mut *counts;
        one_less(credentials, &self.credential, |count| count);
        one_less(organizations, &self.organization, |present| &mut present.connections);
    }
}

fn one_less<K: std::hash::Hash + Eq, V>(counts: &mut HashMap<K, V>, key: &K, count: impl Fn(&mut V) -> &mut usize) {
    if let Some(found) = counts.get_mut(key) {
        let count = count(found);
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
