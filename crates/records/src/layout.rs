//! Where the fields of a batch header are, and its checksum. It knows places, not what may stand there.

/// Bytes of a batch before its first record.
pub const HEADER_LEN: usize = 61;

/// The header as it is on the wire. Fixed-size, so that reading a field needs no check.
pub(crate) type Header = [u8; HEADER_LEN];

/// Base offset and length: what precedes the bytes that the length counts.
pub(crate) const LOG_OVERHEAD: usize = 12;
/// The smallest value of the length field: a header without records.
pub(crate) const MIN_LENGTH: i32 = 49;
/// The one message format handled here.
pub(crate) const MAGIC: i8 = 2;

pub(crate) const BASE_OFFSET: usize = 0;
pub(crate) const LENGTH: usize = 8;
pub(crate) const LEADER_EPOCH: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC: usize = 17;
/// The checksum covers everything from here to the end.
pub(crate) const ATTRIBUTES: usize = 21;
pub(crate) const LAST_OFFSET_DELTA: usize = 23;
pub(crate) const BASE_TIMESTAMP: usize = 27;
pub(crate) const MAX_TIMESTAMP: usize = 35;
pub(crate) const PRODUCER_ID: usize = 43;
pub(crate) const PRODUCER_EPOCH: usize = 51;
pub(crate) const BASE_SEQUENCE: usize = 53;
pub(crate) const RECORD_COUNT: usize = 57;

/// Attributes: bits 0 to 2.
pub(crate) const COMPRESSION_BITS: i16 = 0x07;
pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const TRANSACTIONAL: i16 = 0x10;
pub(crate) const CONTROL: i16 = 0x20;
pub(crate) const DELETE_HORIZON: i16 = 0x40;

/// `N` bytes of the header from `AT`; a place outside of it does not compile.
pub(crate) fn field<const AT: usize, const N: usize>(header: &Header) -> [u8; N] {
    const { assert!(AT < HEADER_LEN && N <= 8 && AT.saturating_add(N) <= HEADER_LEN) };
    let mut bytes = [0; N];
    // The assertion above makes both slices exist.
    if let Some(from) = header.get(AT..).and_then(|tail| tail.get(..N)) {
        bytes.copy_from_slice(from);
    }
    bytes
}

/// Writes `N` bytes of the header at `AT`.
pub(crate) fn set_field<const AT: usize, const N: usize>(header: &mut Header, bytes: [u8; N]) {
    const { assert!(AT < HEADER_LEN && N <= 8 && AT.saturating_add(N) <= HEADER_LEN) };
    if let Some(to) = header.get_mut(AT..).and_then(|tail| tail.get_mut(..N)) {
        to.copy_from_slice(&bytes);
    }
}

/// CRC-32C (Castagnoli) of what follows the checksum in a whole batch; 0 for what is too short to have any.
pub(crate) fn checksum(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(batch.get(ATTRIBUTES..).unwrap_or_default())
}
