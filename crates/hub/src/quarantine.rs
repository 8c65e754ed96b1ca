//! The quarantine: what could not be stored, or not be shown, with its reason. Nothing is lost, nothing leaks, and
//! nothing blocks what comes after it.
//!
//! Entries lie in a stream of their own beside the product's, encrypted under a key of that product; in front of a cluster, in
//! the state that all nodes share. Only the owner reads them. They are kept for two weeks: what was never understood cannot
//! be erased by subject, so it may not stay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tradelane_keys::AtRest;
use tradelane_model::{ErrorCode, ProductId, Timestamp, codes};
use tradelane_storage::{Append, Put, StreamId};

use crate::Hub;
use crate::audit_trail::{QUARANTINE, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Place, Result};
use crate::health::add;
use crate::publish::{Events, Refused};

const SUFFIX: &str = "/quarantine";
/// Where nodes in front of a cluster keep entries: under the product, a NUL, its number and the entry's place, both u64.
const SPACE: &str = "quarantine";
/// Seconds that an entry is kept: shorter than the month within which an erasure must be complete.
pub(crate) const KEPT_SECONDS: i64 = 14 * 86_400;
/// How many entries of the shared state are read at once.
const PAGE_ENTRIES: usize = 16;
/// The most bytes of one entry's event that are kept.
const MAX_KEPT: usize = 1 << 20;
const PAGE_BYTES: usize = 4 << 20;
/// For how long a withheld record is not reported again, in seconds.
const WITHHELD_SECONDS: i64 = KEPT_SECONDS;

/// An entry as its owner sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuarantinedEvent {
    /// Its place in the quarantine.
    #[serde(default)]
    pub offset: u64,
    /// When it was set aside.
    pub time: Timestamp,
    /// Why: a stable code.
    pub code: String,
    /// Why, place by place.
    pub places: Vec<Place>,
    /// For a stored record that cannot be shown: its offset in the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// And its partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// The event as it came, base64: it may be anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// The stream of a product's quarantine. No product has a slash in its name.
fn stream_of(product: &ProductId) -> StreamId {
    StreamId::new(format!("{product}{SUFFIX}"), 0)
}

/// The product that a stream belongs to, and whether it is its quarantine.
pub(crate) fn product_of(stream: &StreamId) -> (&str, bool) {
    match stream.product.strip_suffix(SUFFIX) {
        Some(product) => (product, true),
        None => (&stream.product, false),
    }
}

impl Hub {
    fn quarantine_key(&self, product: &ProductId) -> AtRest {
        AtRest::new(&self.inner().keyring.derive(&[b"quarantine", product.as_str().as_bytes()]))
    }

    /// Sets aside the events of a request that could not be stored.
    pub(crate) async fn set_aside(
        &self,
        product: &ProductId,
        events: &Events,
        refused: &[Refused],
        time: Timestamp,
    ) -> Result<()> {
        let entry = |refused: &Refused| {
            let event = events.get(refused.index);
            QuarantinedEvent {
                offset: 0,
                time,
                code: refused.code.to_string(),
                places: refused.places.clone(),
                record: None,
                partition: None,
                event: Some(STANDARD.encode(event.get(..MAX_KEPT).unwrap_or(event))),
            }
        };
        for (nth, refused) in (0..).zip(refused) {
            self.quarantine_entry(product, nth, entry(refused)).await?;
        }
        Ok(())
    }

    /// Reports a stored record that cannot be shown; once, however many readers meet it.
    pub(crate) async fn report_withheld(
        &self,
        product: &ProductId,
        partition: u32,
        record: u64,
        code: ErrorCode,
        reason: &str,
    ) {
        add(&self.inner().counters.records_withheld, 1);
        tracing::error!(%product, partition, record, %code, reason, "a record cannot be shown safely and is withheld");
        let key = format!("{product}/{partition}/{record}");
        let now = self.now();
        let until = now.plus_seconds(WITHHELD_SECONDS);
        let state = &self.inner().stores.state;
        let first = state.put_if_absent("withheld", key.as_bytes(), Bytes::new(), until, now).await;
        if !matches!(first, Ok(tradelane_storage::Put::Stored(_))) {
            return;
        }
        let place = Place { pointer: String::new(), rule: "withheld".into(), message: reason.to_owned() };
        let entry = QuarantinedEvent {
            offset: 0,
            time: now,
            code: code.to_string(),
            places: vec![place],
            record: Some(record),
            partition: Some(partition),
            event: None,
        };
        if let Err(error) = self.quarantine_entry(product, 0, entry).await {
            tracing::error!(code = %error.code, cause = error.cause, "a withheld record could not be put in quarantine");
        }
    }

    /// `nth`: of how many that are set aside at once, this one.
    async fn quarantine_entry(&self, product: &ProductId, nth: u64, entry: QuarantinedEvent) -> Result<()> {
        let plain = serde_json::to_vec(&entry).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        if self.inner().cluster.is_some() {
            return self.quarantine_for_all_nodes(product, nth, entry.time, &plain).await;
        }
        let sealed = self.quarantine_key(product).seal_blob(product.as_str().as_bytes(), &plain);
        let stream = stream_of(product);
        let append = Append { stream, count: 1, payload: sealed.into(), timestamp: entry.time, dedup: None };
        self.inner().stores.log.append(append).await?;
        Ok(())
    }

    /// Its place is its time, or a later one that is free. What was set aside in bulk takes the places of many moments, so the
    /// steps double: few places are tried, however many are taken.
    async fn quarantine_for_all_nodes(
        &self,
        product: &ProductId,
        nth: u64,
        time: Timestamp,
        plain: &[u8],
    ) -> Result<()> {
        let (prefix, sealing) = (self.shared_prefix(product)?, self.quarantine_key(product));
        let expires = time.plus_seconds(KEPT_SECONDS);
        let mut place = u64::try_from(time.0).unwrap_or(0).saturating_add(nth);
        for doubled in 0..40 {
            let key = [&*prefix, &place.to_be_bytes()].concat();
            let sealed = sealing.seal_blob(&key, plain).into();
            let put = self.inner().stores.state.put_if_absent(SPACE, &key, sealed, expires, self.now()).await?;
            if matches!(put, Put::Stored(_)) {
                return Ok(());
            }
            place = place.saturating_add(1 << doubled);
        }
        Err(HubError::of(codes::STORAGE_UNAVAILABLE).because("no free place in the quarantine"))
    }

    /// What the keys of a product's entries begin with; one that is made anew under the same name has others.
    fn shared_prefix(&self, product: &ProductId) -> Result<Vec<u8>> {
        let number = self.model().number_of(product).ok_or_else(HubError::not_found)?;
        Ok([product.as_str().as_bytes(), b"\0", &number.to_be_bytes()].concat())
    }

    async fn quarantined_on_all_nodes(
        &self,
        product: &ProductId,
        from: u64,
        max: usize,
    ) -> Result<Vec<QuarantinedEvent>> {
        let prefix = self.shared_prefix(product)?;
        let opening = self.quarantine_key(product);
        let damaged = || HubError::of(codes::STORAGE_CORRUPT).because("a quarantine entry does not open");
        let mut after = match from.checked_sub(1) {
            None => prefix.clone(),
            Some(before) => [&*prefix, &before.to_be_bytes()].concat(),
        };
        let mut entries = Vec::new();
        loop {
            let page = self.inner().stores.state.list(SPACE, &after, PAGE_ENTRIES, self.now()).await?;
            let is_last = page.len() < PAGE_ENTRIES;
            for (key, kept) in page {
                let Some(place) = key.strip_prefix(&*prefix).and_then(|place| place.try_into().ok()) else {
                    return Ok(entries);
                };
                if entries.len() >= max {
                    return Ok(entries);
                }
                let plain = opening.open_blob(&key, &kept.value).map_err(|_| damaged())?;
                let mut entry: QuarantinedEvent = serde_json::from_slice(&plain).map_err(|_| damaged())?;
                entry.offset = u64::from_be_bytes(place);
                entries.push(entry);
                after = key.to_vec();
            }
            if is_last {
                return Ok(entries);
            }
        }
    }

    async fn quarantined_here(&self, product: &ProductId, from: u64, max: usize) -> Result<Vec<QuarantinedEvent>> {
        let (stream, key) = (stream_of(product), self.quarantine_key(product));
        let mut entries = Vec::new();
        let bounds = self.inner().stores.log.bounds(&stream).await?;
        let mut at = from.max(bounds.map_or(0, |bounds| bounds.start));
        while entries.len() < max && bounds.is_some_and(|bounds| at < bounds.end) {
            for batch in self.inner().stores.log.read(&stream, at, PAGE_BYTES).await? {
                let damaged = || HubError::of(codes::STORAGE_CORRUPT).because("a quarantine entry does not open");
                let plain = key.open_blob(product.as_str().as_bytes(), &batch.payload).map_err(|_| damaged())?;
                let mut entry: QuarantinedEvent = serde_json::from_slice(&plain).map_err(|_| damaged())?;
                entry.offset = batch.base_offset;
                at = batch.end_offset();
                entries.push(entry);
            }
        }
        entries.truncate(max);
        Ok(entries)
    }

    /// What is in the quarantine of a product, oldest first, from that place on.
    pub async fn quarantine(
        &self,
        caller: &Caller,
        product: &ProductId,
        from: u64,
        max: usize,
    ) -> Result<Audited<Vec<QuarantinedEvent>>> {
        self.allow(caller, Act::Quarantine, On::Product(product))?;
        let max = max.clamp(1, 1_000);
        let entries = match self.inner().cluster {
            None => self.quarantined_here(product, from, max).await?,
            Some(_) => self.quarantined_on_all_nodes(product, from, max).await?,
        };
        let mut leaf = hub_leaf(self.now(), caller, QUARANTINE);
        leaf.product = Some(product.clone());
        leaf.count = entries.len() as u64;
        self.audited(leaf, entries).await
    }
}
