//! One whole batch, its header checked and, unless somebody did better before, its checksum verified. It knows the header;
//! records are in `record`.

use crate::codec::Decompressor;
use crate::error::BatchError;
use crate::layout::{self, HEADER_LEN, Header};
use crate::limits::Limits;
use crate::record::{MIN_RECORD_LEN, Records};

/// How the records of a batch are compressed (attributes, bits 0 to 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// 0: as they are.
    None,
    /// 1: RFC 1952.
    Gzip,
    /// 2: Snappy, raw or in the frames of xerial's Java library.
    Snappy,
    /// 3: the LZ4 frame format.
    Lz4,
    /// 4: RFC 8878.
    Zstd,
}

impl Compression {
    fn of(attributes: i16) -> Result<Self, BatchError> {
        match attributes & layout::COMPRESSION_BITS {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BatchError::Compression(u8::try_from(other).unwrap_or(u8::MAX))),
        }
    }
}

/// Whose clock the timestamps of a batch are of (attributes, bit 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer's; each record has its own.
    #[default]
    CreateTime,
    /// The broker's; all records have the batch's largest timestamp.
    LogAppendTime,
}

/// One whole batch: magic 2, plausible header, and the checksum is right or the bytes were authenticated. Its records are not
/// looked at before [`records`](Self::records) walks them.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    header: &'a Header,
    bytes: &'a [u8],
    compression: Compression,
}

impl std::fmt::Debug for Batch<'_> {
    /// The header only: records are somebody's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("base_offset", &self.base_offset())
            .field("bytes", &self.bytes.len())
            .field("records", &self.record_count())
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    /// Takes one batch off the front of `bytes`; what follows it is returned with it.
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<(Self, &'a [u8]), BatchError> {
        Self::checked(bytes, limits, true)
    }

    /// The same without a look at the checksum, for bytes that were found to be those that were written, by a stronger check
    /// than it is.
    pub fn parse_authenticated(bytes: &'a [u8], limits: &Limits) -> Result<(Self, &'a [u8]), BatchError> {
        Self::checked(bytes, limits, false)
    }

    fn checked(bytes: &'a [u8], limits: &Limits, sum: bool) -> Result<(Self, &'a [u8]), BatchError> {
        let length = claimed_length(bytes)?;
        if length > limits.max_batch_bytes {
            return Err(BatchError::TooLarge(length));
        }
        let cut = BatchError::Truncated { needed: length, available: bytes.len() };
        // The magic stands where older formats had it, so that they are told from a batch that is cut.
        if let Some(&magic) = bytes.get(layout::MAGIC_AT)
            && magic.cast_signed() != layout::MAGIC
        {
            return Err(BatchError::Magic(magic.cast_signed()));
        }
        let (bytes, rest) = bytes.split_at_checked(length).ok_or(cut)?;
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(cut)?;
        if sum && u32::from_be_bytes(layout::field::<{ layout::CRC }, 4>(header)) != layout::checksum(bytes) {
            return Err(BatchError::Crc);
        }
        let attributes = i16::from_be_bytes(layout::field::<{ layout::ATTRIBUTES }, 2>(header));
        let batch = Self { header, bytes, compression: Compression::of(attributes)? };
        batch.check_counts(limits)?;
        Ok((batch, rest))
    }

    fn check_counts(&self, limits: &Limits) -> Result<(), BatchError> {
        let claimed = i32::from_be_bytes(layout::field::<{ layout::RECORD_COUNT }, 4>(self.header));
        let count = u32::try_from(claimed).map_err(|_| BatchError::RecordCount(claimed))?;
        let room = match self.compression {
            Compression::None => self.body().len(),
            _ => limits.max_decompressed,
        };
        if u64::from(count).saturating_mul(MIN_RECORD_LEN) > u64::try_from(room).unwrap_or(u64::MAX) {
            return Err(BatchError::RecordCount(claimed));
        }
        if count > limits.max_records {
            return Err(BatchError::TooManyRecords(count));
        }
        let last = self.last_offset_delta();
        if last < 0 || self.base_offset().checked_add(i64::from(last)).is_none_or(|offset| offset == i64::MAX) {
            return Err(BatchError::Offsets);
        }
        Ok(())
    }

    /// The batch as it is on the wire.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as they are on the wire, compressed if the batch is.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Offset of the record with delta 0, whether or not it is still there.
    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(layout::field::<{ layout::BASE_OFFSET }, 8>(self.header))
    }

    /// Delta of the last offset that the batch covers, whether or not that record is still there. Not negative.
    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(layout::field::<{ layout::LAST_OFFSET_DELTA }, 4>(self.header))
    }

    /// The last offset that the batch covers.
    pub fn last_offset(&self) -> i64 {
        // Checked when it was parsed.
        self.base_offset().saturating_add(i64::from(self.last_offset_delta()))
    }

    /// Where the next batch begins.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Epoch of the partition's leader when the batch was appended; -1 for none.
    pub fn leader_epoch(&self) -> i32 {
        i32::from_be_bytes(layout::field::<{ layout::LEADER_EPOCH }, 4>(self.header))
    }

    /// What timestamp deltas count from, in milliseconds since 1970. If compaction set the delete horizon it is that.
    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(layout::field::<{ layout::BASE_TIMESTAMP }, 8>(self.header))
    }

    /// The largest timestamp of the batch as its writer says, in milliseconds since 1970; -1 for none.
    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(layout::field::<{ layout::MAX_TIMESTAMP }, 8>(self.header))
    }

    /// The idempotent producer; -1 for none.
    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(layout::field::<{ layout::PRODUCER_ID }, 8>(self.header))
    }

    /// The producer's epoch; -1 for none.
    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(layout::field::<{ layout::PRODUCER_EPOCH }, 2>(self.header))
    }

    /// Sequence number of the record with delta 0; -1 for none.
    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(layout::field::<{ layout::BASE_SEQUENCE }, 4>(self.header))
    }

    /// Sequence number of the last offset; -1 for none. After the largest number comes 0, as in Kafka.
    pub fn last_sequence(&self) -> i32 {
        let (base, delta) = (self.base_sequence(), self.last_offset_delta());
        if base < 0 {
            return -1;
        }
        base.wrapping_add(delta) & i32::MAX
    }

    /// Records that are there.
    pub fn record_count(&self) -> u32 {
        u32::from_be_bytes(layout::field::<{ layout::RECORD_COUNT }, 4>(self.header))
    }

    /// Whether every offset that the batch covers has its record, as in a batch fresh from a producer.
    pub fn is_dense(&self) -> bool {
        i64::from(self.record_count()) == i64::from(self.last_offset_delta()).saturating_add(1)
    }

    /// The CRC-32C of everything from the attributes on: what tells two batches in one place apart.
    pub fn checksum(&self) -> u32 {
        u32::from_be_bytes(layout::field::<{ layout::CRC }, 4>(self.header))
    }

    /// All attribute bits.
    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(layout::field::<{ layout::ATTRIBUTES }, 2>(self.header))
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whose clock the timestamps are of.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes() & layout::LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether it is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & layout::TRANSACTIONAL != 0
    }

    /// Whether its records are markers of the broker (commit, abort) and not anyone's data.
    pub fn is_control(&self) -> bool {
        self.attributes() & layout::CONTROL != 0
    }

    /// When the broker may remove tombstones and markers, if compaction set that (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes() & layout::DELETE_HORIZON != 0).then(|| self.base_timestamp())
    }

    /// Walks the records of a batch that is not compressed, for as long as its bytes live; none of one that is.
    pub fn plain_records(&self, limits: &Limits) -> Option<Records<'a>> {
        (self.compression == Compression::None).then(|| Records::new(self, self.body(), limits))
    }

    /// Walks the records. What is compressed is decompressed into `scratch`, what is not is borrowed from the batch.
    pub fn records<'s>(&self, scratch: &'s mut Decompressor, limits: &Limits) -> Result<Records<'s>, BatchError>
    where
        'a: 's,
    {
        let body = self.body();
        let body = match self.compression {
            Compression::None => body,
            // A filtered batch may keep its codec's number and have nothing to decompress.
            _ if body.is_empty() && self.record_count() == 0 => body,
            codec => scratch.decompress(codec, body, limits.max_decompressed)?,
        };
        Ok(Records::new(self, body, limits))
    }
}

/// Bytes of the batch that `bytes` begin with, as its length field says.
pub(crate) fn claimed_length(bytes: &[u8]) -> Result<usize, BatchError> {
    let Some((_, &length)) = bytes.split_at_checked(layout::LENGTH).and_then(|(a, b)| Some((a, b.first_chunk::<4>()?)))
    else {
        return Err(BatchError::Truncated { needed: layout::LOG_OVERHEAD, available: bytes.len() });
    };
    let length = i32::from_be_bytes(length);
    if length < layout::MIN_LENGTH {
        // Messages of older formats may be shorter; they are called by their name.
        return match bytes.get(layout::MAGIC_AT).map(|magic| magic.cast_signed()) {
            Some(magic @ (0 | 1)) => Err(BatchError::Magic(magic)),
            _ => Err(BatchError::Length(length)),
        };
    }
    usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(layout::LOG_OVERHEAD))
        .ok_or(BatchError::Length(length))
}
