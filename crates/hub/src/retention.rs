//! Retention: events leave the log when their contract says so, and what belonged to deleted products leaves at once.

use std::time::Duration;

use tradelane_audit::{Leaf, Outcome};
use tradelane_model::ProductId;
use tradelane_storage::{StreamId, Truncate};

use crate::Hub;
use crate::audit_trail::RETAIN;
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
    pub async fn retain(&self) -> Result<Retained> {
        let (model, now) = (self.model(), self.now());
        let stores = &self.inner().stores;
        let mut done = Retained::default();
        for (stream, _) in stores.log.streams().await? {
            let (product, is_quarantine) = quarantine::product_of(&stream);
            let seconds = match product.parse::<ProductId>().ok().and_then(|id| model.contract_of(&id).cloned()) {
                None => {
                    done.batches += u64::from(stores.log.delete_stream(&stream).await?);
                    continue;
                }
                Some(_) if is_quarantine => Some(quarantine::KEPT_SECONDS),
                Some(contract) => contract.current().retention,
            };
            let Some(seconds) = seconds else { continue };
            let truncated = stores.log.truncate_before(&stream, Truncate::Before(now.plus_seconds(-seconds))).await?;
            if truncated.batches > 0 {
                self.record_truncation(product, truncated.start, truncated.batches).await?;
            }
            done.batches += truncated.batches;
            done.bytes += truncated.bytes;
        }
        done.superseded = self.compact().await;
        done.entries = stores.log.sweep(now).await? + stores.state.sweep(now).await?;
        Ok(done)
    }

    async fn record_truncation(&self, product: &str, start: u64, batches: u64) -> Result<()> {
        let Some(product) = product.parse::<ProductId>().ok() else { return Ok(()) };
        let Some(owner) = self.owner_of(&product) else { return Ok(()) };
        let mut leaf = Leaf::new(self.now(), owner, RETAIN, Outcome::Allowed);
        leaf.product = Some(product);
        leaf.offsets = Some((0, start.saturating_sub(1)));
        leaf.count = batches;
        self.record(leaf).await.map(drop)
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
