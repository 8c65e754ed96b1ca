//! A hub whose records are kept by a Kafka cluster: it seals them in and shows them out, over every listener alike.
//!
//! A Kafka listener passes its clients' own requests on to the brokers ([`crate::records`]). All other reading and writing of
//! events goes through [`ClusterLog`], which a client of the cluster implements. What a reader is shown is what consumers of
//! committed records get there: never a record of a transaction that is open or was aborted. This file knows nothing of
//! brokers, leaders or requests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tradelane_model::codes;
use tradelane_storage::{Bounds, StorageError, StoredBatch, StreamId};

use crate::Hub;
use crate::error::{HubError, Result};
use crate::open::{HubConfig, Opened};
use crate::read::Reader;

mod publish;

/// The products' partitions as a cluster keeps them: whole Kafka record batches (`docs/formats/record-batch.md`) with offsets
/// that the cluster gives. Streams are named by the product; how the cluster calls its topics is the implementation's own.
#[async_trait]
pub trait ClusterLog: Send + Sync {
    /// What is kept and committed: from the first offset that is kept to the last stable one (KIP-98), before which no
    /// transaction is open. `None` if the cluster has no such partition yet.
    async fn bounds(&self, stream: &StreamId) -> Result<Option<Bounds>, ClusterError>;

    /// Committed batches from the one that holds `from` on, about `max_bytes` of them, but at least one if there is one.
    /// Markers of transactions and batches of aborted ones are passed over.
    async fn read(&self, stream: &StreamId, from: u64, max_bytes: usize) -> Result<Committed, ClusterError>;

    /// Waits until something is committed at or beyond `offset`, however long that takes and whatever the cluster does
    /// meanwhile. It may end early. Dropping the future costs nothing.
    async fn wait(&self, stream: &StreamId, offset: u64);

    /// Numbers for batches that are sent together, one for each of these partitions of a product, which nobody else has until
    /// they are settled.
    async fn number(&self, streams: &[StreamId]) -> Result<Vec<BatchNumbers>, ClusterError>;

    /// Stores batches that carry such numbers, on all replicas in sync, and returns for each the offset of its first record, in
    /// their order. Each is stored or not for itself; but none is sent while there is one that could not be. A batch that the
    /// cluster has already is not stored again, and has the offset that it got then. `partitions`: how many the product has,
    /// should its topic be made now.
    async fn append(&self, partitions: u32, batches: Vec<(StreamId, Bytes)>) -> Vec<Result<u64, ClusterError>>;

    /// Batches that got their numbers together, with so many records, are all stored, or will never be sent (0), and nobody
    /// will ask about them again. Numbers about which that is not known are never settled: then nothing else is ever sent
    /// under them, and they go on telling whether those batches are there.
    fn settle(&self, batches: &[(StreamId, BatchNumbers, u32)]);
}

/// What tells the cluster that a batch is the one that it has already: an idempotent producer's id and epoch, and the place of
/// the batch's first record in what that producer sends to the partition (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BatchNumbers {
    /// The producer's id.
    pub producer: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of the first record.
    pub sequence: i32,
}

/// What a cluster has from some offset on.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// Whole batches, in order, as the cluster has them. The first may begin before the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// Where to go on; the offset that was asked for, if nothing is there now.
    pub next: u64,
    /// Bytes that were looked at, those that were passed over included.
    pub bytes: usize,
}

/// Why the cluster did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It cannot be asked, or does not answer. A batch may or may not have been stored.
    #[error("the cluster cannot be asked: {0}")]
    Unavailable(String),
    /// The offset is no longer kept, or is beyond the end.
    #[error("the cluster does not keep that offset")]
    OutOfRange,
    /// The batch is larger than the topic takes. It is not stored.
    #[error("the topic does not take a batch of that size")]
    TooLarge,
    /// The topic does not take such records: a compacted one, those without a key. The batch is not stored.
    #[error("the topic does not take such records")]
    Unfit,
    /// The cluster has stored other batches under later numbers, and does not say any more where this one is.
    #[error("the cluster has gone on from the numbers of the batch")]
    Numbers,
}

impl ClusterError {
    /// Would the same be said of the same batch again?
    fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge | Self::Unfit)
    }
}

impl From<ClusterError> for HubError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::TooLarge => {
                let detail = "The events of the request are more than the cluster takes at once: send fewer together.";
                Self::new(codes::TOO_LARGE, detail)
            }
            ClusterError::Unfit => {
                let detail = "The product's topic takes records with keys only: name the field that is the key in the contract \
                              (`records.key.from`), or send CloudEvents with a `partitionkey`.";
                Self::new(codes::CONFLICT, detail)
            }
            ClusterError::OutOfRange => Self::of(codes::OFFSET_GONE),
            ClusterError::Unavailable(_) | ClusterError::Numbers => {
                Self::of(codes::STORAGE_UNAVAILABLE).retry(1).because(error)
            }
        }
    }
}

/// The offsets that a batch of a cluster's covers, for one that may be damaged; `at` is where its reader stands, `after` the
/// batch after it.
pub fn covered(batch: &[u8], at: u64, after: Option<&Bytes>) -> std::ops::Range<u64> {
    crate::batch::place_of(batch, at, after)
}

/// Batches that were found, to be shown one by one.
pub(crate) struct Found {
    pub(crate) batches: Vec<FoundBatch>,
    /// Where to go on when all of them were shown.
    pub(crate) next: u64,
    /// Bytes that were looked at.
    pub(crate) bytes: usize,
}

/// A batch as it is kept.
pub(crate) enum FoundBatch {
    /// By our own log.
    Own(StoredBatch),
    /// By a cluster.
    Clusters(Bytes),
}

impl Hub {
    /// Opens the hub in front of a cluster, which keeps the events. The control plane, audit, keys and quarantine are the hub's
    /// own as ever.
    pub async fn open_before_cluster(config: HubConfig, cluster: Arc<dyn ClusterLog>) -> Result<(Self, Opened)> {
        Self::open_with(config, Some(cluster)).await
    }

    /// The offsets that the partition has for readers; 0 to 0 if there is nothing yet.
    pub(crate) async fn kept(&self, stream: &StreamId) -> Result<Bounds> {
        let bounds = match &self.inner().cluster {
            None => self.inner().stores.log.bounds(stream).await?,
            // A partition that only the cluster has is no partition of the product's.
            Some(cluster) if self.is_partition(stream) => cluster.bounds(stream).await?,
            Some(_) => None,
        };
        Ok(bounds.unwrap_or(Bounds { start: 0, end: 0 }))
    }

    /// Batches from an offset on that is kept, about so many bytes. `Err` in it: from where on they are kept.
    pub(crate) async fn found(&self, stream: &StreamId, at: u64, max_bytes: usize) -> Result<Result<Found, u64>> {
        let Some(cluster) = &self.inner().cluster else {
            return match self.inner().stores.log.read(stream, at, max_bytes).await {
                Ok(batches) => Ok(Ok(Found {
                    next: batches.last().map_or(at, StoredBatch::end_offset),
                    bytes: batches.iter().map(|batch| batch.payload.len()).sum(),
                    batches: batches.into_iter().map(FoundBatch::Own).collect(),
                })),
                // Retention was faster than this reader.
                Err(StorageError::Truncated { start, .. }) => Ok(Err(start)),
                Err(error) => Err(error.into()),
            };
        };
        if !self.is_partition(stream) {
            return Ok(Ok(Found { batches: Vec::new(), next: at, bytes: 0 }));
        }
        match cluster.read(stream, at, max_bytes).await {
            Ok(Committed { batches, next, bytes }) => {
                let batches = batches.into_iter().map(FoundBatch::Clusters).collect();
                Ok(Ok(Found { batches, next: next.max(at), bytes }))
            }
            Err(ClusterError::OutOfRange) => match cluster.bounds(stream).await? {
                Some(bounds) if bounds.start > at => Ok(Err(bounds.start)),
                _ => Err(ClusterError::OutOfRange.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the partition has more than up to that offset.
    pub(crate) async fn more(&self, reader: &Reader, at: u64) -> Result<()> {
        let stream = reader.stream();
        match &self.inner().cluster {
            None => self.inner().stores.log.wait(&stream, at).await.map(drop).map_err(Into::into),
            Some(cluster) if self.is_partition(&stream) => {
                cluster.wait(&stream, at).await;
                Ok(())
            }
            Some(_) => std::future::pending().await,
        }
    }

    fn is_partition(&self, stream: &StreamId) -> bool {
        self.partitions_of(&stream.product).is_some_and(|partitions| stream.partition < partitions)
    }

    fn partitions_of(&self, product: &str) -> Option<u32> {
        self.model().products.get(product).map(|product| product.partitions)
    }
}
