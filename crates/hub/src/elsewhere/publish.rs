//! Publishing to a cluster: each batch once, however often a request is retried and on whichever node.
//!
//! The hub's state and a topic have no transaction in common. So a request with an idempotency key first puts down under which
//! numbers its batch will go to the cluster, and then sends it. Whoever comes with the same key and finds no answer there,
//! because a node died in between or is still at it, sends the batch again under the same numbers: the cluster itself tells
//! one that it has. Numbers whose batch is in doubt are used for nothing else ([`ClusterLog::settle`]), so the batch is always
//! the last one under them, which the cluster never forgets before the key expires.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tradelane_model::{Timestamp, codes};
use tradelane_records::patch;
use tradelane_storage::{Dedup, Put, StorageError, StreamId};

use super::{BatchNumbers, ClusterError, ClusterLog};
use crate::Hub;
use crate::error::{HubError, Result};
use crate::publish::{SealedBatch, Stored};

/// How often it is looked again what became of one that somebody else works on.
const LOOKS: usize = 3;

/// A request with an idempotency key, as it is kept: JSON (`docs/formats/control-store.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Digest of what was sent.
    body: [u8; 32],
    partition: u32,
    /// Records of the batch.
    count: u32,
    numbers: BatchNumbers,
    /// Where the batch is; none: not known to be stored.
    offset: Option<u64>,
}

impl Hub {
    /// Stores a sealed batch in the cluster.
    pub(crate) async fn append_elsewhere(
        &self,
        cluster: &dyn ClusterLog,
        stream: StreamId,
        batch: &mut SealedBatch,
        dedup: Option<Dedup>,
        now: Timestamp,
    ) -> Result<Stored> {
        let partitions = self.partitions_of(&stream).ok_or_else(HubError::not_found)?;
        let mut sending =
            Sending { hub: self, cluster, partitions, bytes: std::mem::take(&mut batch.bytes), count: batch.count };
        let Some(dedup) = dedup else {
            let numbers = cluster.number(&stream).await?;
            let offset = sending.send(&stream, numbers).await?;
            cluster.settle(&stream, numbers, batch.count);
            return Ok(Stored { partition: stream.partition, base_offset: offset, duplicate: false });
        };
        for _ in 0..LOOKS {
            let found = self.inner().stores.state.cluster_publishing.get(&dedup.key, now).await?;
            let stored = match found {
                Some(entry) => sending.again(&stream, &dedup, &entry.value).await?,
                None => sending.first(&stream, &dedup, now).await?,
            };
            if let Some(stored) = stored {
                return Ok(stored);
            }
        }
        Err(HubError::of(codes::IN_FLIGHT).retry(1))
    }
}

/// A batch on its way.
struct Sending<'a> {
    hub: &'a Hub,
    cluster: &'a dyn ClusterLog,
    /// Of the product.
    partitions: u32,
    bytes: Vec<u8>,
    count: u32,
}

impl Sending<'_> {
    async fn send(&mut self, stream: &StreamId, numbers: BatchNumbers) -> Result<u64, ClusterError> {
        let BatchNumbers { producer, epoch, sequence } = numbers;
        patch::set_producer(&mut self.bytes, producer, epoch, sequence)
            .map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let batch = Bytes::from(std::mem::take(&mut self.bytes));
        let sent = self.cluster.append(stream, self.partitions, batch.clone()).await;
        if sent == Err(ClusterError::Numbers) {
            // It may have to go again, under other numbers.
            self.bytes = batch.into();
        }
        sent
    }

    /// A request that nobody has begun: `None` if somebody has by now.
    async fn first(&mut self, stream: &StreamId, dedup: &Dedup, now: Timestamp) -> Result<Option<Stored>> {
        let numbers = self.cluster.number(stream).await?;
        let kept = Kept { body: dedup.body, partition: stream.partition, count: self.count, numbers, offset: None };
        let requests = &self.hub.inner().stores.state.cluster_publishing;
        let put = requests.put_if_absent(&dedup.key, encoded(&kept)?, dedup.expires, now).await?;
        if let Put::Exists(_) = put {
            self.cluster.settle(stream, numbers, 0);
            return Ok(None);
        }
        let offset = self.send(stream, numbers).await?;
        self.done(dedup, Kept { offset: Some(offset), ..kept }).await?;
        // Not before it is on record: until then somebody may have to ask the cluster about these numbers.
        self.cluster.settle(stream, numbers, self.count);
        Ok(Some(Stored { partition: stream.partition, base_offset: offset, duplicate: false }))
    }

    /// A request that was begun before: `None` if its state changed meanwhile.
    async fn again(&mut self, stream: &StreamId, dedup: &Dedup, kept: &[u8]) -> Result<Option<Stored>> {
        let kept: Kept = serde_json::from_slice(kept)
            .map_err(|_| HubError::of(codes::STORAGE_CORRUPT).because("the state of a request does not read"))?;
        if !tradelane_keys::constant_time_eq(&kept.body, &dedup.body) {
            return Err(StorageError::DedupConflict.into());
        }
        let stored = |offset, duplicate| Stored { partition: kept.partition, base_offset: offset, duplicate };
        if let Some(offset) = kept.offset {
            return Ok(Some(stored(offset, true)));
        }
        if kept.count != self.count {
            let detail = "This request was begun before and did not come to an answer, and by now the contract takes other \
                          events of it: look whether they are there before you send them under another key.";
            return Err(HubError::new(codes::CONFLICT, detail));
        }
        let stream = StreamId { partition: kept.partition, ..stream.clone() };
        match self.send(&stream, kept.numbers).await {
            // Nobody had an answer yet, so this is none that is given again.
            Ok(offset) => {
                self.done(dedup, Kept { offset: Some(offset), ..kept.clone() }).await?;
                Ok(Some(stored(offset, false)))
            }
            // Whoever began it has come to an end, and gone on.
            Err(ClusterError::Numbers) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn done(&self, dedup: &Dedup, kept: Kept) -> Result<()> {
        let requests = &self.hub.inner().stores.state.cluster_publishing;
        requests.put(&dedup.key, encoded(&kept)?, dedup.expires).await
    }
}

fn encoded(kept: &Kept) -> Result<Bytes> {
    let text = serde_json::to_vec(kept).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
    Ok(text.into())
}
