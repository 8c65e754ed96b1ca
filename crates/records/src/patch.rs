//! Fields of a whole batch changed where they stand. Those that the checksum covers get a new one.
//!
//! It looks at nothing but the length: the bytes are those of a [`Batch`](crate::Batch) that was parsed, or was just built.

use crate::error::BatchError;
use crate::layout::{self, HEADER_LEN, Header};

/// Sets the base offset. The checksum does not cover it.
pub fn set_base_offset(batch: &mut [u8], offset: i64) -> Result<(), BatchError> {
    layout::set_field::<{ layout::BASE_OFFSET }, 8>(header(batch)?, offset.to_be_bytes());
    Ok(())
}

/// Sets the epoch of the partition's leader. The checksum does not cover it.
pub fn set_leader_epoch(batch: &mut [u8], epoch: i32) -> Result<(), BatchError> {
    layout::set_field::<{ layout::LEADER_EPOCH }, 4>(header(batch)?, epoch.to_be_bytes());
    Ok(())
}

/// Makes the batch one of `LogAppendTime`: all its records are of `timestamp`, milliseconds since 1970.
pub fn set_log_append_time(batch: &mut [u8], timestamp: i64) -> Result<(), BatchError> {
    let header = header(batch)?;
    let attributes = i16::from_be_bytes(layout::field::<{ layout::ATTRIBUTES }, 2>(header)) | layout::LOG_APPEND_TIME;
    layout::set_field::<{ layout::ATTRIBUTES }, 2>(header, attributes.to_be_bytes());
    layout::set_field::<{ layout::MAX_TIMESTAMP }, 8>(header, timestamp.to_be_bytes());
    reseal(batch)
}

/// Sets the idempotent producer: its id, its epoch and the sequence number of the first record; -1 each for none.
pub fn set_producer(batch: &mut [u8], id: i64, epoch: i16, base_sequence: i32) -> Result<(), BatchError> {
    let header = header(batch)?;
    layout::set_field::<{ layout::PRODUCER_ID }, 8>(header, id.to_be_bytes());
    layout::set_field::<{ layout::PRODUCER_EPOCH }, 2>(header, epoch.to_be_bytes());
    layout::set_field::<{ layout::BASE_SEQUENCE }, 4>(header, base_sequence.to_be_bytes());
    reseal(batch)
}

/// Writes length and checksum of the batch that `batch` is, to its last byte.
pub(crate) fn reseal(batch: &mut [u8]) -> Result<(), BatchError> {
    let too_large = BatchError::TooLarge(batch.len());
    let length = batch.len().checked_sub(layout::LOG_OVERHEAD).and_then(|length| i32::try_from(length).ok());
    let length = length.ok_or(too_large)?;
    let crc = layout::checksum(batch);
    let header = header(batch)?;
    layout::set_field::<{ layout::LENGTH }, 4>(header, length.to_be_bytes());
    layout::set_field::<{ layout::CRC }, 4>(header, crc.to_be_bytes());
    Ok(())
}

fn header(batch: &mut [u8]) -> Result<&mut Header, BatchError> {
    let available = batch.len();
    batch.first_chunk_mut().ok_or(BatchError::Truncated { needed: HEADER_LEN, available })
}
