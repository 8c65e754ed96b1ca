//! Rendered batches: events as a view shows them, in the frame in which they leave, shared by all who read through an
//! equal view.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tradelane_model::{Class, Timestamp};
use tradelane_storage::Buffers;

/// What a read returned.
#[derive(Debug, Clone)]
pub struct Page {
    /// Rendered events, in order.
    pub chunks: Vec<Chunk>,
    /// Where to go on.
    pub next: u64,
    /// The offset that the next event to be published will get.
    pub end: u64,
    /// How many events the chunks hold.
    pub count: u32,
}

impl Page {
    /// The first and the last offset on the page.
    pub(super) fn offsets(&self) -> Option<(u64, u64)> {
        let first = self.chunks.first().and_then(|chunk| chunk.iter().next().map(|event| event.offset));
        let last = self.chunks.last().and_then(|chunk| chunk.iter().last().map(|event| event.offset));
        first.zip(last)
    }

    /// Takes a batch's events from `at` on, as many as there is room for; returns where to go on.
    pub(super) fn take(
        &mut self,
        batch: &Arc<RenderedBatch>,
        at: u64,
        max_events: u32,
        bytes: &mut usize,
        classes: &mut Vec<Class>,
    ) -> u64 {
        let room = max_events.saturating_sub(self.count) as usize;
        let first = batch.events.partition_point(|event| event.offset < at);
        let last = batch.events.len().min(first.saturating_add(room));
        let chunk = Chunk { batch: batch.clone(), events: first..last };
        if !chunk.is_empty() {
            *bytes += chunk.lines().len();
            self.count += u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            self.chunks.push(chunk);
            classes.extend(batch.classes.iter().cloned());
        }
        batch.events.get(last).map_or(batch.end, |next| next.offset)
    }
}

/// Events of one batch as one view shows them, shared by all who read through an equal view.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub(super) batch: Arc<RenderedBatch>,
    pub(super) events: Range<usize>,
}

/// A rendered event.
#[derive(Debug, Clone, Copy)]
pub struct Rendered<'a> {
    /// Its offset.
    pub offset: u64,
    /// When the hub took it.
    pub time: Timestamp,
    /// The event as the view shows it: JSON.
    pub event: &'a [u8],
}

impl Chunk {
    /// The events as lines: `{"offset":N,"time":"...","event":...}`. No byte is copied.
    pub fn lines(&self) -> Bytes {
        let start = self.batch.events.get(self.events.start).map_or(0, |event| event.line_start);
        let end = self.events.end.checked_sub(1).and_then(|last| self.batch.events.get(last));
        let end = end.map_or(start, |event| event.event_end + LINE_END.len());
        self.batch.lines.slice(start..end.max(start))
    }

    /// The events one by one.
    pub fn iter(&self) -> impl Iterator<Item = Rendered<'_>> {
        self.batch.events.get(self.events.clone()).unwrap_or_default().iter().map(|event| Rendered {
            offset: event.offset,
            time: event.time,
            event: self.batch.lines.get(event.event_start..event.event_end).unwrap_or_default(),
        })
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

pub(super) const LINE_END: &[u8] = b"}\n";

#[derive(Debug)]
pub(super) struct RenderedEvent {
    pub(super) offset: u64,
    pub(super) time: Timestamp,
    pub(super) line_start: usize,
    pub(super) event_start: usize,
    pub(super) event_end: usize,
}

/// A batch as one view shows it, as lines.
#[derive(Debug)]
pub(crate) struct RenderedBatch {
    /// The offset after the batch: where the next one begins.
    pub(super) end: u64,
    pub(super) lines: Bytes,
    pub(super) events: Vec<RenderedEvent>,
    pub(super) classes: Vec<Class>,
}

/// A batch as one view shows it, as a Kafka record batch.
#[derive(Debug)]
pub(crate) struct RenderedRecords {
    /// The first and the last offset that are shown; none if nothing is.
    pub(crate) offsets: Option<(u64, u64)>,
    /// The offset after the batch.
    pub(crate) end: u64,
    /// Records that are shown.
    pub(crate) count: u32,
    pub(crate) bytes: Bytes,
    pub(crate) classes: Vec<Class>,
}

/// Product, partition, first offset, checksum and view of a rendered batch. Our own log never changes a batch and is not
/// asked for a checksum; a cluster rewrites them when it compacts.
pub(super) type RenderKey = (Arc<str>, u32, u64, u32, [u8; 32]);
/// Rendered batches of one frame.
pub(super) type Kept<T> = Cache<RenderKey, Arc<T>, ByBytes>;

#[derive(Clone)]
pub(super) struct ByBytes;

impl Weighter<RenderKey, Arc<RenderedBatch>> for ByBytes {
    fn weight(&self, _: &RenderKey, batch: &Arc<RenderedBatch>) -> u64 {
        (batch.lines.len() + batch.events.len() * size_of::<RenderedEvent>() + 256) as u64
    }
}

impl Weighter<RenderKey, Arc<RenderedRecords>> for ByBytes {
    fn weight(&self, _: &RenderKey, batch: &Arc<RenderedRecords>) -> u64 {
        (batch.bytes.len() + 256) as u64
    }
}

/// Bytes of buffers that are kept for the next batch: what a few pages take.
const BUFFERS: usize = 16 << 20;

/// Batches as views show them, for the next reader of an equal view.
pub(crate) struct RenderCache {
    pub(super) lines: Kept<RenderedBatch>,
    pub(super) records: Kept<RenderedRecords>,
    /// What batches are rendered in.
    pub(super) buffers: Buffers,
    /// Moves with every erasure: what was rendered before one is not kept after it.
    generation: AtomicU64,
}

impl RenderCache {
    /// Of about so many bytes for each frame: a product is rarely read in both at once.
    pub(crate) fn new(bytes: u64) -> Self {
        let bytes = bytes.max(1 << 20);
        Self {
            lines: Cache::with_weighter(1_024, bytes, ByBytes),
            records: Cache::with_weighter(1_024, bytes, ByBytes),
            buffers: Buffers::new(BUFFERS),
            generation: AtomicU64::new(0),
        }
    }

    /// Forgets everything, and whatever is being rendered right now.
    pub(crate) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.lines.clear();
        self.records.clear();
        self.buffers.forget();
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Keeps a batch, unless an erasure came since its rendering began.
    pub(super) fn keep<T>(&self, kept: &Kept<T>, key: RenderKey, batch: Arc<T>, begun: u64)
    where
        ByBytes: Weighter<RenderKey, Arc<T>>,
    {
        if self.generation() == begun {
            kept.insert(key.clone(), batch);
        }
        if self.generation() != begun {
            kept.remove(&key);
        }
    }
}
