//! Records: the governed write and read in the form in which Kafka clients send and read events. As everywhere, a batch is
//! checked, sealed and stored whole or not at all, and a page leaves only through a reader's view, with a leaf on record.

use std::ops::Range;

use bytes::Bytes;
use tradelane_model::{ErrorCode, ProductId, Timestamp, codes};
use tradelane_policy::Action;
use tradelane_records::{Batch, BatchBuilder, BatchError, BatchHead, Compression, Decompressor, Limits, Record};
use tradelane_storage::{Dedup, StorageError};

use crate::Hub;
use crate::audit_trail::{PUBLISH, hub_leaf};
use crate::authorize::{Act, On, through_changes};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::health::add;
use crate::publish::partitioner::Spread;
use crate::publish::{Events, IDEMPOTENCY_SECONDS, KeyPlace, MAX_BODY, RecordPlace};
use crate::read::{MAX_SCAN, Reader};

mod fetch;

pub use fetch::UnrecordedPage;

/// What a producer's batch may be.
const LIMITS: Limits =
    Limits { max_batch_bytes: 16 << 20, max_records: 100_000, max_decompressed: MAX_BODY, max_headers: 1_000 };
/// The most records of a refused batch that an answer describes.
const MAX_TOLD: usize = 100;

/// A batch to publish.
#[derive(Debug, Clone)]
pub struct PublishRecords {
    /// Where to.
    pub product: ProductId,
    /// Which partition of it.
    pub partition: u32,
    /// One Kafka record batch (magic 2) as it was received, with any codec.
    pub batch: Bytes,
}

/// What became of a batch.
#[derive(Debug)]
pub enum RecordsOutcome {
    /// It is stored, durably.
    Stored(Audited<StoredRecords>),
    /// It is not, because of these records.
    Refused(Vec<RefusedRecord>),
}

/// A batch that is stored.
#[derive(Debug, Clone, Copy)]
pub struct StoredRecords {
    /// The offset of its first record.
    pub base_offset: u64,
    /// The first offset that the partition keeps.
    pub start: u64,
    /// True if the same producer had sent it before; nothing was stored again.
    pub duplicate: bool,
}

/// A record that does not keep the contract.
#[derive(Debug, Clone)]
pub struct RefusedRecord {
    /// Its place in the batch.
    pub index: u32,
    /// Why.
    pub code: ErrorCode,
    /// Why, for the producer: places and rules, never a value.
    pub message: String,
}

/// The offsets that a partition keeps: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordBounds {
    /// The first.
    pub start: u64,
    /// The one that the next record will get: the high watermark.
    pub end: u64,
}

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchRecords {
    /// From which partition.
    pub partition: u32,
    /// From which offset on.
    pub offset: u64,
    /// About how many bytes; at least one batch comes, whatever its size.
    pub max_bytes: usize,
}

/// Records as the reader's view shows them.
#[derive(Debug, Clone)]
pub struct RecordsPage {
    /// Whole Kafka record batches, uncompressed, in order. The first may begin before the offset that was asked for. What
    /// the view leaves out is a gap; where it leaves out everything, there is one control batch that only moves a
    /// consumer on.
    pub batches: Vec<Bytes>,
    /// Where to go on.
    pub next: u64,
    /// The first offset that is kept.
    pub start: u64,
    /// The high watermark.
    pub end: u64,
    /// The leaf of this access; none if no record is on the page.
    pub leaf: Option<u64>,
}

/// A batch that was checked and sealed, and is stored by a cluster.
#[derive(Debug, Clone)]
pub struct SealedRecords {
    /// One whole batch, uncompressed, with the producer's own numbers and offsets from 0.
    pub batch: Bytes,
    /// Its records.
    pub count: u32,
}

/// What became of a batch that was to be sealed.
#[derive(Debug)]
pub enum SealOutcome {
    /// It is sealed.
    Sealed(SealedRecords),
    /// It is not, because of these records.
    Refused(Vec<RefusedRecord>),
}

/// Batches of a cluster as the reader's view shows them.
#[derive(Debug, Clone)]
pub struct RenderedPage {
    /// As many as there were, in the same order, each covering the same offsets.
    pub batches: Vec<Bytes>,
    /// The leaf of this access; none if no record is shown.
    pub leaf: Option<u64>,
    /// The erasures that there had been when its rendering began.
    erasures: u64,
}

impl Hub {
    /// Is the caller still who it was when it was authenticated? In memory; to be asked before each request of a
    /// connection that stays open.
    pub fn still(&self, caller: &Caller) -> Result<()> {
        let ended = || HubError::of(codes::CREDENTIALS_EXPIRED);
        let (model, now) = (self.model(), self.now());
        if now >= caller.until {
            return Err(ended());
        }
        let live = model.credentials.get(&caller.credential).is_some_and(|credential| credential.is_live(now));
        if live && model.active_principal(&caller.principal.id).is_some() { Ok(()) } else { Err(ended()) }
    }

    /// Publishes a batch of records.
    pub async fn publish_records(&self, caller: &Caller, publish: PublishRecords) -> Result<RecordsOutcome> {
        through_changes(|| self.publish_records_now(caller, &publish)).await
    }

    async fn publish_records_now(&self, caller: &Caller, publish: &PublishRecords) -> Result<RecordsOutcome> {
        let product = &publish.product;
        let permit = self.allow(caller, Act::Publish, On::Product(product))?;
        self.has_partition(product, publish.partition)?;
        let (batch, rest) = Batch::parse(&publish.batch, &LIMITS).map_err(unusable)?;
        if !rest.is_empty() || batch.is_transactional() || batch.is_control() || !batch.is_dense() {
            let detail = "A request carries one whole batch, outside transactions.";
            return Err(HubError::new(codes::BAD_PARAMETER, detail));
        }
        let dedup = self.producer_dedup(caller, publish, &batch);
        let events = gather(&publish.batch, &batch).map_err(unusable)?;
        let contract = self.contract(product)?;
        let now = self.now();
        let spread = Spread::To(publish.partition);
        let sealed = self.seal_batch(&contract, product, events, spread, now).await?;
        if !sealed.refused.is_empty() {
            add(&self.inner().counters.events_refused, sealed.refused.len() as u64);
            return Ok(RecordsOutcome::Refused(sealed.refused.into_iter().take(MAX_TOLD).map(told).collect()));
        }
        let count = u64::from(sealed.count());
        let appended = self.append_one(&permit, product, publish.partition, sealed, now, dedup).await?;
        if !appended.duplicate {
            add(&self.inner().counters.events_published, count);
        }
        let mut leaf = hub_leaf(now, caller, PUBLISH);
        leaf.product = Some(product.clone());
        leaf.count = count;
        leaf.partition = Some(publish.partition);
        leaf.offsets = Some((appended.base_offset, appended.base_offset + count.saturating_sub(1)));
        let bounds = self.inner().stores.log.bounds(&Self::stream(product, publish.partition)).await?;
        let start = bounds.map_or(0, |bounds| bounds.start);
        let stored = StoredRecords { base_offset: appended.base_offset, start, duplicate: appended.duplicate };
        self.audited(leaf, stored).await.map(RecordsOutcome::Stored)
    }

    /// Checks and seals a batch, which may be part of a transaction, and stores it nowhere: a cluster does.
    /// [`Self::record_published`] is to be called before the producer hears of it.
    pub async fn seal_records(&self, caller: &Caller, publish: PublishRecords) -> Result<SealOutcome> {
        through_changes(|| self.seal_records_now(caller, &publish)).await
    }

    async fn seal_records_now(&self, caller: &Caller, publish: &PublishRecords) -> Result<SealOutcome> {
        let product = &publish.product;
        let permit = self.allow(caller, Act::Publish, On::Product(product))?;
        self.has_partition(product, publish.partition)?;
        let (batch, rest) = Batch::parse(&publish.batch, &LIMITS).map_err(unusable)?;
        if !rest.is_empty() || batch.is_control() || !batch.is_dense() {
            return Err(HubError::new(
                codes::BAD_PARAMETER,
                "A request carries one whole batch of a producer's records.",
            ));
        }
        let head = BatchHead { base_offset: 0, leader_epoch: -1, ..BatchHead::of(&batch) };
        let events = Events { head: Some(head), ..gather(&publish.batch, &batch).map_err(unusable)? };
        let contract = self.contract(product)?;
        let spread = Spread::To(publish.partition);
        let mut sealed = self.seal_batch(&contract, product, events, spread, self.now()).await?;
        if !sealed.refused.is_empty() {
            add(&self.inner().counters.events_refused, sealed.refused.len() as u64);
            return Ok(SealOutcome::Refused(sealed.refused.into_iter().take(MAX_TOLD).map(told).collect()));
        }
        permit
            .covers(Action::Publish, product, self.now())
            .map_err(|error| HubError::of(error.code()).because(error))?;
        self.learn(&mut sealed);
        let part = sealed.parts.pop().ok_or_else(|| HubError::of(codes::INTERNAL))?;
        Ok(SealOutcome::Sealed(SealedRecords { batch: part.bytes.into(), count: part.count }))
    }

    /// Puts on record what a cluster has stored. `base_offset` is none if the cluster does not say.
    pub async fn record_published(
        &self,
        caller: &Caller,
        product: &ProductId,
        partition: u32,
        base_offset: Option<u64>,
        count: u32,
    ) -> Result<Audited<()>> {
        add(&self.inner().counters.events_published, u64::from(count));
        let mut leaf = hub_leaf(self.now(), caller, PUBLISH);
        leaf.product = Some(product.clone());
        leaf.count = u64::from(count);
        leaf.partition = Some(partition);
        leaf.offsets = base_offset.map(|base| (base, base + u64::from(count).saturating_sub(1)));
        self.audited(leaf, ()).await
    }

    /// Batches that a cluster stored, as the reader's view shows them; `from` is the offset that was asked for. Markers of
    /// transactions are nobody's data and go out as they are. A batch that is damaged, or larger than any of the hub's, is
    /// withheld as a whole and reported: whoever reads passes over it.
    pub async fn render_records(
        &self,
        reader: &Reader,
        partition: u32,
        from: u64,
        batches: Vec<Bytes>,
    ) -> Result<RenderedPage> {
        let batches = batches.as_slice();
        let render = |reader| async move { self.render_records_now(&reader, partition, from, batches).await };
        self.renewing(reader, render).await
    }

    async fn render_records_now(
        &self,
        reader: &Reader,
        partition: u32,
        from: u64,
        batches: &[Bytes],
    ) -> Result<RenderedPage> {
        self.check(reader)?;
        self.has_partition(&reader.product, partition)?;
        let reader = &reader.at_partition(partition);
        let erasures = self.inner().rendered.generation();
        let mut page = Filling::default();
        let mut at = from;
        let mut batches = batches.iter().peekable();
        while let Some(bytes) = batches.next() {
            let place = crate::batch::place_of(bytes, at, batches.peek().copied());
            at = place.end;
            let shown = match self.cluster_records_before(reader, bytes) {
                Some(rendered) => Ok(rendered),
                None => match crate::batch::parse(bytes) {
                    Ok(stored) if stored.is_control() => {
                        page.batches.push(bytes.clone());
                        continue;
                    }
                    Ok(stored) => self.cluster_records(reader, &stored).await?,
                    Err(unreadable) => Err(unreadable),
                },
            };
            match shown {
                Ok(shown) => {
                    page.take(&shown);
                    if shown.offsets.is_none() {
                        page.batches.push(skip(place.start, shown.end)?);
                    }
                }
                Err(unreadable) => {
                    let why = unreadable.cause.as_deref().unwrap_or("a batch cannot be read");
                    self.report_withheld(&reader.product, reader.partition, place.start, codes::WITHHELD, why).await;
                    page.batches.push(skip(place.start, place.end)?);
                }
            }
        }
        self.check(reader)?;
        let leaf = match page.count {
            0 => None,
            count => Some(self.record(self.read_leaf(reader, page.offsets, count, page.classes)).await?),
        };
        add(&self.inner().counters.events_read, u64::from(page.count));
        Ok(RenderedPage { batches: page.batches, leaf, erasures })
    }

    /// May a page leave that was rendered a while ago? Not if the right to read has ended; and if somebody was erased since,
    /// it is to be rendered anew: `false`.
    pub fn may_leave(&self, reader: &Reader, page: &RenderedPage) -> Result<bool> {
        self.check(reader)?;
        Ok(self.inner().rendered.generation() == page.erasures)
    }

    /// The same producer with the same sequence number sends the same batch again.
    fn producer_dedup(&self, caller: &Caller, publish: &PublishRecords, batch: &Batch<'_>) -> Option<Dedup> {
        if batch.producer_id() < 0 || batch.base_sequence() < 0 {
            return None;
        }
        let mac = &self.inner().dedup_key;
        let who = caller.organization.id.as_str().as_bytes();
        let numbers = [
            batch.producer_id().to_be_bytes().as_slice(),
            &batch.producer_epoch().to_be_bytes(),
            &batch.base_sequence().to_be_bytes(),
            &publish.partition.to_be_bytes(),
        ]
        .concat();
        let key = mac.mac_parts(&[b"producer\0", who, b"\0", publish.product.as_str().as_bytes(), b"\0", &numbers]);
        // A retry may be compressed anew; how many records follow is what a sequence number counts.
        let body = mac.mac_parts(&[b"records\0", &batch.record_count().to_be_bytes()]);
        Some(Dedup { key, body, expires: self.now().plus_seconds(IDEMPOTENCY_SECONDS) })
    }

    fn has_partition(&self, product: &ProductId, partition: u32) -> Result<()> {
        let model = self.model();
        let known = model.products.get(product).is_some_and(|product| partition < product.partitions);
        if known { Ok(()) } else { Err(HubError::not_found()) }
    }

    /// What the partition keeps.
    pub async fn record_bounds(&self, reader: &Reader, partition: u32) -> Result<RecordBounds> {
        self.check(reader)?;
        self.has_partition(&reader.product, partition)?;
        self.bounds_of(&reader.product, partition).await
    }

    /// The same, for who may publish.
    pub async fn record_bounds_for(
        &self,
        caller: &Caller,
        product: &ProductId,
        partition: u32,
    ) -> Result<RecordBounds> {
        self.allow(caller, Act::Publish, On::Product(product))?;
        self.has_partition(product, partition)?;
        self.bounds_of(product, partition).await
    }

    async fn bounds_of(&self, product: &ProductId, partition: u32) -> Result<RecordBounds> {
        let bounds = self.inner().stores.log.bounds(&Self::stream(product, partition)).await?;
        Ok(bounds.map_or(RecordBounds { start: 0, end: 0 }, |b| RecordBounds { start: b.start, end: b.end }))
    }

    /// The first record of the partition that was taken at that time or later, and when.
    pub async fn offset_at(&self, reader: &Reader, partition: u32, at: Timestamp) -> Result<Option<(u64, Timestamp)>> {
        let bounds = self.record_bounds(reader, partition).await?;
        let stream = Self::stream(&reader.product, partition);
        // Batches are in the order of their times: what is sought lies between these.
        let (mut low, mut high, mut found) = (bounds.start, bounds.end, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let batches = match self.inner().stores.log.read(&stream, middle, 1).await {
                Ok(batches) => batches,
                Err(StorageError::Truncated { start, .. }) if start > low => {
                    low = start;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(batch) = batches.into_iter().next() else { break };
            if batch.timestamp >= at {
                found = Some((batch.base_offset, batch.timestamp));
                high = batch.base_offset.max(low);
            } else {
                low = batch.end_offset();
            }
        }
        self.check(reader)?;
        Ok(found)
    }

    /// Waits until the partition goes beyond that offset; ends with an error when the right to read ends.
    pub async fn wait_records(&self, reader: &Reader, partition: u32, offset: u64) -> Result<()> {
        let for_ever = tokio::time::Instant::now() + crate::read::MAX_WAIT;
        let wait = |reader: Reader| async move {
            self.wait_for_more(&reader.at_partition(partition), offset, for_ever).await.map(drop)
        };
        self.renewing(reader, wait).await
    }
}

/// A page being filled.
#[derive(Default)]
struct Filling {
    batches: Vec<Bytes>,
    at: u64,
    bytes: usize,
    /// Bytes that were looked at, shown or not: a filter that lets nothing through does not make a page endless.
    scanned: usize,
    count: u32,
    offsets: Option<(u64, u64)>,
    classes: Vec<tradelane_model::Class>,
}

impl Filling {
    fn wants_more(&self, max_bytes: usize) -> bool {
        self.bytes < max_bytes.max(1) && self.scanned < MAX_SCAN
    }

    /// The first batch comes whole, so that a reader gets on; clients refuse an answer that is larger than they allowed for.
    fn has_room_for(&self, batch: &crate::read::RenderedRecords, max_bytes: usize) -> bool {
        self.bytes == 0 || batch.offsets.is_none() || self.bytes + batch.bytes.len() <= max_bytes
    }

    fn take(&mut self, batch: &crate::read::RenderedRecords) {
        self.at = batch.end;
        let Some((first, last)) = batch.offsets else { return };
        self.bytes += batch.bytes.len();
        self.count = self.count.saturating_add(batch.count);
        self.offsets = Some((self.offsets.map_or(first, |(first, _)| first), last));
        self.classes.extend(batch.classes.iter().cloned());
        self.batches.push(batch.bytes.clone());
    }
}

/// A control batch that covers `from..to` and says nothing: every consumer passes over it. Several get stuck on a batch
/// without records.
fn skip(from: u64, to: u64) -> Result<Bytes> {
    let out_of_range = |_| HubError::of(codes::OFFSET_BEYOND_END);
    let base_offset = i64::try_from(from).map_err(out_of_range)?;
    let last = i32::try_from(to.saturating_sub(from).saturating_sub(1)).unwrap_or(i32::MAX);
    let head = BatchHead { base_offset, leader_epoch: 0, control: true, ..BatchHead::default() };
    let mut bytes = Vec::with_capacity(96);
    let internal = |error| HubError::of(codes::INTERNAL).because(error);
    let mut batch = BatchBuilder::new(&mut bytes, &head);
    // The end marker of a transaction that never was (KIP-98): version 0, type 1 (commit); version 0, epoch 0.
    batch
        .push(last, 0, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]), tradelane_records::HeaderSource::NONE)
        .map_err(internal)?;
    batch.finish(last).map_err(internal)?;
    Ok(bytes.into())
}

fn unusable(error: BatchError) -> HubError {
    let code = match error {
        BatchError::TooLarge(_) | BatchError::TooManyRecords(_) | BatchError::Bomb | BatchError::TooManyHeaders => {
            codes::TOO_LARGE
        }
        _ => codes::BAD_PARAMETER,
    };
    HubError::new(code, format!("The record batch cannot be taken: {error}."))
}

fn told(refused: crate::publish::Refused) -> RefusedRecord {
    let title = refused.code.info().title;
    let message = match refused.places.first() {
        Some(place) if place.pointer.is_empty() => {
            format!("{}: {title} {}: {}", refused.code, place.rule, place.message)
        }
        Some(place) => format!("{}: {title} At {}: {} ({})", refused.code, place.pointer, place.message, place.rule),
        None => format!("{}: {title}", refused.code),
    };
    RefusedRecord { index: u32::try_from(refused.index).unwrap_or(u32::MAX), code: refused.code, message }
}

/// The events of a batch, as ranges of its own bytes if it is not compressed.
fn gather(bytes: &Bytes, batch: &Batch<'_>) -> Result<Events, BatchError> {
    let mut gathered = Gathered::with_capacity(batch.record_count() as usize);
    let body = if batch.compression() == Compression::None {
        for record in batch.plain_records(&LIMITS).into_iter().flatten() {
            gathered.add(&record?, bytes, 0);
        }
        bytes.clone()
    } else {
        let mut scratch = Decompressor::new();
        let mut plain = Vec::new();
        for record in batch.records(&mut scratch, &LIMITS)? {
            let record = record?;
            gathered.add(&record, record.raw(), plain.len());
            plain.extend_from_slice(record.raw());
        }
        plain.into()
    };
    let Gathered { events, around } = gathered;
    Ok(Events { ranges: events.into(), around: around.into(), have_keys_inside: false, ..Events::one(body) })
}

/// Ranges of events and of what is around them.
struct Gathered {
    events: Vec<Range<usize>>,
    around: Vec<RecordPlace>,
}

impl Gathered {
    fn with_capacity(records: usize) -> Self {
        Self { events: Vec::with_capacity(records), around: Vec::with_capacity(records) }
    }

    /// Adds a record that lies in `whole`, which begins at `start` of the body.
    fn add(&mut self, record: &Record<'_>, whole: &[u8], start: usize) {
        let place = |part: &[u8]| {
            let at = start + (part.as_ptr().addr() - whole.as_ptr().addr());
            at..at + part.len()
        };
        self.events.push(record.value.map_or(0..0, place));
        self.around.push(RecordPlace {
            time: Some(record.timestamp),
            key: record.key.map(place).map(KeyPlace::Body),
            headers: record.headers.map(|(name, value)| (place(name), value.map(place))).collect(),
            is_tombstone: record.value.is_none(),
        });
    }
}
