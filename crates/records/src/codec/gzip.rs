//! gzip (RFC 1952), one member or several. It knows no records.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::{Failed, Sink};

pub(super) fn decompress(input: &[u8], out: &mut Sink) -> Result<(), Failed> {
    let mut decoder = MultiGzDecoder::new(input);
    // Deflate rarely does better than eight to one on records; what does makes the buffer grow.
    let mut chunk = input.len().saturating_mul(4).max(1 << 10);
    loop {
        if out.room() == 0 {
            return match decoder.read(&mut [0]) {
                Ok(0) => Ok(()),
                Ok(_) => Err(Failed::Full),
                Err(_) => Err(Failed::Corrupt),
            };
        }
        match out.fill(chunk, |_, fresh| decoder.read(fresh)) {
            Ok(0) => return Ok(()),
            Ok(written) => chunk = written.clamp(1 << 12, 1 << 16),
            Err(_) => return Err(Failed::Corrupt),
        }
    }
}
