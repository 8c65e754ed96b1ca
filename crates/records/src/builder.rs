//! Writes one batch to the end of a buffer. It knows how a batch is written, not where its records come from.

use std::ops::Range;

use crate::batch::{Batch, TimestampType};
use crate::codec::compress_lz4;
use crate::layout::{self, HEADER_LEN};
use crate::patch;
use crate::record::{Headers, Record};
use crate::varint;

/// What the header of a batch says beside what follows from its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// Offset of the record with delta 0.
    pub base_offset: i64,
    /// Epoch of the partition's leader; -1 for none.
    pub leader_epoch: i32,
    /// Milliseconds since 1970 that timestamps are written as distances from. Any value near them will do.
    pub base_timestamp: i64,
    /// `None`: records have their own timestamps. Else the broker's clock when it appended the batch.
    pub log_append_time: Option<i64>,
    /// Whether it is part of a transaction.
    pub transactional: bool,
    /// Whether its records are markers of the broker.
    pub control: bool,
    /// Whether `base_timestamp` is the delete horizon of compaction (KIP-534).
    pub delete_horizon: bool,
    /// The idempotent producer; -1 for none.
    pub producer_id: i64,
    /// Its epoch; -1 for none.
    pub producer_epoch: i16,
    /// Sequence number of the record with delta 0; -1 for none.
    pub base_sequence: i32,
    /// What a batch without records says its largest timestamp is, in milliseconds since 1970; -1 for none.
    pub empty_max_timestamp: i64,
}

impl Default for BatchHead {
    /// Offset 0, no leader epoch, no producer, `CreateTime` from 1970 on.
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            base_timestamp: 0,
            log_append_time: None,
            transactional: false,
            control: false,
            delete_horizon: false,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            empty_max_timestamp: -1,
        }
    }
}

impl BatchHead {
    /// The head of a batch that is to replace `batch`.
    pub fn of(batch: &Batch<'_>) -> Self {
        Self {
            base_offset: batch.base_offset(),
            leader_epoch: batch.leader_epoch(),
            base_timestamp: batch.base_timestamp(),
            log_append_time: (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp()),
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            delete_horizon: batch.delete_horizon().is_some(),
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            base_sequence: batch.base_sequence(),
            empty_max_timestamp: batch.max_timestamp(),
        }
    }

    fn attributes(&self) -> i16 {
        let bit = |set: bool, bit: i16| if set { bit } else { 0 };
        bit(self.log_append_time.is_some(), layout::LOG_APPEND_TIME)
            | bit(self.transactional, layout::TRANSACTIONAL)
            | bit(self.control, layout::CONTROL)
            | bit(self.delete_horizon, layout::DELETE_HORIZON)
    }
}

/// How records go out. Nothing slower is offered: recompressing costs many times what filtering does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// As they are.
    #[default]
    Uncompressed,
    /// LZ4 at its fastest; uncompressed if that is smaller.
    Lz4,
}

/// Headers to write.
#[derive(Debug, Clone, Copy)]
pub enum HeaderSource<'h> {
    /// As another record has them.
    Raw(Headers<'h>),
    /// Names and values.
    List(&'h [(&'h [u8], Option<&'h [u8]>)]),
}

impl HeaderSource<'_> {
    /// No headers.
    pub const NONE: HeaderSource<'static> = HeaderSource::List(&[]);
}

impl<'h> From<Headers<'h>> for HeaderSource<'h> {
    fn from(headers: Headers<'h>) -> Self {
        Self::Raw(headers)
    }
}

impl<'h> From<&'h [(&'h [u8], Option<&'h [u8]>)]> for HeaderSource<'h> {
    fn from(list: &'h [(&'h [u8], Option<&'h [u8]>)]) -> Self {
        Self::List(list)
    }
}

/// Appends `list` to `out` as a record has its headers, count included.
pub fn encode_headers(list: &[(&[u8], Option<&[u8]>)], out: &mut Vec<u8>) -> Result<(), BuildError> {
    varint::put_i32(out, i32::try_from(list.len()).map_err(|_| BuildError::TooLarge)?);
    for (name, value) in list {
        put_bytes(out, Some(name))?;
        put_bytes(out, *value)?;
    }
    Ok(())
}

/// Why a batch cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Offset deltas are negative, do not increase, or pass the last one that was said.
    #[error("the offset deltas of a batch have to increase")]
    OffsetDelta,
    /// The distance to the base timestamp fits no 64-bit number.
    #[error("a timestamp is too far from the base timestamp")]
    Timestamp,
    /// A batch, a record or a field has 2 GiB or more.
    #[error("a batch cannot have 2 GiB")]
    TooLarge,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Where in the buffer the batch is.
    pub range: Range<usize>,
    /// Records in it.
    pub records: u32,
    /// Its largest timestamp, milliseconds since 1970.
    pub max_timestamp: i64,
}

/// Appends one batch to a buffer. What is not [finished](Self::finish) leaves the buffer as it was.
#[derive(Debug)]
pub struct BatchBuilder<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    head: BatchHead,
    count: u32,
    next_delta: i64,
    max_timestamp: Option<i64>,
    finished: bool,
}

impl Drop for BatchBuilder<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

impl<'o> BatchBuilder<'o> {
    /// Begins a batch at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>, head: &BatchHead) -> Self {
        let start = out.len();
        let mut header = [0; HEADER_LEN];
        layout::set_field::<{ layout::BASE_OFFSET }, 8>(&mut header, head.base_offset.to_be_bytes());
        layout::set_field::<{ layout::LEADER_EPOCH }, 4>(&mut header, head.leader_epoch.to_be_bytes());
        layout::set_field::<{ layout::MAGIC_AT }, 1>(&mut header, layout::MAGIC.to_be_bytes());
        layout::set_field::<{ layout::ATTRIBUTES }, 2>(&mut header, head.attributes().to_be_bytes());
        layout::set_field::<{ layout::BASE_TIMESTAMP }, 8>(&mut header, head.base_timestamp.to_be_bytes());
        layout::set_field::<{ layout::PRODUCER_ID }, 8>(&mut header, head.producer_id.to_be_bytes());
        layout::set_field::<{ layout::PRODUCER_EPOCH }, 2>(&mut header, head.producer_epoch.to_be_bytes());
        layout::set_field::<{ layout::BASE_SEQUENCE }, 4>(&mut header, head.base_sequence.to_be_bytes());
        out.extend_from_slice(&header);
        Self { out, start, head: *head, count: 0, next_delta: 0, max_timestamp: None, finished: false }
    }

    /// Records so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far, header included, uncompressed.
    pub fn len(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    /// Whether no record was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends a record. `offset_delta` is larger than that of the record before; `timestamp` is in milliseconds since 1970.
    /// After an error nothing of the record is there.
    pub fn push<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Into<HeaderSource<'h>>,
    ) -> Result<(), BuildError> {
        let delta = timestamp.checked_sub(self.head.base_timestamp).ok_or(BuildError::Timestamp)?;
        let headers = headers.into();
        let place = self.out.len();
        self.check_delta(offset_delta)?;
        let written = put_record(self.out, offset_delta, delta, key, value, headers);
        if written.is_err() {
            self.out.truncate(place);
            return written;
        }
        self.pushed(offset_delta, timestamp);
        Ok(())
    }

    /// Appends a record of another batch as it is: its bytes are copied if its timestamp is written the same here.
    pub fn push_record(&mut self, record: &Record<'_>) -> Result<(), BuildError> {
        if self.head.log_append_time.is_none()
            && self.head.base_timestamp.checked_add(record.timestamp_delta()) != Some(record.timestamp)
        {
            return self.push(record.offset_delta, record.timestamp, record.key, record.value, record.headers);
        }
        self.check_delta(record.offset_delta)?;
        self.out.extend_from_slice(record.raw());
        self.pushed(record.offset_delta, record.timestamp);
        Ok(())
    }

    /// Writes length, counts, timestamps and checksum. `last_offset_delta` is the last offset that the batch stands for,
    /// whether or not there is a record: a batch whose last records were dropped keeps it, and so does one that lost all.
    pub fn finish(self, last_offset_delta: i32) -> Result<Built, BuildError> {
        self.finish_as(last_offset_delta, Output::Uncompressed)
    }

    /// Like [`finish`](Self::finish), with the records compressed if that is wanted and makes them smaller.
    pub fn finish_as(mut self, last_offset_delta: i32, output: Output) -> Result<Built, BuildError> {
        if last_offset_delta < 0 || i64::from(last_offset_delta).saturating_add(1) < self.next_delta {
            return Err(BuildError::OffsetDelta);
        }
        let max_timestamp = self.head.log_append_time.or(self.max_timestamp).unwrap_or(self.head.empty_max_timestamp);
        let count = i32::try_from(self.count).map_err(|_| BuildError::TooLarge)?;
        let packed = output == Output::Lz4 && self.pack();
        let batch = self.out.get_mut(self.start..).ok_or(BuildError::TooLarge)?;
        let header = batch.first_chunk_mut::<HEADER_LEN>().ok_or(BuildError::TooLarge)?;
        if packed {
            let attributes = self.head.attributes() | 3;
            layout::set_field::<{ layout::ATTRIBUTES }, 2>(header, attributes.to_be_bytes());
        }
        layout::set_field::<{ layout::LAST_OFFSET_DELTA }, 4>(header, last_offset_delta.to_be_bytes());
        layout::set_field::<{ layout::MAX_TIMESTAMP }, 8>(header, max_timestamp.to_be_bytes());
        layout::set_field::<{ layout::RECORD_COUNT }, 4>(header, count.to_be_bytes());
        patch::reseal(batch).map_err(|_| BuildError::TooLarge)?;
        self.finished = true;
        Ok(Built { range: self.start..self.out.len(), records: self.count, max_timestamp })
    }

    /// Replaces the records by what LZ4 makes of them, if that is less.
    fn pack(&mut self) -> bool {
        let body = self.start.saturating_add(HEADER_LEN);
        let end = self.out.len();
        compress_lz4(self.out, body);
        let packed = self.out.len().saturating_sub(end);
        let smaller = packed < end.saturating_sub(body);
        if smaller {
            self.out.copy_within(end.., body);
        }
        self.out.truncate(if smaller { body.saturating_add(packed) } else { end });
        smaller
    }

    /// Appends records that follow each other in another batch with the same base offset and base timestamp.
    pub(crate) fn push_run(&mut self, run: &[u8], records: u32, last_delta: i32, max_timestamp: Option<i64>) {
        self.out.extend_from_slice(run);
        self.count = self.count.saturating_add(records);
        self.next_delta = i64::from(last_delta).saturating_add(1);
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
    }

    /// Appends a record of such a batch with another value and, if they are given, other headers.
    pub(crate) fn push_replaced(
        &mut self,
        record: &Record<'_>,
        value: Option<&[u8]>,
        headers: Option<&[u8]>,
    ) -> Result<(), BuildError> {
        let (prefix, headers) = (record.prefix(), headers.unwrap_or(record.headers.raw()));
        let length = sum(&[prefix.len(), bytes_len(value)?, headers.len()])?;
        varint::put_i32(self.out, length);
        self.out.extend_from_slice(prefix);
        put_bytes(self.out, value)?;
        self.out.extend_from_slice(headers);
        self.pushed(record.offset_delta, record.timestamp);
        Ok(())
    }

    fn check_delta(&self, offset_delta: i32) -> Result<(), BuildError> {
        if i64::from(offset_delta) < self.next_delta { Err(BuildError::OffsetDelta) } else { Ok(()) }
    }

    fn pushed(&mut self, offset_delta: i32, timestamp: i64) {
        self.count = self.count.saturating_add(1);
        self.next_delta = i64::from(offset_delta).saturating_add(1);
        self.max_timestamp = self.max_timestamp.max(Some(timestamp));
    }
}

fn put_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: HeaderSource<'_>,
) -> Result<(), BuildError> {
    let deltas = varint::len_i64(timestamp_delta).saturating_add(varint::len_i32(offset_delta));
    let length = sum(&[1, deltas, bytes_len(key)?, bytes_len(value)?, headers_len(headers)?])?;
    varint::put_i32(out, length);
    out.push(0);
    varint::put_i64(out, timestamp_delta);
    varint::put_i32(out, offset_delta);
    put_bytes(out, key)?;
    put_bytes(out, value)?;
    match headers {
        HeaderSource::Raw(headers) => {
            out.extend_from_slice(headers.raw());
            Ok(())
        }
        HeaderSource::List(list) => encode_headers(list, out),
    }
}

fn headers_len(headers: HeaderSource<'_>) -> Result<usize, BuildError> {
    match headers {
        HeaderSource::Raw(headers) => Ok(headers.raw().len()),
        HeaderSource::List(list) => {
            let count = i32::try_from(list.len()).map_err(|_| BuildError::TooLarge)?;
            list.iter().try_fold(varint::len_i32(count), |sum, (name, value)| {
                Ok(sum.saturating_add(bytes_len(Some(name))?).saturating_add(bytes_len(*value)?))
            })
        }
    }
}

fn sum(parts: &[usize]) -> Result<i32, BuildError> {
    let sum = parts.iter().fold(0usize, |sum, part| sum.saturating_add(*part));
    i32::try_from(sum).map_err(|_| BuildError::TooLarge)
}

fn bytes_len(bytes: Option<&[u8]>) -> Result<usize, BuildError> {
    let Some(bytes) = bytes else { return Ok(1) };
    let length = i32::try_from(bytes.len()).map_err(|_| BuildError::TooLarge)?;
    Ok(varint::len_i32(length).saturating_add(bytes.len()))
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), BuildError> {
    let Some(bytes) = bytes else {
        varint::put_i32(out, -1);
        return Ok(());
    };
    varint::put_i32(out, i32::try_from(bytes.len()).map_err(|_| BuildError::TooLarge)?);
    out.extend_from_slice(bytes);
    Ok(())
}
