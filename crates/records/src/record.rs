//! Records of a batch as ranges of its bytes. It knows how a record is written, not what its key, value and headers mean.

use crate::batch::{Batch, TimestampType};
use crate::error::BatchError;
use crate::limits::Limits;
use crate::varint;

/// Length, attributes, two deltas, two absent fields, no headers: a byte each.
pub(crate) const MIN_RECORD_LEN: u64 = 7;

/// One record. Everything in it was checked against the record's and the batch's bounds.
#[derive(Clone, Copy)]
pub struct Record<'b> {
    /// Offset from the batch's base offset. Not negative, larger than that of the record before.
    pub offset_delta: i32,
    /// Milliseconds since 1970. In a batch with `LogAppendTime` the batch's largest timestamp.
    pub timestamp: i64,
    /// The key, if it has one.
    pub key: Option<&'b [u8]>,
    /// The value; none in a tombstone.
    pub value: Option<&'b [u8]>,
    /// The headers, in their order, duplicates included.
    pub headers: Headers<'b>,
    /// Everything, length included.
    raw: &'b [u8],
    /// From the attributes to the end of the key: what stays if another value is put in.
    prefix: &'b [u8],
    /// As it is written, whatever the timestamp type.
    timestamp_delta: i64,
}

impl std::fmt::Debug for Record<'_> {
    /// Sizes only: keys, values and headers are somebody's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("offset_delta", &self.offset_delta)
            .field("timestamp", &self.timestamp)
            .field("bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

impl<'b> Record<'b> {
    /// The whole record as it is written, its length included.
    pub fn raw(&self) -> &'b [u8] {
        self.raw
    }

    /// Timestamp less the batch's base timestamp, as it is written.
    pub fn timestamp_delta(&self) -> i64 {
        self.timestamp_delta
    }

    /// From the attributes to the end of the key.
    pub(crate) fn prefix(&self) -> &'b [u8] {
        self.prefix
    }
}

/// The records of a batch, in order. Exactly as many as the batch says, and no byte after the last; ends after an error.
#[derive(Debug, Clone)]
pub struct Records<'b> {
    rest: &'b [u8],
    len: usize,
    remaining: u32,
    next_delta: i64,
    last_delta: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    max_headers: u32,
    done: bool,
}

impl<'b> Records<'b> {
    pub(crate) fn new(batch: &Batch<'_>, body: &'b [u8], limits: &Limits) -> Self {
        Self {
            rest: body,
            len: body.len(),
            remaining: batch.record_count(),
            next_delta: 0,
            last_delta: i64::from(batch.last_offset_delta()),
            base_timestamp: batch.base_timestamp(),
            append_time: (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp()),
            max_headers: limits.max_headers,
            done: false,
        }
    }

    /// Bytes of all records, uncompressed.
    pub fn uncompressed_len(&self) -> usize {
        self.len
    }

    pub(crate) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    #[inline]
    fn step(&mut self) -> Result<Record<'b>, BatchError> {
        let before = self.rest;
        let mut rest = self.rest;
        let length = varint::take_i32(&mut rest)?;
        let length = usize::try_from(length).map_err(|_| BatchError::RecordLength)?;
        let (body, after) = rest.split_at_checked(length).ok_or(BatchError::RecordLength)?;
        let raw = before.get(..before.len().saturating_sub(after.len())).ok_or(BatchError::RecordLength)?;

        // Attributes of a record: none are in use; whatever stands there stays.
        let mut fields = body.get(1..).ok_or(BatchError::Fields)?;
        let timestamp_delta = varint::take_i64(&mut fields)?;
        let offset_delta = varint::take_i32(&mut fields)?;
        let key = take_bytes(&mut fields)?;
        let prefix = body.get(..body.len().saturating_sub(fields.len())).ok_or(BatchError::Fields)?;
        let value = take_bytes(&mut fields)?;
        let headers = Headers::check(fields, self.max_headers)?;

        let delta = i64::from(offset_delta);
        if delta < self.next_delta || delta > self.last_delta {
            return Err(BatchError::OffsetDelta);
        }
        let own = self.base_timestamp.checked_add(timestamp_delta).ok_or(BatchError::Timestamp)?;
        self.next_delta = delta.saturating_add(1);
        self.rest = after;
        let timestamp = self.append_time.unwrap_or(own);
        Ok(Record { offset_delta, timestamp, key, value, headers, raw, prefix, timestamp_delta })
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<Record<'b>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.remaining == 0 {
            self.done = true;
            return (!self.rest.is_empty()).then_some(Err(BatchError::Trailing));
        }
        self.remaining = self.remaining.saturating_sub(1);
        let step = self.step();
        self.done = step.is_err();
        Some(step)
    }
}

/// The headers of a record, checked when the record was. Iterates over names and values without copying.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Headers<'b> {
    raw: &'b [u8],
    rest: &'b [u8],
    remaining: u32,
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Headers").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl<'b> Headers<'b> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers { raw: &[0], rest: &[], remaining: 0 };

    /// Headers as they are written, count included, to the last byte.
    pub fn parse(raw: &'b [u8], limits: &Limits) -> Result<Self, BatchError> {
        Self::check(raw, limits.max_headers)
    }

    /// `raw` goes to the end of the record, so bytes that are left over make its length wrong.
    #[inline]
    fn check(raw: &'b [u8], most: u32) -> Result<Self, BatchError> {
        if raw == [0] {
            return Ok(Headers { raw, rest: &[], remaining: 0 });
        }
        let mut rest = raw;
        let count = u32::try_from(varint::take_i32(&mut rest)?).map_err(|_| BatchError::Fields)?;
        if count > most {
            return Err(BatchError::TooManyHeaders);
        }
        let mut walk = rest;
        for _ in 0..count {
            take_bytes(&mut walk)?.ok_or(BatchError::Fields)?;
            take_bytes(&mut walk)?;
        }
        if !walk.is_empty() {
            return Err(BatchError::RecordLength);
        }
        Ok(Headers { raw, rest, remaining: count })
    }

    /// As they are written, count included. The whole of them, wherever the iteration is.
    pub fn raw(&self) -> &'b [u8] {
        self.raw
    }

    /// How many are left.
    pub fn count_left(&self) -> u32 {
        self.remaining
    }
}

impl<'b> Iterator for Headers<'b> {
    /// Name and value. Kafka's names are UTF-8 by convention; nobody enforces it.
    type Item = (&'b [u8], Option<&'b [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let name = take_bytes(&mut self.rest).ok().flatten()?;
        let value = take_bytes(&mut self.rest).ok()?;
        Some((name, value))
    }
}

/// A length and as many bytes; -1 is none.
#[inline]
fn take_bytes<'b>(fields: &mut &'b [u8]) -> Result<Option<&'b [u8]>, BatchError> {
    let length = varint::take_i32(fields)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| BatchError::Fields)?;
    let (bytes, rest) = fields.split_at_checked(length).ok_or(BatchError::Fields)?;
    *fields = rest;
    Ok(Some(bytes))
}
