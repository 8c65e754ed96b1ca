//! Reading: the one governed read. Everything that leaves the hub leaves through here.
//!
//! A [`Reader`] holds a permit and a compiled view. Every read checks the permit's epoch, takes batches from the log,
//! renders them for the view (or finds them rendered for an equal one), puts a leaf on record and only then answers.

use std::sync::Arc;
use std::time::Duration;

use tradelane_model::{Class, Grant, GrantId, ProductId, codes};
use tradelane_policy::{Permit, Refusal};
use tradelane_storage::{Bounds, StreamId};

use crate::Hub;
use crate::audit_trail::{READ, hub_leaf};
use crate::authorize::{Act, On};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};
use crate::health::add;
use crate::views::GrantView;

mod cluster;
mod lines;
mod rendered;
mod rendering;

pub use rendered::{Chunk, Page, Rendered};
pub(crate) use rendered::{RenderCache, RenderedRecords};

/// The most events in one page.
pub const MAX_EVENTS: u32 = 100_000;
/// The most bytes of stored batches that are looked at for one page.
pub(crate) const MAX_SCAN: usize = 16 << 20;
/// What is reckoned for an event when few are wanted: a cluster sends what it is asked for, whether or not it is taken.
const LARGE_EVENT: usize = 4 << 10;
/// The longest wait of one read.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// How often one wait goes on, at most, after something changed under it.
const RENEWALS: usize = 100;

/// Someone's right to read a product, ready for use. Cheap to keep, and worth nothing once it is revoked.
#[derive(Clone)]
pub struct Reader {
    pub(crate) caller: Caller,
    pub(crate) product: ProductId,
    pub(crate) permit: Arc<Permit>,
    pub(crate) grant: Option<Arc<Grant>>,
    pub(crate) view: Arc<GrantView>,
    pub(crate) partition: u32,
}

impl Reader {
    /// The same right, for another partition of the product. A partition that is not there holds nothing.
    pub fn at_partition(&self, partition: u32) -> Self {
        Self { partition, ..self.clone() }
    }

    pub(crate) fn stream(&self) -> StreamId {
        Hub::stream(&self.product, self.partition)
    }

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
        {
            // It goes on as long as the token that is shown now, and no longer.
            let reader = Reader { caller: caller.clone(), ..reader };
            if self.check(&reader).is_ok() {
                return Ok(reader);
            }
        }
        let reader = self.new_reader(caller, product, purpose)?;
        readers.insert(key, reader.clone());
        Ok(reader)
    }

    fn new_reader(&self, caller: &Caller, product: &ProductId, purpose: Option<&str>) -> Result<Reader> {
        for _ in 0..RENEWALS {
            match self.new_reader_now(caller, product, purpose) {
                // Its grant was changed between permit and view.
                Err(error) if error.code == codes::CONFLICT => {}
                made => return made,
            }
        }
        Err(HubError::of(codes::OVERLOADED).retry(1))
    }

    fn new_reader_now(&self, caller: &Caller, product: &ProductId, purpose: Option<&str>) -> Result<Reader> {
        let model = self.model();
        let known = model.products.get(product).ok_or_else(HubError::not_found)?;
        if known.owner == caller.organization.id {
            let permit = self.allow(caller, Act::Read, On::Product(product))?;
            let view = self.owner_view(product)?;
            return Ok(Reader {
                caller: caller.clone(),
                product: product.clone(),
                permit,
                grant: None,
                view,
                partition: 0,
            });
        }
        let now = self.now();
        let mut grants = model.live_grants(&caller.organization.id, product, now);
        let grant = grants.find(|grant| purpose.is_none_or(|purpose| grant.purpose == purpose)).cloned();
        let Some(grant) = grant else { return Err(self.no_grant(caller, product, known.discoverable)) };
        let permit = self.allow(caller, Act::Read, On::Grant(&grant))?;
        let view = self.grant_view(&grant)?;
        Ok(Reader { caller: caller.clone(), product: product.clone(), permit, grant: Some(grant), view, partition: 0 })
    }

    /// A product that the caller may not know of looks like none.
    fn no_grant(&self, caller: &Caller, product: &ProductId, discoverable: bool) -> HubError {
        let error = HubError::of(if discoverable { codes::NO_GRANT } else { codes::NOT_FOUND });
        self.record_refusal(caller, &READ, Some(product), error.code);
        error
    }

    /// Does what a reader may, and does it anew with the reader made anew where that was ended because something changed and
    /// its right is still there.
    pub(crate) async fn renewing<T, W: Future<Output = Result<T>>>(
        &self,
        reader: &Reader,
        mut work: impl FnMut(Reader) -> W,
    ) -> Result<T> {
        let mut reader = reader.clone();
        for _ in 0..RENEWALS {
            match work(reader.clone()).await {
                Err(ended) if ended.code == codes::GRANT_ENDED => {
                    reader = self.renewed(&reader).await.ok_or(ended)?;
                }
                done => return done,
            }
        }
        Err(HubError::of(codes::OVERLOADED).retry(1))
    }

    /// A reader that was ended, by what holds now; none if its right is gone.
    pub(crate) async fn renewed(&self, reader: &Reader) -> Option<Reader> {
        let purpose = reader.grant.as_deref().map(|grant| grant.purpose.as_str());
        let renewed = self.reader(&reader.caller, &reader.product, purpose).await.ok()?;
        Some(renewed.at_partition(reader.partition))
    }

    /// Reads on. Every call checks the permit anew, before and after it waited and worked; where something changed, the
    /// page is begun anew by what holds now.
    pub async fn read(&self, reader: &Reader, from: From, limits: ReadLimits) -> Result<Audited<Page>> {
        let deadline = tokio::time::Instant::now() + limits.wait.min(MAX_WAIT);
        let at = self.renewing(reader, |reader| async move { self.place(&reader, from).await }).await?;
        let limits = &limits;
        self.renewing(reader, |reader| async move { self.read_until(&reader, at, limits, deadline).await }).await
    }

    /// Where a read begins.
    async fn place(&self, reader: &Reader, from: From) -> Result<u64> {
        self.check(reader)?;
        let Bounds { start, end } = self.kept(&reader.stream()).await?;
        match from {
            From::Earliest => Ok(start),
            From::Latest => Ok(end),
            From::Offset(offset) if offset > end => {
                let detail = format!("Offset {offset} is beyond the end of the stream at {end}.");
                Err(HubError::new(codes::OFFSET_BEYOND_END, detail))
            }
            From::Offset(offset) => Ok(offset.max(start)),
        }
    }

    async fn read_until(
        &self,
        reader: &Reader,
        mut at: u64,
        limits: &ReadLimits,
        deadline: tokio::time::Instant,
    ) -> Result<Audited<Page>> {
        self.check(reader)?;
        let stream = reader.stream();
        let end = self.kept(&stream).await?.end;
        let mut page = Page { chunks: Vec::new(), next: at, end, count: 0 };
        let mut classes = Vec::new();
        loop {
            if at < page.end {
                at = self.fill(reader, at, limits, &mut page, &mut classes).await?;
                page.next = at;
            }
            if page.count > 0 || at < page.end || !self.wait_for_more(reader, at, deadline).await? {
                break;
            }
            page.end = self.kept(&stream).await?.end.max(at);
        }
        self.check(reader)?;
        let leaf = self.record(self.read_leaf(reader, page.offsets(), page.count, classes)).await?;
        add(&self.inner().counters.events_read, u64::from(page.count));
        Ok(Audited { value: page, leaf })
    }

    pub(crate) fn read_leaf(
        &self,
        reader: &Reader,
        offsets: Option<(u64, u64)>,
        count: u32,
        mut classes: Vec<Class>,
    ) -> tradelane_audit::Leaf {
        classes.sort();
        classes.dedup();
        let mut leaf = hub_leaf(self.now(), &reader.caller, READ);
        leaf.product = Some(reader.product.clone());
        leaf.owner = Some(reader.view.current.owner.clone());
        leaf.grant = reader.grant().cloned();
        leaf.purpose = reader.grant.as_ref().map(|grant| tradelane_audit::Word::near(&grant.purpose));
        leaf.partition = offsets.map(|_| reader.partition);
        leaf.offsets = offsets;
        leaf.count = u64::from(count);
        leaf.classes = classes;
        leaf.view = Some(reader.view.digest);
        leaf
    }

    /// May the reader go on? A permit that has merely run out is asked for anew; one that rested on what has changed
    /// is worth nothing, and a new reader must be made.
    pub fn check(&self, reader: &Reader) -> Result<()> {
        let now = self.now();
        let ended = || HubError::of(codes::GRANT_ENDED);
        // The version that the grant stayed with is no longer served: a new reader gets the newest.
        if reader.view.is_over(now) {
            return Err(ended());
        }
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
    pub(crate) async fn wait_for_more(&self, reader: &Reader, at: u64, deadline: tokio::time::Instant) -> Result<bool> {
        let mut changes = self.inner().authority.changes();
        loop {
            self.check(reader)?;
            let until_expiry = Duration::from_secs(1);
            tokio::select! {
                more = self.more(reader, at) => { more?; return Ok(true); }
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
        let stream = reader.stream();
        let (max_events, mut bytes, mut scanned) = (limits.max_events.clamp(1, MAX_EVENTS), 0, 0);
        while at < page.end && page.count < max_events && bytes < limits.max_bytes.max(1) && scanned < MAX_SCAN {
            // Who reads on stands at the start of a batch. If that is rendered already, our own log need not be asked.
            if let Some(rendered) = self.lines_before(reader, at) {
                scanned += rendered.lines.len();
                at = page.take(&rendered, at, max_events, &mut bytes, classes);
                continue;
            }
            // No more than there is room for: what is left over of a read was decrypted for nothing.
            let room = (max_events - page.count) as usize * LARGE_EVENT;
            let want = limits.max_bytes.saturating_sub(bytes).min(room).clamp(64 << 10, 4 << 20);
            let found = match self.found(&stream, at, want).await? {
                Ok(found) => found,
                Err(start) => {
                    at = start;
                    continue;
                }
            };
            if found.next <= at {
                break;
            }
            scanned += found.bytes;
            let mut is_full = false;
            for index in 0..found.batches.len() {
                is_full = page.count >= max_events || (bytes >= limits.max_bytes.max(1) && page.count > 0);
                if is_full {
                    break;
                }
                let Some(rendered) = self.lines(reader, &found, index, at).await? else { break };
                at = page.take(&rendered, at, max_events, &mut bytes, classes);
            }
            if !is_full && page.count < max_events {
                at = at.max(found.next);
            }
        }
        Ok(at)
    }

    /// Some batches from `at` on as the reader sees them, and where to go on, if there is more.
    pub(crate) async fn chunks(&self, reader: &Reader, at: u64) -> Result<(Vec<Chunk>, Option<u64>)> {
        let stream = reader.stream();
        let bounds = self.kept(&stream).await?;
        let at = at.max(bounds.start);
        if at >= bounds.end {
            return Ok((Vec::new(), None));
        }
        let found = match self.found(&stream, at, 1 << 20).await? {
            Ok(found) => found,
            Err(start) => return Ok((Vec::new(), Some(start))),
        };
        let mut chunks = Vec::with_capacity(found.batches.len());
        for index in 0..found.batches.len() {
            let Some(batch) = self.lines(reader, &found, index, at).await? else { break };
            let events = batch.events.partition_point(|event| event.offset < at)..batch.events.len();
            chunks.push(Chunk { batch, events });
        }
        Ok((chunks, Some(found.next).filter(|next| *next > at)))
    }
}
