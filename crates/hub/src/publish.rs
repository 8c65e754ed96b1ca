//! Publishing: the one governed write.
//!
//! parse once -> contract check -> seal -> append, durable -> record -> acknowledge with the offset. A batch is stored
//! whole or not at all; where the publisher asks for it, events that do not keep the contract go to quarantine with
//! their reason, and the others are stored.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tradelane_keys::{random_array, sha256};
use tradelane_model::{Cleanup, Compression, ErrorCode, ProductId, Timestamp, codes};
use tradelane_policy::{Action, Permit};
use tradelane_records::BatchHead;
use tradelane_storage::{Append, Appended, Dedup, StorageError};
use tradelane_tape::ndjson::{self, Line, LineLimits};
use tradelane_tape::{Limits, Tape};

use crate::Hub;
use crate::audit_trail::{PUBLISH, hub_leaf};
use crate::authenticate::to_hex;
use crate::authorize::{Act, On, through_changes};
use crate::dictionaries::{BatchPacking, Lesson};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Place, Result};
use crate::evolve::Held;
use crate::health::add;
use crate::publish::framed::Schemas;
use crate::publish::partitioner::Spread;
use crate::publish::proof::Proof;
use crate::publish::sealing::Work;
use crate::views::CompiledContract;

/// The most events in one request.
pub const MAX_EVENTS: usize = 100_000;
/// The longest body, in bytes.
pub const MAX_BODY: usize = 32 << 20;
/// How long an idempotency key is remembered, in seconds.
pub const IDEMPOTENCY_SECONDS: i64 = 24 * 3_600;
/// The most bad events that an answer describes.
const MAX_TOLD: usize = 100;
/// What a publisher hears whose key is known with other parts.
const ELSEWHERE: &str = "This Idempotency-Key was used with another body; or the product or its contract has changed since, so \
                         that the same events would be stored otherwise. Nothing was stored now.";
/// Above this, a body is worked on by a thread that may take its time.
const INLINE_BYTES: usize = 128 * 1024;

/// What a publisher sends.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where to.
    pub product: ProductId,
    /// The events.
    pub body: Body,
    /// Makes a retry the same request (draft-ietf-httpapi-idempotency-key-header).
    pub idempotency_key: Option<String>,
    /// Store what is good and quarantine the rest, instead of refusing all for one.
    pub proceed: bool,
    /// The partition of the product; none: the hub chooses.
    pub partition: Option<u32>,
    /// The major version of the contract that the events are of; none: the newest, or that which the schema is of that an
    /// event names.
    pub version: Option<u32>,
}

/// Events in one of the forms in which they come.
#[derive(Debug, Clone)]
pub enum Body {
    /// One JSON document.
    One(Bytes),
    /// A JSON array of events.
    Array(Bytes),
    /// One event per line.
    Lines(Bytes),
    /// A CloudEvent in structured mode.
    CloudEvent(Bytes),
    /// CloudEvents in batched mode.
    CloudEvents(Bytes),
    /// A CloudEvent in binary mode: the attributes that headers carried (names without `ce-`), and the data.
    CloudEventBinary {
        /// Attribute names and values.
        attributes: Vec<(String, String)>,
        /// The event.
        data: Bytes,
    },
}

/// An event that was set aside.
#[derive(Debug, Clone, Serialize)]
pub struct Quarantined {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Why.
    pub code: &'static str,
    /// What was wrong with it, place by place.
    pub places: Vec<Place>,
}

/// Events of a request that are in one partition, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The partition.
    pub partition: u32,
    /// The offset of the first of them.
    pub offset: u64,
    /// How many.
    pub count: u32,
    /// The leaf in the audit log that says so.
    pub receipt: u64,
}

/// What was stored.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Where: in the order of the partitions, each once; none if nothing was stored.
    pub parts: Vec<Part>,
    /// How many were stored.
    pub count: u32,
    /// True if this request had been done before; nothing was stored again.
    pub duplicate: bool,
    /// When the hub took them.
    pub time: Timestamp,
    /// Events that were set aside.
    pub quarantined: Vec<Quarantined>,
    /// Lower-case hex. With it the audit leaf proves what was sent: its digest is SHA-256(salt || SHA-256(body)).
    pub salt: String,
}

impl Published {
    /// Where all of it is, if that is one partition.
    pub fn only(&self) -> Option<&Part> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// An event that cannot be stored.
pub(crate) struct Refused {
    pub(crate) index: usize,
    pub(crate) code: ErrorCode,
    pub(crate) places: Vec<Place>,
}

/// Where a batch is now.
pub(crate) struct Stored {
    pub(crate) partition: u32,
    pub(crate) base_offset: u64,
    pub(crate) count: u32,
    /// True if an earlier request did it.
    pub(crate) duplicate: bool,
    /// The leaf that says so, if it is on record already.
    pub(crate) leaf: Option<u64>,
}

/// Events, sealed, and what could not be.
pub(crate) struct SealedBatch {
    /// A batch for each partition that they may go to, in their order; it may be empty.
    pub(crate) parts: Vec<SealedPart>,
    pub(crate) refused: Vec<Refused>,
    /// What may be learned from it once it is stored.
    pub(crate) lesson: Option<Lesson>,
}

/// A batch of one partition.
pub(crate) struct SealedPart {
    pub(crate) partition: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
}

impl SealedBatch {
    /// All that were sealed.
    pub(crate) fn count(&self) -> u32 {
        self.parts.iter().map(|part| part.count).sum()
    }
}

impl Hub {
    /// Publishes events to a product.
    pub async fn publish(&self, caller: &Caller, request: Publish) -> Result<Audited<Published>> {
        through_changes(|| self.publish_now(caller, &request)).await
    }

    async fn publish_now(&self, caller: &Caller, request: &Publish) -> Result<Audited<Published>> {
        let permit = self.allow(caller, Act::Publish, On::Product(&request.product))?;
        if self.contract(&request.product)?.native.is_some() {
            return Err(HubError::of(codes::BINARY_PRODUCT));
        }
        let mut events = split(&request.body)?;
        let body_hash = events.digest();
        let dedup = self.dedup(caller, request, &events, &body_hash)?;
        let _in_flight = dedup.as_ref().map(|dedup| self.inner().in_flight.enter(dedup.key)).transpose()?;
        let contract = self.contract(&request.product)?;
        let version =
            request.version.map(|major| self.held_to_version(&contract, &request.product, major)).transpose()?;
        events.held = version.flatten();
        let now = self.now();
        let spread = self.spread(request, &events, dedup.as_ref())?;
        let mut batch = self.seal_batch(&contract, &request.product, events.clone(), spread, now).await?;
        let refused = std::mem::take(&mut batch.refused);
        if !refused.is_empty() {
            add(&self.inner().counters.events_refused, refused.len() as u64);
            if !request.proceed {
                return Err(refusal(refused, events.ranges.len()));
            }
        }
        let mut leaf = hub_leaf(now, caller, PUBLISH);
        leaf.product = Some(request.product.clone());
        let mut proof = Proof::new(leaf, body_hash);
        let stored = self.append(&permit, &request.product, batch, now, dedup.clone(), Some(&mut proof)).await?;
        self.set_aside(&request.product, &events, &refused, now, dedup.as_ref()).await?;
        let new = stored.iter().filter(|stored| !stored.duplicate);
        add(&self.inner().counters.events_published, new.map(|stored| u64::from(stored.count)).sum());
        let count = stored.iter().map(|stored| stored.count).sum();
        let duplicate = !stored.is_empty() && stored.iter().all(|stored| stored.duplicate);
        let (leaf, parts) = self.record_parts(&proof, stored).await?;
        let published = Published {
            parts,
            count,
            duplicate,
            time: now,
            quarantined: refused.into_iter().take(MAX_TOLD).map(told).collect(),
            salt: to_hex(&proof.salt),
        };
        Ok(Audited { value: published, leaf })
    }

    /// Checks and seals events; redone in the rare case that another publisher drew a new subject's key first.
    pub(crate) async fn seal_batch(
        &self,
        contract: &std::sync::Arc<CompiledContract>,
        product: &ProductId,
        events: Events,
        spread: Spread,
        now: Timestamp,
    ) -> Result<SealedBatch> {
        let needs_keys = self.needs_keys(product);
        loop {
            let keys = self.inner().keyring.for_sealing(&contract.owner, product, now).await?;
            let packing = self.packing(contract, product, now).await?;
            let schemas = Schemas::of(self, contract, product, events.held.clone());
            let (contract, events) = (contract.clone(), events.clone());
            let is_short = events.body.len() <= INLINE_BYTES;
            let work = Work { contract, events, spread, keys, now, schemas, packing, needs_keys };
            let (batch, keys) = if is_short {
                work.seal(&self.inner().cores)
            } else {
                let hub = self.clone();
                let work = move || work.seal(&hub.inner().cores);
                tokio::task::spawn_blocking(work).await.map_err(|e| HubError::of(codes::INTERNAL).because(e))?
            };
            let batch = batch?;
            if keys.store_new().await? {
                return Ok(batch);
            }
        }
    }

    /// Must every event have a key? A cluster asks for it itself.
    fn needs_keys(&self, product: &ProductId) -> bool {
        let compacted = self.model().products.get(product).is_some_and(|known| known.cleanup == Cleanup::Compact);
        compacted && self.inner().cluster.is_none()
    }

    /// How events of the product are packed.
    async fn packing(&self, contract: &CompiledContract, product: &ProductId, now: Timestamp) -> Result<BatchPacking> {
        let compression = self.model().products.get(product).map_or(Compression::None, |known| known.compression);
        self.inner().keyring.dictionaries.packing(contract, compression, now).await
    }

    /// Learns from a batch that is stored, or is about to be.
    pub(crate) fn learn(&self, batch: &mut SealedBatch) {
        let learn = |lesson| self.inner().keyring.dictionaries.learn(lesson, self.now());
        batch.lesson.take().into_iter().for_each(learn);
    }

    /// The same for events of one partition. Where nothing is to be stored, it answers where the partition ends.
    pub(crate) async fn append_one(
        &self,
        permit: &Permit,
        product: &ProductId,
        partition: u32,
        batch: SealedBatch,
        timestamp: Timestamp,
        dedup: Option<Dedup>,
    ) -> Result<Stored> {
        // One batch is stored or it is not: there is nothing to put on record when it fails.
        if let Some(stored) = self.append(permit, product, batch, timestamp, dedup, None).await?.pop() {
            return Ok(stored);
        }
        let base_offset = self.kept(&Self::stream(product, partition)).await?.end;
        Ok(Stored { partition, base_offset, count: 0, duplicate: false, leaf: None })
    }

    /// The one way to where events are kept, the log or a cluster: a batch for each partition that has any. It demands a
    /// permit to publish there, which must still hold now that the work of sealing is done. With `proof`, parts that are
    /// stored while another one fails are put on record.
    pub(crate) async fn append(
        &self,
        permit: &Permit,
        product: &ProductId,
        mut batch: SealedBatch,
        timestamp: Timestamp,
        dedup: Option<Dedup>,
        proof: Option<&mut Proof>,
    ) -> Result<Vec<Stored>> {
        permit
            .covers(Action::Publish, product, self.now())
            .map_err(|error| HubError::of(error.code()).because(error))?;
        let mut parts = std::mem::take(&mut batch.parts);
        parts.retain(|part| part.count > 0);
        let stored = match &self.inner().cluster {
            _ if parts.is_empty() => Vec::new(),
            Some(cluster) => self.append_elsewhere(cluster.as_ref(), product, parts, dedup, timestamp, proof).await?,
            None => self.append_here(product, parts, dedup, timestamp).await?,
        };
        self.learn(&mut batch);
        Ok(stored)
    }

    /// Appends batches to the log, all or none.
    async fn append_here(
        &self,
        product: &ProductId,
        parts: Vec<SealedPart>,
        dedup: Option<Dedup>,
        timestamp: Timestamp,
    ) -> Result<Vec<Stored>> {
        let places: Vec<(u32, u32)> = parts.iter().map(|part| (part.partition, part.count)).collect();
        let dedups = self.dedup_by_part(dedup, &places);
        let append = |(SealedPart { partition, bytes, count }, dedup)| Append {
            stream: Self::stream(product, partition),
            count,
            payload: bytes.into(),
            timestamp,
            dedup,
        };
        let appended = self.inner().stores.log.append_all(parts.into_iter().zip(dedups).map(append).collect()).await;
        let appended = match appended {
            Err(StorageError::DedupConflict) if places.len() > 1 => {
                return Err(HubError::new(codes::KEY_REUSED, ELSEWHERE));
            }
            appended => appended?,
        };
        let stored = |((partition, count), Appended { base_offset, duplicate })| Stored {
            partition,
            base_offset,
            count,
            duplicate,
            leaf: None,
        };
        Ok(places.into_iter().zip(appended).map(stored).collect())
    }

    /// What each part of a request is known by. The first has the request's own key, so that this is known again whichever
    /// parts it has; each has to come with the same others again.
    fn dedup_by_part(&self, dedup: Option<Dedup>, places: &[(u32, u32)]) -> Vec<Option<Dedup>> {
        let Some(dedup) = dedup else { return vec![None; places.len()] };
        if places.len() == 1 {
            return vec![Some(dedup)];
        }
        let mac = &self.inner().dedup_key;
        let all: Vec<u8> =
            places.iter().flat_map(|(at, count)| [at.to_be_bytes(), count.to_be_bytes()]).flatten().collect();
        let body = mac.mac_parts(&[b"parts\0", &dedup.body, &all]);
        let part = |(nth, (partition, _)): (usize, &(u32, u32))| match nth {
            0 => dedup.key,
            _ => mac.mac_parts(&[b"part\0", &dedup.key, &partition.to_be_bytes()]),
        };
        places.iter().enumerate().map(|place| Some(Dedup { key: part(place), body, ..dedup })).collect()
    }

    /// The partition that the publisher names; or those of the events' keys, as Kafka's clients choose them. Events without
    /// a key go together to one for the idempotency key, so that a retry goes there too; or to any.
    fn spread(&self, request: &Publish, events: &Events, dedup: Option<&Dedup>) -> Result<Spread> {
        let model = self.model();
        let partitions = model.products.get(&request.product).ok_or_else(HubError::not_found)?.partitions.max(1);
        if let Some(partition) = request.partition {
            let detail = || format!("The product has the partitions 0 to {}.", partitions.saturating_sub(1));
            return if partition < partitions {
                Ok(Spread::To(partition))
            } else {
                Err(HubError::new(codes::BAD_PARAMETER, detail()))
            };
        }
        let [a, b, c, d, ..] = dedup.map_or_else(random_array, |dedup| dedup.key);
        let keyless = u32::from_le_bytes([a, b, c, d]) % partitions;
        let spread = Spread::ByKey { partitions, keyless };
        // A key that is in its event is known when that is parsed, and not before.
        let history = model.contract_of(&request.product).into_iter().flat_map(|history| &history.revisions);
        let may_be_inside = history.into_iter().any(|contract| contract.records.key_from().is_some());
        let mut chosen = (0..events.ranges.len()).map(|index| match events.key(index) {
            None if may_be_inside && partitions > 1 => None,
            key => Some(spread.nth(key)),
        });
        // Mostly it is one: then there is one batch to write.
        let first = chosen.next().flatten();
        let is_one = events.around.is_empty() || chosen.all(|other| other == first);
        Ok(first.filter(|_| is_one).map_or(spread, |first| Spread::To(first as u32)))
    }

    fn dedup(&self, caller: &Caller, request: &Publish, events: &Events, body: &[u8; 32]) -> Result<Option<Dedup>> {
        let name = match (&request.idempotency_key, &events.identity) {
            (Some(key), _) if key.is_empty() || key.len() > 255 => {
                return Err(HubError::new(codes::BAD_PARAMETER, "An Idempotency-Key has 1 to 255 characters."));
            }
            (Some(key), _) => [b"key\0".as_slice(), key.as_bytes()].concat(),
            (None, Some(identity)) => [b"ce\0".as_slice(), identity].concat(),
            (None, None) => return Ok(None),
        };
        let mac = &self.inner().dedup_key;
        let who = caller.principal.id.as_str().as_bytes();
        let key = mac.mac_parts(&[b"idempotency\0", who, b"\0", request.product.as_str().as_bytes(), b"\0", &name]);
        let body = mac.mac_parts(&[b"body\0", body]);
        Ok(Some(Dedup { key, body, expires: self.now().plus_seconds(IDEMPOTENCY_SECONDS) }))
    }
}

/// Events of one request: the body, and where each event lies in it.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    pub(crate) body: Bytes,
    pub(crate) ranges: std::sync::Arc<[std::ops::Range<usize>]>,
    /// What CloudEvents say they are: their sources and ids.
    pub(crate) identity: Option<[u8; 32]>,
    /// What travels around each, for events that come as records; empty for all others.
    pub(crate) around: std::sync::Arc<[RecordPlace]>,
    /// The head that the batch is to have; none: one of ours.
    pub(crate) head: Option<BatchHead>,
    /// What they are held to, if their publisher named an earlier version of the contract.
    pub(crate) held: Option<Held>,
    /// May the key of one that comes without be taken from the event? Kafka's clients have chosen a partition without it.
    pub(crate) have_keys_inside: bool,
}

/// Where the parts of a record are, beside its event.
#[derive(Debug, Clone)]
pub(crate) struct RecordPlace {
    /// Milliseconds, as the producer set it; none: when the hub took it.
    pub(crate) time: Option<i64>,
    pub(crate) key: Option<KeyPlace>,
    /// Names and values.
    pub(crate) headers: Vec<(std::ops::Range<usize>, Option<std::ops::Range<usize>>)>,
    /// A record without a value.
    pub(crate) is_tombstone: bool,
}

/// Where a key is.
#[derive(Debug, Clone)]
pub(crate) enum KeyPlace {
    /// In the body.
    Body(std::ops::Range<usize>),
    /// Beside it: a header of the request, or text with escapes.
    Beside(Bytes),
}

impl Events {
    /// The key of an event, if it came with one.
    pub(crate) fn key(&self, index: usize) -> Option<&[u8]> {
        match self.around.get(index)?.key.as_ref()? {
            KeyPlace::Body(range) => Some(self.body.get(range.clone()).unwrap_or_default()),
            KeyPlace::Beside(key) => Some(key),
        }
    }

    /// One event that is the whole body.
    pub(crate) fn one(body: Bytes) -> Self {
        let whole = std::iter::once(0..body.len()).collect();
        let around = std::sync::Arc::default();
        Self { body, ranges: whole, identity: None, around, head: None, held: None, have_keys_inside: true }
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        self.ranges.get(index).and_then(|range| self.body.get(range.clone())).unwrap_or_default()
    }

    fn digest(&self) -> [u8; 32] {
        sha256(&self.body)
    }
}

/// Finds the events in a body, without understanding them yet.
fn split(body: &Body) -> Result<Events> {
    let events = match body {
        Body::One(bytes) => Events::one(bytes.clone()),
        Body::Lines(bytes) => lines(bytes)?,
        Body::Array(bytes) => elements(bytes)?,
        Body::CloudEvent(bytes) => crate::publish::cloud::structured(bytes)?,
        Body::CloudEvents(bytes) => crate::publish::cloud::batched(bytes)?,
        Body::CloudEventBinary { attributes, data } => crate::publish::cloud::binary(attributes, data)?,
    };
    if events.body.len() > MAX_BODY || events.ranges.len() > MAX_EVENTS {
        let detail =
            format!("One request carries at most {MAX_EVENTS} events in {MAX_BYTES} MiB.", MAX_BYTES = MAX_BODY >> 20);
        return Err(HubError::new(codes::TOO_LARGE, detail));
    }
    if events.ranges.is_empty() {
        return Err(HubError::new(codes::BAD_PARAMETER, "The request carries no event."));
    }
    Ok(events)
}

fn lines(bytes: &Bytes) -> Result<Events> {
    let limits = LineLimits { max_line_bytes: Limits::EVENT.max_bytes, max_lines: MAX_EVENTS };
    let range = |line: Line<'_>| line.offset..line.offset + line.bytes.len();
    let ranges: std::result::Result<_, _> = ndjson::lines(bytes, limits).map(|line| line.map(range)).collect();
    let ranges =
        ranges.map_err(|error| HubError::new(codes::TOO_LARGE, format!("The body cannot be taken: {error}.")))?;
    Ok(Events { ranges, ..Events::one(bytes.clone()) })
}

fn elements(bytes: &Bytes) -> Result<Events> {
    let mut tape = Tape::new();
    let doc = tape.parse(bytes, &DOCUMENT).map_err(|error| malformed(&error, bytes))?;
    let ranges = doc.root().elements().map(|element| element.range()).collect();
    Ok(Events { ranges, ..Events::one(bytes.clone()) })
}

/// Limits of a whole body.
pub(crate) const DOCUMENT: Limits = Limits { max_bytes: MAX_BODY, max_depth: 66, max_nodes: 8_000_000 };

pub(crate) fn malformed(error: &tradelane_tape::ParseError, bytes: &[u8]) -> HubError {
    let at = error.position(bytes);
    let detail = format!("Line {}, column {}: {}.", at.line, at.column, error.reason);
    HubError::new(codes::MALFORMED_JSON, detail)
}

fn told(refused: Refused) -> Quarantined {
    Quarantined { index: refused.index, code: refused.code.as_str(), places: refused.places }
}

/// All for one: the whole request is refused, and the answer says which events and why.
pub(crate) fn refusal(refused: Vec<Refused>, of: usize) -> HubError {
    let code = refused.first().map_or(codes::INTERNAL, |first| first.code);
    let bad = refused.len();
    let several = of > 1;
    let detail = match (several, code.info().title) {
        (false, title) => title.to_owned(),
        (true, title) => format!("{bad} of {of} events cannot be stored, so none was. The first: {title}"),
    };
    let index_first = |mut refused: Refused| {
        let index = refused.index;
        if several {
            refused.places.iter_mut().for_each(|place| place.pointer = format!("/{index}{}", place.pointer));
        }
        refused.places
    };
    HubError::new(code, detail).at(refused.into_iter().flat_map(index_first).take(MAX_TOLD).collect())
}

/// Requests that are being worked on, by idempotency key.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashSet<[u8; 32]>>);

/// Keeps a request in flight until it is dropped.
pub(crate) struct Flying<'a>(&'a InFlight, [u8; 32]);

impl InFlight {
    fn enter(&self, key: [u8; 32]) -> Result<Flying<'_>> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        if new { Ok(Flying(self, key)) } else { Err(HubError::of(codes::IN_FLIGHT).retry(1)) }
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

mod cloud;
mod framed;
pub(crate) mod partitioner;
pub(crate) mod proof;
pub(crate) mod sealing;
