//! Retention: events leave the log when their contract says so, and what belonged to deleted products leaves at once.

use std::time::Duration;

use tradelane_audit::{Leaf, Outcome};
use tradelane_model::{ProductId, Timestamp};
use tradelane_storage::{Bounds, StreamId, Truncate};

use crate::Hub;
use crate::audit_trail::{RETAIN, RETAIN_QUARANTINE};
use crate::error::Result;
use crate::quarantine;

/// What one round of retention did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Batches removed.
    pub batches: u64,
    /// Bytes given back.
    pub bytes: u64,
    /// Events removed because a later one has their key.
    pub superseded: u64,
    /// Expired entries of keyed state and idempotency keys removed.
    pub entries: u64,
}

impl Hub {
    /// Removes what is older than its contract's retention, what later events of its key supersede, and state that expired.
    /// What goes is on record before it does: where that cannot be, it stays.
    pub async fn retain(&self) -> Result<Retained> {
        let (model, now) = (self.model(), self.now());
        let stores = &self.inner().stores;
        let mut done = Retained::default();
        for (stream, bounds) in stores.log.streams().await? {
            let (product, is_quarantine) = quarantine::product_of(&stream);
            let product = product.parse::<ProductId>().ok().and_then(|id| model.products.get(&id));
            let Some((product, contract)) = product.zip(product.and_then(|known| model.contract_of(&known.id))) else {
                done.batches += u64::from(stores.log.delete_stream(&stream).await?);
                continue;
            };
            let kept = if is_quarantine { Some(quarantine::KEPT_SECONDS) } else { contract.current().retention };
            let Some(before) = kept.map(|seconds| now.plus_seconds(-seconds)) else { continue };
            let until = self.older(&stream, bounds, before).await?;
            if until == bounds.start {
                continue;
            }
            let action = if is_quarantine { RETAIN_QUARANTINE } else { RETAIN };
            let mut leaf = Leaf::new(now, product.owner.clone(), action, Outcome::Allowed);
            leaf.product = Some(product.id.clone());
            leaf.offsets = Some((bounds.start, until - 1));
            leaf.count = until - bounds.start;
            self.record(leaf).await?;
            let truncated = stores.log.truncate_before(&stream, Truncate::Before(before)).await?;
            done.batches += truncated.batches;
            done.bytes += truncated.bytes;
        }
        done.superseded = self.compact().await;
        done.entries = stores.log.sweep(now).await? + stores.state.sweep(now).await?;
        Ok(done)
    }

    /// Where the batches end that were appended before a time: the offset after the last of them. If a clock went back, some
    /// of those may be younger; they and what is after them stay.
    async fn older(&self, stream: &StreamId, bounds: Bounds, before: Timestamp) -> Result<u64> {
        let Bounds { start: mut old, end: mut young } = bounds;
        // Mostly there are none, and the first batch says so.
        let mut at = old;
        while old < young {
            let Some(batch) = self.inner().stores.log.read(stream, at, 1).await?.into_iter().next() else { break };
            if batch.timestamp < before {
                old = batch.end_offset();
            } else {
                young = batch.base_offset;
            }
            at = old + young.saturating_sub(old) / 2;
        }
        Ok(old)
    }

    /// Deletes the streams of products that are no more. What fails here is done by the next round of retention.
    pub(crate) async fn forget_deleted_products(&self) {
        let model = self.model();
        let Ok(streams) = self.inner().stores.log.streams().await else { return };
        for (stream, _) in streams {
            let (product, _) = quarantine::product_of(&stream);
            if !model.products.contains_key(product)
                && let Err(error) = self.inner().stores.log.delete_stream(&stream).await
            {
                tracing::warn!(code = %error.code(), "a deleted product's events are still there");
            }
        }
    }

    /// Runs retention every so often until the hub is dropped.
    pub fn retain_every(&self, period: Duration) {
        let weak = self.downgrade();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(hub) = weak.upgrade() else { return };
                if let Err(error) = hub.retain().await {
                    tracing::warn!(code = %error.code, cause = error.cause, "retention failed; it is tried again");
                }
            }
        });
    }

    /// The stream of a product's partition.
    pub(crate) fn stream(product: &ProductId, partition: u32) -> StreamId {
        StreamId::new(product.as_str(), partition)
    }
}
