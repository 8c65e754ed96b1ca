//! Reading: the one governed read. Everything that leaves the hub leaves through here.
//!
//! A [`Reader`] holds a permit and a compiled view. Every read checks the permit's epoch, takes batches from the log,
//! renders them for the view (or finds them rendered for an equal one), puts a leaf on record and only then answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tradelane_model::{Class, Grant, GrantId, ProductId, Timestamp, codes};
use tradelane_policy::{Permit, Refusal};
use tradelane_seal::{Header, OpenedEvent, Scratch, View, Withheld};
use tradelane_storage::StoredBatch;
use tradelane_tape::{Limits, Tape};

use crate::Hub;
use crate::audit_trail::{READ, hub_leaf};
use crate::authorize::{Act, On};
use crate::batch::{self, Record};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::health::add;
use crate::keyring::NotingKeys;
use crate::views::GrantView;

mod rendered;

pub(crate) use rendered::RenderCache;
pub use rendered::{Chunk, Page, Rendered};
use rendered::{LINE_END, RenderKey, RenderedBatch, RenderedEvent};

/// The most events in one page.
pub const MAX_EVENTS: u32 = 100_000;
/// The most bytes of stored batches that are looked at for one page.
const MAX_SCAN: usize = 16 << 20;
/// The longest wait of one read.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// Someone's right to read a product, ready for use. Cheap to keep, and worth nothing once it is revoked.
#[derive(Clone)]
pub struct Reader {
    pub(crate) caller: Caller,
    pub(crate) product: ProductId,
    pub(crate) permit: Arc<Permit>,
    pub(crate) grant: Option<Arc<Grant>>,
    pub(crate) view: Arc<GrantView>,
}

impl Reader {
    /// The product.
    pub fn product(&self) -> &ProductId {
        &self.product
    }

    /// The grant; none for the owner's own reads.
    pub fn grant(&self) -> Option<&GrantId> {
        self.grant.as_ref().map(|grant| &grant.id)
    }
}

/// Where a read starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first event that is kept.
    Earliest,
    /// What comes from now on.
    Latest,
    /// This offset, or the first one after it that is kept.
    Offset(u64),
}

/// How much a read may return, and how long it may wait for something to return.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Events, 1 to [`MAX_EVENTS`].
    pub max_events: u32,
    /// Bytes of rendered events, about.
    pub max_bytes: usize,
    /// How long to wait when there is nothing yet.
    pub wait: Duration,
}

impl Hub {
    /// A reader of the product for the caller: through the grant for that purpose, or as its owner. A reader that was
    /// made before and still holds is found again without asking anybody.
    pub async fn reader(&self, caller: &Caller, product: &ProductId, purpose: Option<&str>) -> Result<Reader> {
        let key = (caller.credential.clone(), product.clone(), purpose.map(str::to_owned));
        let readers = &self.inner().authority.readers;
        if let Some(reader) = readers.get(&key)
            && reader.caller.scopes == caller.scopes
            && self.check(&reader).is_ok()
        {
            return Ok(reader);
        }
        let reader = self.new_reader(caller, product, purpose)?;
        readers.insert(key, reader.clone());
        Ok(reader)
    }

    fn new_reader(&self, caller: &Caller, product: &ProductId, purpose: Option<&str>) -> Result<Reader> {
        let model = self.model();
        let known = model.products.get(product).ok_or_else(HubError::not_found)?;
        if known.owner == caller.organization.id {
            let permit = self.allow(caller, Act::Read, On::Product(product))?;
            let view = self.owner_view(product)?;
            return Ok(Reader { caller: caller.clone(), product: product.clone(), permit, grant: None, view });
        }
        let now = self.now();
        let mut grants = model.live_grants(&caller.organization.id, product, now);
        let grant = grants.find(|grant| purpose.is_none_or(|purpose| grant.purpose == purpose)).cloned();
        let Some(grant) = grant else { return Err(self.no_grant(caller, product, known.discoverable)) };
        let permit = self.allow(caller, Act::Read, On::Grant(&grant))?;
        let view = self.grant_view(&grant)?;
        Ok(Reader { caller: caller.clone(), product: product.clone(), permit, grant: Some(grant), view })
    }

    /// A product that the caller may not know of looks like none.
    fn no_grant(&self, caller: &Caller, product: &ProductId, discoverable: bool) -> HubError {
        let error = HubError::of(if discoverable { codes::NO_GRANT } else { codes::NOT_FOUND });
        self.record_refusal(caller, &READ, Some(product), error.code);
        error
    }

    /// Reads on. Every call checks the permit anew, before and after it waited and worked.
    pub async fn read(&self, reader: &Reader, from: From, limits: ReadLimits) -> Result<Audited<Page>> {
        self.check(reader)?;
        let stream = Self::stream(&reader.product);
        let bounds = self.inner().stores.log.bounds(&stream).await?;
        let (start, end) = bounds.map_or((0, 0), |bounds| (bounds.start, bounds.end));
        let mut at = match from {
            From::Earliest => start,
            From::Latest => end,
            From::Offset(offset) if offset > end => {
                let detail = format!("Offset {offset} is beyond the end of the stream at {end}.");
                return Err(HubError::new(codes::OFFSET_BEYOND_END, detail));
            }
            From::Offset(offset) => offset.max(start),
        };
        let deadline = tokio::time::Instant::now() + limits.wait.min(MAX_WAIT);
        let mut page = Page { chunks: Vec::new(), next: at, end, count: 0 };
        let mut classes = Vec::new();
        loop {
            if at < page.end {
                at = self.fill(reader, at, &limits, &mut page, &mut classes).await?;
                page.next = at;
            }
            if page.count > 0 || at < page.end || !self.wait_for_more(reader, at, deadline).await? {
                break;
            }
            page.end = self.inner().stores.log.bounds(&stream).await?.map_or(at, |bounds| bounds.end);
        }
        self.check(reader)?;
        let leaf = self.record(self.read_leaf(reader, &page, classes)).await?;
        add(&self.inner().counters.events_read, u64::from(page.count));
        Ok(Audited { value: page, leaf })
    }

    fn read_leaf(&self, reader: &Reader, page: &Page, mut classes: Vec<Class>) -> tradelane_audit::Leaf {
        classes.sort();
        classes.dedup();
        let mut leaf = hub_leaf(self.now(), &reader.caller, READ);
        leaf.product = Some(reader.product.clone());
        leaf.owner = Some(reader.view.current.owner.clone());
        leaf.grant = reader.grant().cloned();
        leaf.purpose = reader.grant.as_ref().map(|grant| tradelane_audit::Word::near(&grant.purpose));
        let first = page.chunks.first().and_then(|chunk| chunk.iter().next().map(|event| event.offset));
        let last = page.chunks.last().and_then(|chunk| chunk.iter().last().map(|event| event.offset));
        leaf.offsets = first.zip(last);
        leaf.count = u64::from(page.count);
        leaf.classes = classes;
        leaf.view = Some(reader.view.digest);
        leaf
    }

    /// May the reader go on? A permit that has merely run out is asked for anew; one that rested on what has changed
    /// is worth nothing, and a new reader must be made.
    pub fn check(&self, reader: &Reader) -> Result<()> {
        let now = self.now();
        let ended = || HubError::of(codes::GRANT_ENDED);
        match reader.permit.check(now) {
            Ok(()) => Ok(()),
            Err(Refusal::Expired) => {
                let on = reader.grant.as_deref().map_or(On::Product(&reader.product), On::Grant);
                self.decide(&reader.caller, Act::Read, on).map(drop).map_err(|error| ended().because(error))
            }
            Err(_) => Err(ended()),
        }
    }

    /// Waits until there is more, the deadline passes (false), or the right to read ends (an error).
    async fn wait_for_more(&self, reader: &Reader, at: u64, deadline: tokio::time::Instant) -> Result<bool> {
        let stream = Self::stream(&reader.product);
        let mut changes = self.inner().authority.changes();
        loop {
            self.check(reader)?;
            let until_expiry = Duration::from_secs(1);
            tokio::select! {
                end = self.inner().stores.log.wait(&stream, at) => { end?; return Ok(true); }
                () = tokio::time::sleep_until(deadline) => return Ok(false),
                changed = changes.changed() => if changed.is_err() { return Ok(false); },
                () = tokio::time::sleep(until_expiry) => {}
            }
        }
    }

    /// Adds events from `at` on to the page; returns where to go on.
    async fn fill(
        &self,
        reader: &Reader,
        mut at: u64,
        limits: &ReadLimits,
        page: &mut Page,
        classes: &mut Vec<Class>,
    ) -> Result<u64> {
        let stream = Self::stream(&reader.product);
        let (max_events, mut bytes, mut scanned) = (limits.max_events.clamp(1, MAX_EVENTS), 0, 0);
        while at < page.end && page.count < max_events && bytes < limits.max_bytes.max(1) && scanned < MAX_SCAN {
            // Who reads on stands at the start of a batch. If that is rendered already, the log need not be asked.
            if let Some(rendered) = self.rendered_before(reader, at) {
                scanned += rendered.lines.len();
                at = page.take(&rendered, at, max_events, &mut bytes, classes);
                continue;
            }
            let want = limits.max_bytes.clamp(64 << 10, 4 << 20);
            let batches = match self.inner().stores.log.read(&stream, at, want).await {
                Ok(batches) => batches,
                // Retention was faster than this reader.
                Err(tradelane_storage::StorageError::Truncated { start, .. }) => {
                    at = start;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if batches.is_empty() {
                break;
            }
            for stored in batches {
                if page.count >= max_events || (bytes >= limits.max_bytes.max(1) && page.count > 0) {
                    break;
                }
                scanned += stored.payload.len();
                let rendered = self.rendered(reader, &stored).await?;
                at = page.take(&rendered, at, max_events, &mut bytes, classes);
            }
        }
        Ok(at)
    }

    /// The batch that begins at `at`, if it was rendered for an equal view before.
    fn rendered_before(&self, reader: &Reader, at: u64) -> Option<Arc<RenderedBatch>> {
        if reader.view.filter.as_ref().is_some_and(|filter| filter.looks_at_time) {
            return None;
        }
        let key: RenderKey = (reader.view.stream.clone(), at, reader.view.digest);
        let rendered = self.inner().rendered.batches.get(&key)?;
        add(&self.inner().counters.batches_reused, 1);
        Some(rendered)
    }

    /// Some batches from `at` on as the reader sees them, and where to go on, if there is more.
    pub(crate) async fn chunks(&self, reader: &Reader, at: u64) -> Result<(Vec<Chunk>, Option<u64>)> {
        let stream = Self::stream(&reader.product);
        let Some(bounds) = self.inner().stores.log.bounds(&stream).await? else { return Ok((Vec::new(), None)) };
        let at = at.max(bounds.start);
        if at >= bounds.end {
            return Ok((Vec::new(), None));
        }
        let batches = match self.inner().stores.log.read(&stream, at, 1 << 20).await {
            Ok(batches) => batches,
            Err(tradelane_storage::StorageError::Truncated { start, .. }) => return Ok((Vec::new(), Some(start))),
            Err(error) => return Err(error.into()),
        };
        let mut chunks = Vec::with_capacity(batches.len());
        for stored in &batches {
            let batch = self.rendered(reader, stored).await?;
            let events = 0..batch.events.len();
            chunks.push(Chunk { batch, events });
        }
        Ok((chunks, batches.last().map(StoredBatch::end_offset)))
    }

    /// The batch as the reader's view shows it.
    async fn rendered(&self, reader: &Reader, stored: &StoredBatch) -> Result<Arc<RenderedBatch>> {
        if let Some(rendered) = self.rendered_before(reader, stored.base_offset) {
            return Ok(rendered);
        }
        let begun = self.inner().rendered.generation();
        let records = batch::records(&stored.payload)?;
        let log_keys = records.iter().filter_map(|record| Header::read(record.sealed).map(|header| header.log_key));
        self.inner().keyring.preload_log_keys(&reader.product, log_keys).await?;
        let render = |keys: &NotingKeys<'_>| self.render(reader, stored, &records, keys);
        let rendered = self.inner().keyring.with_data_keys(render).await??;
        add(&self.inner().counters.batches_rendered, 1);
        for (offset, reason) in &rendered.withheld {
            self.report_withheld(&reader.product, *offset, codes::WITHHELD, &reason.to_string()).await;
        }
        let rendered = Arc::new(rendered);
        let reusable = reader.view.filter.as_ref().is_none_or(|filter| !filter.looks_at_time);
        if reusable && rendered.withheld.is_empty() {
            let key: RenderKey = (reader.view.stream.clone(), stored.base_offset, reader.view.digest);
            self.inner().rendered.keep(key, rendered.clone(), begun);
        }
        Ok(rendered)
    }

    fn render(
        &self,
        reader: &Reader,
        stored: &StoredBatch,
        records: &[Record<'_>],
        keys: &NotingKeys<'_>,
    ) -> Result<RenderedBatch> {
        let mut work = Rendering::new(stored, records.len());
        let mut views: Option<(u32, Arc<View>, Option<Arc<View>>)> = None;
        for (offset, record) in (stored.base_offset..).zip(records) {
            let revision = match Header::read(record.sealed) {
                Some(header) => header.shape,
                None => {
                    work.withheld.push((offset, Withheld::Malformed));
                    continue;
                }
            };
            if views.as_ref().is_none_or(|(known, ..)| *known != revision) {
                let view = self.view_for(&reader.view, &reader.product, revision)?;
                let filter = self.filter_view_for(&reader.view, &reader.product, revision)?;
                views = Some((revision, view, filter));
            }
            if let Some((_, view, filter)) = &views {
                work.event(reader, offset, record, view, filter.as_deref(), keys, self.now());
            }
        }
        Ok(work.finish(stored.end_offset()))
    }
}

/// Buffers while a batch is rendered.
struct Rendering {
    lines: Vec<u8>,
    events: Vec<RenderedEvent>,
    classes: Vec<Class>,
    withheld: Vec<(u64, Withheld)>,
    scratch: Scratch,
    buffer: Vec<u8>,
    filtered: Vec<u8>,
    tape: Tape,
    seen: tradelane_seal::ClassSet,
    /// The last time written, as text: the events of a batch share it.
    time: (Timestamp, String),
}

impl Rendering {
    fn new(stored: &StoredBatch, records: usize) -> Self {
        Self {
            lines: Vec::with_capacity(stored.payload.len() + records * 64),
            events: Vec::with_capacity(records),
            classes: Vec::new(),
            withheld: Vec::new(),
            scratch: Scratch::default(),
            buffer: Vec::new(),
            filtered: Vec::new(),
            tape: Tape::new(),
            seen: tradelane_seal::ClassSet::default(),
            time: (stored.timestamp, stored.timestamp.to_string()),
        }
    }

    #[allow(clippy::too_many_arguments)] // one step of a loop, whose parts are all of different kinds
    fn event(
        &mut self,
        reader: &Reader,
        offset: u64,
        record: &Record<'_>,
        view: &View,
        filter: Option<&View>,
        keys: &NotingKeys<'_>,
        now: Timestamp,
    ) {
        let product = &reader.view.current.product;
        let buffer = std::mem::take(&mut self.buffer);
        let event = match OpenedEvent::open_with(record.sealed, product, keys, buffer) {
            Ok(event) => event,
            Err(reason) => return self.withheld.push((offset, reason)),
        };
        let line_start = self.lines.len();
        match self.passes(reader, &event, filter, keys, now) {
            Ok(true) => match self.line(offset, record.time, view, &event, keys) {
                Ok(rendered) => self.events.push(RenderedEvent { line_start, ..rendered }),
                Err(reason) => {
                    self.lines.truncate(line_start);
                    self.withheld.push((offset, reason));
                }
            },
            Ok(false) => {}
            Err(reason) => self.withheld.push((offset, reason)),
        }
        self.buffer = event.into_buffer();
    }

    /// Does the row filter let the event pass? What it cannot decide does not pass.
    fn passes(
        &mut self,
        reader: &Reader,
        event: &OpenedEvent<'_>,
        view: Option<&View>,
        keys: &NotingKeys<'_>,
        now: Timestamp,
    ) -> std::result::Result<bool, Withheld> {
        let (Some(view), Some(filter)) = (view, &reader.view.filter) else { return Ok(true) };
        self.filtered.clear();
        view.render(event, keys, &mut self.scratch, &mut self.filtered)?;
        let Ok(doc) = self.tape.parse(&self.filtered, &Limits::DOCUMENT) else { return Err(Withheld::Unclassifiable) };
        Ok(filter.filter.evaluate(doc.root(), &filter.reader, now).admits())
    }

    fn line(
        &mut self,
        offset: u64,
        time: Timestamp,
        view: &View,
        event: &OpenedEvent<'_>,
        keys: &NotingKeys<'_>,
    ) -> std::result::Result<RenderedEvent, Withheld> {
        let line_start = self.lines.len();
        if self.time.0 != time {
            self.time = (time, time.to_string());
        }
        write_head(&mut self.lines, offset, &self.time.1);
        let event_start = self.lines.len();
        let rendered = view.render(event, keys, &mut self.scratch, &mut self.lines)?;
        let event_end = self.lines.len();
        one_line(&mut self.lines, event_start);
        self.lines.extend_from_slice(LINE_END);
        let seen = self.seen.union(rendered.classes);
        if seen != self.seen {
            self.seen = seen;
            self.classes.extend(view.class_names(rendered.classes));
        }
        Ok(RenderedEvent { offset, time, line_start, event_start, event_end })
    }

    fn finish(self, end: u64) -> RenderedBatch {
        RenderedBatch {
            end,
            lines: Bytes::from(self.lines),
            events: self.events,
            classes: self.classes,
            withheld: self.withheld,
        }
    }
}

/// A line feed between tokens means nothing in JSON, and none can be in a string: as a blank it keeps an event on its
/// line without changing its length. (The owner of an event that was published over several lines gets those blanks.)
fn one_line(lines: &mut [u8], from: usize) {
    let mut rest = lines.get_mut(from..).unwrap_or_default();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        let (_, after) = rest.split_at_mut(at);
        if let Some(byte) = after.first_mut() {
            *byte = b' ';
        }
        rest = after.get_mut(1..).unwrap_or_default();
    }
}

/// `{"offset":N,"time":"...","event":`
fn write_head(out: &mut Vec<u8>, offset: u64, time: &str) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"offset\":{offset},\"time\":\"{time}\",\"event\":");
}
