//! Copies a batch without some of its records, or with other values in them. It knows no policy; the caller decides.
//!
//! Offsets, timestamps, keys, producer and the range of offsets stay. Records that are kept side by side are copied as
//! one range of bytes, and a batch in which nothing changes is copied whole, compressed as it is.

use crate::batch::Batch;
use crate::builder::{BatchBuilder, BatchHead, BuildError, Output};
use crate::codec::Decompressor;
use crate::error::BatchError;
use crate::limits::Limits;
use crate::record::Record;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// It goes, and leaves a gap in the offsets as compaction does.
    Drop,
    /// Its value becomes what was put into [`Edit::value`].
    Replace,
    /// Its value becomes null.
    Tombstone,
}

/// Where a replacement is put. Empty whenever the caller is asked.
#[derive(Debug, Default)]
pub struct Edit {
    /// The value, for [`Action::Replace`].
    pub value: Vec<u8>,
    /// Other headers, for [`Action::Replace`] and [`Action::Tombstone`]: with their count, as
    /// [`encode_headers`](crate::encode_headers) writes them. Left empty, the record keeps its own.
    pub headers: Vec<u8>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// Records that stayed as they are.
    pub kept: u32,
    /// Records that went.
    pub dropped: u32,
    /// Records that got another value.
    pub replaced: u32,
}

impl Rewritten {
    /// Whether the copy is the batch, byte for byte.
    pub fn is_unchanged(&self) -> bool {
        self.dropped == 0 && self.replaced == 0
    }
}

/// Copies batches with changes. Kept from batch to batch for its memory.
#[derive(Debug, Default)]
pub struct Rewriter {
    decompressor: Decompressor,
    edit: Edit,
}

impl Rewriter {
    /// One that holds no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `batch` to `out` as `decide` says of each of its records, in their order. If all are dropped, what is
    /// appended is a header with the same range of offsets and no records. Control batches are copied and not asked about.
    /// After an error `out` is as it was.
    pub fn rewrite(
        &mut self,
        batch: &Batch<'_>,
        limits: &Limits,
        output: Output,
        out: &mut Vec<u8>,
        mut decide: impl FnMut(&Record<'_>, &mut Edit) -> Action,
    ) -> Result<Rewritten, BatchError> {
        let mut records = batch.records(&mut self.decompressor, limits)?;
        let mut done = Rewritten::default();
        let start = out.len();
        out.reserve(records.uncompressed_len().saturating_add(crate::HEADER_LEN));
        let mut builder = BatchBuilder::new(out, &BatchHead::of(batch));
        let mut run = Run::at(records.rest());
        let too_large = |_: BuildError| BatchError::TooLarge(usize::MAX);
        while let Some(record) = records.next() {
            let record = record?;
            let action = if batch.is_control() {
                Action::Keep
            } else {
                self.edit.value.clear();
                self.edit.headers.clear();
                decide(&record, &mut self.edit)
            };
            if action == Action::Keep {
                run.extend(&record);
                done.kept = done.kept.saturating_add(1);
                continue;
            }
            run.flush(&mut builder);
            run = Run::at(records.rest());
            if action == Action::Drop {
                done.dropped = done.dropped.saturating_add(1);
                continue;
            }
            let value = (action == Action::Replace).then_some(self.edit.value.as_slice());
            let headers = (!self.edit.headers.is_empty()).then_some(self.edit.headers.as_slice());
            builder.push_replaced(&record, value, headers).map_err(too_large)?;
            done.replaced = done.replaced.saturating_add(1);
        }
        if done.is_unchanged() {
            drop(builder);
            out.truncate(start);
            out.extend_from_slice(batch.bytes());
            return Ok(done);
        }
        run.flush(&mut builder);
        builder.finish_as(batch.last_offset_delta(), output).map_err(too_large)?;
        Ok(done)
    }

    /// Gives memory above `bytes` back.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.decompressor.shrink_to(bytes);
        self.edit.value.clear();
        self.edit.value.shrink_to(bytes);
    }
}

/// Records side by side that stay.
struct Run<'b> {
    /// From its first record to the end of the batch.
    from: &'b [u8],
    bytes: usize,
    records: u32,
    last_delta: i32,
    max_timestamp: Option<i64>,
}

impl<'b> Run<'b> {
    fn at(from: &'b [u8]) -> Self {
        Self { from, bytes: 0, records: 0, last_delta: 0, max_timestamp: None }
    }

    fn extend(&mut self, record: &Record<'_>) {
        self.bytes = self.bytes.saturating_add(record.raw().len());
        self.records = self.records.saturating_add(1);
        self.last_delta = record.offset_delta;
        self.max_timestamp = self.max_timestamp.max(Some(record.timestamp));
    }

    fn flush(&self, builder: &mut BatchBuilder<'_>) {
        if self.records > 0 {
            let bytes = self.from.get(..self.bytes).unwrap_or_default();
            builder.push_run(bytes, self.records, self.last_delta, self.max_timestamp);
        }
    }
}
