//! Decompression under a cap. It knows codecs and frames, not records.
//!
//! Nothing is allocated because input claims a size: buffers grow with what was made already, or are bounded by what a codec
//! can at most make of the bytes that are there.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use crate::batch::Compression;
use crate::error::BatchError;

pub(crate) use lz4::compress as compress_lz4;

/// Where records are decompressed to. Kept from batch to batch, so that its memory is used again.
#[derive(Default)]
pub struct Decompressor {
    out: Sink,
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("capacity", &self.out.bytes.capacity()).finish_non_exhaustive()
    }
}

impl Decompressor {
    /// One that holds no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives memory above `bytes` back. For whoever keeps one per connection and saw a large batch.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.out.bytes.clear();
        self.out.bytes.shrink_to(bytes);
    }

    pub(crate) fn decompress(&mut self, codec: Compression, input: &[u8], cap: usize) -> Result<&[u8], BatchError> {
        self.out.begin(cap);
        let done = match codec {
            Compression::None => self.out.put(input),
            Compression::Gzip => gzip::decompress(input, &mut self.out),
            Compression::Snappy => snappy::decompress(input, &mut self.out),
            Compression::Lz4 => lz4::decompress(input, &mut self.out),
            Compression::Zstd => zstd::decompress(&mut self.zstd, input, &mut self.out),
        };
        match done {
            Ok(()) => Ok(&self.out.bytes),
            Err(Failed::Full) => Err(BatchError::Bomb),
            Err(Failed::Corrupt) => Err(BatchError::Corrupt(codec)),
        }
    }
}

/// Why decompression ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// The cap is reached and there is more.
    Full,
    /// The input is none of that codec.
    Corrupt,
}

/// A buffer that does not grow beyond its cap.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    cap: usize,
}

impl Sink {
    fn begin(&mut self, cap: usize) {
        self.bytes.clear();
        self.cap = cap;
    }

    /// What may still be appended.
    fn room(&self) -> usize {
        self.cap.saturating_sub(self.bytes.len())
    }

    /// Makes place for `more` bytes, which are at most [`room`](Self::room). Grows by half at least, never beyond the cap.
    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len().saturating_add(more);
        if needed > self.bytes.capacity() {
            let roomy = self.bytes.capacity().saturating_add(self.bytes.capacity() >> 1).min(self.cap);
            self.bytes.reserve_exact(needed.max(roomy).saturating_sub(self.bytes.len()));
        }
    }

    /// Appends up to `most` bytes, which `write` puts into the slice that it gets; what was written before is the first
    /// slice. `write` says how many it wrote. `most` is cut to the room that is left.
    fn fill<E>(&mut self, most: usize, write: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        let most = most.min(self.room());
        let before = self.bytes.len();
        self.reserve(most);
        self.bytes.resize(before.saturating_add(most), 0);
        let written = match self.bytes.split_at_mut_checked(before) {
            Some((past, fresh)) => write(past, fresh),
            None => Ok(0),
        };
        let keep = written.as_ref().map_or(0, |&written| written.min(most));
        self.bytes.truncate(before.saturating_add(keep));
        written
    }

    fn put(&mut self, input: &[u8]) -> Result<(), Failed> {
        if input.len() > self.room() {
            return Err(Failed::Full);
        }
        self.reserve(input.len());
        self.bytes.extend_from_slice(input);
        Ok(())
    }
}
