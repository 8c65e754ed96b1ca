//! EPCIS capture: documents taken apart into events that stand alone, each stored once.
//!
//! A capture is a job (EPCIS 2.0, 8.2.6): it is acknowledged at once and carried out in the background, all or nothing
//! (`rollback`) or as far as it goes (`proceed`). An event is known by its `eventID`: the same document sent twice is
//! stored once, and another event under the same id is refused.

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tradelane_epcis::document::{self, EventRef};
use tradelane_epcis::{Context, hash, validate};
use tradelane_keys::{random_array, sha256};
use tradelane_model::product::Format;
use tradelane_model::{ProductId, Timestamp, codes};
use tradelane_storage::{Dedup, Put};
use tradelane_tape::Tape;

use crate::Hub;
use crate::audit_trail::{CAPTURE, hub_leaf};
use crate::authenticate::to_hex;
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Place, Result};
use crate::publish::partitioner::Spread;
use crate::publish::{DOCUMENT, Events, MAX_EVENTS, Refused, malformed};
use crate::views::epcis_place;

/// Seconds that a job can be asked about.
const JOB_SECONDS: i64 = 7 * 86_400;
/// Seconds after which an id that was reserved by a capture that never finished is free again.
const RESERVED_SECONDS: i64 = 600;
/// Ids that are looked up at once.
const IDS_AT_ONCE: usize = 500;
/// The most errors that a job keeps.
const MAX_ERRORS: usize = 100;
/// Products of EPCIS events have one partition.
const PARTITION: u32 = 0;

/// What a capture job is at.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureJob {
    /// Its id.
    #[serde(rename = "captureID")]
    pub id: String,
    /// Is it still being worked on?
    pub running: bool,
    /// Did everything go well so far?
    pub success: bool,
    /// `rollback` or `proceed`.
    pub capture_error_behaviour: String,
    /// When it was taken.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Events stored.
    pub captured: u32,
    /// What was wrong, place by place; the pointers go into the document.
    pub errors: Vec<Place>,
}

/// An event that was captured by itself.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapturedEvent {
    /// Its `eventID`, or its event hash if it has none.
    pub event_id: String,
    /// Where it is in the product.
    pub offset: u64,
}

/// An event on its way into the log.
struct Single {
    /// Its place in the document.
    index: usize,
    bytes: Vec<u8>,
    id: Option<String>,
}

impl Hub {
    /// Takes a document for capture. What is no JSON, or no EPCIS document at all, is refused at once.
    pub async fn capture(
        &self,
        caller: &Caller,
        product: &ProductId,
        text: Bytes,
        proceed: bool,
    ) -> Result<Audited<CaptureJob>> {
        self.may_capture(caller, product)?;
        let (singles, mut errors) = take_apart(&text)?;
        let behaviour = if proceed { "proceed" } else { "rollback" };
        let id = to_hex(&random_array::<16>());
        let mut job = CaptureJob {
            id,
            running: true,
            success: errors.is_empty(),
            capture_error_behaviour: behaviour.to_owned(),
            created_at: self.now(),
            finished_at: None,
            captured: 0,
            errors: Vec::new(),
        };
        self.save_job(caller, product, &job).await?;
        let mut leaf = hub_leaf(self.now(), caller, CAPTURE);
        leaf.product = Some(product.clone());
        leaf.count = singles.len() as u64;
        leaf.digest = Some(sha256(&[&random_array::<32>()[..], &sha256(&text)].concat()));
        let accepted = self.audited(leaf, job.clone()).await?;
        let (hub, caller, product) = (self.clone(), caller.clone(), product.clone());
        tokio::spawn(async move {
            if errors.is_empty() || proceed {
                match hub.store_events(&caller, &product, singles, &text, proceed).await {
                    Ok(stored) => {
                        job.captured = stored.count;
                        errors.extend(stored.errors);
                    }
                    Err(error) => errors.push(told(&error)),
                }
            }
            errors.truncate(MAX_ERRORS);
            job.success = errors.is_empty();
            job.errors = errors;
            job.running = false;
            job.finished_at = Some(hub.now());
            if let Err(error) = hub.save_job(&caller, &product, &job).await {
                tracing::error!(code = %error.code, cause = error.cause, "the end of a capture job could not be saved");
            }
        });
        Ok(accepted)
    }

    /// Captures one event by itself.
    pub async fn capture_event(
        &self,
        caller: &Caller,
        product: &ProductId,
        event: Bytes,
    ) -> Result<Audited<CapturedEvent>> {
        self.may_capture(caller, product)?;
        let (mut singles, errors) = take_apart(&event)?;
        if !errors.is_empty() {
            return Err(HubError::new(codes::EPCIS_INVALID, codes::EPCIS_INVALID.info().title).at(errors));
        }
        if singles.len() != 1 {
            return Err(HubError::new(
                codes::BAD_PARAMETER,
                "Send one event here, and documents to the capture interface.",
            ));
        }
        let known = singles.first().and_then(|single| single.id.clone());
        let event_id = match known {
            Some(id) => id,
            None => singles.first().map(|single| hash_of(&single.bytes)).unwrap_or_default(),
        };
        // An event without an id is the same event when it says the same.
        singles.iter_mut().for_each(|single| single.id = Some(event_id.clone()));
        let stored = self.store_events(caller, product, singles, &event, false).await?;
        if let Some(error) = stored.errors.into_iter().next() {
            let code =
                if error.rule == codes::DUPLICATE_EVENT.info().slug { codes::DUPLICATE_EVENT } else { stored.code };
            return Err(HubError::new(code, code.info().title).at(vec![error]));
        }
        let mut leaf = hub_leaf(self.now(), caller, CAPTURE);
        leaf.product = Some(product.clone());
        leaf.partition = Some(PARTITION);
        leaf.offsets = Some((stored.offset, stored.offset));
        leaf.count = 1;
        self.audited(leaf, CapturedEvent { event_id, offset: stored.offset }).await
    }

    fn may_capture(&self, caller: &Caller, product: &ProductId) -> Result<()> {
        self.allow(caller, Act::Publish, On::Product(product))?;
        match self.model().format_of(product) {
            Some(Format::Epcis) => Ok(()),
            _ => Err(HubError::new(codes::BAD_PARAMETER, "This product does not hold EPCIS events.")),
        }
    }

    async fn store_events(
        &self,
        caller: &Caller,
        product: &ProductId,
        singles: Vec<Single>,
        source: &[u8],
        proceed: bool,
    ) -> Result<Stored> {
        let now = self.now();
        // The same text is the same capture, whoever retries it and however often.
        let parts = [b"capture\0".as_slice(), product.as_str().as_bytes(), b"\0", &sha256(source)];
        let capture = self.inner().dedup_key.mac_parts(&parts);
        let Reserved { singles, again, fresh, mut stored } = self.reserve(product, singles, &capture, now).await?;
        stored.errors.extend(again.iter().copied().map(duplicate));
        // This capture was done before. What it may have left undone has ids that it took a short while ago: the log
        // still knows it then. What it takes only now would be stored once more.
        let is_done = !again.is_empty() && fresh;
        let is_bad = stored.errors.len() > again.len();
        if singles.is_empty() || (!proceed && (is_bad || is_done)) {
            return Ok(stored);
        }
        let events = gather(&singles);
        let contract = self.contract(product)?;
        let mut batch = self.seal_batch(&contract, product, events.clone(), Spread::To(PARTITION), now).await?;
        let refused = std::mem::take(&mut batch.refused);
        stored.errors.extend(refused.iter().flat_map(|refused| placed(refused, &singles)));
        if let Some(first) = refused.first() {
            stored.code = first.code;
            if !proceed {
                return Ok(stored);
            }
        }
        let expires = now.plus_seconds(crate::publish::IDEMPOTENCY_SECONDS);
        let dedup = Dedup { key: capture, body: capture, expires };
        // A job may begin long after it was taken: it is asked again whether its publisher may.
        let permit = self.decide(caller, Act::Publish, On::Product(product))?;
        let count = batch.count();
        let appended = self.append_one(&permit, product, PARTITION, batch, now, Some(dedup.clone())).await?;
        self.set_aside(product, &events, &refused, now, Some(&dedup)).await?;
        self.confirm(product, &singles, &refused, &capture).await?;
        if appended.duplicate {
            let all = singles.iter().map(|single| single.index).chain(again);
            return Ok(Stored { errors: all.map(duplicate).take(MAX_ERRORS).collect(), ..Stored::default() });
        }
        crate::health::add(&self.inner().counters.events_published, u64::from(count));
        let mut leaf = hub_leaf(now, caller, crate::audit_trail::PUBLISH);
        leaf.product = Some(product.clone());
        leaf.count = u64::from(count);
        let last = appended.base_offset + u64::from(count).saturating_sub(1);
        leaf.partition = (count > 0).then_some(PARTITION);
        leaf.offsets = (count > 0).then_some((appended.base_offset, last));
        self.record(leaf).await?;
        Ok(Stored { offset: appended.base_offset, count, ..stored })
    }

    /// Takes the ids of these events for this capture. Events whose id another capture has are left out, and those that
    /// this one has stored before.
    async fn reserve(
        &self,
        product: &ProductId,
        singles: Vec<Single>,
        capture: &[u8; 32],
        now: Timestamp,
    ) -> Result<Reserved> {
        let mut reserved = Reserved { singles: Vec::with_capacity(singles.len()), ..Reserved::default() };
        let mut in_document = std::collections::HashSet::new();
        let until = now.plus_seconds(RESERVED_SECONDS);
        let mut rest = singles.into_iter().peekable();
        while rest.peek().is_some() {
            let part: Vec<Single> = rest.by_ref().take(IDS_AT_ONCE).collect();
            let value = Bytes::copy_from_slice(capture);
            let puts = part.iter().map(|single| {
                let (key, value) = (single.id.as_ref().map(|id| self.id_key(product, id)), value.clone());
                async move {
                    let Some(key) = key else { return Ok(None) };
                    self.inner().stores.state.epcis_ids.put_if_absent(&key, value, until, now).await.map(Some)
                }
            });
            let puts = try_join_all(puts).await?;
            for (single, put) in part.into_iter().zip(puts) {
                let twice = single.id.as_ref().is_some_and(|id| !in_document.insert(id.clone()));
                match put {
                    Some(Put::Exists(entry)) if entry.value != value => {
                        reserved.stored.errors.push(duplicate(single.index));
                    }
                    _ if twice => reserved.stored.errors.push(duplicate(single.index)),
                    Some(Put::Exists(entry)) if entry.expires == Timestamp::MAX => reserved.again.push(single.index),
                    put => {
                        reserved.fresh |= !matches!(put, Some(Put::Exists(_)));
                        reserved.singles.push(single);
                    }
                }
            }
        }
        Ok(reserved)
    }

    /// Makes reservations last, now that the events are in the log.
    async fn confirm(
        &self,
        product: &ProductId,
        singles: &[Single],
        refused: &[Refused],
        capture: &[u8; 32],
    ) -> Result<()> {
        let refused: std::collections::HashSet<usize> = refused.iter().map(|refused| refused.index).collect();
        let kept = singles.iter().enumerate().filter(|(at, _)| !refused.contains(at));
        let keys: Vec<[u8; 32]> = kept.filter_map(|(_, s)| s.id.as_ref().map(|id| self.id_key(product, id))).collect();
        for part in keys.chunks(IDS_AT_ONCE) {
            let value = Bytes::copy_from_slice(capture);
            let puts =
                part.iter().map(|key| self.inner().stores.state.epcis_ids.put(key, value.clone(), Timestamp::MAX));
            try_join_all(puts).await?;
        }
        Ok(())
    }

    fn id_key(&self, product: &ProductId, id: &str) -> [u8; 32] {
        self.inner().dedup_key.mac_parts(&[b"event-id\0", product.as_str().as_bytes(), b"\0", id.as_bytes()])
    }

    async fn save_job(&self, caller: &Caller, product: &ProductId, job: &CaptureJob) -> Result<()> {
        let value = serde_json::to_vec(job).map_err(|error| HubError::of(codes::INTERNAL).because(error))?;
        let key = job_key(caller, product, &job.id);
        let until = job.created_at.plus_seconds(JOB_SECONDS);
        self.inner().stores.state.capture_jobs.put(key.as_bytes(), value.into(), until).await
    }

    /// A job of the caller's organization.
    pub async fn capture_job(&self, caller: &Caller, product: &ProductId, id: &str) -> Result<Audited<CaptureJob>> {
        self.may_capture(caller, product)?;
        let key = job_key(caller, product, id);
        let entry = self.inner().stores.state.capture_jobs.get(key.as_bytes(), self.now()).await?;
        let job = read_job(&entry.ok_or_else(HubError::not_found)?.value)?;
        let mut leaf = hub_leaf(self.now(), caller, CAPTURE);
        leaf.product = Some(product.clone());
        self.audited(leaf, job).await
    }

    /// Jobs of the caller's organization on this product, by id, after that one.
    pub async fn capture_jobs(
        &self,
        caller: &Caller,
        product: &ProductId,
        after: Option<&str>,
        max: usize,
    ) -> Result<Audited<Vec<CaptureJob>>> {
        self.may_capture(caller, product)?;
        let prefix = job_key(caller, product, "");
        let after = job_key(caller, product, after.unwrap_or_default());
        let listed =
            self.inner().stores.state.capture_jobs.list(after.as_bytes(), max.clamp(1, 1_000), self.now()).await?;
        let own = listed.iter().take_while(|(key, _)| key.starts_with(prefix.as_bytes()));
        let jobs: Vec<CaptureJob> = own.map(|(_, entry)| read_job(&entry.value)).collect::<Result<_>>()?;
        let mut leaf = hub_leaf(self.now(), caller, CAPTURE);
        leaf.product = Some(product.clone());
        leaf.count = jobs.len() as u64;
        self.audited(leaf, jobs).await
    }
}

/// Which events of a capture are to be stored.
#[derive(Default)]
struct Reserved {
    singles: Vec<Single>,
    /// Places of events that this capture has stored before.
    again: Vec<usize>,
    /// Were any of the others not taken by this capture until now?
    fresh: bool,
    /// What is wrong with those that are left out.
    stored: Stored,
}

/// What became of a capture's events.
struct Stored {
    offset: u64,
    count: u32,
    errors: Vec<Place>,
    code: tradelane_model::ErrorCode,
}

impl Default for Stored {
    fn default() -> Self {
        Self { offset: 0, count: 0, errors: Vec::new(), code: codes::EPCIS_INVALID }
    }
}

fn job_key(caller: &Caller, product: &ProductId, id: &str) -> String {
    format!("{}/{product}/{id}", caller.organization().id)
}

fn read_job(value: &[u8]) -> Result<CaptureJob> {
    serde_json::from_slice(value)
        .map_err(|_| HubError::of(codes::STORAGE_CORRUPT).because("a capture job does not read"))
}

/// The events of a document that are valid, each standing alone; and what is wrong with the others.
fn take_apart(text: &Bytes) -> Result<(Vec<Single>, Vec<Place>)> {
    let mut tape = Tape::new();
    let doc = tape.parse(text, &DOCUMENT).map_err(|error| malformed(&error, text))?;
    let report = validate::validate(doc);
    if report.shape == validate::Shape::Unknown || report.events > MAX_EVENTS {
        let places = report.violations.into_iter().map(epcis_place).collect();
        return Err(HubError::new(codes::EPCIS_INVALID, codes::EPCIS_INVALID.info().title).at(places));
    }
    let valid = |event: &EventRef<'_>| report.event_is_valid(event.index);
    let single = |event: EventRef<'_>| Single {
        index: event.index,
        id: event.event_id().map(|id| id.into_owned()),
        bytes: match event.surrounding {
            Some(surrounding) => document::with_context(event.node, surrounding),
            None => event.node.raw().to_vec(),
        },
    };
    let singles = document::events(doc).into_iter().filter(valid).map(single).collect();
    Ok((singles, report.violations.into_iter().map(epcis_place).take(MAX_ERRORS).collect()))
}

/// Events side by side in one body.
fn gather(singles: &[Single]) -> Events {
    let mut body = Vec::with_capacity(singles.iter().map(|single| single.bytes.len()).sum());
    let mut ranges = Vec::with_capacity(singles.len());
    for single in singles {
        let start = body.len();
        body.extend_from_slice(&single.bytes);
        ranges.push(start..body.len());
    }
    Events { ranges: ranges.into(), ..Events::one(body.into()) }
}

fn placed(refused: &Refused, singles: &[Single]) -> Vec<Place> {
    let index = singles.get(refused.index).map_or(0, |single| single.index);
    let at = |place: &Place| Place { pointer: format!("{}{}", event_pointer(index), place.pointer), ..place.clone() };
    refused.places.iter().map(at).collect()
}

fn duplicate(index: usize) -> Place {
    let info = codes::DUPLICATE_EVENT.info();
    Place { pointer: event_pointer(index), rule: info.slug.to_owned(), message: info.title.to_owned() }
}

fn event_pointer(index: usize) -> String {
    format!("/epcisBody/eventList/{index}")
}

fn told(error: &HubError) -> Place {
    Place { pointer: String::new(), rule: error.code.info().slug.to_owned(), message: error.detail.clone() }
}

/// The event hash of an event that stands alone.
fn hash_of(event: &[u8]) -> String {
    let mut tape = Tape::new();
    match tape.parse(event, &DOCUMENT) {
        Ok(doc) => hash::event_hash(doc.root(), &Context::default(), &[]),
        Err(_) => String::new(),
    }
}
