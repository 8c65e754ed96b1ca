//! The event log: streams of record batches, addressed by the offsets of the events in them.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tradelane_model::Timestamp;

use crate::error::{Result, StorageError};

/// One ordered sequence of events: a partition of a data product.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The product's id, 1 to 255 bytes.
    pub product: Arc<str>,
    /// The partition, from 0.
    pub partition: u32,
}

impl StreamId {
    /// The stream of a product's partition.
    pub fn new(product: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { product: product.into(), partition }
    }
}

/// What makes a retried append the same append. Held until it expires, in one transaction with the append itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// Digest of whoever sends, and their idempotency key. Unique over the whole log.
    pub key: [u8; 32],
    /// Digest of what was sent: the same key with another body is refused.
    pub body: [u8; 32],
    /// When the key may be forgotten; measured against the time of later appends and sweeps.
    pub expires: Timestamp,
}

/// One batch to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub stream: StreamId,
    /// How many events the batch holds, 1 to 1,000,000: that many offsets are taken.
    pub count: u32,
    /// The framed batch, opaque; at most [`MAX_BATCH`] bytes.
    pub payload: Bytes,
    /// The time of the append; retention by time goes by it.
    pub timestamp: Timestamp,
    /// Exactly once for a sender that retries.
    pub dedup: Option<Dedup>,
}

/// The most bytes that one batch may have.
pub const MAX_BATCH: usize = 64 << 20;
/// The most events that one batch may have.
pub const MAX_COUNT: u32 = 1_000_000;
/// The most batches that are appended as one.
pub const MAX_TOGETHER: usize = 1_024;

/// An append that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the batch's first event.
    pub base_offset: u64,
    /// True if an earlier append with the same key and body did it; `base_offset` is then the one given to that.
    pub duplicate: bool,
}

/// One batch as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// The offset of its first event.
    pub base_offset: u64,
    /// How many events it holds.
    pub count: u32,
    /// The time of the append.
    pub timestamp: Timestamp,
    /// The framed batch. Cloning is a reference count.
    pub payload: Bytes,
}

impl StoredBatch {
    /// The offset after its last event.
    pub fn end_offset(&self) -> u64 {
        self.base_offset + u64::from(self.count)
    }
}

/// The offsets that a stream keeps: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that is kept; equal to `end` if none is.
    pub start: u64,
    /// The offset that the next event will get.
    pub end: u64,
}

/// How far to truncate. Only whole batches go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncate {
    /// Batches that end at or before this offset.
    Offset(u64),
    /// Batches from the start of the stream on that were appended before this time.
    Before(Timestamp),
}

/// One batch in the place of others: what compaction leaves of them.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// The offsets that it covers: those of one whole batch or of several in a row; 1 to [`MAX_COUNT`].
    pub offsets: Range<u64>,
    /// The time of its append, for retention.
    pub timestamp: Timestamp,
    /// The framed batch, opaque; at most [`MAX_BATCH`] bytes.
    pub payload: Bytes,
}

/// What a truncation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truncated {
    /// The first offset that is kept now.
    pub start: u64,
    /// Batches removed.
    pub batches: u64,
    /// Stored bytes of these batches.
    pub bytes: u64,
}

/// Streams of batches. Appends are acknowledged when they are durable, in an order that never changes, without gaps.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends one batch and returns when it is on disk. The stream comes to be with its first append.
    ///
    /// With a [`Dedup`], the same key and body again return the offset of the first time and write nothing; the same
    /// key with another body is [`DedupConflict`](crate::StorageError::DedupConflict). Two that race are decided in the
    /// order in which they reach the log, so there is no state "in flight" here. Waits while the log's queue is full.
    async fn append(&self, append: Append) -> Result<Appended> {
        let appended = self.append_all(vec![append]).await?;
        appended.first().copied().ok_or(StorageError::Limit { what: "the number of batches" })
    }

    /// Appends batches to different streams as one, and returns when they are on disk: all of them or none, whatever
    /// happens meanwhile. At most [`MAX_TOGETHER`]. Answers where each is, in their order.
    ///
    /// Either all have a [`Dedup`] of their own or none has. If none of their keys is known, they are stored; if all are,
    /// each with its body and in its stream, nothing is, and the answer is that of the first time. Anything else is
    /// [`DedupConflict`](crate::StorageError::DedupConflict).
    async fn append_all(&self, appends: Vec<Append>) -> Result<Vec<Appended>>;

    /// The batches from the one that holds `from_offset`, up to about `max_bytes` of payload, but at least one if there
    /// is one. Empty at the end of the stream. An unknown stream, an offset that is no longer kept and one beyond the
    /// end are errors.
    async fn read(&self, stream: &StreamId, from_offset: u64, max_bytes: usize) -> Result<Vec<StoredBatch>>;

    /// The offsets that are kept, or `None` if the stream was never appended to or was deleted.
    async fn bounds(&self, stream: &StreamId) -> Result<Option<Bounds>>;

    /// Waits until the stream's end is beyond `offset`, then returns the end; at once if it is. The stream need not
    /// exist yet. Ends with an error when the log stops or the stream is deleted. Dropping the future costs nothing.
    async fn wait(&self, stream: &StreamId, offset: u64) -> Result<u64>;

    /// Removes whole batches from the start of the stream and gives their space back to the file system.
    async fn truncate_before(&self, stream: &StreamId, until: Truncate) -> Result<Truncated>;

    /// Puts batches in the place of others, all or none of them; offsets stay as they are. False, and nothing is done, if
    /// the offsets are not those of whole batches any more. Who reads meanwhile sees what was there or what is there now.
    async fn rewrite(&self, stream: &StreamId, rewrites: Vec<Rewrite>) -> Result<bool>;

    /// Removes the stream with all its batches; false if there was none. A stream of the same name starts at 0 again.
    async fn delete_stream(&self, stream: &StreamId) -> Result<bool>;

    /// All streams and what they keep, ordered by name.
    async fn streams(&self) -> Result<Vec<(StreamId, Bounds)>>;

    /// Forgets dedup keys that expired before `now`; returns how many.
    async fn sweep(&self, now: Timestamp) -> Result<u64>;
}
