//! Small state that expires, a space for each use. Whoever holds a space reads and writes there and cannot name another. It
//! knows nothing of what is kept.

use std::sync::Arc;

use bytes::Bytes;
use tradelane_model::Timestamp;
use tradelane_storage::{Entry, KeyedState, Put, Swap};

use crate::Hub;
use crate::error::Result;

/// One use's part of the small state: values under keys, each until it expires.
#[derive(Clone)]
pub struct Space {
    name: &'static str,
    state: Arc<dyn KeyedState>,
}

impl Space {
    /// Stores the value if the key is absent. Durable when it returns, as every write.
    pub async fn put_if_absent(&self, key: &[u8], value: Bytes, expires: Timestamp, now: Timestamp) -> Result<Put> {
        Ok(self.state.put_if_absent(self.name, key, value, expires, now).await?)
    }

    /// Stores the value, whatever was there.
    pub async fn put(&self, key: &[u8], value: Bytes, expires: Timestamp) -> Result<()> {
        self.state.put(self.name, key, value, expires).await?;
        Ok(())
    }

    /// Stores the value if the entry is still of that version.
    pub async fn swap(
        &self,
        key: &[u8],
        version: u64,
        value: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Swap> {
        Ok(self.state.compare_and_swap(self.name, key, Some(version), value, expires, now).await?)
    }

    /// The entry, unless it has expired by `now`.
    pub async fn get(&self, key: &[u8], now: Timestamp) -> Result<Option<Entry>> {
        Ok(self.state.get(self.name, key, now).await?)
    }

    /// Removes the entry, if there is one.
    pub async fn delete(&self, key: &[u8], now: Timestamp) -> Result<()> {
        self.state.delete(self.name, key, now).await?;
        Ok(())
    }

    /// Up to `max` entries whose keys are above `after`, by key.
    pub async fn list(&self, after: &[u8], max: usize, now: Timestamp) -> Result<Vec<(Bytes, Entry)>> {
        Ok(self.state.list(self.name, after, max, now).await?)
    }
}

macro_rules! spaces {
    ($($(#[$doc:meta])* $field:ident: $name:literal,)*) => {
        /// All of them. Their names are part of the stored format (`docs/formats/control-store.md`).
        pub(crate) struct Spaces {
            all: Arc<dyn KeyedState>,
            $($(#[$doc])* pub(crate) $field: Space,)*
        }

        impl Spaces {
            pub(crate) fn new(all: Arc<dyn KeyedState>) -> Self {
                Self { $($field: Space { name: $name, state: all.clone() },)* all }
            }

            #[cfg(test)]
            const NAMES: &[&str] = &[$($name),*];
        }
    };
}

spaces! {
    /// Which node has which name of an audit log.
    audit_origins: "audit-origin",
    /// EPCIS capture jobs.
    capture_jobs: "capture-job",
    /// Ids of EPCIS events that are captured.
    epcis_ids: "epcis-id",
    /// Requests to publish to a cluster, by idempotency key.
    cluster_publishing: "cluster-publish",
    /// What events are compressed with.
    dictionaries: "dictionary",
    /// Erasures that were begun.
    erasing: "erasing",
    /// Which Kafka consumer groups read what.
    kafka_readers: "kafka-readers",
    /// Offsets of Kafka consumer groups.
    kafka_offsets: "kafka-offsets",
    /// What is known of Kafka consumer groups besides.
    kafka_groups: "kafka-groups",
    /// What was set aside in front of a cluster.
    quarantine: "quarantine",
    /// When a request first set something aside there.
    quarantine_requests: "quarantine-request",
    /// Stored records that were reported as withheld.
    withheld: "withheld",
}

impl Spaces {
    /// Removes what expired from every space; how many entries.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<u64> {
        Ok(self.all.sweep(now).await?)
    }
}

impl Hub {
    /// Where a Kafka listener keeps the offsets of consumer groups.
    pub fn kafka_offsets(&self) -> Space {
        self.inner().stores.state.kafka_offsets.clone()
    }

    /// Where a Kafka listener keeps what else is to last of consumer groups.
    pub fn kafka_groups(&self) -> Space {
        self.inner().stores.state.kafka_groups.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tradelane_keys::SecretBytes;
    use tradelane_storage::sqlite::SqliteControl;

    use super::*;

    #[tokio::test]
    async fn what_is_in_one_space_is_in_no_other_and_lies_under_the_name_that_it_always_had() {
        assert_eq!(Spaces::NAMES.iter().collect::<HashSet<_>>().len(), Spaces::NAMES.len(), "each has its own");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        let control = Arc::new(SqliteControl::open(&path, &SecretBytes::new([1; 32])).unwrap());
        let spaces = Spaces::new(control.clone());
        let (now, value) = (Timestamp(0), Bytes::from_static(b"value"));
        spaces.kafka_offsets.put(b"k", value.clone(), Timestamp(5)).await.unwrap();
        assert_eq!(control.get("kafka-offsets", b"k", now).await.unwrap().unwrap().value, value);
        assert_eq!(spaces.kafka_groups.get(b"k", now).await.unwrap(), None);
        assert!(spaces.kafka_groups.list(b"", 9, now).await.unwrap().is_empty());
        spaces.kafka_groups.delete(b"k", now).await.unwrap();
        let put = spaces.kafka_groups.put_if_absent(b"k", value.clone(), Timestamp::MAX, now).await.unwrap();
        assert!(matches!(put, Put::Stored(_)));
        assert_eq!(spaces.kafka_offsets.list(b"", 9, now).await.unwrap().len(), 1);
        assert_eq!(spaces.sweep(Timestamp(5)).await.unwrap(), 1);
        assert_eq!(spaces.kafka_offsets.get(b"k", now).await.unwrap(), None);
        assert_eq!(spaces.kafka_groups.get(b"k", now).await.unwrap().unwrap().value, value);
    }
}
