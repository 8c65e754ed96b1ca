//! How sealed events lie next to each other in the event log: as Kafka record batches (`docs/formats/event-log.md`), so
//! that there is one form from the socket to the disk and back.
//!
//! The value of a record is a sealed event, or nothing; its key and headers are what [`crate::envelope`] made of them. A
//! batch is never compressed, for what is sealed does not compress, and begins at offset 0: the log says where it lies.
//! The batch as a whole is encrypted and bound to its place by the event log, and each event to its record by its own seal.

use std::ops::Range;

use bytes::Bytes;
use tradelane_model::{Timestamp, codes};
use tradelane_records::{Batch, BatchBuilder, BatchHead, Decompressor, Headers, Limits};

use crate::envelope::{Envelope, Header, KeyAndHeaders, SCHEMA};
use crate::error::{HubError, Result};

/// The most headers of a record.
pub(crate) const MAX_HEADERS: usize = 1_000;
/// What a batch of ours may be: as large as the log takes it.
const STORED: Limits = Limits {
    max_batch_bytes: tradelane_storage::event_log::MAX_BATCH,
    max_records: tradelane_storage::event_log::MAX_COUNT,
    max_decompressed: tradelane_storage::event_log::MAX_BATCH,
    max_headers: 2 + MAX_HEADERS as u32,
};

/// The head of a batch of ours whose first record has this offset, and whose records were taken about then.
pub(crate) fn head(base_offset: u64, time: Timestamp) -> BatchHead {
    let base_offset = i64::try_from(base_offset).unwrap_or(i64::MAX);
    BatchHead { base_offset, base_timestamp: time.millis(), leader_epoch: 0, ..BatchHead::default() }
}

/// A batch being written.
pub(crate) struct BatchWriter<'o> {
    batch: BatchBuilder<'o>,
    next: i32,
}

impl<'o> BatchWriter<'o> {
    /// A batch with this head.
    pub(crate) fn new(out: &'o mut Vec<u8>, head: &BatchHead) -> Self {
        Self { batch: BatchBuilder::new(out, head), next: 0 }
    }

    /// Adds a record behind the last one. `time` is in milliseconds.
    pub(crate) fn push(&mut self, time: i64, around: &KeyAndHeaders, value: Option<&[u8]>) -> Result<()> {
        self.push_at(self.next.unsigned_abs(), time, around, value)
    }

    /// Adds a record in its place, which is behind the last one.
    pub(crate) fn push_at(
        &mut self,
        delta: u32,
        time: i64,
        around: &KeyAndHeaders,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let refused = |error| HubError::of(codes::TOO_LARGE).because(error);
        let delta = i32::try_from(delta).map_err(|_| HubError::of(codes::TOO_LARGE))?;
        let headers: Vec<Header<'_>> = around.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
        self.batch.push(delta, time, around.key.as_deref(), value, &*headers).map_err(refused)?;
        self.next = delta.saturating_add(1);
        Ok(())
    }

    /// Records so far.
    pub(crate) fn count(&self) -> u32 {
        self.batch.count()
    }

    /// Ends the batch, which covers so many offsets, whether or not each has its record.
    pub(crate) fn finish(self, covers: u32) -> Result<()> {
        let last = i32::try_from(covers.saturating_sub(1)).unwrap_or(i32::MAX);
        self.batch.finish(last).map(drop).map_err(|error| HubError::of(codes::TOO_LARGE).because(error))
    }
}

/// One record of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    /// Its place in the batch.
    pub(crate) delta: u32,
    /// Milliseconds, as the producer set it.
    pub(crate) time: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// The sealed event; none in a record that says that its key is no more.
    pub(crate) sealed: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// What was sealed: the event, and what travels around it.
    pub(crate) fn sealed_parts(&self) -> impl Iterator<Item = &'a [u8]> {
        self.sealed.into_iter().chain(Envelope::sealed_part(self))
    }

    /// The id of the schema that the producer named in front of the event.
    pub(crate) fn schema(&self) -> Option<u32> {
        let found = self.headers.clone().find(|(name, _)| *name == SCHEMA);
        found.and_then(|(_, value)| value?.try_into().ok()).map(u32::from_be_bytes)
    }

    /// Is there nothing around the event?
    pub(crate) fn is_bare(&self) -> bool {
        self.key.is_none() && self.headers.count_left() == 0
    }
}

impl<'a> From<tradelane_records::Record<'a>> for Record<'a> {
    fn from(record: tradelane_records::Record<'a>) -> Self {
        Record {
            delta: record.offset_delta.unsigned_abs(),
            time: record.timestamp,
            key: record.key,
            sealed: record.value,
            headers: record.headers,
        }
    }
}

fn damaged(cause: impl std::fmt::Display) -> HubError {
    HubError::of(codes::STORAGE_CORRUPT).because(cause)
}

/// A stored batch, checked.
pub(crate) fn parse(bytes: &[u8]) -> Result<Batch<'_>> {
    let (batch, rest) = Batch::parse(bytes, &STORED).map_err(damaged)?;
    if rest.is_empty() { Ok(batch) } else { Err(damaged(FOLLOWED)) }
}

const FOLLOWED: &str = "bytes follow a batch";

/// The records of a batch of ours, in order. A batch that is not whole is an error, never fewer records. The event log
/// opened it, or has had it in memory since it was written: its tag was checked, which is worth more than its checksum.
pub(crate) fn records(batch: &[u8]) -> Result<Vec<Record<'_>>> {
    let (batch, rest) = Batch::parse_authenticated(batch, &STORED).map_err(damaged)?;
    if !rest.is_empty() {
        return Err(damaged(FOLLOWED));
    }
    let walk = batch.plain_records(&STORED).ok_or_else(|| damaged("a batch is compressed"))?;
    walk.map(|record| record.map(Record::from).map_err(damaged)).collect()
}

/// The records of a batch that a cluster stored, which may have compressed it.
pub(crate) fn cluster_records<'a>(batch: &Batch<'a>, scratch: &'a mut Decompressor) -> Result<Vec<Record<'a>>> {
    let walk = batch.records(scratch, &STORED).map_err(damaged)?;
    walk.map(|record| record.map(Record::from).map_err(damaged)).collect()
}

/// The offsets that a cluster's batch says it covers, for one that may be damaged: as the cluster itself finds it, and never
/// ending before what was asked for, so that whoever reads gets past it. What it claims does not reach into the batch after
/// it, nor further than the largest batch would: records that are well are not passed over for one that is not.
pub(crate) fn place_of(batch: &[u8], at: u64, after: Option<&Bytes>) -> Range<u64> {
    let start = base_of(batch).unwrap_or(at);
    let delta = batch.get(23..).and_then(|bytes| bytes.first_chunk::<4>());
    let delta = delta.and_then(|bytes| u64::try_from(i32::from_be_bytes(*bytes)).ok()).unwrap_or(0);
    let from = start.max(at);
    let end = start.saturating_add(delta).clamp(from, from.saturating_add(STORED.max_records.into())).saturating_add(1);
    match after.and_then(|after| base_of(after)) {
        Some(next) if next > from => start..end.min(next),
        _ => start..end,
    }
}

/// What tells a cluster's batches apart: the first offset, and the checksum of everything behind it, which stands behind
/// the first offset, the length, the leader's epoch and the magic.
pub(crate) fn known_by(batch: &[u8]) -> Option<(u64, u32)> {
    Some((base_of(batch)?, u32::from_be_bytes(*batch.get(17..)?.first_chunk()?)))
}

/// The first offset of a batch, which it begins with.
fn base_of(batch: &[u8]) -> Option<u64> {
    u64::try_from(i64::from_be_bytes(*batch.first_chunk()?)).ok()
}
