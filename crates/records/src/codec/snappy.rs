//! Snappy: raw, as librdkafka writes it, and in the frames of xerial's snappy-java, as Java and others do. It knows no records.

use super::{Failed, Sink};

/// `0x82 "SNAPPY" 0`, then version and lowest compatible version, four bytes each.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";

pub(super) fn decompress(input: &[u8], out: &mut Sink) -> Result<(), Failed> {
    // No raw block begins with the magic: it would be a copy before any byte is there to be copied.
    let Some(framed) = input.strip_prefix(XERIAL_MAGIC) else { return block(input, out) };
    let (_versions, mut rest) = framed.split_at_checked(8).ok_or(Failed::Corrupt)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(Failed::Corrupt)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Failed::Corrupt)?;
        let (chunk, after) = after.split_at_checked(length).ok_or(Failed::Corrupt)?;
        block(chunk, out)?;
        rest = after;
    }
    Ok(())
}

fn block(input: &[u8], out: &mut Sink) -> Result<(), Failed> {
    let length = snap::raw::decompress_len(input).map_err(|_| Failed::Corrupt)?;
    // A block says how long it will be. At best three bytes become 64, so a larger claim is a lie.
    if length > input.len().saturating_mul(22) {
        return Err(Failed::Corrupt);
    }
    if length > out.room() {
        return Err(Failed::Full);
    }
    let written = out.fill(length, |_, fresh| snap::raw::Decoder::new().decompress(input, fresh));
    if written == Ok(length) { Ok(()) } else { Err(Failed::Corrupt) }
}
