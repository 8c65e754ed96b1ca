//! Which Kafka consumer groups read a product by a grant, as far as they commit offsets, for who would change the product.
//!
//! A commit says that a group reads a topic, whichever engine keeps its offsets and whether or not the group has members now.
//! It is noted at most once in an hour, and is forgotten after thirty days without another. Groups that keep their offsets
//! elsewhere commit none and are not found. This file knows nothing of members, partitions or Kafka itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tradelane_model::{OrgId, ProductId, Timestamp};

use super::impact::LATELY;
use crate::Hub;
use crate::doorway::Caller;
use crate::error::Result;

/// The version of a note.
const VERSION: u8 = 1;
/// A group is not noted again within that time, in seconds.
const AGAIN: i64 = 3_600;
/// The most groups of one organization on one product that a node notes.
const MAX_GROUPS: usize = 1_000;
/// The most groups of a product that are told, and how many are read at once.
const MAX_TOLD: usize = 10_000;
const PAGE: usize = 1_000;
/// What fits into a key of small state beside two ids and the number.
const MAX_NAME: usize = 350;

/// A Kafka consumer group that reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupImpact {
    /// Its id, as the consumer chose it.
    pub group: String,
    /// When it last committed an offset of the product, within an hour.
    pub last_commit: Timestamp,
}

/// What was noted by this node, and when.
#[derive(Default)]
pub(crate) struct Noted(Mutex<HashMap<(ProductId, OrgId), HashMap<String, Timestamp>>>);

impl Noted {
    /// Is it time to note the group? Then that counts as done.
    fn is_due(&self, product: &ProductId, consumer: &OrgId, group: &str, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = noted.entry((product.clone(), consumer.clone())).or_default();
        if groups.get(group).is_some_and(|last| now < last.plus_seconds(AGAIN)) {
            return false;
        }
        if groups.len() >= MAX_GROUPS {
            groups.retain(|_, last| now < last.plus_seconds(LATELY));
        }
        if groups.len() >= MAX_GROUPS && !groups.contains_key(group) {
            return false;
        }
        groups.insert(group.to_owned(), now);
        true
    }

    fn forget(&self, product: &ProductId, consumer: &OrgId, group: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(groups) = noted.get_mut(&(product.clone(), consumer.clone())) {
            groups.remove(group);
        }
    }
}

impl Hub {
    /// Notes that a consumer group of the caller's organization has committed an offset of a product of another's. What
    /// cannot be noted is not: nobody's commit depends on it.
    pub async fn note_group(&self, caller: &Caller, product: &ProductId, group: &str) {
        let consumer = &caller.organization.id;
        let is_own = self.owner_of(product).is_none_or(|owner| owner == *consumer);
        let now = self.now();
        if is_own || group.len() > MAX_NAME || !self.inner().noted.is_due(product, consumer, group, now) {
            return;
        }
        let Some(prefix) = self.readers_of(product) else { return };
        let key = format!("{prefix}{consumer}\0{group}");
        let value: Vec<u8> = [VERSION].into_iter().chain(now.0.to_be_bytes()).collect();
        let put = self.inner().stores.state.kafka_readers.put(key.as_bytes(), value.into(), now.plus_seconds(LATELY));
        if put.await.is_err() {
            self.inner().noted.forget(product, consumer, group);
        }
    }

    /// What the keys of notes on a product begin with, before `organization NUL group`. A product that is made anew has another
    /// number: who owns it then hears nothing of who read the one before.
    fn readers_of(&self, product: &ProductId) -> Option<String> {
        Some(format!("{product}\0{}\0", self.model().number_of(product)?))
    }

    /// The groups that committed offsets of a product within thirty days, by organization, the last one first.
    pub(super) async fn groups_of(
        &self,
        product: &ProductId,
        now: Timestamp,
    ) -> Result<HashMap<OrgId, Vec<GroupImpact>>> {
        let Some(prefix) = self.readers_of(product).map(String::into_bytes) else { return Ok(HashMap::new()) };
        let (mut after, mut groups, mut told) = (prefix.clone(), HashMap::<OrgId, Vec<GroupImpact>>::new(), 0);
        loop {
            let entries = self.inner().stores.state.kafka_readers.list(&after, PAGE, now).await?;
            let is_last = entries.len() < PAGE;
            for (key, entry) in entries {
                let Some(rest) = key.strip_prefix(&*prefix).filter(|_| told < MAX_TOLD) else {
                    return Ok(sorted(groups));
                };
                if let Some((consumer, group)) = read(rest, &entry.value) {
                    groups.entry(consumer).or_default().push(group);
                    told += 1;
                }
                after = key.to_vec();
            }
            if is_last {
                return Ok(sorted(groups));
            }
        }
    }
}

fn sorted(mut groups: HashMap<OrgId, Vec<GroupImpact>>) -> HashMap<OrgId, Vec<GroupImpact>> {
    groups.values_mut().for_each(|groups| groups.sort_by_key(|group| std::cmp::Reverse(group.last_commit)));
    groups
}

fn read(rest: &[u8], value: &Bytes) -> Option<(OrgId, GroupImpact)> {
    let (consumer, group) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    let (VERSION, time) = value.split_first().map(|(version, time)| (*version, time))? else { return None };
    let last_commit = Timestamp(i64::from_be_bytes(*time.first_chunk()?));
    Some((consumer.parse().ok()?, GroupImpact { group: group.to_owned(), last_commit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_noted_once_an_hour_and_no_more_groups_than_there_is_room_for() {
        let (noted, now) = (Noted::default(), Timestamp(1_000_000));
        let product: ProductId = "p".parse().unwrap();
        let (near, far): (OrgId, OrgId) = ("near".parse().unwrap(), "far".parse().unwrap());
        assert!(noted.is_due(&product, &near, "g", now) && !noted.is_due(&product, &near, "g", now));
        assert!(noted.is_due(&product, &far, "g", now));
        assert!(noted.is_due(&product, &near, "g", now.plus_seconds(AGAIN)));
        for number in 0..2 * MAX_GROUPS {
            noted.is_due(&product, &near, &number.to_string(), now);
        }
        assert!(!noted.is_due(&product, &near, "one more", now));
        assert!(
            noted.is_due(&product, &near, "one more", now.plus_seconds(LATELY + AGAIN)),
            "the others are forgotten"
        );
    }
}
