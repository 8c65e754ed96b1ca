//! What a batch from outside may cost. It knows no configuration; the caller brings its own figures.

/// Caps for one batch. No input makes this crate allocate more than a small multiple of its own length, or more than
/// `max_decompressed` and a fixed working set for what is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a batch as it is on the wire, its header included.
    pub max_batch_bytes: usize,
    /// Records in a batch, whatever its header claims.
    pub max_records: u32,
    /// Bytes that the records of a batch may have once decompressed.
    pub max_decompressed: usize,
    /// Headers of a record.
    pub max_headers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_batch_bytes: 16 << 20, max_records: 100_000, max_decompressed: 64 << 20, max_headers: 1_000 }
    }
}
