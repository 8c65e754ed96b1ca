//! Compaction: of the events of each key only the last one stays, for products that say so (`cleanup: compact`).
//!
//! As Kafka does it: nothing moves, offsets stay, and what goes leaves a gap. Keys are compared as they are stored, so that
//! nothing is opened for it: a key that is not public stands there as a token that is equal for equal keys. What is young
//! stays whole, so that whoever keeps up sees every event; a record without a value, which says that its key is no more,
//! stays a day longer, so that they see that, too. In front of a cluster all this is the cluster's.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::PoisonError;

use bytes::Bytes;
use tradelane_audit::{Leaf, Outcome};
use tradelane_model::{Cleanup, ProductId, Timestamp, codes};
use tradelane_records::{BatchBuilder, BatchHead};
use tradelane_storage::event_log::MAX_COUNT;
use tradelane_storage::{Bounds, Rewrite, StoredBatch, StreamId, Truncate};

use crate::Hub;
use crate::audit_trail::COMPACT;
use crate::batch::{self, Record};
use crate::error::{HubError, Result};

/// Seconds for which every event stays (Kafka's `min.compaction.lag.ms`).
pub const COMPACTION_LAG: i64 = 3_600;
/// Seconds for which a record without a value stays after that (Kafka's `delete.retention.ms`).
pub const TOMBSTONE_RETENTION: i64 = 86_400;
/// The most keys that one round looks at: some 100 MiB of memory. What is beyond them waits for the next round.
const MAX_KEYS: usize = 2_000_000;
/// Bytes that are read at once.
const READ: usize = 4 << 20;
/// What is rewritten in one transaction, about: batches and their bytes.
const STEP: (usize, usize) = (256, 8 << 20);

/// How far a stream is compacted. Forgotten when the hub stops: the first round after that looks at everything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cleaned {
    /// Below this, each key stands once.
    until: u64,
    /// Events that stayed there.
    events: u64,
}

impl Hub {
    /// Compacts what is to be compacted; returns how many events went. What fails for one product is told in the log, and
    /// tried again in the next round.
    pub(crate) async fn compact(&self) -> u64 {
        if self.inner().cluster.is_some() {
            return 0;
        }
        let model = self.model();
        let mut gone = 0;
        for product in model.products.values().filter(|product| product.cleanup == Cleanup::Compact) {
            for partition in 0..product.partitions {
                match self.compact_partition(&product.id, partition).await {
                    Ok(events) => gone += events,
                    Err(error) => tracing::warn!(
                        code = %error.code, cause = error.cause, product = %product.id, partition, "compaction failed"
                    ),
                }
            }
        }
        gone
    }

    async fn compact_partition(&self, product: &ProductId, partition: u32) -> Result<u64> {
        let stream = Self::stream(product, partition);
        let log = &self.inner().stores.log;
        let Some(Bounds { start, end }) = log.bounds(&stream).await? else { return Ok(0) };
        let cleaned = self.cleaned(&stream).filter(|cleaned| (start..=end).contains(&cleaned.until));
        let cleaned = cleaned.unwrap_or(Cleaned { until: start, events: 0 });
        // Every event that stayed is looked at again: that is worth it once as many have come.
        if end - cleaned.until <= cleaned.events {
            return Ok(0);
        }
        let now = self.now();
        let last = self.last_of_keys(&stream, cleaned.until..end, now.plus_seconds(-COMPACTION_LAG)).await?;
        if last.until == cleaned.until {
            return Ok(0);
        }
        let mut round = Round {
            hub: self,
            product,
            stream: &stream,
            last: &last,
            tombstones: now.plus_seconds(-COMPACTION_LAG - TOMBSTONE_RETENTION),
            run: None,
            rewrites: Vec::new(),
            bytes: 0,
            removes: 0,
            stayed: 0,
            gone: 0,
        };
        let is_whole = round.all(start).await;
        let (stayed, gone) = (round.stayed, round.gone);
        // If retention was quicker, the next round begins where it ended.
        if let Ok(true) = is_whole {
            let done = Cleaned { until: last.until, events: stayed };
            self.inner().cleaned.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.clone(), done);
        }
        if gone > 0 {
            self.inner().rendered.clear();
            // Nothing more to remove: but the room that was won goes back to the file system.
            log.truncate_before(&stream, Truncate::Offset(start)).await?;
        }
        is_whole.map(|_| gone)
    }

    fn cleaned(&self, stream: &StreamId) -> Option<Cleaned> {
        self.inner().cleaned.lock().unwrap_or_else(PoisonError::into_inner).get(stream).copied()
    }

    /// Where the last event of each key is, among those from `offsets` that were taken before `before`.
    async fn last_of_keys(&self, stream: &StreamId, offsets: Range<u64>, before: Timestamp) -> Result<LastOfKeys> {
        let mut last = LastOfKeys { until: offsets.start, ..LastOfKeys::default() };
        while last.until < offsets.end {
            let batches = self.inner().stores.log.read(stream, last.until, READ).await?;
            if batches.is_empty() {
                break;
            }
            for stored in batches {
                if stored.timestamp >= before || last.offsets.len() >= MAX_KEYS {
                    return Ok(last);
                }
                for record in batch::records(&stored.payload)? {
                    if let Some(key) = record.key {
                        last.offsets.insert(last.hashed(key), stored.base_offset + u64::from(record.delta));
                    }
                }
                last.until = stored.end_offset();
            }
            tokio::task::yield_now().await;
        }
        Ok(last)
    }

    async fn record_compaction(
        &self,
        product: &ProductId,
        stream: &StreamId,
        offsets: Range<u64>,
        removes: u64,
    ) -> Result<()> {
        let Some(owner) = self.owner_of(product) else { return Err(HubError::not_found()) };
        let mut leaf = Leaf::new(self.now(), owner, COMPACT, Outcome::Allowed);
        leaf.product = Some(product.clone());
        leaf.partition = Some(stream.partition);
        leaf.offsets = Some((offsets.start, offsets.end.saturating_sub(1)));
        leaf.count = removes;
        self.record(leaf).await.map(drop)
    }
}

/// The last offset of each key below `until`.
#[derive(Default)]
struct LastOfKeys {
    /// Keys by two keyed hashes, so that nobody can make two of them equal.
    offsets: HashMap<(u64, u64), u64>,
    hashers: (RandomState, RandomState),
    until: u64,
}

impl LastOfKeys {
    fn hashed(&self, key: &[u8]) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    /// Is there a later event of that key?
    fn supersedes(&self, key: &[u8], offset: u64) -> bool {
        self.offsets.get(&self.hashed(key)).is_some_and(|last| *last > offset)
    }
}

/// Batches in a row of which nothing stayed.
struct Run {
    offsets: Range<u64>,
    timestamp: Timestamp,
    /// Events that are in them yet.
    removes: u64,
    /// It is one batch that was empty before, and nothing is won by writing it again.
    is_as_it_was: bool,
}

/// One round over a stream.
struct Round<'a> {
    hub: &'a Hub,
    product: &'a ProductId,
    stream: &'a StreamId,
    last: &'a LastOfKeys,
    /// Records without a value that are older than this go.
    tombstones: Timestamp,
    run: Option<Run>,
    /// What is to be written, its bytes, and how many events that removes.
    rewrites: Vec<Rewrite>,
    bytes: usize,
    removes: u64,
    stayed: u64,
    gone: u64,
}

impl Round<'_> {
    /// From the first offset to where each key is known; false if the stream became another meanwhile. It goes upwards, so
    /// that a record without a value goes after everything that it stands for.
    async fn all(&mut self, start: u64) -> Result<bool> {
        let mut at = start;
        while at < self.last.until {
            let batches = self.hub.inner().stores.log.read(self.stream, at, READ).await?;
            if batches.is_empty() {
                break;
            }
            for stored in batches.iter().filter(|stored| stored.base_offset < self.last.until) {
                self.batch(stored)?;
                at = stored.end_offset();
                if (self.rewrites.len() >= STEP.0 || self.bytes >= STEP.1) && !self.write().await? {
                    return Ok(false);
                }
            }
            tokio::task::yield_now().await;
        }
        self.end_run()?;
        self.write().await
    }

    /// What stays of a batch, in its place and in that of the empty ones before it.
    fn batch(&mut self, stored: &StoredBatch) -> Result<()> {
        let records = batch::records(&stored.payload)?;
        let stays = |record: &&Record<'_>| {
            let Some(key) = record.key else { return true };
            let offset = stored.base_offset + u64::from(record.delta);
            let is_over = record.sealed.is_none() && stored.timestamp < self.tombstones;
            !is_over && !self.last.supersedes(key, offset)
        };
        let kept: Vec<&Record<'_>> = records.iter().filter(stays).collect();
        let gone = (records.len() - kept.len()) as u64;
        self.stayed += kept.len() as u64;
        let (start, end) = (stored.base_offset, stored.end_offset());
        if self.run.as_ref().is_some_and(|run| end - run.offsets.start > u64::from(MAX_COUNT)) {
            self.end_run()?;
        }
        if kept.is_empty() {
            let run = self.run.get_or_insert(Run {
                offsets: start..start,
                timestamp: stored.timestamp,
                removes: 0,
                is_as_it_was: gone == 0,
            });
            run.removes += gone;
            run.is_as_it_was &= run.offsets.is_empty();
            (run.offsets.end, run.timestamp) = (end, stored.timestamp);
            return Ok(());
        }
        match self.run.take() {
            None if gone == 0 => Ok(()),
            run => {
                self.removes += gone + run.as_ref().map_or(0, |run| run.removes);
                let first = run.map_or(start, |run| run.offsets.start);
                let head = BatchHead { base_offset: 0, ..BatchHead::of(&batch::parse(&stored.payload)?) };
                self.put(first..end, stored.timestamp, &head, start - first, &kept)
            }
        }
    }

    /// Writes the empty batches so far as one, if that is fewer than they were.
    fn end_run(&mut self) -> Result<()> {
        match self.run.take() {
            Some(run) if !run.is_as_it_was => {
                self.removes += run.removes;
                let head = BatchHead { empty_max_timestamp: run.timestamp.millis(), ..batch::head(0, run.timestamp) };
                self.put(run.offsets, run.timestamp, &head, 0, &[])
            }
            _ => Ok(()),
        }
    }

    fn put(
        &mut self,
        offsets: Range<u64>,
        timestamp: Timestamp,
        head: &BatchHead,
        shift: u64,
        kept: &[&Record<'_>],
    ) -> Result<()> {
        // Both are within MAX_COUNT, so that neither can happen.
        let unfit = |_| HubError::of(codes::INTERNAL);
        let last = i32::try_from(offsets.end - offsets.start - 1).map_err(unfit)?;
        let mut bytes = Vec::new();
        let mut batch = BatchBuilder::new(&mut bytes, head);
        let internal = |error| HubError::of(codes::INTERNAL).because(error);
        for record in kept {
            let delta = i32::try_from(u64::from(record.delta) + shift).map_err(unfit)?;
            batch.push(delta, record.time, record.key, record.sealed, record.headers).map_err(internal)?;
        }
        batch.finish(last).map_err(internal)?;
        self.bytes += bytes.len();
        self.rewrites.push(Rewrite { offsets, timestamp, payload: Bytes::from(bytes) });
        Ok(())
    }

    /// One transaction. It is on record before: where that cannot be, the round ends.
    async fn write(&mut self) -> Result<bool> {
        self.bytes = 0;
        let (rewrites, removes) = (std::mem::take(&mut self.rewrites), std::mem::take(&mut self.removes));
        let (Some(first), Some(last)) = (rewrites.first(), rewrites.last()) else { return Ok(true) };
        if removes > 0 {
            self.hub
                .record_compaction(self.product, self.stream, first.offsets.start..last.offsets.end, removes)
                .await?;
        }
        let is_written = self.hub.inner().stores.log.rewrite(self.stream, rewrites).await?;
        self.gone += if is_written { removes } else { 0 };
        Ok(is_written)
    }
}
