//! The quarantine: what could not be stored, or not be shown, with its reason. Nothing is lost, nothing leaks, and
//! nothing blocks what comes after it.
//!
//! Entries lie in a stream of their own beside the product's, encrypted under a key of that product; in front of a cluster, in
//! the state that all nodes share. Those of one request are written together, in as few writes as they need. Only the owner
//! reads them. They are kept for two weeks: what was never understood cannot be erased by subject, so it may not stay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tradelane_keys::{AtRest, sha256};
use tradelane_model::{ErrorCode, ProductId, Timestamp, codes};
use tradelane_storage::{Append, Dedup, Put, StreamId};

use crate::Hub;
use crate::audit_trail::{QUARANTINE, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Place, Result};
use crate::health::add;
use crate::publish::{Events, Refused};
use crate::quarantine::shared::Shared;

const SUFFIX: &str = "/quarantine";
/// Seconds that an entry is kept: shorter than the month within which an erasure must be complete.
pub(crate) const KEPT_SECONDS: i64 = 14 * 86_400;
/// The most bytes of one entry's event that are kept, and of its reasons.
const MAX_KEPT: usize = 1 << 20;
const MAX_REASONS: usize = 64 << 10;
/// The most entries that are written together, and about the most bytes of them: no more than fit into shared state.
const MAX_TOGETHER: usize = 1_024;
const BYTES_TOGETHER: usize = 2 << 20;
/// About the most bytes of one answer: whoever wants more goes on behind the last entry.
const PAGE_BYTES: usize = 16 << 20;
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

/// What is set aside together, as it is stored: JSON. An entry by itself is from before there were bundles.
#[derive(Serialize, Deserialize)]
struct Bundle {
    /// A keyed digest of the request and of these events of it, if it may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<[u8; 32]>,
    entries: Vec<QuarantinedEvent>,
}

impl Bundle {
    fn one(entry: QuarantinedEvent) -> Self {
        Self { id: None, entries: vec![entry] }
    }

    fn encoded(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| HubError::of(codes::INTERNAL).because(error))
    }

    /// Opens one, and tells each entry its place.
    fn open(key: &AtRest, aad: &[u8], sealed: &[u8], place: u64) -> Result<Self> {
        let damaged = || HubError::of(codes::STORAGE_CORRUPT).because("a quarantine entry does not open");
        let plain = key.open_blob(aad, sealed).map_err(|_| damaged())?;
        let mut bundle: Self = serde_json::from_slice(&plain)
            .or_else(|_| serde_json::from_slice(&plain).map(Self::one))
            .map_err(|_| damaged())?;
        (place..).zip(&mut bundle.entries).for_each(|(place, entry)| entry.offset = place);
        Ok(bundle)
    }
}

/// Entries of one answer.
struct Entries {
    all: Vec<QuarantinedEvent>,
    most: usize,
    bytes: usize,
}

impl Entries {
    fn new(most: usize) -> Self {
        Self { all: Vec::new(), most, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.all.len() >= self.most || self.bytes >= PAGE_BYTES
    }

    /// Takes a bundle's entries from that place on, as long as there is room.
    fn take(&mut self, bundle: Bundle, from: u64) {
        for entry in bundle.entries.into_iter().filter(|entry| entry.offset >= from) {
            if self.is_full() {
                return;
            }
            self.bytes += entry.event.as_ref().map_or(0, String::len) + entry.places.iter().map(size).sum::<usize>();
            self.all.push(entry);
        }
    }
}

/// How many of the first are written together.
fn together(events: &Events, refused: &[Refused]) -> usize {
    let mut bytes = 0;
    let fits = |refused: &&Refused| {
        bytes += 256 + events.get(refused.index).len().min(MAX_KEPT) / 3 * 4;
        bytes += refused.places.iter().map(size).sum::<usize>().min(MAX_REASONS);
        bytes <= BYTES_TOGETHER
    };
    refused.iter().take(MAX_TOGETHER).take_while(fits).count().max(1)
}

fn size(place: &Place) -> usize {
    place.pointer.len() + place.rule.len() + place.message.len()
}

fn entry(events: &Events, refused: &Refused, time: Timestamp) -> QuarantinedEvent {
    let event = events.get(refused.index);
    let mut reasons = 0;
    let fits = |place: &&Place| {
        reasons += size(place);
        reasons <= MAX_REASONS
    };
    QuarantinedEvent {
        offset: 0,
        time,
        code: refused.code.to_string(),
        places: refused.places.iter().take_while(fits).cloned().collect(),
        record: None,
        partition: None,
        event: Some(STANDARD.encode(event.get(..MAX_KEPT).unwrap_or(event))),
    }
}

impl Hub {
    fn quarantine_key(&self, product: &ProductId) -> AtRest {
        AtRest::new(&self.inner().keyring.derive(&[b"quarantine", product.as_str().as_bytes()]))
    }

    /// Sets aside the events of a request that could not be stored. With `dedup`, those that this request set aside before
    /// are not set aside again: so this is done for a request that was done before, too, which may have ended in between.
    pub(crate) async fn set_aside(
        &self,
        product: &ProductId,
        events: &Events,
        refused: &[Refused],
        time: Timestamp,
        dedup: Option<&Dedup>,
    ) -> Result<()> {
        let start = match dedup {
            Some(dedup) if self.inner().cluster.is_some() && !refused.is_empty() => {
                self.first_aside(dedup, time).await?
            }
            _ => time,
        };
        let mut rest = refused;
        for nth in 0.. {
            let Some((these, later)) = rest.split_at_checked(together(events, rest)) else { break };
            let same = dedup.map(|dedup| {
                let digests: Vec<u8> = these.iter().flat_map(|refused| sha256(events.get(refused.index))).collect();
                let key = self.inner().dedup_key.mac_parts(&[b"quarantine\0", &dedup.key, &digests]);
                Dedup { key, ..dedup.clone() }
            });
            let entries = these.iter().map(|refused| entry(events, refused, time)).collect();
            let bundle = Bundle { id: same.as_ref().map(|same| same.key), entries };
            self.quarantine_bundle(product, (start, nth), time, &bundle, same).await?;
            rest = later;
        }
        Ok(())
    }

    /// When a request first set something aside, on whichever node.
    async fn first_aside(&self, dedup: &Dedup, time: Timestamp) -> Result<Timestamp> {
        let key = self.inner().dedup_key.mac_parts(&[b"quarantine\0", &dedup.key]);
        let value = Bytes::copy_from_slice(&time.0.to_be_bytes());
        let requests = &self.inner().stores.state.quarantine_requests;
        match requests.put_if_absent(&key, value, dedup.expires, self.now()).await? {
            Put::Stored(_) => Ok(time),
            Put::Exists(entry) => {
                let first = entry.value.as_ref().try_into().map(i64::from_be_bytes);
                first.map(Timestamp).map_err(|_| HubError::of(codes::STORAGE_CORRUPT).because("no time of a request"))
            }
        }
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
        let withheld = &self.inner().stores.state.withheld;
        let first = withheld.put_if_absent(key.as_bytes(), Bytes::new(), until, now).await;
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
        if let Err(error) = self.quarantine_bundle(product, (now, 0), now, &Bundle::one(entry), None).await {
            tracing::error!(code = %error.code, cause = error.cause, "a withheld record could not be put in quarantine");
        }
    }

    /// In front of a cluster its place follows from when the request first set something aside, and `nth` of its bundles it is.
    async fn quarantine_bundle(
        &self,
        product: &ProductId,
        (start, nth): (Timestamp, u64),
        time: Timestamp,
        bundle: &Bundle,
        dedup: Option<Dedup>,
    ) -> Result<()> {
        if self.inner().cluster.is_some() {
            return self.shared_quarantine(product)?.put(bundle, (start, nth), self.now()).await;
        }
        let sealed = self.quarantine_key(product).seal_blob(product.as_str().as_bytes(), &bundle.encoded()?);
        let count = u32::try_from(bundle.entries.len()).map_err(|_| HubError::of(codes::INTERNAL))?;
        let append = Append { stream: stream_of(product), count, payload: sealed.into(), timestamp: time, dedup };
        self.inner().stores.log.append(append).await?;
        Ok(())
    }

    /// What all nodes in front of a cluster keep. A product that is made anew under the same name has none of it.
    fn shared_quarantine(&self, product: &ProductId) -> Result<Shared<'_>> {
        let number = self.model().number_of(product).ok_or_else(HubError::not_found)?;
        let prefix = [product.as_str().as_bytes(), b"\0", &number.to_be_bytes()].concat();
        Ok(Shared { space: &self.inner().stores.state.quarantine, prefix, key: self.quarantine_key(product) })
    }

    async fn quarantined_here(&self, product: &ProductId, from: u64, max: usize) -> Result<Vec<QuarantinedEvent>> {
        let (stream, key) = (stream_of(product), self.quarantine_key(product));
        let mut entries = Entries::new(max);
        let bounds = self.inner().stores.log.bounds(&stream).await?;
        let mut at = from.max(bounds.map_or(0, |bounds| bounds.start));
        while !entries.is_full() && bounds.is_some_and(|bounds| at < bounds.end) {
            for batch in self.inner().stores.log.read(&stream, at, BYTES_TOGETHER).await? {
                let bundle = Bundle::open(&key, product.as_str().as_bytes(), &batch.payload, batch.base_offset)?;
                entries.take(bundle, from);
                at = batch.end_offset();
                if entries.is_full() {
                    break;
                }
            }
        }
        Ok(entries.all)
    }

    /// What is in the quarantine of a product, oldest first, from that place on: at most so many, and fewer if they are large.
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
            Some(_) => self.shared_quarantine(product)?.from(from, max, self.now()).await?,
        };
        let mut leaf = hub_leaf(self.now(), caller, QUARANTINE);
        leaf.product = Some(product.clone());
        leaf.count = entries.len() as u64;
        self.audited(leaf, entries).await
    }
}

mod shared;
