//! What the log knows in memory: each stream's bounds, its key, and its newest batches.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;
use tradelane_keys::{AtRest, SecretBytes, hkdf};
use tradelane_model::Timestamp;

use crate::error::{Result, StorageError};
use crate::event_log::{Bounds, StoredBatch, StreamId};

/// Bits of a batch's row id that hold its base offset; the stream's number is above them.
pub(super) const OFFSET_BITS: u32 = 43;
/// Offsets are below this.
pub(super) const MAX_OFFSET: u64 = 1 << OFFSET_BITS;
/// Stream numbers are below this: number and offset together fit a positive 64-bit row id.
pub(super) const MAX_STREAMS: u32 = 1 << 20;
/// So many offsets share a key: each key seals fewer batches than random nonces allow (2^32).
const EPOCH_BITS: u32 = 31;

/// The row id of the batch of stream `number` that starts at `offset`.
pub(super) fn row_id(number: u32, offset: u64) -> i64 {
    i64::from(number) << OFFSET_BITS | (offset & (MAX_OFFSET - 1)) as i64
}

/// The offset in a row id.
pub(super) fn offset_of(row_id: i64) -> u64 {
    row_id as u64 & (MAX_OFFSET - 1)
}

/// The end of a stream, as those who wait for it see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) offset: u64,
    /// False once the stream is deleted or the log has stopped.
    pub(super) open: bool,
}

/// One stream.
pub(super) struct Stream {
    pub(super) id: StreamId,
    /// Its number in row ids.
    pub(super) number: u32,
    /// Drawn at random when the stream came to be: a stream of the same name later is another one.
    pub(super) incarnation: [u8; 16],
    key: Arc<SecretBytes<32>>,
    epoch: Mutex<(u64, Arc<AtRest>)>,
    start: AtomicU64,
    end: watch::Sender<End>,
    tail: Mutex<VecDeque<StoredBatch>>,
}

impl Stream {
    pub(super) fn new(
        key: Arc<SecretBytes<32>>,
        id: StreamId,
        number: u32,
        incarnation: [u8; 16],
        bounds: Bounds,
    ) -> Self {
        let epoch = bounds.end >> EPOCH_BITS;
        let seal = Arc::new(epoch_key(&key, &incarnation, epoch));
        Self {
            id,
            number,
            incarnation,
            key,
            epoch: Mutex::new((epoch, seal)),
            start: AtomicU64::new(bounds.start),
            end: watch::Sender::new(End { offset: bounds.end, open: true }),
            tail: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let end = self.end.borrow().offset;
        Bounds { start: self.start.load(Ordering::Acquire).min(end), end }
    }

    pub(super) fn watch(&self) -> watch::Receiver<End> {
        self.end.subscribe()
    }

    /// Shows a batch that is on disk to readers, and wakes those who wait.
    pub(super) fn publish(&self, batch: StoredBatch) {
        let offset = batch.end_offset();
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).push_back(batch);
        self.end.send_replace(End { offset, open: true });
    }

    /// Tells those who wait that nothing more comes.
    pub(super) fn close(&self) {
        self.end.send_modify(|end| end.open = false);
    }

    /// Lets go of the oldest batch in memory.
    pub(super) fn forget_oldest(&self) -> usize {
        let oldest = self.tail.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        oldest.map_or(0, |batch| batch.payload.len())
    }

    /// Lets go of batches in memory that begin before `offset`; returns their bytes.
    pub(super) fn forget_before(&self, offset: u64) -> usize {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        while tail.front().is_some_and(|oldest| oldest.base_offset < offset) {
            bytes += tail.pop_front().map_or(0, |batch| batch.payload.len());
        }
        bytes
    }

    /// Moves the start after a truncation. The batches stay in memory, unreachable, until newer ones push them out.
    pub(super) fn set_start(&self, start: u64) {
        self.start.store(start, Ordering::Release);
    }

    /// The batches from `from` on, if memory holds the one with `from` in it.
    pub(super) fn read_tail(&self, from: u64, max_bytes: usize) -> Option<Vec<StoredBatch>> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.front().is_none_or(|oldest| oldest.base_offset > from) {
            return None;
        }
        let first = tail.partition_point(|batch| batch.end_offset() <= from);
        let mut bytes = 0usize;
        let mut batches = Vec::new();
        for batch in tail.iter().skip(first) {
            bytes = bytes.saturating_add(batch.payload.len());
            if bytes > max_bytes && !batches.is_empty() {
                break;
            }
            batches.push(batch.clone());
        }
        Some(batches)
    }

    fn seal_of(&self, offset: u64) -> Arc<AtRest> {
        let epoch = offset >> EPOCH_BITS;
        let mut current = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != epoch {
            *current = (epoch, Arc::new(epoch_key(&self.key, &self.incarnation, epoch)));
        }
        Arc::clone(&current.1)
    }

    fn aad(&self, base: u64, count: u32, timestamp: Timestamp) -> Vec<u8> {
        let mut aad = Vec::with_capacity(40 + self.id.product.len());
        aad.extend_from_slice(&self.incarnation);
        aad.extend_from_slice(&base.to_be_bytes());
        aad.extend_from_slice(&count.to_be_bytes());
        aad.extend_from_slice(&timestamp.0.to_be_bytes());
        aad.extend_from_slice(&self.id.partition.to_be_bytes());
        aad.extend_from_slice(self.id.product.as_bytes());
        aad
    }

    /// Appends the sealed batch to `out`.
    pub(super) fn seal(&self, base: u64, count: u32, timestamp: Timestamp, payload: &[u8], out: &mut Vec<u8>) {
        self.seal_of(base).seal_onto(&self.aad(base, count, timestamp), payload, out);
    }

    /// Opens a sealed batch where it lies; answers where in `sealed` the batch is then.
    pub(super) fn open(&self, base: u64, count: u32, timestamp: Timestamp, sealed: &mut [u8]) -> Result<Range<usize>> {
        let opened = self.seal_of(base).open_where_it_lies(&self.aad(base, count, timestamp), sealed);
        opened.map_err(|_| self.damaged_at(base))
    }

    pub(super) fn damaged_at(&self, offset: u64) -> StorageError {
        let StreamId { product, partition } = &self.id;
        StorageError::Corrupt { place: format!("log.db, stream {product}/{partition}, offset {offset}") }
    }
}

fn epoch_key(key: &SecretBytes<32>, incarnation: &[u8; 16], epoch: u64) -> AtRest {
    AtRest::new(&hkdf(key.expose(), &[b"tradelane/storage/1/log", incarnation, &epoch.to_be_bytes()]))
}

/// All streams, by name.
pub(super) struct Streams {
    map: RwLock<BTreeMap<StreamId, Arc<Stream>>>,
    births: watch::Sender<u64>,
}

impl Streams {
    pub(super) fn new(streams: impl IntoIterator<Item = Arc<Stream>>) -> Self {
        let map = streams.into_iter().map(|stream| (stream.id.clone(), stream)).collect();
        Self { map: RwLock::new(map), births: watch::Sender::new(0) }
    }

    pub(super) fn find(&self, id: &StreamId) -> Option<Arc<Stream>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Stream>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn add(&self, stream: Arc<Stream>) {
        self.map.write().unwrap_or_else(PoisonError::into_inner).insert(stream.id.clone(), stream);
        self.births.send_modify(|count| *count += 1);
    }

    pub(super) fn remove(&self, id: &StreamId) {
        let gone = self.map.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(stream) = gone {
            stream.close();
        }
    }

    /// Changes whenever a stream comes to be.
    pub(super) fn births(&self) -> watch::Receiver<u64> {
        self.births.subscribe()
    }
}
