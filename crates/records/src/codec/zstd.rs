//! Zstandard (RFC 8878). It knows no records.
//!
//! A frame is decompressed into one piece of memory, so that its window is the output itself and a header that claims a
//! window of gigabytes gets nothing. The price is to start over in a larger buffer if the first was too small; buffers
//! are kept, so that happens to the first batches only.

use zstd_safe::DCtx;

use super::{Failed, Sink};

/// `ZSTD_error_dstSize_tooSmall`, part of zstd's stable interface since 1.3.1. Errors are negative numbers as `size_t`.
const OUTPUT_TOO_SMALL: usize = 0usize.wrapping_sub(70);

pub(super) fn decompress(context: &mut Option<DCtx<'static>>, input: &[u8], out: &mut Sink) -> Result<(), Failed> {
    if context.is_none() {
        *context = DCtx::try_create();
    }
    let context = context.as_mut().ok_or(Failed::Corrupt)?;
    let mut capacity = input.len().saturating_mul(8).max(out.bytes.capacity()).clamp(1 << 10, 1 << 20).min(out.cap);
    loop {
        out.reserve(capacity);
        // Memory from an earlier batch may be larger than this batch's cap; what fills more than that is refused below.
        match context.decompress(&mut out.bytes, input) {
            Ok(_) if out.bytes.len() > out.cap => return Err(Failed::Full),
            Ok(_) => return Ok(()),
            Err(OUTPUT_TOO_SMALL) if out.bytes.capacity() >= out.cap => return Err(Failed::Full),
            Err(OUTPUT_TOO_SMALL) => {
                out.bytes.clear();
                capacity = out.bytes.capacity().max(capacity).saturating_mul(4).min(out.cap);
            }
            Err(_) => return Err(Failed::Corrupt),
        }
    }
}
