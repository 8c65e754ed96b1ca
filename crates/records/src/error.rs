//! Why a batch is refused. It knows Kafka's error codes and no one's bytes: an error names figures, never contents.

use crate::batch::Compression;

/// Why bytes are not a batch that can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch has. A broker cuts the last batch of a fetch like this.
    #[error("the batch is cut off: it has {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes of the whole batch, or of the length field if that is cut as well.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// The length is below what a header needs.
    #[error("a batch cannot be {0} bytes long")]
    Length(i32),
    /// Larger than [`Limits::max_batch_bytes`](crate::Limits::max_batch_bytes).
    #[error("the batch has {0} bytes, more than the limit")]
    TooLarge(usize),
    /// Not magic 2: a message set of before Kafka 0.11, or no batch at all.
    #[error("record batches of magic 2 are handled, this one has magic {0}")]
    Magic(i8),
    /// The checksum does not match.
    #[error("the checksum of the batch is wrong")]
    Crc,
    /// A negative number of records, or more than bytes can hold.
    #[error("a batch cannot have {0} records")]
    RecordCount(i32),
    /// More than [`Limits::max_records`](crate::Limits::max_records).
    #[error("the batch has {0} records, more than the limit")]
    TooManyRecords(u32),
    /// The last offset delta is negative, or offsets would pass the largest number.
    #[error("the offsets of the batch are out of range")]
    Offsets,
    /// A compression that is none of Kafka's.
    #[error("compression type {0} is not known")]
    Compression(u8),
    /// What is compressed does not decompress.
    #[error("the records do not decompress as {0:?}")]
    Corrupt(Compression),
    /// It decompresses to more than [`Limits::max_decompressed`](crate::Limits::max_decompressed).
    #[error("the records decompress to more than the limit")]
    Bomb,
    /// A variable-length integer that is cut off, too long, or longer than its value needs.
    #[error("a variable-length integer is malformed")]
    Varint,
    /// A length inside of a record is negative or leads out of it.
    #[error("a record's fields do not fit into the record")]
    Fields,
    /// A record's length is negative, leads out of the batch, or is more than its fields need.
    #[error("a record's length does not match its fields")]
    RecordLength,
    /// Offset deltas do not increase, or leave the range of the batch.
    #[error("the offset delta of a record is out of order")]
    OffsetDelta,
    /// A timestamp that no 64-bit number holds.
    #[error("the timestamp of a record is out of range")]
    Timestamp,
    /// More than [`Limits::max_headers`](crate::Limits::max_headers).
    #[error("a record has more headers than the limit")]
    TooManyHeaders,
    /// Bytes after the last record.
    #[error("bytes follow the last record of the batch")]
    Trailing,
}

impl BatchError {
    /// Kafka's error code for a client that sent such a batch (protocol guide, "Error Codes").
    pub fn kafka_code(&self) -> i16 {
        match self {
            // MESSAGE_TOO_LARGE
            Self::TooLarge(_) | Self::TooManyRecords(_) | Self::Bomb | Self::TooManyHeaders => 10,
            // UNSUPPORTED_FOR_MESSAGE_FORMAT
            Self::Magic(_) => 43,
            // UNSUPPORTED_COMPRESSION_TYPE
            Self::Compression(_) => 76,
            // INVALID_RECORD
            Self::RecordCount(_) | Self::Offsets | Self::OffsetDelta | Self::Timestamp => 87,
            // CORRUPT_MESSAGE
            Self::Truncated { .. }
            | Self::Length(_)
            | Self::Crc
            | Self::Corrupt(_)
            | Self::Varint
            | Self::Fields
            | Self::RecordLength
            | Self::Trailing => 2,
        }
    }
}
