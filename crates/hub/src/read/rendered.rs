//! Rendered batches: events as a view shows them, in the frame in which they leave, shared by all who read through an
//! equal view.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tradelane_model::{Class, Timestamp};
use tradelane_seal::Withheld;

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

/// A batch as one view shows it.
#[derive(Debug)]
pub(crate) struct RenderedBatch {
    /// The offset after the batch: where the next one begins.
    pub(super) end: u64,
    pub(super) lines: Bytes,
    pub(super) events: Vec<RenderedEvent>,
    pub(super) classes: Vec<Class>,
    pub(super) withheld: Vec<(u64, Withheld)>,
}

/// Stream, first offset and view of a rendered batch.
pub(super) type RenderKey = (Arc<str>, u64, [u8; 32]);

#[derive(Clone)]
pub(super) struct ByBytes;

impl Weighter<RenderKey, Arc<RenderedBatch>> for ByBytes {
    fn weight(&self, _: &RenderKey, batch: &Arc<RenderedBatch>) -> u64 {
        (batch.lines.len() + batch.events.len() * size_of::<RenderedEvent>() + 256) as u64
    }
}

/// Batches as views show them, for the next reader of an equal view.
pub(crate) struct RenderCache {
    pub(super) batches: Cache<RenderKey, Arc<RenderedBatch>, ByBytes>,
    /// Moves with every erasure: what was rendered before one is not kept after it.
    generation: AtomicU64,
}

impl RenderCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let batches = Cache::with_weighter(1_024, bytes.max(1 << 20), ByBytes);
        Self { batches, generation: AtomicU64::new(0) }
    }

    /// Forgets everything, and whatever is being rendered right now.
    pub(crate) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.batches.clear();
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Keeps a batch, unless an erasure came since its rendering began.
    pub(super) fn keep(&self, key: RenderKey, batch: Arc<RenderedBatch>, begun: u64) {
        if self.generation() == begun {
            self.batches.insert(key.clone(), batch);
        }
        if self.generation() != begun {
            self.batches.remove(&key);
        }
    }
}
